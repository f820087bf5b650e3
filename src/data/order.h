/* The order in which an epoch visits the rows: a keyed permutation that is computed, not stored, so that a data set
 * of any size is shuffled in no memory and a resumed run needs to remember nothing but a number. */
#ifndef LEVEE_DATA_ORDER_H
#define LEVEE_DATA_ORDER_H

#include <stdint.h>

/* Where `index` goes: for a fixed seed, epoch and count this is a bijection of [0, count) onto itself. Different
 * seeds and different epochs give unrelated orders. Needs index < count. */
uint64_t order_permute(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t index);

#endif
