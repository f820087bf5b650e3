/* See attention_weights.h. */
#include "backend/cpu/attention_weights.h"

#include <math.h>

static const int32_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

VECTOR_INLINE bool all_seen(const attention_view *v, uint64_t c, uint64_t rows) {
    for (uint64_t r = c; r < c + rows; r++)
        if (v->low[r] != 0 || v->high[r] != ATTENTION_BLOCK) return false;
    return true;
}

typedef uint32_t wide_words __attribute__((vector_size(64)));
typedef uint16_t wide_halves __attribute__((vector_size(32)));
typedef uint32_t word_lanes __attribute__((vector_size(32)));

#define WIDE          16
#define WIDE_FLOATS   wide_lanes
#define WIDE_INTEGERS wide_integers
#define WIDE_WORDS    wide_words
#define WIDE_HALVES   wide_halves
#define WIDE_PATH     VECTOR_AVX512
#define ON(x)         wide_##x
#define NAMED(x)      x##_avx512
#include "backend/cpu/attention_weights_loops.h"

#define WIDE          8
#define WIDE_FLOATS   lanes
#define WIDE_INTEGERS integer_lanes
#define WIDE_WORDS    word_lanes
#define WIDE_HALVES   half_lanes
#define WIDE_PATH     VECTOR_AVX2
#define ON(x)         lanes_##x
#define NAMED(x)      x##_avx2
#include "backend/cpu/attention_weights_loops.h"

void attention_absorb_nothing(const absorbed_block *b) {
    for (uint64_t r = 0; r < b->rows; r++) b->highest[r] = attention_lowest, b->sum[r] = 0;
    memset(b->output, 0, b->rows * b->head_dim * sizeof *b->output);
}

void attention_absorb(instruction_set set, const absorbed_block *b, const attention_view *v) {
    if (set == INSTRUCTIONS_AVX512)
        absorb_avx512(b, v);
    else
        absorb_avx2(b, v);
}

float attention_conclude(instruction_set set, const absorbed_block *b, uint64_t row, float *output) {
    return set == INSTRUCTIONS_AVX512 ? conclude_avx512(b, row, output) : conclude_avx2(b, row, output);
}

void attention_weigh(instruction_set set, const weighed_block *b, const attention_view *v) {
    if (set == INSTRUCTIONS_AVX512)
        weigh_avx512(b, v);
    else
        weigh_avx2(b, v);
}
