/* Loops over one row: see vector.h. */
#include "backend/cpu/vector.h"

#include <math.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct reading {
    const float *values;
    exponential_sum so_far;
} reading;

VECTOR_INLINE float highest_of(const float *values, uint64_t count) {
    lanes highest = lanes_of(-INFINITY);
    uint64_t i = 0;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES) highest = lanes_maximum(highest, lanes_load(values + i));
    if (i < count) highest = lanes_maximum(highest, lanes_load_some(values + i, count - i, -INFINITY));
    return lanes_highest(highest);
}

/* Pieces stay in the first cache between the two looks at them; and sums of so few terms are exact enough in f32. */
VECTOR_INLINE void add_exponentials_body(reading *r, uint64_t begin, uint64_t end) {
    enum { PIECE = 1024 };
    for (uint64_t from = begin; from < end; from += PIECE) {
        uint64_t count = end - from < PIECE ? end - from : PIECE, i = 0;
        const float *values = r->values + from;
        float highest = highest_of(values, count);
        if (highest > r->so_far.highest) {
            r->so_far.sum *= exp((double)r->so_far.highest - (double)highest);
            r->so_far.highest = highest;
        }
        lanes shift = lanes_of(r->so_far.highest), sum = lanes_of(0.0f);
        for (; i + VECTOR_LANES <= count; i += VECTOR_LANES) sum += lanes_exponential(lanes_load(values + i) - shift);
        if (i < count) sum += lanes_exponential(lanes_load_some(values + i, count - i, -1e30f) - shift);
        r->so_far.sum += (double)lanes_sum(sum);
    }
}
VECTOR_PATHS(add_exponentials, reading)

typedef struct writing {
    float *values;
    float shift, factor;
} writing;

VECTOR_INLINE void exponentials_body(writing *w, uint64_t begin, uint64_t end) {
    lanes shift = lanes_of(w->shift), factor = lanes_of(w->factor);
    uint64_t i = begin;
    for (; i + VECTOR_LANES <= end; i += VECTOR_LANES)
        lanes_store(w->values + i, lanes_exponential(lanes_load(w->values + i) - shift) * factor);
    if (i < end)
        lanes_store_some(w->values + i,
                         lanes_exponential(lanes_load_some(w->values + i, end - i, 0) - shift) * factor, end - i);
}
VECTOR_PATHS(exponentials, writing)

void vector_add_exponentials(instruction_set set, exponential_sum *so_far, const float *values, uint64_t count) {
    reading r = {values, *so_far};
    add_exponentials(set, &r, 0, count);
    *so_far = r.so_far;
}

void vector_exponentials(instruction_set set, float *values, uint64_t count, float shift, float factor) {
    exponentials(set, &(writing){values, shift, factor}, 0, count);
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

typedef struct widening {
    float *to;
    const uint16_t *from;
} widening;

VECTOR_INLINE void widen_bf16_body(widening *w, uint64_t begin, uint64_t end) {
    uint64_t i = begin;
    for (; i + VECTOR_LANES <= end; i += VECTOR_LANES) lanes_store(w->to + i, lanes_load_bf16(w->from + i));
    for (; i < end; i++) {
        uint32_t bits = (uint32_t)w->from[i] << 16;
        memcpy(w->to + i, &bits, sizeof bits);
    }
}
VECTOR_PATHS(widen_bf16, widening)

void vector_floats(instruction_set set, float *to, dtype type, const void *from, uint64_t count) {
    if (type == DTYPE_BF16)
        widen_bf16(set, &(widening){to, from}, 0, count);
    else
        dtype_convert(DTYPE_F32, to, type, from, count);
}

void vector_write(dtype type, void *to, uint64_t stride, const float *from, uint64_t rows, uint64_t cols) {
    for (uint64_t r = 0; r < rows; r++)
        vector_operands(type, (unsigned char *)to + dtype_bytes(type, r * stride), from + r * cols, cols);
}

#if defined(__x86_64__)
/* Stores past the caches are whole lines; what lies before the first and after the last is stored as ever. */
#define STREAM_ROWS(path, vector, lanes_of_it, load_row, stream_row)                                                 \
    path static void stream_rows_##vector(float *to, uint64_t stride, const float *from, uint64_t rows,              \
                                          uint64_t cols) {                                                           \
        for (uint64_t r = 0; r < rows; r++, to += stride, from += cols) {                                            \
            uint64_t i = (64 - (uintptr_t)to % 64) % 64 / sizeof *to;                                                \
            if (i > cols) i = cols;                                                                                  \
            memcpy(to, from, i * sizeof *to);                                                                        \
            for (; i + (lanes_of_it) <= cols; i += (lanes_of_it)) stream_row(to + i, load_row(from + i));            \
            memcpy(to + i, from + i, (cols - i) * sizeof *to);                                                       \
        }                                                                                                            \
        _mm_sfence();                                                                                                \
    }
STREAM_ROWS(VECTOR_AVX512, __m512, 16, _mm512_loadu_ps, _mm512_stream_ps)
STREAM_ROWS(VECTOR_AVX2, __m256, 8, _mm256_loadu_ps, _mm256_stream_ps)

/* Rows that begin with a line; the last few numbers of each are stored as ever. */
VECTOR_BF16 static void stream_pairs(unsigned char *to, uint64_t stride, const float *from, uint64_t rows,
                                     uint64_t cols) {
    for (uint64_t r = 0; r < rows; r++, to += 2 * stride, from += cols) {
        uint64_t i = 0;
        for (; i + 32 <= cols; i += 32) {
            __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
            _mm512_stream_si512((void *)(to + 2 * i), (__m512i)both);
        }
        if (i < cols) dtype_convert(DTYPE_BF16, to + 2 * i, DTYPE_F32, from + i, cols - i);
    }
    _mm_sfence();
}

void vector_stream(instruction_set set, dtype type, void *to, uint64_t stride, const float *from, uint64_t rows,
                   uint64_t cols) {
    bool whole_lines = (uintptr_t)to % 64 == 0 && dtype_bytes(type, stride) % 64 == 0;
    if (type == DTYPE_F32 && set == INSTRUCTIONS_AVX512)
        stream_rows___m512(to, stride, from, rows, cols);
    else if (type == DTYPE_F32 && set == INSTRUCTIONS_AVX2)
        stream_rows___m256(to, stride, from, rows, cols);
    else if (type == DTYPE_BF16 && set == INSTRUCTIONS_AVX512 && whole_lines && rounds_pairs())
        stream_pairs(to, stride, from, rows, cols);
    else
        vector_write(type, to, stride, from, rows, cols);
}
#else
void vector_stream(instruction_set set, dtype type, void *to, uint64_t stride, const float *from, uint64_t rows,
                   uint64_t cols) {
    (void)set;
    vector_write(type, to, stride, from, rows, cols);
}
#endif
