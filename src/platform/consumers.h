/* Who else on this machine holds much memory: the processes that hold most, by name and number.
 *
 * Held is what is resident and not a file's; pages that processes share are counted for each. Only what this process
 * may see is told (process_list.h). Nothing is allocated, beside what the C library takes to read a directory. */
#ifndef LEVEE_PLATFORM_CONSUMERS_H
#define LEVEE_PLATFORM_CONSUMERS_H

#include "platform/kernel_text.h"

enum { CONSUMERS_MOST = 5, CONSUMER_NAME_BYTES = 16 };

typedef struct consumer {
    unsigned pid;
    char name[CONSUMER_NAME_BYTES]; /* as the kernel has it; what is no plain character is '?' */
    uint64_t held_bytes;
} consumer;

typedef struct consumers {
    bool known;
    unsigned count;
    consumer largest[CONSUMERS_MOST]; /* the largest first; this process is not among them */
} consumers;

/* What cannot be read is left out, and a process that ends meanwhile too. */
void consumers_read(consumers *found, kernel_roots roots);

#endif
