/* The loops of attention_weights.c, for one instruction set: included there once for each, with
 *   WIDE            how many floats one register has there, 8 or 16
 *   WIDE_FLOATS, WIDE_INTEGERS, WIDE_WORDS, WIDE_HALVES  vectors of so many f32, int32, uint32 and uint16
 *   WIDE_PATH       compiles a function for the instruction set
 *   ON(x)           what x of vector.h is called for such vectors
 *   NAMED(x)        the name of its x */

/* 2^x to about one and a half units in the last place: x = n + r with |r| <= 1 / 2, a polynomial in r with p(0) = 1
 * that is balanced over the interval, and n added to its exponent. From -127 downward the result is 0, and no number
 * stays none. */
VECTOR_INLINE WIDE_FLOATS NAMED(power)(WIDE_FLOATS x) {
    WIDE_FLOATS low = ON(of)(-127.0f);
    x = ON(select)(low > x, low, x);
    const WIDE_FLOATS to_integer = ON(of)(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    WIDE_FLOATS shifted = x + to_integer, r = x - (shifted - to_integer);
    WIDE_FLOATS p = ON(of)(1.3264726e-3f);
    p = p * r + ON(of)(9.671513e-3f);
    p = p * r + ON(of)(5.5507336e-2f);
    p = p * r + ON(of)(2.4022242e-1f);
    p = p * r + ON(of)(6.93147e-1f);
    p = p * r + ON(of)(1.0f);
    return (WIDE_FLOATS)((WIDE_WORDS)p + ((WIDE_WORDS)shifted << 23));
}

/* Which of the columns from j on a row sees: differences and their signs, because gcc 12 takes comparisons of whole
 * numbers apart, and compares one by one. */
VECTOR_INLINE WIDE_INTEGERS NAMED(sees)(const attention_view *v, uint64_t c, int32_t j) {
    WIDE_INTEGERS column;
    memcpy(&column, numbers, sizeof column);
    column += j;
    return ((column - (int32_t)v->high[c]) & ~(column - (int32_t)v->low[c])) >> 31;
}

/* --- bf16 --- */

/* Adds half a unit of the last place that bf16 has, so that what is cut off rounds to nearest, ties away from zero.
 */
VECTOR_INLINE WIDE_WORDS NAMED(to_halves)(WIDE_FLOATS v) { return (WIDE_WORDS)v + 0x8000u; }

VECTOR_INLINE void NAMED(store_halves)(uint16_t *to, WIDE_WORDS v) {
    WIDE_HALVES halves = __builtin_convertvector(v, WIDE_HALVES);
    memcpy(to, &halves, sizeof halves);
}

/* --- forward --- */

VECTOR_INLINE WIDE_FLOATS NAMED(either)(bool highest, WIDE_FLOATS a, WIDE_FLOATS b) {
    return highest ? ON(maximum)(a, b) : a + b;
}

/* One number of each of so many rows as there are lanes: number i is the sum, or the highest, of row i. Each step
 * halves the vectors: the first takes neighbours together, then pairs of them, fours, eights. */
#if WIDE == 16
#define ONES(a, b)      __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
#define ONES_ON(a, b)   __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#define TWOS(a, b)      __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define TWOS_ON(a, b)   __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define FOURS(a, b)     __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define FOURS_ON(a, b)  __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define EIGHTS(a, b)    __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define EIGHTS_ON(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#else
#define ONES(a, b)     __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define ONES_ON(a, b)  __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define TWOS(a, b)     __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define TWOS_ON(a, b)  __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define FOURS(a, b)    __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define FOURS_ON(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#endif

VECTOR_INLINE WIDE_FLOATS NAMED(fold)(bool highest, const WIDE_FLOATS rows[WIDE]) {
    WIDE_FLOATS ones[WIDE / 2], twos[WIDE / 4], fours[WIDE / 8];
    for (unsigned i = 0; i < WIDE / 2; i++) {
        WIDE_FLOATS a = rows[2 * i], b = rows[2 * i + 1];
        ones[i] = NAMED(either)(highest, ONES(a, b), ONES_ON(a, b));
    }
    for (unsigned i = 0; i < WIDE / 4; i++) {
        WIDE_FLOATS a = ones[2 * i], b = ones[2 * i + 1];
        twos[i] = NAMED(either)(highest, TWOS(a, b), TWOS_ON(a, b));
    }
    for (unsigned i = 0; i < WIDE / 8; i++) {
        WIDE_FLOATS a = twos[2 * i], b = twos[2 * i + 1];
        fours[i] = NAMED(either)(highest, FOURS(a, b), FOURS_ON(a, b));
    }
#if WIDE == 16
    return NAMED(either)(highest, EIGHTS(fours[0], fours[1]), EIGHTS_ON(fours[0], fours[1]));
#else
    return fours[0];
#endif
}

VECTOR_INLINE void NAMED(fade_row)(float *output, uint64_t head_dim, float fade) {
    uint64_t d = 0;
    for (; d + WIDE <= head_dim; d += WIDE) ON(store)(output + d, ON(load)(output + d) * ON(of)(fade));
    for (; d < head_dim; d++) output[d] *= fade;
}

/* The highest score of each of so many rows from row r on. */
VECTOR_INLINE WIDE_FLOATS NAMED(highest_scores)(const absorbed_block *b, const attention_view *v, uint64_t r,
                                                bool all) {
    WIDE_FLOATS rows[WIDE], masked = ON(of)(attention_masked);
    for (uint64_t i = 0; i < WIDE; i++) {
        WIDE_FLOATS highest = masked;
        for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
            WIDE_FLOATS score = ON(load)(b->scores + (r + i) * ATTENTION_BLOCK + j);
            if (!all) score = ON(select)(NAMED(sees)(v, (r + i) % ATTENTION_BLOCK, j), score, masked);
            highest = ON(maximum)(highest, score);
        }
        rows[i] = highest;
    }
    return NAMED(fold)(true, rows);
}

