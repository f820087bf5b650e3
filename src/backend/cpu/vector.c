/* Loops over one row: see vector.h. */
#include "backend/cpu/vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct row {
    float *values;
    float number; /* in: shift or factor; out: the maximum */
    double sum;
} row;

VECTOR_INLINE void maximum_body(row *r, uint64_t begin, uint64_t end) {
    lanes highest = lanes_of(r->values[begin]);
    uint64_t i = begin;
    for (; i + VECTOR_LANES <= end; i += VECTOR_LANES) highest = lanes_maximum(highest, lanes_load(r->values + i));
    float result = lanes_highest(highest);
    for (; i < end; i++) result = r->values[i] > result ? r->values[i] : result;
    r->number = result;
}
VECTOR_PATHS(maximum, row)

/* Sums of 4096 terms are kept in f32 lanes and then added in double: fast, and exact enough for any vocabulary. */
VECTOR_INLINE void exponentials_body(row *r, uint64_t begin, uint64_t end) {
    lanes shift = lanes_of(r->number);
    uint64_t i = begin;
    while (i + VECTOR_LANES <= end) {
        lanes part = lanes_of(0.0f);
        uint64_t stop = end - i > 4096 ? i + 4096 : end;
        for (; i + VECTOR_LANES <= stop; i += VECTOR_LANES) {
            lanes e = lanes_exponential(lanes_load(r->values + i) - shift);
            lanes_store(r->values + i, e);
            part += e;
        }
        r->sum += (double)lanes_sum(part);
    }
    if (i < end) {
        lanes e = lanes_exponential(lanes_load_some(r->values + i, end - i, -1e30f) - shift);
        lanes_store_some(r->values + i, e, end - i);
        for (uint64_t k = i; k < end; k++) r->sum += (double)r->values[k];
    }
}
VECTOR_PATHS(exponentials, row)

VECTOR_INLINE void scale_body(row *r, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) r->values[i] *= r->number;
}
VECTOR_PATHS(scale, row)

float vector_maximum(instruction_set set, const float *values, uint64_t count) {
    union {
        const float *source;
        float *values;
    } data = {.source = values};
    row r = {.values = data.values};
    maximum(set, &r, 0, count);
    return r.number;
}

double vector_exponentials(instruction_set set, float *values, uint64_t count, float shift) {
    row r = {.values = values, .number = shift};
    exponentials(set, &r, 0, count);
    return r.sum;
}

void vector_scale(instruction_set set, float *values, uint64_t count, float factor) {
    row r = {.values = values, .number = factor};
    scale(set, &r, 0, count);
}

#if defined(__x86_64__)
#define VECTOR_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

VECTOR_BF16 static void round_pairs(unsigned char *to, const unsigned char *from, uint64_t count) {
    uint64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m512 low = _mm512_loadu_ps(from + 4 * i), high = _mm512_loadu_ps(from + 4 * i + 64);
        __m512bh both = _mm512_cvtne2ps_pbh(high, low);
        memcpy(to + 2 * i, &both, sizeof both);
    }
    if (i < count) dtype_convert(DTYPE_BF16, to + 2 * i, DTYPE_F32, from + 4 * i, count - i);
}

static bool rounds_pairs(void) { return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw"); }
#else
static void round_pairs(unsigned char *to, const unsigned char *from, uint64_t count) {
    dtype_convert(DTYPE_BF16, to, DTYPE_F32, from, count);
}

static bool rounds_pairs(void) { return false; }
#endif

void vector_operands(dtype type, void *to, const void *from, uint64_t count) {
    if (type == DTYPE_BF16 && rounds_pairs())
        round_pairs(to, from, count);
    else
        dtype_convert(type, to, DTYPE_F32, from, count);
}
