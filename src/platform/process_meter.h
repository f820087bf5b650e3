/* The memory of a process, read again and again: this one's, or another one's that is watched.
 *
 * On Linux from its status file, which is kept open, so that another process with its number is never taken for it.
 * On macOS (macos/process_meter.c) by its number and the moment of its start. Reading allocates nothing. */
#ifndef LEVEE_PLATFORM_PROCESS_METER_H
#define LEVEE_PLATFORM_PROCESS_METER_H

#include "platform/kernel_text.h"

typedef struct process_meter {
    kernel_file status; /* Linux */
    int pid;            /* macOS, 0: closed; and when it started, by the kernel's clock */
    uint64_t started;
} process_meter;

/* Bytes, each kind apart. What was swapped out is held by nobody's memory and was taken all the same. */
typedef struct process_readings {
    reading anonymous, shared, file, swapped;
} process_readings;

/* Opens process `pid`, or this one (0). One that cannot be opened, or has ended, reads as unknown.
 * process_meter_close accepts a zeroed meter. */
void process_meter_open(process_meter *meter, kernel_roots roots, int pid);
void process_meter_close(process_meter *meter);
void process_meter_read(const process_meter *meter, process_readings *now);

/* The readings from the text of a status file. */
void process_readings_parse(const char *status, process_readings *now);

#endif
