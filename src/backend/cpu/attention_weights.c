/* See attention_weights.h. Sixteen floats at a time are one register of AVX-512. */
#include "backend/cpu/attention_weights.h"

#include <math.h>

enum { WIDE = 16 };

typedef float wide __attribute__((vector_size(64)));
typedef int32_t wide_integers __attribute__((vector_size(64)));
typedef uint32_t wide_words __attribute__((vector_size(64)));
typedef uint16_t wide_halves __attribute__((vector_size(32)));

VECTOR_INLINE wide wide_load(const float *from) {
    wide v;
    memcpy(&v, from, sizeof v);
    return v;
}

VECTOR_INLINE void wide_store(float *to, wide v) { memcpy(to, &v, sizeof v); }

/* By way of memory, as lanes_of. */
VECTOR_INLINE wide wide_of(float x) {
    const float same[WIDE] = {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
    return wide_load(same);
}

VECTOR_INLINE wide wide_select(wide_integers mask, wide yes, wide no) {
    return (wide)(((wide_integers)yes & mask) | ((wide_integers)no & ~mask));
}

VECTOR_INLINE wide wide_maximum(wide a, wide b) { return wide_select(a > b, a, b); }

/* 2^x to about one and a half units in the last place: x = n + r with |r| <= 1 / 2, a polynomial in r with p(0) = 1
 * that is balanced over the interval, and n added to its exponent. From -127 downward the result is 0, and no number
 * stays none. */
VECTOR_INLINE wide wide_power(wide x) {
    wide low = wide_of(-127.0f);
    x = wide_select(low > x, low, x);
    const wide to_integer = wide_of(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    wide shifted = x + to_integer, r = x - (shifted - to_integer);
    wide p = wide_of(1.3264726e-3f);
    p = p * r + wide_of(9.671513e-3f);
    p = p * r + wide_of(5.5507336e-2f);
    p = p * r + wide_of(2.4022242e-1f);
    p = p * r + wide_of(6.93147e-1f);
    p = p * r + wide_of(1.0f);
    return (wide)((wide_words)p + ((wide_words)shifted << 23));
}

/* Which of the columns from j on a row sees: differences and their signs, because gcc 12 takes comparisons of whole
 * numbers apart, and compares one by one. */
VECTOR_INLINE wide_integers sees(const attention_view *v, uint64_t c, int32_t j) {
    wide_integers column = (wide_integers){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} + j;
    return ((column - (int32_t)v->high[c]) & ~(column - (int32_t)v->low[c])) >> 31;
}

VECTOR_INLINE bool all_seen(const attention_view *v, uint64_t c, uint64_t rows) {
    for (uint64_t r = c; r < c + rows; r++)
        if (v->low[r] != 0 || v->high[r] != ATTENTION_BLOCK) return false;
    return true;
}

/* --- bf16 --- */

/* Adds half a unit of the last place that bf16 has, so that what is cut off rounds to nearest, ties away from zero.
 */
VECTOR_INLINE wide_words to_halves(wide v) { return (wide_words)v + 0x8000u; }

VECTOR_INLINE void store_halves(uint16_t *to, wide_words v) {
    wide_halves halves = __builtin_convertvector(v, wide_halves);
    memcpy(to, &halves, sizeof halves);
}

/* --- forward --- */

#define ONES(a, b)      __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
#define ONES_ON(a, b)   __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#define TWOS(a, b)      __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define TWOS_ON(a, b)   __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define FOURS(a, b)     __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define FOURS_ON(a, b)  __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define EIGHTS(a, b)    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define EIGHTS_ON(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)

VECTOR_INLINE wide either(bool highest, wide a, wide b) { return highest ? wide_maximum(a, b) : a + b; }

/* One number of each of sixteen rows of sixteen: number i is the sum, or the highest, of row i. */
VECTOR_INLINE wide fold(bool highest, const wide rows[WIDE]) {
    wide ones[8], twos[4], fours[2];
    for (unsigned i = 0; i < 8; i++) {
        wide a = rows[2 * i], b = rows[2 * i + 1];
        ones[i] = either(highest, ONES(a, b), ONES_ON(a, b));
    }
    for (unsigned i = 0; i < 4; i++) {
        wide a = ones[2 * i], b = ones[2 * i + 1];
        twos[i] = either(highest, TWOS(a, b), TWOS_ON(a, b));
    }
    for (unsigned i = 0; i < 2; i++) {
        wide a = twos[2 * i], b = twos[2 * i + 1];
        fours[i] = either(highest, FOURS(a, b), FOURS_ON(a, b));
    }
    return either(highest, EIGHTS(fours[0], fours[1]), EIGHTS_ON(fours[0], fours[1]));
}

VECTOR_INLINE void fade_row(float *output, uint64_t head_dim, float fade) {
    uint64_t d = 0;
    for (; d + WIDE <= head_dim; d += WIDE) wide_store(output + d, wide_load(output + d) * wide_of(fade));
    for (; d < head_dim; d++) output[d] *= fade;
}

/* The highest score of each of sixteen rows from row r on. */
VECTOR_INLINE wide highest_scores(const absorbed_block *b, const attention_view *v, uint64_t r, bool all) {
    wide rows[WIDE], masked = wide_of(attention_masked);
    for (uint64_t i = 0; i < WIDE; i++) {
        wide highest = masked;
        for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
            wide score = wide_load(b->scores + (r + i) * ATTENTION_BLOCK + j);
            if (!all) score = wide_select(sees(v, (r + i) % ATTENTION_BLOCK, j), score, masked);
            highest = wide_maximum(highest, score);
        }
        rows[i] = highest;
    }
    return fold(true, rows);
}

/* Sixteen rows from row r on. */
VECTOR_INLINE void absorb_rows(const absorbed_block *b, const attention_view *v, uint64_t r, bool all, bool bf16) {
    wide factor = wide_of(b->factor), before = wide_load(b->highest + r), sums[WIDE];
    wide now = wide_maximum(highest_scores(b, v, r, all) * factor, before), fades = wide_power(before - now);
    float highest[WIDE], fade[WIDE];
    wide_store(highest, now);
    wide_store(fade, fades);
    for (uint64_t i = 0; i < WIDE; i++) {
        wide sum = wide_of(0.0f);
        for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
            uint64_t at = (r + i) * ATTENTION_BLOCK + (uint64_t)j;
            wide weight = wide_power(wide_load(b->scores + at) * factor - wide_of(highest[i]));
            if (!all) weight = wide_select(sees(v, (r + i) % ATTENTION_BLOCK, j), weight, wide_of(0.0f));
            sum += weight;
            if (bf16)
                store_halves((uint16_t *)(void *)b->scores + at, to_halves(weight) >> 16);
            else
                wide_store(b->scores + at, weight);
        }
        sums[i] = sum;
        if (fade[i] != 1.0f) fade_row(b->output + (r + i) * b->head_dim, b->head_dim, fade[i]);
    }
    wide_store(b->highest + r, now);
    wide_store(b->sum + r, wide_load(b->sum + r) * fades + fold(false, sums));
}

