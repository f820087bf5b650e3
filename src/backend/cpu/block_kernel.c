/* Products of blocks: see block_kernel.h. Six rows by two vectors of c are held in registers, twelve sums of the
 * sixteen registers that AVX2 has; so each k takes two loads of b, six broadcasts of a, and twelve multiply-adds. */
#include "backend/cpu/block_kernel.h"

#include "backend/cpu/blocked.h"
#include "backend/cpu/vector.h"

enum { MOST_ROWS = 6, COLUMNS = 2 * VECTOR_LANES };

/* How far ahead b is asked for, in k: rows of b lie 256 bytes apart, four or more pages a block, and the processor's
 * own guesses end with each page. Measured for k = 1536 on Zen 3: 98 GFLOP/s with it, 80 without. */
enum { AHEAD = 8 };

/* The first `count` (0 to 8) floats. */
VECTOR_INLINE lanes load_first(const float *from, uint64_t count) {
    return count == VECTOR_LANES ? lanes_load(from) : lanes_load_some(from, count, 0.0f);
}

VECTOR_INLINE void store_first(float *to, lanes v, uint64_t count) {
    if (count == VECTOR_LANES)
        lanes_store(to, v);
    else
        lanes_store_some(to, v, count);
}

/* Sums of so many products each are added up: one sum of thousands would lose a digit more. */
enum { DEPTH = 256 };

/* A part of the product: so many rows of a and c, 16 columns of b and c of which `left` of the first vector and
 * `right` of the second are there, and `depth` of k. */
typedef struct part {
    const float *a, *b;
    float *c;
    uint64_t depth, left, right;
    bool add; /* to what c holds */
} part;

/* `rows` and `a_transposed` are constants where this is called, so that the sums are registers. */
VECTOR_INLINE void multiply(const block_operands *o, const part *p, uint64_t rows, bool a_transposed) {
    uint64_t row_step = a_transposed ? 1 : o->k, k_step = a_transposed ? o->m : 1;
    const float *a = p->a, *b = p->b;
    lanes sums[MOST_ROWS][2];
    for (uint64_t i = 0; i < rows; i++) sums[i][0] = sums[i][1] = lanes_of(0.0f);
    for (uint64_t k = 0; k < p->depth; k++, b += BLOCKED_COLUMNS) {
        lanes b0 = lanes_load(b), b1 = lanes_load(b + VECTOR_LANES);
        __builtin_prefetch(b + AHEAD * BLOCKED_COLUMNS);
        for (uint64_t i = 0; i < rows; i++) {
            lanes x = lanes_of(a[i * row_step + k * k_step]);
            sums[i][0] += x * b0, sums[i][1] += x * b1;
        }
    }
    for (uint64_t i = 0; i < rows; i++) {
        float *c = p->c + i * o->n;
        if (p->add) sums[i][0] += load_first(c, p->left), sums[i][1] += load_first(c + VECTOR_LANES, p->right);
        store_first(c, sums[i][0], p->left);
        store_first(c + VECTOR_LANES, sums[i][1], p->right);
    }
}

/* Fewer than four rows leave multiply-adds to wait for one another: so the last seven or eight go as four and the
 * rest.
 */
static uint64_t next_rows(uint64_t rows) { return rows <= MOST_ROWS ? rows : rows <= 8 ? 4 : MOST_ROWS; }

/* All rows of c in 16 columns: these columns of b stay in the first cache. */
VECTOR_INLINE void multiply_rows(const block_operands *o, const part *first, bool a_transposed) {
    part p = *first;
    for (uint64_t left = o->m, rows; left; left -= rows) {
        rows = next_rows(left);
        switch (rows) {
        case 6:
            multiply(o, &p, 6, a_transposed);
            break;
        case 5:
            multiply(o, &p, 5, a_transposed);
            break;
        case 4:
            multiply(o, &p, 4, a_transposed);
            break;
        case 3:
            multiply(o, &p, 3, a_transposed);
            break;
        case 2:
            multiply(o, &p, 2, a_transposed);
            break;
        default:
            multiply(o, &p, 1, a_transposed);
            break;
        }
        p.a += rows * (a_transposed ? 1 : o->k);
        p.c += rows * o->n;
    }
}

VECTOR_INLINE void multiply_columns(const block_operands *o, uint64_t column, bool a_transposed) {
    uint64_t block = column / BLOCKED_COLUMNS * BLOCKED_COLUMNS;
    const float *b = o->b + blocked_bytes(DTYPE_F32, o->k, block) / sizeof *b + (column - block);
    uint64_t count = o->n - column < COLUMNS ? o->n - column : COLUMNS;
    part p = {.c = o->c + column, .left = count < VECTOR_LANES ? count : VECTOR_LANES};
    p.right = count - p.left;
    for (uint64_t k = 0; k < o->k; k += DEPTH) {
        p.a = o->a + k * (a_transposed ? o->m : 1);
        p.b = b + k * BLOCKED_COLUMNS;
        p.depth = o->k - k < DEPTH ? o->k - k : DEPTH;
        p.add = o->accumulate || k > 0;
        multiply_rows(o, &p, a_transposed);
    }
}

VECTOR_AVX2 static void run_straight(const block_operands *o) {
    for (uint64_t column = 0; column < o->n; column += COLUMNS) multiply_columns(o, column, false);
}

VECTOR_AVX2 static void run_transposed(const block_operands *o) {
    for (uint64_t column = 0; column < o->n; column += COLUMNS) multiply_columns(o, column, true);
}

bool block_kernel_serves(instruction_set set) { return set == INSTRUCTIONS_AVX2; }

void block_kernel_run(const block_operands *o) {
    if (o->a_transposed)
        run_transposed(o);
    else
        run_straight(o);
}
