/* A seal on the ledger: what is booked when a run has all that it takes. From then on nothing may grow, but by a
 * change of plan, after which the seal is taken anew. */
#ifndef LEVEE_MEMORY_SEAL_H
#define LEVEE_MEMORY_SEAL_H

#include "levee.h"

typedef struct seal {
    uint64_t booked_bytes[LEVEE_CATEGORY_COUNT];
} seal;

/* Remembers what is booked now. */
void seal_take(seal *s);

/* The first category of which more is booked than was, with how much more; LEVEE_CATEGORY_COUNT when none grew. */
levee_category seal_broken(const seal *s, uint64_t *grown_bytes);

#endif
