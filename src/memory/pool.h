/* A pool: the memory in which the JSON library works on one text after another, taken once.
 *
 * Between pool_enter and pool_leave the library's requests on this thread come out of the pool, one behind the other,
 * and what it frees is not used again; pool_empty then drops everything at once, whatever was freed. So reading rows
 * in the step loop calls no allocator. Outside of a pool the library's requests come from the heap, booked under
 * `runtime`.
 *
 * A pool that is too small is no failure: what does not fit comes from the heap and goes back with pool_empty,
 * because Jansson 2.14 damages its own state when memory is refused within a string. One pool belongs to one thread
 * at a time. */
#ifndef LEVEE_MEMORY_POOL_H
#define LEVEE_MEMORY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

typedef struct pool {
    unsigned char *memory; /* [capacity], from the ledger */
    uint64_t capacity, used;
    struct pool_overflow *overflow; /* blocks from the heap, the newest first */
} pool;

/* Makes room for `bytes`, rounded up, and empties the pool. A zeroed pool is one without room. */
levee_status pool_reserve(pool *p, uint64_t bytes, levee_error *error);

/* Drops all that was taken out of the pool. */
void pool_empty(pool *p);

/* Frees it; accepts a zeroed pool. */
void pool_close(pool *p);

/* From here to pool_leave the JSON library works in `p` on this thread. They do not nest. */
void pool_enter(pool *p);
void pool_leave(void);

/* What is left of the pool that was entered on this thread; 0 when none was. */
uint64_t pool_room(void);

/* From now on, what is refused to the library on this thread comes from here instead, and counts as refused
 * nevertheless. NULL: no longer. Everything that the library has from here must be freed before. */
void pool_set_spare(void *memory, uint64_t bytes);

/* Was a request of the library refused on this thread since this was asked last? Then what it made meanwhile is not
 * to be trusted, whether it says so or not: Jansson 2.14 drops characters of strings that it has no memory for. */
bool pool_was_refused(void);

/* Points the JSON library's allocator here. Call once, before the first JSON call. */
void pool_hook_json(void);

#endif
