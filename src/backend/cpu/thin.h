/* Products in which one side has few columns, an adapter's rank: too thin for a general product to be fast. In f32,
 * dense, on the calling thread; all threads may call at once. x and y are [rows, width], u is [rows, rank], w is
 * [rank, width]. */
#ifndef LEVEE_BACKEND_CPU_THIN_H
#define LEVEE_BACKEND_CPU_THIN_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/machine.h"

/* u = x w^T */
void thin_narrow(instruction_set set, const float *x, const float *w, float *u, uint64_t rows, uint64_t width,
                 uint64_t rank);

/* y = u w, or with `add` y += u w; rows of w are `stride` apart */
void thin_widen(instruction_set set, const float *u, const float *w, uint64_t stride, float *y, bool add,
                uint64_t rows, uint64_t width, uint64_t rank);

/* w += u^T x, over the rows in their order */
void thin_reduce(instruction_set set, const float *u, const float *x, float *w, uint64_t rows, uint64_t width,
                 uint64_t rank);

#endif
