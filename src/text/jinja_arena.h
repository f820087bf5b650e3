/* The memory of one template: one reservation, handed out from its start, cut back in one go.
 *
 * Pages are taken as they are needed, booked under `tokenizer`, and kept when the arena is cut, so that a second
 * rendering of the same size takes nothing. Nothing moves. One arena belongs to one thread at a time. */
#ifndef LEVEE_TEXT_JINJA_ARENA_H
#define LEVEE_TEXT_JINJA_ARENA_H

#include <stdbool.h>

#include "memory/region.h"

typedef enum arena_refusal {
    ARENA_NOT_REFUSED,
    ARENA_LIMIT,  /* the arena's own limit */
    ARENA_MEMORY, /* the memory budget or the system */
} arena_refusal;

typedef struct jinja_arena {
    region memory;
    uint64_t used, booked_bytes, limit_bytes;
    arena_refusal refusal; /* why the last request failed */
} jinja_arena;

levee_status jinja_arena_open(jinja_arena *a, uint64_t limit_bytes, levee_error *error);
void jinja_arena_close(jinja_arena *a); /* accepts a zeroed one */

/* Zeroed memory, aligned to 16 bytes; NULL when refused. */
void *jinja_arena_take(jinja_arena *a, uint64_t bytes);

/* Makes the block of `bytes` bytes that was taken last longer, where it is; false when it was not the last one, or
 * there is no room. The new bytes are not zeroed. */
bool jinja_arena_extend(jinja_arena *a, const void *block, uint64_t bytes, uint64_t longer_bytes);

/* Takes the pages of the first `bytes` bytes, and touches them, so that the kernel counts them now and blocks up to
 * there take nothing later; false when refused. */
bool jinja_arena_reserve(jinja_arena *a, uint64_t bytes);

/* Drops everything that was taken after `used` was this; the pages stay. */
void jinja_arena_cut(jinja_arena *a, uint64_t used);

/* Gives back the pages that nothing lies in. */
void jinja_arena_trim(jinja_arena *a);

#endif
