/* Blocked weights: see blocked.h. Elements of either type are moved as words of 32 bits, one f32 or a pair of bf16: so
 * both orders are the same transposition. */
#include "backend/cpu/blocked.h"

#include "backend/cpu/vector.h"

/* Words of a block's rows that are decoded at a time: they stay in the first cache. */
enum { PIECE_WORDS = 64 };

static uint64_t up_to(uint64_t count, uint64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

static uint64_t words_per_element_pair(dtype type) { return type == DTYPE_BF16 ? 1 : 2; }

/* Words of one column of b, filled up. */
static uint64_t column_words(dtype type, uint64_t k) {
    return up_to(k, type == DTYPE_BF16 ? 32 : 16) * words_per_element_pair(type) / 2;
}

uint64_t blocked_bytes(dtype type, uint64_t k, uint64_t n) {
    return column_words(type, k) * up_to(n, BLOCKED_COLUMNS) * sizeof(uint32_t);
}

typedef struct blocking {
    const blocked_weight *weight;
    unsigned char *to;
    instruction_set instructions;
} blocking;

/* Bytes of a row from element `at` on. */
VECTOR_INLINE const unsigned char *row_at(const blocked_weight *w, uint64_t row, uint64_t at) {
    return (const unsigned char *)w->from + row * dtype_bytes(w->stored, w->cols) + dtype_bytes(w->stored, at);
}

/* `count` elements of a row in the type of the products, and zeros up to `filled`; returns where they are. */
VECTOR_INLINE const unsigned char *decode(const blocked_weight *w, uint64_t row, uint64_t at, uint64_t count,
                                          uint64_t filled, unsigned char *piece) {
    if (w->stored == w->type && count == filled) return row_at(w, row, at);
    dtype_convert(w->type, piece, w->stored, row_at(w, row, at), count);
    memset(piece + dtype_bytes(w->type, count), 0, dtype_bytes(w->type, filled - count));
    return piece;
}

VECTOR_INLINE integer_lanes words_load(const unsigned char *from) {
    integer_lanes v;
    memcpy(&v, from, sizeof v);
    return v;
}

#define LOW_PAIRS(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_PAIRS(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_FOURS(a, b)  __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_FOURS(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define LOW_HALF(a, b)   __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_HALF(a, b)  __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)

/* to[word * 64 + row] = rows[row][word] for 8 rows of 8 words. */
VECTOR_INLINE void transpose_words(uint32_t *to, const unsigned char *const rows[8], uint64_t word) {
    integer_lanes r[8], s[8], t[8];
    for (unsigned i = 0; i < 8; i++) r[i] = words_load(rows[i] + word * sizeof(uint32_t));
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
        integer_lanes low = LOW_HALF(t[i], t[i + 4]), high = HIGH_HALF(t[i], t[i + 4]);
        memcpy(to + i * BLOCKED_COLUMNS, &low, sizeof low);
        memcpy(to + (i + 4) * BLOCKED_COLUMNS, &high, sizeof high);
    }
}

/* One block of b's columns from as many rows of the weight. */
VECTOR_INLINE void columns_of_rows(const blocking *b, uint64_t block) {
    const blocked_weight *w = b->weight;
    _Alignas(64) unsigned char pieces[8][PIECE_WORDS * sizeof(uint32_t)];
    uint64_t words = column_words(w->type, w->cols), per_word = w->type == DTYPE_BF16 ? 2 : 1;
    uint32_t *to = (uint32_t *)(void *)b->to + block * words * BLOCKED_COLUMNS;
    for (uint64_t word = 0; word < words; word += PIECE_WORDS) {
        uint64_t count = words - word < PIECE_WORDS ? words - word : PIECE_WORDS, at = word * per_word;
        uint64_t filled = count * per_word, there = w->cols - at < filled ? w->cols - at : filled;
        for (uint64_t column = 0; column < BLOCKED_COLUMNS; column += 8) {
            const unsigned char *rows[8];
            for (uint64_t i = 0; i < 8; i++) {
                uint64_t row = block * BLOCKED_COLUMNS + column + i;
                rows[i] = decode(w, row < w->rows ? row : 0, at, row < w->rows ? there : 0, filled, pieces[i]);
            }
            for (uint64_t i = 0; i < count; i += 8)
                transpose_words(to + (word + i) * BLOCKED_COLUMNS + column, rows, i);
        }
    }
}

/* One block of b's columns from a part of all rows of the weight. */
VECTOR_INLINE void columns_of_columns(const blocking *b, uint64_t block) {
    const blocked_weight *w = b->weight;
    uint64_t at = block * BLOCKED_COLUMNS, words = column_words(w->type, w->rows);
    uint64_t there = w->cols - at < BLOCKED_COLUMNS ? w->cols - at : BLOCKED_COLUMNS;
    uint32_t *to = (uint32_t *)(void *)b->to + block * words * BLOCKED_COLUMNS;
    for (uint64_t word = 0; word < words; word++, to += BLOCKED_COLUMNS) {
        if (w->type == DTYPE_F32) {
            bool is = word < w->rows;
            const unsigned char *row =
                decode(w, is ? word : 0, at, is ? there : 0, BLOCKED_COLUMNS, (unsigned char *)to);
            if (row != (unsigned char *)to) memcpy(to, row, BLOCKED_COLUMNS * sizeof(float));
            continue;
        }
        uint16_t pieces[2][BLOCKED_COLUMNS], pair[2][BLOCKED_COLUMNS];
        for (uint64_t i = 0; i < 2; i++) {
            bool is = 2 * word + i < w->rows;
            memcpy(pair[i],
                   decode(w, is ? 2 * word + i : 0, at, is ? there : 0, BLOCKED_COLUMNS, (unsigned char *)pieces[i]),
                   sizeof pair[i]);
        }
        for (unsigned j = 0; j < BLOCKED_COLUMNS; j++) to[j] = pair[0][j] | (uint32_t)pair[1][j] << 16;
    }
}

VECTOR_INLINE void fill_body(blocking *b, uint64_t begin, uint64_t end) {
    for (uint64_t block = begin; block < end; block++)
        if (b->weight->transposed)
            columns_of_rows(b, block);
        else
            columns_of_columns(b, block);
}
VECTOR_PATHS(fill, blocking)

static void fill_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    blocking *b = context;
    (void)thread;
    fill(b->instructions, b, begin, end);
}

void blocked_fill(const struct backend_state *state, const blocked_weight *weight, void *to) {
    blocking b = {weight, to, state->instructions};
    uint64_t columns = weight->transposed ? weight->rows : weight->cols;
    parallel_for(state, (columns + BLOCKED_COLUMNS - 1) / BLOCKED_COLUMNS, 1, fill_range, &b);
}
