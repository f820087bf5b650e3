/* Thin products: see thin.h. Each keeps a tile of sums in registers: four ranks or rows by four, and as many vectors.
 * Where fewer than four are left the last is worked on more than once, and stored once. */
#include "backend/cpu/thin.h"

#include "backend/cpu/vector.h"

typedef struct thin {
    const float *u, *x, *w;
    float *to;
    uint64_t rows, width, rank;
    bool add;
} thin;

enum { FOUR = 4 };

/* The last of four from `first` on, of `count` in all. */
VECTOR_INLINE uint64_t last_of_four(uint64_t first, uint64_t count) {
    return first + FOUR < count ? first + FOUR - 1 : count - 1;
}

VECTOR_INLINE uint64_t at_most(uint64_t index, uint64_t last) { return index < last ? index : last; }

/* Lanes from column j on; zeros beyond the width. */
VECTOR_INLINE lanes load(const float *row, uint64_t j, uint64_t width) {
    if (j + VECTOR_LANES <= width) return lanes_load(row + j);
    return j < width ? lanes_load_some(row + j, width - j, 0) : lanes_of(0.0f);
}

VECTOR_INLINE void store(float *row, uint64_t j, uint64_t width, lanes v) {
    if (j + VECTOR_LANES <= width)
        lanes_store(row + j, v);
    else if (j < width)
        lanes_store_some(row + j, v, width - j);
}

/* One step along the width of 4 rows by 4 ranks. */
#define NARROW_STEP(fetch)                                                                                           \
    do {                                                                                                             \
        lanes a0 = fetch(x0), a1 = fetch(x1), a2 = fetch(x2), a3 = fetch(x3);                                        \
        lanes b0 = fetch(w0), b1 = fetch(w1), b2 = fetch(w2), b3 = fetch(w3);                                        \
        s00 += a0 * b0, s01 += a0 * b1, s02 += a0 * b2, s03 += a0 * b3;                                              \
        s10 += a1 * b0, s11 += a1 * b1, s12 += a1 * b2, s13 += a1 * b3;                                              \
        s20 += a2 * b0, s21 += a2 * b1, s22 += a2 * b2, s23 += a2 * b3;                                              \
        s30 += a3 * b0, s31 += a3 * b1, s32 += a3 * b2, s33 += a3 * b3;                                              \
    } while (0)
#define WHOLE(row) lanes_load((row) + j)
#define PART(row)  lanes_load_some((row) + j, n - j, 0)

VECTOR_INLINE void narrow_body(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank;
    for (uint64_t r = begin; r < end; r += FOUR) {
        uint64_t last = last_of_four(r, end), r1 = at_most(r + 1, last), r2 = at_most(r + 2, last);
        const float *x0 = p->x + r * n, *x1 = p->x + r1 * n, *x2 = p->x + r2 * n, *x3 = p->x + last * n;
        for (uint64_t k = 0; k < rank; k += FOUR) {
            uint64_t top = last_of_four(k, rank), k1 = at_most(k + 1, top), k2 = at_most(k + 2, top), j = 0;
            const float *w0 = p->w + k * n, *w1 = p->w + k1 * n, *w2 = p->w + k2 * n, *w3 = p->w + top * n;
            lanes zero = lanes_of(0.0f);
            lanes s00 = zero, s01 = zero, s02 = zero, s03 = zero, s10 = zero, s11 = zero, s12 = zero, s13 = zero;
            lanes s20 = zero, s21 = zero, s22 = zero, s23 = zero, s30 = zero, s31 = zero, s32 = zero, s33 = zero;
            for (; j + VECTOR_LANES <= n; j += VECTOR_LANES) NARROW_STEP(WHOLE);
            if (j < n) NARROW_STEP(PART);
            const lanes sums[FOUR][FOUR] = {
                {s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}};
            for (uint64_t i = 0; r + i <= last; i++)
                for (uint64_t l = 0; k + l <= top; l++) p->to[(r + i) * rank + k + l] = lanes_sum(sums[i][l]);
        }
    }
}
VECTOR_PATHS(narrow, thin)

