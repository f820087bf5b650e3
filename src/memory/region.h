/* A region: a range of addresses reserved once, whose pages are taken (committed) and given back explicitly.
 *
 * A reservation takes no memory. Committed pages are zero when first touched. The owner books what it commits. */
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

/* Makes the first `bytes` bytes usable, and returns the rest to the kernel. Before growing, the request is compared
 * with what the machine says is available, because Linux promises more than it has and kills when it is touched. */
levee_status region_commit(region *reservation, uint64_t bytes, levee_error *error);

/* Gives everything back. A zeroed or closed region is allowed. */
void region_close(region *reservation);

#endif
