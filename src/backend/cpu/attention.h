/* What forward and backward attention share: blocks of rows, their packing, and small dense products on them.
 *
 * A block is at most ATTENTION_BLOCK rows of one head, packed densely with its width padded to whole lanes (zeros),
 * so that products have no remainders along a row. Only blocks of scores exist, never the whole matrix. */
#ifndef LEVEE_BACKEND_CPU_ATTENTION_H
#define LEVEE_BACKEND_CPU_ATTENTION_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

enum { ATTENTION_BLOCK = 64 };

/* Lower than any score, and lower still, so that e^(masked - highest) vanishes even when a row has seen nothing yet.
 */
static const float attention_lowest = -1e30f, attention_masked = -3e38f;

/* One attention operator's geometry. */
typedef struct attention_shape {
    uint64_t tokens, heads, kv_heads, head_dim, width; /* width: head_dim padded to whole lanes */
    uint64_t q_stride, kv_stride;                      /* floats from one token's row to the next */
    uint64_t window;
    float scale;
    const int32_t *starts;
} attention_shape;

static inline uint64_t attention_width(uint64_t head_dim) {
    return (head_dim + VECTOR_LANES - 1) / VECTOR_LANES * VECTOR_LANES;
}

/* The first row that row t sees. */
VECTOR_INLINE uint64_t attention_first(const attention_shape *s, uint64_t t) {
    uint64_t start = (uint64_t)s->starts[t];
    uint64_t from_window = t + 1 > s->window ? t + 1 - s->window : 0;
    return start > from_window ? start : from_window;
}

/* Packs `rows` rows of one head, times `factor`, into a block [ATTENTION_BLOCK, width]; rows below are zero. */
VECTOR_INLINE void attention_pack(float *block, const float *from, uint64_t stride, uint64_t rows, uint64_t head_dim,
                                  uint64_t width, float factor) {
    for (uint64_t r = 0; r < ATTENTION_BLOCK; r++)
        for (uint64_t i = 0; i < width; i++)
            block[r * width + i] = r < rows && i < head_dim ? from[r * stride + i] * factor : 0.0f;
}

/* Packs them transposed: [head_dim, ATTENTION_BLOCK]. */
VECTOR_INLINE void attention_pack_transposed(float *block, const float *from, uint64_t stride, uint64_t rows,
                                             uint64_t head_dim) {
    for (uint64_t i = 0; i < head_dim; i++)
        for (uint64_t r = 0; r < ATTENTION_BLOCK; r++)
            block[i * ATTENTION_BLOCK + r] = r < rows ? from[r * stride + i] : 0.0f;
}

/* c [rows, cols] = a [rows, k] b [k, cols], or c += that; cols is a multiple of the lanes, leading dimensions as
 * given. Tiles of 4 rows by 2 lanes are kept in registers. */
VECTOR_INLINE void attention_product(const float *a, uint64_t lda, const float *b, uint64_t ldb, float *c,
                                     uint64_t ldc, uint64_t rows, uint64_t cols, uint64_t k, bool accumulate) {
    for (uint64_t j = 0; j < cols; j += 2 * VECTOR_LANES) {
        bool two = j + VECTOR_LANES < cols;
        for (uint64_t r = 0; r < rows; r += 4) {
            uint64_t r1 = r + 1 < rows ? r + 1 : r, r2 = r + 2 < rows ? r + 2 : r, r3 = r + 3 < rows ? r + 3 : r;
            lanes zero = lanes_of(0.0f);
            lanes c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
            const float *a0 = a + r * lda, *a1 = a + r1 * lda, *a2 = a + r2 * lda, *a3 = a + r3 * lda;
            if (two) {
                for (uint64_t i = 0; i < k; i++) {
                    lanes b0 = lanes_load(b + i * ldb + j), b1 = lanes_load(b + i * ldb + j + VECTOR_LANES);
                    c00 += lanes_of(a0[i]) * b0, c01 += lanes_of(a0[i]) * b1;
                    c10 += lanes_of(a1[i]) * b0, c11 += lanes_of(a1[i]) * b1;
                    c20 += lanes_of(a2[i]) * b0, c21 += lanes_of(a2[i]) * b1;
                    c30 += lanes_of(a3[i]) * b0, c31 += lanes_of(a3[i]) * b1;
                }
            } else {
                for (uint64_t i = 0; i < k; i++) {
                    lanes b0 = lanes_load(b + i * ldb + j);
                    c00 += lanes_of(a0[i]) * b0, c10 += lanes_of(a1[i]) * b0;
                    c20 += lanes_of(a2[i]) * b0, c30 += lanes_of(a3[i]) * b0;
                }
            }
            lanes first[4] = {c00, c10, c20, c30}, second[4] = {c01, c11, c21, c31};
            for (uint64_t i = 0; i < 4 && r + i < rows; i++) {
                float *to = c + (r + i) * ldc + j;
                lanes_store(to, accumulate ? lanes_load(to) + first[i] : first[i]);
                if (two)
                    lanes_store(to + VECTOR_LANES,
                                accumulate ? lanes_load(to + VECTOR_LANES) + second[i] : second[i]);
            }
        }
    }
}

#endif