VECTOR_INLINE void widen_body(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank;
    for (uint64_t r = begin; r < end; r += FOUR) {
        uint64_t last = last_of_four(r, end), r1 = at_most(r + 1, last), r2 = at_most(r + 2, last);
        const float *u0 = p->u + r * rank, *u1 = p->u + r1 * rank, *u2 = p->u + r2 * rank, *u3 = p->u + last * rank;
        float *rows[FOUR] = {p->to + r * n, p->to + r1 * n, p->to + r2 * n, p->to + last * n};
        for (uint64_t j = 0; j < n; j += 2 * VECTOR_LANES) {
            uint64_t j1 = j + VECTOR_LANES;
            bool whole = j1 + VECTOR_LANES <= n;
            lanes sums[FOUR][2];
            for (unsigned i = 0; i < FOUR; i++) {
                sums[i][0] = p->add ? load(rows[i], j, n) : lanes_of(0.0f);
                sums[i][1] = p->add ? load(rows[i], j1, n) : lanes_of(0.0f);
            }
            lanes s00 = sums[0][0], s01 = sums[0][1], s10 = sums[1][0], s11 = sums[1][1];
            lanes s20 = sums[2][0], s21 = sums[2][1], s30 = sums[3][0], s31 = sums[3][1];
            for (uint64_t k = 0; k < rank; k++) {
                const float *w = p->w + k * n;
                lanes b0 = whole ? lanes_load(w + j) : load(w, j, n),
                      b1 = whole ? lanes_load(w + j1) : load(w, j1, n);
                s00 += lanes_of(u0[k]) * b0, s01 += lanes_of(u0[k]) * b1;
                s10 += lanes_of(u1[k]) * b0, s11 += lanes_of(u1[k]) * b1;
                s20 += lanes_of(u2[k]) * b0, s21 += lanes_of(u2[k]) * b1;
                s30 += lanes_of(u3[k]) * b0, s31 += lanes_of(u3[k]) * b1;
            }
            const lanes left[FOUR] = {s00, s10, s20, s30}, right[FOUR] = {s01, s11, s21, s31};
            for (uint64_t i = 0; r + i <= last; i++) {
                store(rows[i], j, n, left[i]);
                store(rows[i], j1, n, right[i]);
            }
        }
    }
}
VECTOR_PATHS(widen, thin)

/* begin..end count ranks. */
VECTOR_INLINE void reduce_body(thin *p, uint64_t begin, uint64_t end) {
    uint64_t n = p->width, rank = p->rank;
    for (uint64_t k = begin; k < end; k += FOUR) {
        uint64_t top = last_of_four(k, end), k1 = at_most(k + 1, top), k2 = at_most(k + 2, top);
        float *w[FOUR] = {p->to + k * n, p->to + k1 * n, p->to + k2 * n, p->to + top * n};
        for (uint64_t j = 0; j < n; j += 4 * VECTOR_LANES) {
            uint64_t j1 = j + VECTOR_LANES, j2 = j1 + VECTOR_LANES, j3 = j2 + VECTOR_LANES;
            lanes s00 = load(w[0], j, n), s01 = load(w[0], j1, n), s02 = load(w[0], j2, n), s03 = load(w[0], j3, n);
            lanes s10 = load(w[1], j, n), s11 = load(w[1], j1, n), s12 = load(w[1], j2, n), s13 = load(w[1], j3, n);
            lanes s20 = load(w[2], j, n), s21 = load(w[2], j1, n), s22 = load(w[2], j2, n), s23 = load(w[2], j3, n);
            lanes s30 = load(w[3], j, n), s31 = load(w[3], j1, n), s32 = load(w[3], j2, n), s33 = load(w[3], j3, n);
            bool whole = j3 + VECTOR_LANES <= n;
            for (uint64_t r = 0; r < p->rows; r++) {
                const float *u = p->u + r * rank, *x = p->x + r * n;
                lanes a0 = lanes_of(u[k]), a1 = lanes_of(u[k1]), a2 = lanes_of(u[k2]), a3 = lanes_of(u[top]);
                lanes b0 = whole ? lanes_load(x + j) : load(x, j, n),
                      b1 = whole ? lanes_load(x + j1) : load(x, j1, n);
                lanes b2 = whole ? lanes_load(x + j2) : load(x, j2, n),
                      b3 = whole ? lanes_load(x + j3) : load(x, j3, n);
                s00 += a0 * b0, s01 += a0 * b1, s02 += a0 * b2, s03 += a0 * b3;
                s10 += a1 * b0, s11 += a1 * b1, s12 += a1 * b2, s13 += a1 * b3;
                s20 += a2 * b0, s21 += a2 * b1, s22 += a2 * b2, s23 += a2 * b3;
                s30 += a3 * b0, s31 += a3 * b1, s32 += a3 * b2, s33 += a3 * b3;
            }
            const lanes sums[FOUR][FOUR] = {
                {s00, s01, s02, s03}, {s10, s11, s12, s13}, {s20, s21, s22, s23}, {s30, s31, s32, s33}};
            for (uint64_t i = 0; k + i <= top; i++)
                for (uint64_t l = 0; l < FOUR; l++) store(w[i], j + l * VECTOR_LANES, n, sums[i][l]);
        }
    }
}
VECTOR_PATHS(reduce, thin)

void thin_narrow(instruction_set set, const float *x, const float *w, float *u, uint64_t rows, uint64_t width,
                 uint64_t rank) {
    narrow(set, &(thin){.x = x, .w = w, .to = u, .width = width, .rank = rank}, 0, rows);
}

void thin_widen(instruction_set set, const float *u, const float *w, float *y, bool add, uint64_t rows,
                uint64_t width, uint64_t rank) {
    widen(set, &(thin){.u = u, .w = w, .to = y, .width = width, .rank = rank, .add = add}, 0, rows);
}

void thin_reduce(instruction_set set, const float *u, const float *x, float *w, uint64_t rows, uint64_t width,
                 uint64_t rank) {
    reduce(set, &(thin){.u = u, .x = x, .to = w, .rows = rows, .width = width, .rank = rank}, 0, rank);
}
