/* Blocked weights: see blocked.h. Elements of either type are moved as words of 32 bits, one f32 or a pair of bf16:
 * so both orders are the same transposition. */
#include "backend/cpu/blocked.h"

#include "backend/cpu/transpose.h"

/* Words of a block's rows that are decoded at a time: they stay in the first cache. */
enum { PIECE_WORDS = 256 };

/* Words of each column that are put at a time when rows of b are rows of the source. */
enum { GROUP_WORDS = 16 };

static inline uint64_t elements_of_word(dtype type) { return type == DTYPE_BF16 ? 2 : 1; }

/* Words of one column of b, filled up. */
static uint64_t column_words(dtype type, uint64_t k) {
    return up_to(k, 16 * elements_of_word(type)) / elements_of_word(type);
}

uint64_t blocked_bytes(dtype type, uint64_t k, uint64_t n) {
    return column_words(type, k) * up_to(n, BLOCKED_COLUMNS) * sizeof(uint32_t);
}

typedef struct blocking {
    const blocked_source *source;
    unsigned char *to;
    uint64_t words; /* of one column of b */
    uint64_t at;    /* blocked_put: the first column, or word of a column */
    instruction_set instructions;
} blocking;

/* `count` elements of a row in the type of the products, and zeros up to `filled`; returns where they are. */
VECTOR_INLINE const unsigned char *decode(const blocked_source *s, uint64_t row, uint64_t at, uint64_t count,
                                          uint64_t filled, unsigned char *piece) {
    const unsigned char *from = (const unsigned char *)s->from + dtype_bytes(s->stored, row * s->stride + at);
    if (s->stored == s->type && count == filled) return from;
    if (count && s->stored == DTYPE_F32)
        vector_operands(s->type, piece, from, count);
    else if (count)
        dtype_convert(s->type, piece, s->stored, from, count);
    memset(piece + dtype_bytes(s->type, count), 0, dtype_bytes(s->type, filled - count));
    return piece;
}

/* to[word * 64 + row] = rows[row][word] for 8 rows of 8 words. */
VECTOR_INLINE void put_words(uint32_t *to, const unsigned char *const rows[8], uint64_t word) {
    integer_lanes r[8];
    for (unsigned i = 0; i < 8; i++) r[i] = words_load(rows[i] + word * sizeof(uint32_t));
    transpose_words(r);
    for (unsigned i = 0; i < 8; i++) words_store(to + i * BLOCKED_COLUMNS, r[i]);
}

/* 64 columns of b from as many rows; those that are missing are zero. */
VECTOR_INLINE void put_columns(const blocking *b, uint64_t first_row, uint32_t *to) {
    const blocked_source *s = b->source;
    _Alignas(64) unsigned char pieces[8][PIECE_WORDS * sizeof(uint32_t)];
    uint64_t per_word = elements_of_word(s->type);
    for (uint64_t word = 0; word < b->words; word += PIECE_WORDS) {
        uint64_t count = b->words - word < PIECE_WORDS ? b->words - word : PIECE_WORDS, at = word * per_word;
        uint64_t filled = count * per_word, there = s->cols - at < filled ? s->cols - at : filled;
        for (uint64_t column = 0; column < BLOCKED_COLUMNS; column += 8) {
            const unsigned char *rows[8];
            for (uint64_t i = 0; i < 8; i++) {
                uint64_t row = first_row + column + i;
                bool is = row < s->rows;
                rows[i] = decode(s, is ? row : 0, is ? at : 0, is ? there : 0, filled, pieces[i]);
            }
            for (uint64_t i = 0; i < count; i += 8) put_words(to + (word + i) * BLOCKED_COLUMNS + column, rows, i);
        }
    }
}

/* Asks for elements that are to be read soon: the processor's own guesses end with each page, so with every few rows.
 */
VECTOR_INLINE void prefetch(const blocked_source *s, uint64_t row, uint64_t at, uint64_t count) {
    uint64_t element = s->stored == DTYPE_F32 ? 4 : 2;
    const unsigned char *from = (const unsigned char *)s->from + element * (row * s->stride + at);
    for (uint64_t i = 0; i < element * count; i += 64) __builtin_prefetch(from + i);
}

/* Words `first` to `first` + `words` of each of 64 columns of b, from the columns of all rows that begin at
 * `first_column`; `to` is the block of these columns. */
