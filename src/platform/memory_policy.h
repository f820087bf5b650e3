/* How the kernel deals with memory here: what it promises, how large its pages are, how long those who want some
 * wait.
 *
 * Read once, on the stack; the caller owns the struct. Thread-safe. */
#ifndef LEVEE_PLATFORM_MEMORY_POLICY_H
#define LEVEE_PLATFORM_MEMORY_POLICY_H

#include "platform/kernel_text.h"

typedef enum huge_pages { HUGE_PAGES_UNKNOWN, HUGE_PAGES_ALWAYS, HUGE_PAGES_MADVISE, HUGE_PAGES_NEVER } huge_pages;

typedef struct memory_policy {
    huge_pages huge_pages;              /* transparent ones, for the machine */
    reading own_huge_pages;             /* may this process get them unasked: 1, or 0 */
    reading overcommit;                 /* vm.overcommit_memory: 0 by guess, 1 always, 2 never */
    reading commit_limit, committed;    /* bytes that may be promised when overcommit is 2, and those that are */
    reading stall_some10, stall_full10; /* of the last ten seconds, hundredths of a percent in which some task waited
                                           for memory, or all did; unknown: pressure-stall information is off */
} memory_policy;

/* What cannot be read is unknown. */
void memory_policy_read(memory_policy *policy, kernel_roots roots);

#endif
