/* Headroom: how much memory can still be had, and which limit says so.
 *
 * Words. A limit is the machine's, or that of a control group which this process is in (memory.max and memory.high in
 * version 2, memory.limit_in_bytes in version 1), up to the root as far as it can be seen from here. What can be had
 * under a limit is what nobody uses there, and what lies in clean file pages, since the kernel drops those before
 * anybody is refused or killed. The reserve is what stays free for others.
 *
 * Linux promises more memory than it has and kills somebody when it is touched, so whoever is about to touch much
 * asks here first. A limit that is there but cannot be read leaves it unknown whether the memory is: that is a
 * refusal. Reading takes no memory and about a tenth of a millisecond. */
#ifndef LEVEE_PLATFORM_HEADROOM_H
#define LEVEE_PLATFORM_HEADROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

enum { LIMIT_NAME_BYTES = 320 };

typedef struct memory_limit {
    char name[LIMIT_NAME_BYTES]; /* "this machine", or "control group /sys/fs/cgroup/... (memory.max)" */
    bool machine;
    uint64_t total_bytes;     /* the machine's memory; what the group may use */
    uint64_t available_bytes; /* of that, what can be had */
} memory_limit;

/* Tells of the machine, then of each group's limit from the innermost outwards. */
typedef void limit_visit(void *context, const memory_limit *limit);
levee_status headroom_visit(limit_visit *visit, void *context, levee_error *error);

/* The reserve that is asked for where nobody says how much.
 *
 * Of the machine: an eighth, because those who kill when memory is short begin at a tenth (earlyoom); at least 1 GiB,
 * because a desktop's programs move by hundreds of MiB at a time; and a quarter at most, so that a small machine can
 * be used at all. Of a control group: a thirty-second part, because what shares it with us is usually little, and
 * what the kernel books there for a process beside its memory (page tables, per-processor stock, a working set of
 * file pages) is about that. */
#define HEADROOM_USUAL_RESERVE UINT64_MAX

/* How much that is under a limit of the machine's, or of a control group's. */
uint64_t headroom_usual_reserve(bool machine, uint64_t total_bytes);

typedef struct headroom {
    memory_limit limit;     /* the one that leaves least */
    uint64_t reserve_bytes; /* that stay free under it */
    uint64_t bytes;         /* that may be taken; 0 when none */
} headroom;

/* Finds the tightest limit with a reserve of so many bytes under each, or the usual one. */
levee_status headroom_read(headroom *tightest, uint64_t reserve_bytes, levee_error *error);

/* The reserve under the machine's own limit: what is asked for, or the usual one. */
levee_status headroom_machine_reserve(uint64_t asked_bytes, uint64_t *bytes, levee_error *error);

/* LEVEE_DOES_NOT_FIT, with a message that names the limit, the need (a clause, as "2.0 GiB more are needed"), what
 * the limit leaves, and what to do. */
levee_status headroom_refuse(const headroom *h, const char *need, levee_error *error);

/* May `bytes` more be touched now? If not, headroom_refuse. */
levee_status headroom_check(uint64_t bytes, uint64_t reserve_bytes, levee_error *error);

/* Reads below another root directory from now on: for tests; "" is the system's own. The text must last. */
void headroom_look_below(const char *root);

#endif
