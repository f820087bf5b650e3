/* What forward and backward attention share: blocks, what is seen of them, and small products on them.
 *
 * Words. One side of a sweep is fixed, a block of at most ATTENTION_BLOCK rows of one head, which lies packed and
 * transposed in scratch; the other side is swept in blocks past it, and read where it is. A block of scores has a
 * row for each swept row and a column for each fixed one. Only blocks of scores exist, never the whole matrix.
 *
 * A view says which columns each row of a block of scores sees: from `low` up to `high`, both never falling from row
 * to row, because what a query sees is one range that only moves forward. What is not seen is not computed, but for
 * what fills up lanes and tiles, and is zero in the weights. */
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

static inline attention_shape attention_shape_of(const kernel_call *call, const kernel_buffer *starts) {
    const operator_parameters *p = call->parameters;
    return (attention_shape){.tokens = call->pass->tokens,
                             .heads = p->heads,
                             .kv_heads = p->kv_heads,
                             .head_dim = p->head_dim,
                             .width = attention_width(p->head_dim),
                             .q_stride = (uint64_t)p->heads * p->head_dim,
                             .kv_stride = (uint64_t)p->kv_heads * p->head_dim,
                             .window = p->window,
                             .scale = p->scale,
                             .starts = starts->data};
}

/* The first row that row t sees. */
VECTOR_INLINE uint64_t attention_first(const attention_shape *s, uint64_t t) {
    uint64_t start = (uint64_t)s->starts[t];
    uint64_t from_window = t + 1 > s->window ? t + 1 - s->window : 0;
    return start > from_window ? start : from_window;
}

/* One past the last query that may see a key of this block: the end of the sequence of the block's last key, or of
 * the window. */
VECTOR_INLINE uint64_t attention_last_query(const attention_shape *s, uint64_t last_key) {
    uint64_t t = last_key + 1;
    while (t < s->tokens && attention_first(s, t) <= last_key) t++;
    return t;
}

/* Packs `rows` rows of one head, times `factor`, transposed: [head_dim, ATTENTION_BLOCK]; columns beyond are zero. */
VECTOR_INLINE void attention_pack_transposed(float *block, const float *from, uint64_t stride, uint64_t rows,
                                             uint64_t head_dim, float factor) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < head_dim; i++) block[i * ATTENTION_BLOCK + r] = from[r * stride + i] * factor;
    for (uint64_t i = 0; i < head_dim; i++)
        for (uint64_t r = rows; r < ATTENTION_BLOCK; r++) block[i * ATTENTION_BLOCK + r] = 0.0f;
}

/* Swept rows of one head. */
typedef struct attention_rows {
    const float *data;
    uint64_t stride, count;
} attention_rows;

/* Where they are; a head that does not fill whole lanes is first copied to `spare` [ATTENTION_BLOCK, width]. */
VECTOR_INLINE attention_rows attention_rows_at(const attention_shape *s, const float *from, uint64_t stride,
                                               uint64_t count, float *spare) {
    if (s->head_dim == s->width) return (attention_rows){from, stride, count};
    for (uint64_t r = 0; r < count; r++)
        for (uint64_t i = 0; i < s->width; i++)
            spare[r * s->width + i] = i < s->head_dim ? from[r * stride + i] : 0.0f;
    return (attention_rows){spare, s->width, count};
}

typedef struct attention_view {
    uint32_t low[ATTENTION_BLOCK], high[ATTENTION_BLOCK];
} attention_view;

/* Of keys from `key` on, swept past fixed queries from `query` on. */
VECTOR_INLINE void attention_view_of_keys(attention_view *v, const attention_shape *s, uint64_t key, uint64_t keys,
                                          uint64_t query, uint64_t queries) {
    uint64_t high = 0;
    for (uint64_t c = 0; c < keys; c++) {
        while (high < queries && attention_first(s, query + high) <= key + c) high++;
        uint64_t low = key + c > query ? key + c - query : 0;
        v->low[c] = (uint32_t)(low < queries ? low : queries);
        v->high[c] = (uint32_t)(high > low ? high : v->low[c]);
    }
}

/* Of queries from `query` on, swept past fixed keys from `key` on. */
VECTOR_INLINE void attention_view_of_queries(attention_view *v, const attention_shape *s, uint64_t query,
                                             uint64_t queries, uint64_t key, uint64_t keys) {
    for (uint64_t c = 0; c < queries; c++) {
        uint64_t t = query + c, first = attention_first(s, t);
        uint64_t low = first > key ? first - key : 0, high = t + 1 > key ? t + 1 - key : 0;
        v->low[c] = (uint32_t)(low < keys ? low : keys);
        v->high[c] = (uint32_t)(high < keys ? high : keys);
        if (v->high[c] < v->low[c]) v->high[c] = v->low[c];
    }
}

/* The lanes that hold what row c sees: columns from `first` up to `end`; one beside an empty view, if there is any.
 */
VECTOR_INLINE uint64_t attention_lanes_first(const attention_view *v, uint64_t c) {
    return v->low[c] / VECTOR_LANES * VECTOR_LANES;
}

VECTOR_INLINE uint64_t attention_lanes_end(const attention_view *v, uint64_t c) {
    uint64_t end = v->high[c] > v->low[c] ? v->high[c] : v->low[c] + 1u;
    end = (end + VECTOR_LANES - 1) / VECTOR_LANES * VECTOR_LANES;
    return end < ATTENTION_BLOCK ? end : ATTENTION_BLOCK;
}

/* Which of the lanes from column j on row c sees. */
VECTOR_INLINE integer_lanes attention_sees(const attention_view *v, uint64_t c, uint64_t j) {
    integer_lanes column = lanes_numbers() + (int32_t)j;
    return (column >= (int32_t)v->low[c]) & (column < (int32_t)v->high[c]);
}

