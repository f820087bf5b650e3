/* Products of blocks in f32 with b in the order of blocked.h, for processors on which oneDNN has no tile kernels that
 * read it: those with AVX2 but without AVX-512. As fast as oneDNN's product of all threads there
 * (docs/performance.md), which takes memory inside each call. Used by gemm_primitive.c alone. */
#ifndef LEVEE_BACKEND_CPU_BLOCK_KERNEL_H
#define LEVEE_BACKEND_CPU_BLOCK_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "platform/machine.h"

/* c [m, n] = a [m, k] b [k, n], or c += that. a and c are dense; with `a_transposed` a is stored [k, m]. */
typedef struct block_operands {
    uint32_t m, n, k;
    bool a_transposed, accumulate;
    const float *a, *b;
    float *c;
} block_operands;

/* Is it for processors of this kind? */
bool block_kernel_serves(instruction_set set);

/* On the calling thread; all threads may call at once. Each number of c is summed over k in an order
 * of its own, whatever m and n are. Allocates nothing. */
void block_kernel_run(const block_operands *o);

#endif
