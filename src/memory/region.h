/* A region: a range of addresses reserved once, whose pages are taken (committed) and given back explicitly.
 *
 * A reservation takes no memory, and a page that was committed takes none before it is touched; it is zero then. The
 * owner books what it takes. */
#ifndef LEVEE_MEMORY_REGION_H
#define LEVEE_MEMORY_REGION_H

#include <stdint.h>

#include "levee.h"

typedef struct region {
    unsigned char *base;
    uint64_t reserved_bytes;
    uint64_t committed_bytes; /* always a prefix of the region, in whole pages */
} region;

/* Reserves at least `bytes` bytes of addresses, page-aligned. Undone by region_close. */
levee_status region_open(region *reservation, uint64_t bytes, levee_error *error);

/* Makes the first `bytes` bytes usable, and returns the rest to the kernel. What becomes usable is not touched. */
levee_status region_commit(region *reservation, uint64_t bytes, levee_error *error);

/* Takes memory with care, until the first `bytes` bytes are committed and touched, or gives the rest back as
 * region_commit does. What is missing is compared with what can be had beyond a reserve (platform/headroom.h) before
 * the first page is touched, and again before each slice of 64 MiB, so that somebody else's growth meanwhile is
 * noticed. When it is short: LEVEE_DOES_NOT_FIT, and what was taken is given back. */
levee_status region_take(region *reservation, uint64_t bytes, uint64_t reserve_bytes, levee_error *error);

/* Gives everything back. A zeroed or closed region is allowed. */
void region_close(region *reservation);

#endif
