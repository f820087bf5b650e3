/* Products over tiles of rows: see row_tiles.h. */
#include "backend/cpu/row_tiles.h"

#include <string.h>

#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/vector.h"

static const uint32_t tile_sizes[ROW_TILE_SIZES] = {512, 256, 128, 32};

/* What a tile's rows, a slice of the matrix, and their result may take of a second cache. */
static const uint64_t tile_bytes = 800 * 1024, slice_bytes = 400 * 1024, result_bytes = 512 * 1024;

/* Results larger than this do not stay in caches until they are read. */
static const uint64_t streamed_bytes = 2 * 1024 * 1024;

/* Rows that are worked on before they leave the first cache far behind. */
enum { BLOCK_ROWS = 128 };

static block_product block_of(const row_tiles *t, uint32_t tile, uint32_t cols) {
    return (block_product){.m = tile, .n = cols, .k = t->k, .type = t->type};
}

static uint32_t last_slice(const row_tiles *t) { return t->n % t->slice ? t->n % t->slice : t->slice; }

/* The size for the next `rows` rows (> 0): one that is three quarters filled, or else the largest that is full. */
static uint32_t size_for(const row_tiles *t, uint32_t rows) {
    for (unsigned i = 0; i < ROW_TILE_SIZES; i++) {
        uint32_t size = tile_sizes[i];
        if (size <= t->tile && (size <= rows || 4ull * rows >= 3ull * size)) return size;
    }
    return tile_sizes[ROW_TILE_SIZES - 1];
}

static bool uses_size(const row_tiles *t, uint32_t size) {
    return size == tile_sizes[ROW_TILE_SIZES - 1] || (size <= t->tile && 3ull * size <= 4ull * t->rows);
}

static void choose_tile(row_tiles *t, unsigned threads) {
    uint64_t row_bytes = dtype_bytes(t->type, t->k), share = t->rows / threads;
    t->tile = tile_sizes[ROW_TILE_SIZES - 1];
    for (unsigned i = ROW_TILE_SIZES; i-- > 0;)
        if (tile_sizes[i] <= share && tile_sizes[i] * row_bytes <= tile_bytes) t->tile = tile_sizes[i];
}

/* Slices of equal width, so that one set of primitives does. */
static void choose_slice(row_tiles *t) {
    uint64_t by_matrix = slice_bytes / dtype_bytes(t->type, t->k), by_result = result_bytes / sizeof(float) / t->tile;
    uint64_t most = (by_matrix < by_result ? by_matrix : by_result) / BLOCKED_COLUMNS * BLOCKED_COLUMNS;
    if (most < BLOCKED_COLUMNS) most = BLOCKED_COLUMNS;
    uint64_t count = (t->n + most - 1) / most, even = (t->n + count - 1) / count;
    t->slice = (uint32_t)((even + BLOCKED_COLUMNS - 1) / BLOCKED_COLUMNS * BLOCKED_COLUMNS);
    if (t->slice > t->n) t->slice = t->n;
}

row_tiles row_tiles_of(const struct backend_state *state, uint32_t rows, uint32_t n, uint32_t k, dtype type) {
    row_tiles t = {.rows = rows, .n = n, .k = k, .type = type};
    choose_tile(&t, state->threads);
    choose_slice(&t);
    for (unsigned i = 0; i < ROW_TILE_SIZES; i++) {
        if (!uses_size(&t, tile_sizes[i])) continue;
        block_product most = block_of(&t, tile_sizes[i], t.slice), last = block_of(&t, tile_sizes[i], last_slice(&t));
        uint64_t own = gemm_block_scratch(state->products, &most),
                 of_last = gemm_block_scratch(state->products, &last);
        if (of_last > own) own = of_last;
        if (own > t.a_offset) t.a_offset = own;
    }
    t.c_offset = t.a_offset + align64(t.tile * dtype_bytes(type, k));
    t.thread_bytes = t.c_offset + align64((uint64_t)t.tile * t.slice * sizeof(float));
    return t;
}

levee_status row_tiles_prepare(const struct backend_state *state, const row_tiles *t, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < ROW_TILE_SIZES && status == LEVEE_OK; i++) {
        if (!uses_size(t, tile_sizes[i])) continue;
        block_product most = block_of(t, tile_sizes[i], t->slice), last = block_of(t, tile_sizes[i], last_slice(t));
        status = gemm_prepare_block(state->products, &most, error);
        if (status == LEVEE_OK) status = gemm_prepare_block(state->products, &last, error);
    }
    return status;
}

uint64_t row_tiles_scratch(const struct backend_state *state, const row_tiles *t) {
    return state->threads * t->thread_bytes;
}

typedef struct run {
    const struct backend_state *state;
    const row_tiles *tiles;
    const row_tiles_call *call;
    const row_tile_steps *steps;
    first_failure failure;
} run;

/* A slice's result on its way to c. */
typedef struct result {
    float *from;
    void *to;
    const float *bias;
    uint64_t cols, ldc;
} result;

VECTOR_INLINE void add_bias_body(result *r, uint64_t begin, uint64_t end) {
    for (uint64_t row = begin; row < end; row++)
        for (uint64_t i = 0; i < r->cols; i++) r->from[row * r->cols + i] += r->bias[i];
}
VECTOR_PATHS(add_bias, result)

