/* Products of many rows with a matrix in the order of blocked.h. Each thread takes ranges of rows, tile by tile, and
 * of a tile slice by slice of columns, so that the tile's rows, a slice of the matrix and its result lie in the
 * thread's second cache; what else is to be done with those rows and results is done there too. Threads wait once a
 * product. */
#ifndef LEVEE_BACKEND_CPU_ROW_TILES_H
#define LEVEE_BACKEND_CPU_ROW_TILES_H

#include "backend/cpu/gemm.h"

enum { ROW_TILE_SIZES = 4 };

/* c [rows, n] = a [rows, k] b, and how it is cut. Offsets are within the scratch of a thread. */
typedef struct row_tiles {
    uint32_t rows; /* the most that a run will have */
    uint32_t n, k;
    dtype type;
    uint32_t tile, slice; /* the most rows, and columns, of a block */
    uint64_t a_offset, c_offset, thread_bytes;
} row_tiles;

/* What is done beside the product; each may be NULL. `first` and `cols` are the columns of a slice, c [rows, cols]
 * its result before it is written. `before` is called for every row before any product reads it, `after` when its
 * results are written. */
typedef struct row_tile_steps {
    void *context;
    void (*before)(void *context, uint64_t row, uint64_t rows, unsigned thread);
    void (*on_result)(void *context, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *c);
    void (*after)(void *context, uint64_t row, uint64_t rows, unsigned thread);
    uint64_t range_rows; /* ranges of rows begin at multiples of this; a power of two, or 0 */
} row_tile_steps;

/* One run: a is [rows, k] with a leading dimension, c [rows, n] likewise, each f32 or of the product's type; b is
 * blocked, bias [n] or NULL. With `add` c += a b + bias, and c is f32. */
typedef struct row_tiles_call {
    uint32_t rows;
    dtype a_type, c_type;
    const void *a, *b;
    const float *bias;
    void *c;
    uint64_t lda, ldc;
    bool add;
    void *scratch;
} row_tiles_call;

/* Cuts a product; makes its primitives too (see gemm_rows_scratch). */
row_tiles row_tiles_of(const struct backend_state *state, uint32_t rows, uint32_t n, uint32_t k, dtype type);

levee_status row_tiles_prepare(const struct backend_state *state, const row_tiles *t, levee_error *error);

/* Of all threads. */
uint64_t row_tiles_scratch(const struct backend_state *state, const row_tiles *t);

levee_status row_tiles_run(const struct backend_state *state, const row_tiles *t, const row_tiles_call *call,
                           const row_tile_steps *steps, levee_error *error);

#endif
