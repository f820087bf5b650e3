/* What the kernel counts against this process. */
#ifndef LEVEE_PLATFORM_PROCESS_H
#define LEVEE_PLATFORM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes. Held is anonymous + shared: what the kernel cannot drop. File pages are mapped files, reclaimable. */
typedef struct process_memory {
    uint64_t held_bytes;
    uint64_t file_bytes;
} process_memory;

/* Reads this process's memory without allocating: one small read per call. False when it cannot be read. */
bool process_memory_read(process_memory *memory);

/* Measures by how much resident memory rises while something runs, file pages included: process_rise_end gives the
 * bytes between the highest since process_rise_begin and what was resident then. False when the kernel does not tell.
 */
bool process_rise_begin(uint64_t *resident_bytes);
bool process_rise_end(uint64_t resident_bytes, uint64_t *rise_bytes);

/* Sets what must be set before the first thread and the first large allocation: allocator thresholds and arenas (so
 * that freed memory goes back to the kernel and threads do not each keep a heap), and no
 * transparent huge pages behind the back of the plan. Call first in main or in the first library call. */
void process_prepare(void);

/* Gives the allocator's free memory back to the kernel; returns the bytes by which held memory fell. */
uint64_t process_trim(void);

#endif
