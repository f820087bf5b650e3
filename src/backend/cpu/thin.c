/* Thin products: see thin.h. Each keeps a tile of sums in registers: four ranks or rows by four, and as many vectors.
 * Where fewer than four are left the last is worked on more than once, and stored once. */
#include "backend/cpu/thin.h"

#include "backend/cpu/vector.h"

typedef struct thin {
    const float *u, *x, *w;
    float *to;
    uint64_t rows, width, rank;
    uint64_t stride; /* from one row of w to the next, when it is widened */
    bool add;
} thin;

enum { FOUR = 4 };

/* The last of four from `first` on, of `count` in all. */
VECTOR_INLINE uint64_t last_of_four(uint64_t first, uint64_t count) {
    return first + FOUR < count ? first + FOUR - 1 : count - 1;
}

VECTOR_INLINE uint64_t at_most(uint64_t index, uint64_t last) { return index < last ? index : last; }

/* One step along the width of 4 rows by 4 ranks. */
#define NARROW_STEP(vector, fetch)                                                                                   \
    do {                                                                                                             \
        vector a0 = fetch(x0), a1 = fetch(x1), a2 = fetch(x2), a3 = fetch(x3);                                       \
        vector b0 = fetch(w0), b1 = fetch(w1), b2 = fetch(w2), b3 = fetch(w3);                                       \
        s00 += a0 * b0, s01 += a0 * b1, s02 += a0 * b2, s03 += a0 * b3;                                              \
        s10 += a1 * b0, s11 += a1 * b1, s12 += a1 * b2, s13 += a1 * b3;                                              \
        s20 += a2 * b0, s21 += a2 * b1, s22 += a2 * b2, s23 += a2 * b3;                                              \
        s30 += a3 * b0, s31 += a3 * b1, s32 += a3 * b2, s33 += a3 * b3;                                              \
    } while (0)

#define THIN_VECTOR  wide_lanes
#define THIN_LANES   (2 * VECTOR_LANES)
#define THIN_PATH    VECTOR_AVX512
#define THIN_ON(x)   wide_##x
#define THIN_NAME(x) x##_avx512
#include "backend/cpu/thin_loops.h"

#define THIN_VECTOR  lanes
#define THIN_LANES   VECTOR_LANES
#define THIN_PATH    VECTOR_AVX2
#define THIN_ON(x)   lanes_##x
#define THIN_NAME(x) x##_avx2
#include "backend/cpu/thin_loops.h"

#define THIN_VECTOR lanes
#define THIN_LANES  VECTOR_LANES
#define THIN_PATH
#define THIN_ON(x)   lanes_##x
#define THIN_NAME(x) x##_portable
#include "backend/cpu/thin_loops.h"

VECTOR_DISPATCH(narrow, thin)
VECTOR_DISPATCH(widen, thin)
VECTOR_DISPATCH(reduce, thin)

void thin_narrow(instruction_set set, const float *x, const float *w, float *u, uint64_t rows, uint64_t width,
                 uint64_t rank) {
    narrow(set, &(thin){.x = x, .w = w, .to = u, .width = width, .rank = rank}, 0, rows);
}

void thin_widen(instruction_set set, const float *u, const float *w, uint64_t stride, float *y, bool add,
                uint64_t rows, uint64_t width, uint64_t rank) {
    thin p = {.u = u, .w = w, .to = y, .width = width, .rank = rank, .stride = stride, .add = add};
    widen(set, &p, 0, rows);
}

void thin_reduce(instruction_set set, const float *u, const float *x, float *w, uint64_t rows, uint64_t width,
                 uint64_t rank) {
    reduce(set, &(thin){.u = u, .x = x, .to = w, .rows = rows, .width = width, .rank = rank}, 0, rank);
}
