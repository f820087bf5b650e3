/* The ledger: every byte the program takes, under the category that says what it is for.
 *
 * It is one per process, because the budget is: what the kernel counts against us is a property of the process, and
 * the hooks of the libraries we book (JSON, YAML) carry no context. All functions are thread-safe.
 *
 * Memory comes from ledger_alloc, or from a region (region.h) whose owner books it. Each block carries its category
 * and size in a header, so that ledger_free needs neither. */
#ifndef LEVEE_MEMORY_LEDGER_H
#define LEVEE_MEMORY_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

/* Zeroed memory booked under `category`, aligned to 64 bytes; NULL when the system or the ledger's budget refuses.
 * `bytes` 0 gives a valid pointer. The caller frees it with ledger_free. */
void *ledger_alloc(levee_category category, uint64_t bytes);

/* As ledger_alloc, but the budget is not asked: for a library that cannot be refused. */
void *ledger_alloc_unrefused(levee_category category, uint64_t bytes);

/* As ledger_alloc for `count` things of `size` bytes; NULL too when the product overflows. */
void *ledger_alloc_array(levee_category category, uint64_t count, uint64_t size);

/* Grows or shrinks a block, keeping its category and its content; new bytes are zero. On failure returns NULL and
 * leaves the old block as it was. A NULL `block` allocates. */
void *ledger_resize(levee_category category, void *block, uint64_t bytes);

/* A copy of `text`, NUL-terminated; NULL when refused. */
char *ledger_text(levee_category category, const char *text);

/* Gives a block back. NULL is allowed. */
void ledger_free(void *block);

/* Books bytes that came from elsewhere (a region, a library); negative gives them back. */
void ledger_book(levee_category category, int64_t bytes);

/* Bytes booked now, and the most that were ever booked at once, under a category or (LEVEE_CATEGORY_COUNT) in all. */
uint64_t ledger_booked(levee_category category);
uint64_t ledger_peak(levee_category category);

/* From now on the peaks are those since this call: of one job, not of those before it in this process. */
void ledger_restart_peaks(void);

/* Would an allocation of this size be within the budget now? */
bool ledger_has_room(uint64_t bytes);

/* From now on an allocation that would take the total past `bytes` is refused. UINT64_MAX lifts the limit. */
void ledger_set_budget(uint64_t bytes);

/* The number of blocks taken so far: a run's step loop must not change it. */
uint64_t ledger_allocation_count(void);

#endif
