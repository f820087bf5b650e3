/* Matrix products by oneDNN, planned: every primitive is made before the first step, in user-scratchpad mode, so that a run
 * allocates only what oneDNN takes inside a call.
 *
 * A primitive fixes its number of rows, so products over tokens run on a ladder of tiles; the last rows are copied into a
 * zero-filled tile in scratch. So rows beyond those given are neither read nor written.
 *
 * Conventions: matrices are row-major with a leading dimension in elements; `b` is [n, k] when `b_transposed` (a weight
 * [out, in] in the forward product), else [k, n]. With type DTYPE_BF16, b is bf16, the f32 rows of a are rounded to bf16
 * tile by tile, and sums stay f32. */
#ifndef LEVEE_BACKEND_CPU_GEMM_H
#define LEVEE_BACKEND_CPU_GEMM_H

#include "backend/cpu/cpu.h"

typedef struct row_product {
    uint32_t n, k;
    uint64_t lda, ldb, ldc;
    bool b_transposed;
    bool accumulate; /* c += a b instead of c = a b */
    dtype type;      /* of b and of the arithmetic: DTYPE_F32 or DTYPE_BF16 */
} row_product;

/* c [m, n] += sum over rows of a[row, 0..m) b[row, 0..n): a gradient of a weight. f32 in and out. */
typedef struct reduction_product {
    uint32_t m, n;
    uint64_t lda, ldb, ldc;
    dtype type; /* of the arithmetic */
} reduction_product;

levee_status gemm_open(struct gemm **result, unsigned threads, levee_error *error);
void gemm_close(struct gemm *g);

/* Does this processor have bf16 products? */
bool gemm_has_bf16(struct gemm *g);

/* Makes the primitives of a product on all tiles of the ladder. */
levee_status gemm_prepare_rows(struct gemm *g, const row_product *product, levee_error *error);
levee_status gemm_prepare_reduction(struct gemm *g, const reduction_product *product, levee_error *error);

/* Scratch that a run needs, in bytes (a multiple of 64). */
uint64_t gemm_rows_scratch(struct gemm *g, const row_product *product);
uint64_t gemm_reduction_scratch(struct gemm *g, const reduction_product *product);

/* Runs over `rows` rows. */
levee_status gemm_rows(struct gemm *g, const row_product *product, uint32_t rows, const float *a, const void *b, float *c,
                       void *scratch, levee_error *error);
levee_status gemm_reduction(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
                            const float *b, float *c, void *scratch, levee_error *error);

#endif