VECTOR_INLINE void absorb_all(const absorbed_block *b, const attention_view *v, bool bf16) {
    for (uint64_t r = 0; r < b->rows; r += WIDE)
        if (all_seen(v, r % ATTENTION_BLOCK, WIDE))
            absorb_rows(b, v, r, true, bf16);
        else
            absorb_rows(b, v, r, false, bf16);
}

VECTOR_AVX512 void attention_absorb(const absorbed_block *b, const attention_view *v) {
    if (b->type == DTYPE_BF16)
        absorb_all(b, v, true);
    else
        absorb_all(b, v, false);
}

void attention_absorb_nothing(const absorbed_block *b) {
    for (uint64_t r = 0; r < b->rows; r++) b->highest[r] = attention_lowest, b->sum[r] = 0;
    memset(b->output, 0, b->rows * b->head_dim * sizeof *b->output);
}

VECTOR_AVX512 float attention_conclude(const absorbed_block *b, uint64_t row, float *output) {
    float inverse = 1.0f / b->sum[row];
    for (uint64_t d = 0; d < b->head_dim; d++) output[d] = b->output[row * b->head_dim + d] * inverse;
    return b->highest[row] * 0.693147181f + logf(b->sum[row]);
}

/* --- backward --- */

/* A weight, and the gradient of its score in place of its own. */
VECTOR_INLINE wide weigh(const weighed_block *b, const attention_view *v, uint64_t r, int32_t j, bool all,
                         wide *gradient) {
    uint64_t at = r * ATTENTION_BLOCK + (uint64_t)j;
    wide weight = wide_power(wide_load(b->scores + at) * wide_of(b->factor) - wide_of(b->log_sums[r]));
    *gradient = weight * (wide_load(b->gradients + at) - wide_of(b->row_sums[r]));
    if (all) return weight;
    wide_integers seen = sees(v, r % ATTENTION_BLOCK, j);
    *gradient = wide_select(seen, *gradient, wide_of(0.0f));
    return wide_select(seen, weight, wide_of(0.0f));
}

/* Two rows: a right side in bf16 has pairs of its rows side by side. */
VECTOR_INLINE void weigh_rows(const weighed_block *b, const attention_view *v, uint64_t r, bool all, bool bf16) {
    for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
        uint64_t at = r * ATTENTION_BLOCK + (uint64_t)j, next = at + ATTENTION_BLOCK;
        wide gradient, next_gradient;
        wide weight = weigh(b, v, r, j, all, &gradient), next_weight = weigh(b, v, r + 1, j, all, &next_gradient);
        if (!bf16) {
            wide_store(b->scores + at, weight);
            wide_store(b->scores + next, next_weight);
            wide_store(b->gradients + at, gradient);
            wide_store(b->gradients + next, next_gradient);
            continue;
        }
        uint64_t pairs = r * ATTENTION_BLOCK + 2 * (uint64_t)j;
        wide_words first = to_halves(gradient) >> 16, second = to_halves(next_gradient);
        wide_words both = to_halves(weight) >> 16 | (to_halves(next_weight) & 0xffff0000u);
        memcpy((uint16_t *)(void *)b->scores + pairs, &both, sizeof both);
        both = first | (second & 0xffff0000u);
        memcpy((uint16_t *)(void *)b->gradients + pairs, &both, sizeof both);
        store_halves((uint16_t *)b->left + at, first);
        store_halves((uint16_t *)b->left + next, second >> 16);
    }
}

VECTOR_INLINE void weigh_all(const weighed_block *b, const attention_view *v, bool bf16) {
    for (uint64_t r = 0; r < b->rows; r += 2)
        if (all_seen(v, r % ATTENTION_BLOCK, 2))
            weigh_rows(b, v, r, true, bf16);
        else
            weigh_rows(b, v, r, false, bf16);
}

VECTOR_AVX512 void attention_weigh(const weighed_block *b, const attention_view *v) {
    if (b->type == DTYPE_BF16)
        weigh_all(b, v, true);
    else
        weigh_all(b, v, false);
}
