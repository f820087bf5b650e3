/* Matrices in the blocked order of oneDNN's tile kernels, so that a weight, say, is put in order once for all rows,
 * and by all threads: columns of b [k, n] in blocks of 64, each a matrix [k, 64] of its own, in f32; in bf16 pairs of
 * k lie side by side, [k / 2, 64, 2]. Columns are filled up to 64 and k to 16 (f32) or 32 (bf16), with zeros. oneDNN
 * calls these layouts BA16a64b and BA16a64b2a. */
#ifndef LEVEE_BACKEND_CPU_BLOCKED_H
#define LEVEE_BACKEND_CPU_BLOCKED_H

#include "backend/cpu/cpu.h"

enum { BLOCKED_COLUMNS = 64 };

/* Bytes of b [k, n] in `type`, f32 or bf16; a multiple of 64. */
uint64_t blocked_bytes(dtype type, uint64_t k, uint64_t n);

/* What is put in order: rows of a matrix, each `cols` elements of type `stored`, at any address, `stride` elements
 * from one to the next. With `transposed` they are columns of b (n = rows, k = cols), else its rows. */
typedef struct blocked_source {
    dtype stored, type;
    const void *from;
    uint64_t rows, cols, stride;
    bool transposed;
} blocked_source;

/* Makes all of b [k, n], on all threads: blocked_bytes() from `to` on, which is aligned to 64 bytes. Rows that the
 * source does not have are zero. */
void blocked_fill(const struct backend_state *state, const blocked_source *source, uint64_t k, void *to);

/* On the calling thread: at most 64 rows, as the columns of b from n = at on, or as its rows from k = at on. `at` is
 * a multiple of 64, b has k rows, and what is missing of 64 is zero. */
void blocked_put(instruction_set set, const blocked_source *source, uint64_t at, uint64_t k, void *to);

#endif
