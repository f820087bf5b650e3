/* Vector arithmetic for the kernels' inner loops.
 *
 * One body, compiled for each instruction set and chosen at run time: a kernel's loop is written once as an
 * always-inline function over plain arrays, and VECTOR_PATHS makes its copies for AVX-512, AVX2 and the portable
 * baseline. */
#ifndef LEVEE_BACKEND_CPU_VECTOR_H
#define LEVEE_BACKEND_CPU_VECTOR_H

#include <stdint.h>
#include <string.h>

#include "platform/machine.h"
#include "tensor/dtype.h"

#define VECTOR_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define VECTOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512")))
#define VECTOR_AVX2   __attribute__((target("avx2,fma")))
#else
#define VECTOR_AVX512
#define VECTOR_AVX2
#endif
#if defined(__clang__) && defined(__x86_64__)
#undef VECTOR_AVX512
#define VECTOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#endif

/* The same function of an argument and a range for each instruction set, by the set. */
#define VECTOR_DISPATCH(name, type)                                                                                  \
    static void name(instruction_set set, type *a, uint64_t begin, uint64_t end) {                                   \
        if (set == INSTRUCTIONS_AVX512)                                                                              \
            name##_avx512(a, begin, end);                                                                            \
        else if (set == INSTRUCTIONS_AVX2)                                                                           \
            name##_avx2(a, begin, end);                                                                              \
        else                                                                                                         \
            name##_portable(a, begin, end);                                                                          \
    }

/* Defines `static void name(instruction_set, type *argument, begin, end)` that runs name##_body on the best path. */
#define VECTOR_PATHS(name, type)                                                                                     \
    VECTOR_AVX512 static void name##_avx512(type *a, uint64_t begin, uint64_t end) { name##_body(a, begin, end); }   \
    VECTOR_AVX2 static void name##_avx2(type *a, uint64_t begin, uint64_t end) { name##_body(a, begin, end); }       \
    static void name##_portable(type *a, uint64_t begin, uint64_t end) { name##_body(a, begin, end); }               \
    VECTOR_DISPATCH(name, type)

enum { VECTOR_LANES = 8 };

/* Eight floats: one register of AVX2, half of one of AVX-512, two of NEON. A wider type would have no register of its
 * own in AVX2: compilers then keep each value in memory and compare its floats one by one. */
typedef float lanes __attribute__((vector_size(32)));
typedef int32_t integer_lanes __attribute__((vector_size(32)));