VECTOR_INLINE void add_result_body(result *r, uint64_t begin, uint64_t end) {
    float *to = r->to;
    for (uint64_t row = begin; row < end; row++)
        for (uint64_t i = 0; i < r->cols; i++) to[row * r->ldc + i] += r->from[row * r->cols + i];
}
VECTOR_PATHS(add_result, result)

/* What is not added to is overwritten; and is not soon read again when there is more of it than caches hold. */
static void write_result(const run *r, result *w, uint64_t rows) {
    instruction_set set = r->state->instructions;
    dtype type = r->call->c_type;
    bool large = dtype_bytes(type, r->call->rows * r->call->ldc) > streamed_bytes;
    if (w->bias) add_bias(set, w, 0, rows);
    if (r->call->add)
        add_result(set, w, 0, rows);
    else if (large)
        vector_stream(set, type, w->to, w->ldc, w->from, rows, w->cols);
    else
        vector_write(type, w->to, w->ldc, w->from, rows, w->cols);
}

static const unsigned char *row_of_a(const run *r, uint64_t row) {
    return (const unsigned char *)r->call->a + dtype_bytes(r->call->a_type, row * r->call->lda);
}

/* Can the product read the tile's rows where they lie? */
static bool reads_in_place(const run *r, uint64_t row, uint32_t filled, uint32_t tile) {
    const row_tiles_call *call = r->call;
    return filled == tile && call->a_type == r->tiles->type && call->lda == r->tiles->k &&
           (uintptr_t)row_of_a(r, row) % 64 == 0;
}

/* The tile's rows in the type of the product; rows that it does not have are zero. Returns where they are. */
static const void *fill(const run *r, uint64_t row, uint32_t filled, uint32_t tile, unsigned char *to,
                        unsigned thread) {
    const row_tiles *t = r->tiles;
    uint64_t row_bytes = dtype_bytes(t->type, t->k);
    bool in_place = reads_in_place(r, row, filled, tile);
    for (uint32_t i = 0; i < filled; i += BLOCK_ROWS) {
        uint32_t rows = filled - i < BLOCK_ROWS ? filled - i : BLOCK_ROWS;
        if (r->steps->before) r->steps->before(r->steps->context, row + i, rows, thread);
        for (uint32_t k = i; k < i + rows && !in_place; k++) {
            if (r->call->a_type == t->type)
                memcpy(to + k * row_bytes, row_of_a(r, row + k), row_bytes);
            else
                vector_operands(t->type, to + k * row_bytes, row_of_a(r, row + k), t->k);
        }
    }
    if (in_place) return row_of_a(r, row);
    memset(to + filled * row_bytes, 0, (tile - filled) * row_bytes);
    return to;
}

/* A tile on its way: `a` are its rows, of which `filled` are there. */
typedef struct tile_at_work {
    uint64_t row;
    uint32_t rows, filled;
    const void *a;
    unsigned char *memory; /* the thread's scratch */
} tile_at_work;

static levee_status run_slice(const run *r, const tile_at_work *tile, uint32_t first, unsigned thread,
                              levee_error *error) {
    const row_tiles *t = r->tiles;
    const row_tiles_call *call = r->call;
    block_product block = block_of(t, tile->rows, t->n - first < t->slice ? t->n - first : t->slice);
    float *c = (float *)(void *)(tile->memory + t->c_offset);
    const unsigned char *b = (const unsigned char *)call->b + blocked_bytes(t->type, t->k, first);
    levee_status status = gemm_block(r->state->products, &block, thread, tile->a, b, c, tile->memory, error);
    if (status != LEVEE_OK) return status;
    if (r->steps->on_result) r->steps->on_result(r->steps->context, tile->row, tile->filled, first, block.n, c);
    result written = {.from = c, .cols = block.n, .ldc = call->ldc};
    written.to = (unsigned char *)call->c + dtype_bytes(call->c_type, tile->row * call->ldc + first);
    if (call->bias) written.bias = call->bias + first;
    write_result(r, &written, tile->filled);
    return LEVEE_OK;
}

static void run_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    run *r = context;
    const row_tiles *t = r->tiles;
    tile_at_work tile = {.row = begin, .memory = (unsigned char *)r->call->scratch + thread * t->thread_bytes};
    levee_error error = {0};
    for (; tile.row < end && r->failure.status == LEVEE_OK; tile.row += tile.filled) {
        uint32_t left = (uint32_t)(end - tile.row);
        levee_status status = LEVEE_OK;
        tile.rows = size_for(t, left);
        tile.filled = left < tile.rows ? left : tile.rows;
        tile.a = fill(r, tile.row, tile.filled, tile.rows, tile.memory + t->a_offset, thread);
        for (uint32_t first = 0; first < t->n && status == LEVEE_OK; first += t->slice)
            status = run_slice(r, &tile, first, thread, &error);
        if (r->steps->after && status == LEVEE_OK) r->steps->after(r->steps->context, tile.row, tile.filled, thread);
        first_failure_note(&r->failure, status, &error);
    }
}

levee_status row_tiles_run(const struct backend_state *state, const row_tiles *t, const row_tiles_call *call,
                           const row_tile_steps *steps, levee_error *error) {
    run r = {.state = state, .tiles = t, .call = call, .steps = steps, .failure = {.error = error}};
    uint64_t range = steps->range_rows > t->tile ? steps->range_rows : t->tile;
    parallel_for_dynamic(state, NULL, call->rows, range, run_rows, &r);
    return (levee_status)r.failure.status;
}