/* As many rows as there are lanes, from row r on. */
VECTOR_INLINE void NAMED(absorb_rows)(const absorbed_block *b, const attention_view *v, uint64_t r, bool all,
                                      bool bf16) {
    WIDE_FLOATS factor = ON(of)(b->factor), before = ON(load)(b->highest + r), sums[WIDE];
    WIDE_FLOATS now = ON(maximum)(NAMED(highest_scores)(b, v, r, all) * factor, before),
                fades = NAMED(power)(before - now);
    float highest[WIDE], fade[WIDE];
    ON(store)(highest, now);
    ON(store)(fade, fades);
    for (uint64_t i = 0; i < WIDE; i++) {
        WIDE_FLOATS sum = ON(of)(0.0f);
        for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
            uint64_t at = (r + i) * ATTENTION_BLOCK + (uint64_t)j;
            WIDE_FLOATS weight = NAMED(power)(ON(load)(b->scores + at) * factor - ON(of)(highest[i]));
            if (!all) weight = ON(select)(NAMED(sees)(v, (r + i) % ATTENTION_BLOCK, j), weight, ON(of)(0.0f));
            sum += weight;
            if (bf16)
                NAMED(store_halves)((uint16_t *)(void *)b->scores + at, NAMED(to_halves)(weight) >> 16);
            else
                ON(store)(b->scores + at, weight);
        }
        sums[i] = sum;
        if (fade[i] != 1.0f) NAMED(fade_row)(b->output + (r + i) * b->head_dim, b->head_dim, fade[i]);
    }
    ON(store)(b->highest + r, now);
    ON(store)(b->sum + r, ON(load)(b->sum + r) * fades + NAMED(fold)(false, sums));
}

VECTOR_INLINE void NAMED(absorb_all)(const absorbed_block *b, const attention_view *v, bool bf16) {
    for (uint64_t r = 0; r < b->rows; r += WIDE)
        if (all_seen(v, r % ATTENTION_BLOCK, WIDE))
            NAMED(absorb_rows)(b, v, r, true, bf16);
        else
            NAMED(absorb_rows)(b, v, r, false, bf16);
}

WIDE_PATH static void NAMED(absorb)(const absorbed_block *b, const attention_view *v) {
    if (b->type == DTYPE_BF16)
        NAMED(absorb_all)(b, v, true);
    else
        NAMED(absorb_all)(b, v, false);
}