/* Tiles of 4 rows by 2 lanes are kept in registers. */
enum { TILE_ROWS = 4, TILE_COLUMNS = 2 * VECTOR_LANES };

/* scores [swept, ATTENTION_BLOCK] = swept [swept, head_dim] fixed [head_dim, ATTENTION_BLOCK], where it is seen. */
VECTOR_INLINE void attention_scores(float *scores, attention_rows swept, const float *fixed, uint64_t head_dim,
                                    const attention_view *v) {
    for (uint64_t c = 0; c < swept.count; c += TILE_ROWS) {
        uint64_t last = c + TILE_ROWS <= swept.count ? c + TILE_ROWS - 1 : swept.count - 1, end = v->high[last];
        uint64_t c1 = c + 1 < last ? c + 1 : last, c2 = c + 2 < last ? c + 2 : last;
        const float *a0 = swept.data + c * swept.stride, *a1 = swept.data + c1 * swept.stride;
        const float *a2 = swept.data + c2 * swept.stride, *a3 = swept.data + last * swept.stride;
        for (uint64_t j = v->low[c] / TILE_COLUMNS * TILE_COLUMNS; j < end; j += TILE_COLUMNS) {
            lanes zero = lanes_of(0.0f);
            lanes s00 = zero, s01 = zero, s10 = zero, s11 = zero, s20 = zero, s21 = zero, s30 = zero, s31 = zero;
            for (uint64_t i = 0; i < head_dim; i++) {
                const float *b = fixed + i * ATTENTION_BLOCK + j;
                lanes b0 = lanes_load(b), b1 = lanes_load(b + VECTOR_LANES);
                s00 += lanes_of(a0[i]) * b0, s01 += lanes_of(a0[i]) * b1;
                s10 += lanes_of(a1[i]) * b0, s11 += lanes_of(a1[i]) * b1;
                s20 += lanes_of(a2[i]) * b0, s21 += lanes_of(a2[i]) * b1;
                s30 += lanes_of(a3[i]) * b0, s31 += lanes_of(a3[i]) * b1;
            }
            const lanes left[TILE_ROWS] = {s00, s10, s20, s30}, right[TILE_ROWS] = {s01, s11, s21, s31};
            for (uint64_t i = 0; c + i <= last; i++) {
                lanes_store(scores + (c + i) * ATTENTION_BLOCK + j, left[i]);
                lanes_store(scores + (c + i) * ATTENTION_BLOCK + j + VECTOR_LANES, right[i]);
            }
        }
    }
}

/* sum [fixed, width] += weights^T [fixed, swept] swept [swept, width], where it is seen. */
VECTOR_INLINE void attention_add_weighted(float *sum, const float *weights, attention_rows swept, uint64_t width,
                                          uint64_t fixed, const attention_view *v) {
    uint64_t begin = 0, end = 0;
    for (uint64_t r = 0; r < fixed; r += TILE_ROWS) {
        while (begin < swept.count && v->high[begin] <= r) begin++;
        while (end < swept.count && v->low[end] < r + TILE_ROWS) end++;
        for (uint64_t j = 0; j < width && begin < end; j += TILE_COLUMNS) {
            float *to = sum + r * width + j;
            if (j + TILE_COLUMNS <= width) {
                lanes s00 = lanes_load(to), s01 = lanes_load(to + VECTOR_LANES);
                lanes s10 = lanes_load(to + width), s11 = lanes_load(to + width + VECTOR_LANES);
                lanes s20 = lanes_load(to + 2 * width), s21 = lanes_load(to + 2 * width + VECTOR_LANES);
                lanes s30 = lanes_load(to + 3 * width), s31 = lanes_load(to + 3 * width + VECTOR_LANES);
                for (uint64_t c = begin; c < end; c++) {
                    const float *a = weights + c * ATTENTION_BLOCK + r, *b = swept.data + c * swept.stride + j;
                    lanes b0 = lanes_load(b), b1 = lanes_load(b + VECTOR_LANES);
                    s00 += lanes_of(a[0]) * b0, s01 += lanes_of(a[0]) * b1;
                    s10 += lanes_of(a[1]) * b0, s11 += lanes_of(a[1]) * b1;
                    s20 += lanes_of(a[2]) * b0, s21 += lanes_of(a[2]) * b1;
                    s30 += lanes_of(a[3]) * b0, s31 += lanes_of(a[3]) * b1;
                }
                lanes_store(to, s00), lanes_store(to + VECTOR_LANES, s01);
                lanes_store(to + width, s10), lanes_store(to + width + VECTOR_LANES, s11);
                lanes_store(to + 2 * width, s20), lanes_store(to + 2 * width + VECTOR_LANES, s21);
                lanes_store(to + 3 * width, s30), lanes_store(to + 3 * width + VECTOR_LANES, s31);
            } else {
                lanes s0 = lanes_load(to), s1 = lanes_load(to + width);
                lanes s2 = lanes_load(to + 2 * width), s3 = lanes_load(to + 3 * width);
                for (uint64_t c = begin; c < end; c++) {
                    const float *a = weights + c * ATTENTION_BLOCK + r;
                    lanes b = lanes_load(swept.data + c * swept.stride + j);
                    s0 += lanes_of(a[0]) * b, s1 += lanes_of(a[1]) * b;
                    s2 += lanes_of(a[2]) * b, s3 += lanes_of(a[3]) * b;
                }
                lanes_store(to, s0), lanes_store(to + width, s1);
                lanes_store(to + 2 * width, s2), lanes_store(to + 3 * width, s3);
            }
        }
    }
}

#endif