VECTOR_INLINE void put_rows(const blocking *b, uint64_t first_column, uint64_t first, uint64_t words, uint32_t *to) {
    const blocked_source *s = b->source;
    uint64_t there = s->cols - first_column < BLOCKED_COLUMNS ? s->cols - first_column : BLOCKED_COLUMNS;
    _Alignas(64) uint16_t pieces[2][BLOCKED_COLUMNS], pair[2][BLOCKED_COLUMNS];
    to += first * BLOCKED_COLUMNS;
    for (uint64_t word = first; word < first + words; word++, to += BLOCKED_COLUMNS) {
        if (s->type == DTYPE_F32) {
            bool is = word < s->rows;
            const unsigned char *row =
                decode(s, is ? word : 0, is ? first_column : 0, is ? there : 0, BLOCKED_COLUMNS, (unsigned char *)to);
            if (row != (unsigned char *)to) memcpy(to, row, BLOCKED_COLUMNS * sizeof(float));
            continue;
        }
        for (uint64_t i = 0; i < 2; i++) {
            bool is = 2 * word + i < s->rows;
            const unsigned char *row = decode(s, is ? 2 * word + i : 0, is ? first_column : 0, is ? there : 0,
                                              BLOCKED_COLUMNS, (unsigned char *)pieces[i]);
            memcpy(pair[i], row, sizeof pair[i]);
            prefetch(s, 2 * (word + GROUP_WORDS) + i, first_column, BLOCKED_COLUMNS);
        }
        for (unsigned j = 0; j < BLOCKED_COLUMNS; j++) to[j] = pair[0][j] | (uint32_t)pair[1][j] << 16;
    }
}

/* begin..end count blocks of 64 columns of b when its columns are rows, else groups of GROUP_WORDS words of all
 * columns: so rows are read from one end to the other, a few at a time, as processors expect. */
VECTOR_INLINE void fill_body(blocking *b, uint64_t begin, uint64_t end) {
    uint32_t *to = (uint32_t *)(void *)b->to;
    if (b->source->transposed) {
        for (uint64_t block = begin; block < end; block++)
            put_columns(b, block * BLOCKED_COLUMNS, to + block * b->words * BLOCKED_COLUMNS);
        return;
    }
    uint64_t last = end * GROUP_WORDS < b->words ? end * GROUP_WORDS : b->words;
    for (uint64_t word = begin * GROUP_WORDS; word < last; word += GROUP_WORDS)
        for (uint64_t column = 0; column < b->source->cols; column += BLOCKED_COLUMNS)
            put_rows(b, column, word, last - word < GROUP_WORDS ? last - word : GROUP_WORDS, to + column * b->words);
}
VECTOR_PATHS(fill, blocking)

static void fill_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    blocking *b = context;
    (void)thread;
    fill(b->instructions, b, begin, end);
}

void blocked_fill(const struct backend_state *state, const blocked_source *source, uint64_t k, void *to) {
    uint64_t n = source->transposed ? source->rows : source->cols;
    blocking b = {
        .source = source, .to = to, .words = column_words(source->type, k), .instructions = state->instructions};
    uint64_t units =
        source->transposed ? (n + BLOCKED_COLUMNS - 1) / BLOCKED_COLUMNS : (b.words + GROUP_WORDS - 1) / GROUP_WORDS;
    parallel_for(state, units, 1, fill_range, &b);
}

/* begin..end count blocks of 64 columns of b; there is one when rows become columns. */
VECTOR_INLINE void put_body(blocking *b, uint64_t begin, uint64_t end) {
    uint32_t *to = (uint32_t *)(void *)b->to;
    if (b->source->transposed) {
        put_columns(b, 0, to + b->at * b->words);
        return;
    }
    uint64_t words = BLOCKED_COLUMNS / elements_of_word(b->source->type);
    for (uint64_t block = begin; block < end; block++)
        put_rows(b, block * BLOCKED_COLUMNS, 0, words, to + (block * b->words + b->at) * BLOCKED_COLUMNS);
}
VECTOR_PATHS(put, blocking)

void blocked_put(instruction_set set, const blocked_source *source, uint64_t at, uint64_t k, void *to) {
    blocking b = {.source = source, .to = to, .words = column_words(source->type, k)};
    b.at = source->transposed ? at : at / elements_of_word(source->type);
    put(set, &b, 0, source->transposed ? 1 : (source->cols + BLOCKED_COLUMNS - 1) / BLOCKED_COLUMNS);
}