WIDE_PATH static float NAMED(conclude)(const absorbed_block *b, uint64_t row, float *output) {
    float inverse = 1.0f / b->sum[row];
    for (uint64_t d = 0; d < b->head_dim; d++) output[d] = b->output[row * b->head_dim + d] * inverse;
    return b->highest[row] * 0.693147181f + logf(b->sum[row]);
}

/* --- backward --- */

/* A weight, and the gradient of its score in place of its own. */
VECTOR_INLINE WIDE_FLOATS NAMED(weigh_two)(const weighed_block *b, const attention_view *v, uint64_t r, int32_t j,
                                           bool all, WIDE_FLOATS *gradient) {
    uint64_t at = r * ATTENTION_BLOCK + (uint64_t)j;
    WIDE_FLOATS weight = NAMED(power)(ON(load)(b->scores + at) * ON(of)(b->factor) - ON(of)(b->log_sums[r]));
    *gradient = weight * (ON(load)(b->gradients + at) - ON(of)(b->row_sums[r]));
    if (all) return weight;
    WIDE_INTEGERS seen = NAMED(sees)(v, r % ATTENTION_BLOCK, j);
    *gradient = ON(select)(seen, *gradient, ON(of)(0.0f));
    return ON(select)(seen, weight, ON(of)(0.0f));
}

/* Two rows: a right side in bf16 has pairs of its rows side by side. */
VECTOR_INLINE void NAMED(weigh_rows)(const weighed_block *b, const attention_view *v, uint64_t r, bool all,
                                     bool bf16) {
    for (int32_t j = 0; j < ATTENTION_BLOCK; j += WIDE) {
        uint64_t at = r * ATTENTION_BLOCK + (uint64_t)j, next = at + ATTENTION_BLOCK;
        WIDE_FLOATS gradient, next_gradient;
        WIDE_FLOATS weight = NAMED(weigh_two)(b, v, r, j, all, &gradient),
                    next_weight = NAMED(weigh_two)(b, v, r + 1, j, all, &next_gradient);
        if (!bf16) {
            ON(store)(b->scores + at, weight);
            ON(store)(b->scores + next, next_weight);
            ON(store)(b->gradients + at, gradient);
            ON(store)(b->gradients + next, next_gradient);
            continue;
        }
        uint64_t pairs = r * ATTENTION_BLOCK + 2 * (uint64_t)j;
        WIDE_WORDS first = NAMED(to_halves)(gradient) >> 16, second = NAMED(to_halves)(next_gradient);
        WIDE_WORDS both = NAMED(to_halves)(weight) >> 16 | (NAMED(to_halves)(next_weight) & 0xffff0000u);
        memcpy((uint16_t *)(void *)b->scores + pairs, &both, sizeof both);
        both = first | (second & 0xffff0000u);
        memcpy((uint16_t *)(void *)b->gradients + pairs, &both, sizeof both);
        NAMED(store_halves)((uint16_t *)b->left + at, first);
        NAMED(store_halves)((uint16_t *)b->left + next, second >> 16);
    }
}

VECTOR_INLINE void NAMED(weigh_all)(const weighed_block *b, const attention_view *v, bool bf16) {
    for (uint64_t r = 0; r < b->rows; r += 2)
        if (all_seen(v, r % ATTENTION_BLOCK, 2))
            NAMED(weigh_rows)(b, v, r, true, bf16);
        else
            NAMED(weigh_rows)(b, v, r, false, bf16);
}

WIDE_PATH static void NAMED(weigh)(const weighed_block *b, const attention_view *v) {
    if (b->type == DTYPE_BF16)
        NAMED(weigh_all)(b, v, true);
    else
        NAMED(weigh_all)(b, v, false);
}

#undef ONES
#undef ONES_ON
#undef TWOS
#undef TWOS_ON
#undef FOURS
#undef FOURS_ON
#undef EIGHTS
#undef EIGHTS_ON
#undef WIDE
#undef WIDE_FLOATS
#undef WIDE_INTEGERS
#undef WIDE_WORDS
#undef WIDE_HALVES
#undef WIDE_PATH
#undef ON
#undef NAMED
