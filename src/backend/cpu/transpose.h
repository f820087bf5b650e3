/* Transposition of blocks of eight by eight words of 32 bits, in registers. A word is one f32 or a pair of bf16. */
#ifndef LEVEE_BACKEND_CPU_TRANSPOSE_H
#define LEVEE_BACKEND_CPU_TRANSPOSE_H

#include "backend/cpu/vector.h"

VECTOR_INLINE integer_lanes words_load(const void *from) {
    integer_lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

VECTOR_INLINE void words_store(void *to, integer_lanes v) { memcpy(to, &v, sizeof v); }

#define LOW_PAIRS(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_PAIRS(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_FOURS(a, b)  __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_FOURS(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_HALF(a, b)   __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_HALF(a, b)  __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)

/* Afterwards word j of row i is what was word i of row j. */
VECTOR_INLINE void transpose_words(integer_lanes r[8]) {
    integer_lanes s[8], t[8];
    for (unsigned i = 0; i < 8; i += 2) {
        s[i] = LOW_PAIRS(r[i], r[i + 1]);
        s[i + 1] = HIGH_PAIRS(r[i], r[i + 1]);
    }
    for (unsigned i = 0; i < 8; i += 4) {
        t[i] = LOW_FOURS(s[i], s[i + 2]);
        t[i + 1] = HIGH_FOURS(s[i], s[i + 2]);
        t[i + 2] = LOW_FOURS(s[i + 1], s[i + 3]);
        t[i + 3] = HIGH_FOURS(s[i + 1], s[i + 3]);
    }
    for (unsigned i = 0; i < 4; i++) {
        r[i] = LOW_HALF(t[i], t[i + 4]);
        r[i + 4] = HIGH_HALF(t[i], t[i + 4]);
    }
}

#undef LOW_PAIRS
#undef HIGH_PAIRS
#undef LOW_FOURS
#undef HIGH_FOURS
#undef LOW_HALF
#undef HIGH_HALF

#endif
