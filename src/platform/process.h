/* What the kernel counts against this process, and what is asked of the kernel for it. */
#ifndef LEVEE_PLATFORM_PROCESS_H
#define LEVEE_PLATFORM_PROCESS_H

#include "levee.h"

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
 * transparent huge pages behind the back of the plan, as far as the kernel knows asked ones from others. Call first
 * in main or in the first library call. */
void process_prepare(void);

/* Has the kernel end this process before any other when memory runs out: its oom_score_adj becomes the highest. One
 * that is negative, which somebody has chosen to protect this process, stays. Needs no privilege; cannot be undone
 * without one. */
levee_status process_volunteer(levee_error *error);

/* Has this process, or whoever started it, done so? */
bool process_volunteers(void);

/* For a child that stays beside this process and is told of its end by a pipe: lists of processes name it so, no
 * signal but SIGKILL reaches it, since what is sent to our whole group is not for it, and its only open file is the
 * pipe's end, as STDIN_FILENO, so that nobody waits for it to close another. Calls nothing that a child of a program
 * with threads may not. Linux only. */
void process_become_companion(const char *name, int pipe);

/* Has the kernel refuse this process more than `slack_bytes` of writable private memory above what it has now
 * (RLIMIT_DATA): a leak is then refused memory before the machine is short of it. What is given back meanwhile may be
 * taken again. Lasts as long as the process; LEVEE_USAGE where the kernel does not tell or allow. */
levee_status process_limit_data(uint64_t slack_bytes, levee_error *error);

/* Gives the allocator's free memory back to the kernel. */
void process_trim(void);

#endif