VECTOR_INLINE lanes lanes_load(const float *from) {
    lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

VECTOR_INLINE void lanes_store(float *to, lanes v) { memcpy(to, &v, sizeof v); }

/* 0, 1, 2, ... */
VECTOR_INLINE integer_lanes lanes_numbers(void) { return (integer_lanes){0, 1, 2, 3, 4, 5, 6, 7}; }

/* By way of memory, because gcc 12 takes a vector {x, x, ...} apart before it knows that this is compiled for a
 * processor that has such vectors, and then inserts float by float; this it sees to be a broadcast. */
VECTOR_INLINE lanes lanes_of(float x) {
    const float same[VECTOR_LANES] = {x, x, x, x, x, x, x, x};
    return lanes_load(same);
}

/* The first `count` (< VECTOR_LANES) floats, `otherwise` beyond. */
VECTOR_INLINE lanes lanes_load_some(const float *from, uint64_t count, float otherwise) {
    lanes v = lanes_of(otherwise);
    memcpy(&v, from, count * sizeof(float));
    return v;
}

VECTOR_INLINE void lanes_store_some(float *to, lanes v, uint64_t count) { memcpy(to, &v, count * sizeof(float)); }

typedef uint16_t half_lanes __attribute__((vector_size(16)));

/* Eight numbers of bf16, as floats. */
VECTOR_INLINE lanes lanes_load_bf16(const uint16_t *from) {
    half_lanes v;
    memcpy(&v, from, sizeof v);
    return (lanes)(__builtin_convertvector(v, integer_lanes) << 16);
}

VECTOR_INLINE lanes lanes_select(integer_lanes mask, lanes yes, lanes no) {
    return (lanes)(((integer_lanes)yes & mask) | ((integer_lanes)no & ~mask));
}

VECTOR_INLINE lanes lanes_maximum(lanes a, lanes b) { return lanes_select(a > b, a, b); }

VECTOR_INLINE float lanes_sum(lanes v) {
    float part[VECTOR_LANES];
    lanes_store(part, v);
    for (unsigned width = VECTOR_LANES / 2; width; width /= 2)
        for (unsigned i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

VECTOR_INLINE float lanes_highest(lanes v) {
    float part[VECTOR_LANES];
    lanes_store(part, v);
    float highest = part[0];
    for (unsigned i = 1; i < VECTOR_LANES; i++) highest = part[i] > highest ? part[i] : highest;
    return highest;
}

/* e^x to about one unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 6 in r (the
 * Taylor series with its last terms balanced over the interval), times 2^n. Below -87 the result is 0, above 88 it is
 * held. */
VECTOR_INLINE lanes lanes_exponential(lanes x) {
    lanes low = lanes_of(-87.0f), high = lanes_of(88.0f);
    integer_lanes vanishes = x < low;
    x = lanes_select(x > high, high, x);
    x = lanes_select(vanishes, low, x);
    const lanes to_integer = lanes_of(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    lanes n = (x * lanes_of(1.44269504088896341f) + to_integer) - to_integer;
    lanes r = x - n * lanes_of(0.693359375f) + n * lanes_of(2.12194440e-4f);
    lanes p = lanes_of(1.3888889e-3f);
    p = p * r + lanes_of(8.3333333e-3f);
    p = p * r + lanes_of(4.1666668e-2f);
    p = p * r + lanes_of(1.6666667e-1f);
    p = p * r + lanes_of(0.5f);
    p = p * r + lanes_of(1.0f);
    p = p * r + lanes_of(1.0f);
    integer_lanes exponent = (integer_lanes)(n + to_integer) - (integer_lanes)to_integer;
    lanes power = (lanes)((exponent + 127) << 23);
    return lanes_select(vanishes, lanes_of(0.0f), p * power);
}

/* Sixteen floats: one register of AVX-512, which has multipliers for as many. For the copy of a loop that only
 * AVX-512 runs; what they are called differs from the above by its first word alone, so that one text serves both
 * widths. */
typedef float wide_lanes __attribute__((vector_size(64)));
typedef int32_t wide_integers __attribute__((vector_size(64)));

VECTOR_INLINE wide_lanes wide_load(const float *from) {
    wide_lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

VECTOR_INLINE void wide_store(float *to, wide_lanes v) { memcpy(to, &v, sizeof v); }

/* By way of memory, as lanes_of. */
VECTOR_INLINE wide_lanes wide_of(float x) {
    const float same[2 * VECTOR_LANES] = {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
    return wide_load(same);
}

VECTOR_INLINE wide_lanes wide_select(wide_integers mask, wide_lanes yes, wide_lanes no) {
    return (wide_lanes)(((wide_integers)yes & mask) | ((wide_integers)no & ~mask));
}

VECTOR_INLINE wide_lanes wide_maximum(wide_lanes a, wide_lanes b) { return wide_select(a > b, a, b); }

VECTOR_INLINE float wide_sum(wide_lanes v) {
    lanes halves[2];
    memcpy(halves, &v, sizeof v);
    return lanes_sum(halves[0] + halves[1]);
}

/* What is known of a row of numbers: the highest, and the sum of e^(number - highest) over all of them. Before the
 * first it is
 * {-INFINITY, 0}. */
typedef struct exponential_sum {
    float highest;
    double sum;
} exponential_sum;

/* Takes in `count` more; values are read once. */
void vector_add_exponentials(instruction_set set, exponential_sum *so_far, const float *values, uint64_t count);

/* values[i] = factor * e^(values[i] - shift) */
void vector_exponentials(instruction_set set, float *values, uint64_t count, float shift, float factor);

/* Makes operands of a product of f32 values, at any address: bf16 ones by the processor's own instruction where it
 * has one, which rounds to nearest even as dtype_convert does, but takes subnormal numbers for zero. */
void vector_operands(dtype type, void *to, const void *from, uint64_t count);

/* The other way round: floats from f32 or bf16. */
void vector_floats(instruction_set set, float *to, dtype type, const void *from, uint64_t count);

/* Rows of f32, written as f32 or bf16; `stride` is from one row of `to` to the next, in elements, rows of `from` are
 * dense. */
void vector_write(dtype type, void *to, uint64_t stride, const float *from, uint64_t rows, uint64_t cols);

/* The same past the caches: what is overwritten then need not be read first, as a cache would. For results that are
 * larger than the caches. */
void vector_stream(instruction_set set, dtype type, void *to, uint64_t stride, const float *from, uint64_t rows,
                   uint64_t cols);

#endif
