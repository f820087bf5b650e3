/* Matrix products by oneDNN, planned: every primitive is made before the first step, in user-scratchpad mode, and a
 * run only looks it up; a run allocates only what oneDNN takes inside a call, which is measured once for each.
 *
 * A primitive fixes its number of rows, so products over tokens run on a ladder of tiles; the last rows are copied
 * into a zero-filled tile in scratch, so that rows beyond those given are neither read nor written.
 *
 * A product of all threads waits for them all after each tile, and puts b in order for each. Where b is blocked
 * (blocked.h) it was put in order before, and each thread takes blocks of its own (row_tiles.h): so they wait once.
 *
 * oneDNN's better kernels (measured: 304 bytes allocated inside a call, against hundreds of KiB a thread for the
 * others) want dense matrices. So operands with a leading dimension of their own go through dense tiles in scratch as
 * well.
 *
 * Conventions: matrices are row-major with a leading dimension in elements; `b` is dense, [n, k] when `b_transposed`
 * (a weight [out, in] in the forward product), else [k, n]. With type DTYPE_BF16, b is bf16, the f32 rows of a are
 * rounded to bf16 tile by tile, and sums stay f32. Bytes of b need not be aligned.
 *
 * What the primitives take is booked under `runtime` by a measured estimate.
 *
 * Where oneDNN has no product of f32 that reads b in order, on AVX2, one of ours stands in (block_kernel.h): it needs
 * neither a primitive nor scratch. */
#ifndef LEVEE_BACKEND_CPU_GEMM_H
#define LEVEE_BACKEND_CPU_GEMM_H

#include "backend/cpu/cpu.h"

typedef struct row_product {
    uint32_t rows; /* the most that a run will have: tiles and scratch are made for these */
    uint32_t n, k;
    uint64_t lda, ldc;
    bool b_transposed;
    bool accumulate; /* c += a b instead of c = a b */
    bool bias;       /* c = a b + bias, one number a column; not together with accumulate */
    dtype type;      /* of b and of the arithmetic: DTYPE_F32 or DTYPE_BF16 */
} row_product;

/* c [m, n] += sum over rows of a[row, 0..m) b[row, 0..n): a gradient of a weight. f32 in and out; all dense. */
typedef struct reduction_product {
    uint32_t rows; /* the most that a run will have */
    uint32_t m, n;
    dtype type; /* of the arithmetic */
} reduction_product;

/* c [m, n] = a [m, k] b [k, n], or c += that: one block, by the thread that calls, as all may at once. a and c are
 * dense, b is in the order of blocked.h (only where gemm_reads_blocked() says so) or plain; a is of the product's
 * type too. */
typedef struct block_product {
    uint32_t m, n, k;
    bool accumulate;
    bool b_plain;      /* b is dense */
    bool b_transposed; /* and [n, k] */
    dtype type;
} block_product;

/* The state gives threads and instruction set; it must outlive the result. Caller closes; NULL may be closed. */
levee_status gemm_open(struct gemm **result, const struct backend_state *state, levee_error *error);
void gemm_close(struct gemm *g);

/* Drops every primitive and its booking. Products must be prepared anew. */
void gemm_clear(struct gemm *g);

/* Runs each primitive that was made since the last call once, on operands of its own, and measures what it takes
 * inside the call; *inside_bytes is the most that any took. The operands are given back; one set takes as much as one
 * tile. */
levee_status gemm_settle(struct gemm *g, uint64_t *inside_bytes, levee_error *error);

/* Does this processor have bf16 products? */
bool gemm_has_bf16(struct gemm *g);

/* Are there products of this type (f32 or bf16) that read b in the order of blocked.h? */
bool gemm_reads_blocked(struct gemm *g, dtype type);

/* Makes the primitives of a product on all tiles of the ladder that up to `rows` rows can need. */
levee_status gemm_prepare_rows(struct gemm *g, const row_product *product, levee_error *error);
levee_status gemm_prepare_reduction(struct gemm *g, const reduction_product *product, levee_error *error);

levee_status gemm_prepare_block(struct gemm *g, const block_product *product, levee_error *error);

/* Scratch that a run needs, in bytes (a multiple of 64). Makes the primitives too, for only they know their share;
 * when that fails the number is too small, and every gemm_prepare_* and gemm_settle from then on reports it. */
uint64_t gemm_rows_scratch(struct gemm *g, const row_product *product);
uint64_t gemm_reduction_scratch(struct gemm *g, const reduction_product *product);
uint64_t gemm_block_scratch(struct gemm *g, const block_product *product); /* of each thread */

/* Runs over `rows` rows (at most product->rows). `bias` is [n] f32, or NULL without one. A product that was not
 * prepared is LEVEE_INTERNAL. */
levee_status gemm_rows(struct gemm *g, const row_product *product, uint32_t rows, const float *a, const void *b,
                       const float *bias, float *c, void *scratch, levee_error *error);
levee_status gemm_reduction(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
                            const float *b, float *c, void *scratch, levee_error *error);
levee_status gemm_block(struct gemm *g, const block_product *product, unsigned thread, const void *a, const void *b,
                        float *c, void *scratch, levee_error *error);

#endif
