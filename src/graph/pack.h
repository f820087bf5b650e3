/* From lifetimes to offsets: dynamic storage allocation. Pure functions of their arguments, thread-safe; the caller
 * owns the items. */
#ifndef LEVEE_GRAPH_PACK_H
#define LEVEE_GRAPH_PACK_H

#include <stdint.h>

#include "levee.h"

/* One buffer to place: live from instruction `first` through instruction `last`, both included. */
typedef struct pack_item {
    uint64_t bytes; /* an item of 0 bytes takes no room and gets offset 0 */
    uint32_t first, last;
    uint64_t offset; /* the result */
} pack_item;

/* Places items so that no two that live at the same time overlap; offsets are multiples of `alignment` (a power of
 * two). *peak_bytes is the end of the highest, its size rounded up to `alignment`. Up to 8 items the peak is the
 * least possible; beyond, several greedy orders and a bounded local search are tried until the lower bound is met.
 * Same input, same output. Scratch is `runtime` memory; LEVEE_DOES_NOT_FIT when that is refused or when sizes
 * overflow, LEVEE_INTERNAL for a lifetime or an alignment that is none. */
levee_status pack_offsets(pack_item *items, uint32_t count, uint64_t alignment, uint64_t *peak_bytes,
                          levee_error *error);

/* The most bytes live at one instruction, sizes rounded up to `alignment`: no packing can be smaller. *instruction,
 * when given, says where first. UINT64_MAX when sizes overflow. Cannot fail: without scratch memory it is only
 * slower. */
uint64_t pack_lower_bound(const pack_item *items, uint32_t count, uint64_t alignment, uint32_t *instruction);

/* Proves that no two items that live at the same time overlap; otherwise LEVEE_INTERNAL, and the message has the
 * indices of two that do. LEVEE_DOES_NOT_FIT when scratch memory is refused. */
levee_status pack_verify(const pack_item *items, uint32_t count, levee_error *error);

#endif
