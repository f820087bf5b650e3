/* The limits that were set on this process (setrlimit, ulimit), read from the kernel's own table of them. */
#ifndef LEVEE_PLATFORM_PROCESS_LIMITS_H
#define LEVEE_PLATFORM_PROCESS_LIMITS_H

#include "platform/kernel_text.h"

/* Bytes, the soft limits; UINT64_MAX: unlimited. */
typedef struct process_limits {
    reading addresses; /* ulimit -v: all that is mapped, the model's file too */
    reading data;      /* ulimit -d: private memory that can be written */
    reading locked;    /* ulimit -l: memory that may not be swapped out */
} process_limits;

void process_limits_read(process_limits *limits, kernel_roots roots);

#endif
