/* Matrix products over rows, tile by tile: see gemm.h. */
#include "backend/cpu/gemm.h"

#include <stdatomic.h>
#include <string.h>

#include "backend/cpu/gemm_primitive.h"

/* Measured for 576 x 1536 on Zen 4: tiles of 8, 32, 128 and 512 rows run at 130, 195, 223 and 225 GFLOP/s in f32 and
 * at 230, 372, 435 and 449 in bf16, so larger ones gain nothing. With 512 rows oneDNN's AVX2 products also take a MiB
 * and more inside each call (measured on Zen 3), with 128 nothing. */
enum { LADDER_STEPS = 3, SMALLEST_TILE = 8 };
static const uint32_t ladder[LADDER_STEPS] = {128, 32, SMALLEST_TILE};

/* Tiles that go through scratch are chosen no larger than this in all; those of a thread of its own, so that they stay
 * in its second cache. */
static const uint64_t tile_scratch_bytes = 4ull * 1024 * 1024, thread_scratch_bytes = 1024 * 1024;

/* Where threads share out the rows, tiles are smaller rather than one thread idle, but not smaller than this. */
enum { LEAST_SHARED_TILE = 32 };

/* Which tiles a product uses, and its scratch: oneDNN's own, then the tiles of the first and second matrix that are
 * copied (a and c of a row product, a and b of a reduction). */
typedef struct tiling {
    uint32_t rows;                    /* the most that a run has */
    uint32_t largest;                 /* tile of whole rows */
    uint32_t padded;                  /* largest tile that may be zero-filled */
    bool copies_first, copies_second; /* whole tiles too go through scratch */
    uint64_t first_row_bytes, second_row_bytes;
    uint64_t own_bytes, first_bytes, second_bytes;
} tiling;

static uint64_t align64(uint64_t bytes) { return (bytes + 63) & ~63ull; }

/* Whole tiles are used up to `largest`; padded ones when at least three quarters of their rows are filled, for then
 * one padded tile costs less than the smaller ones that would fill it. */
static bool uses_tile(const tiling *t, uint32_t tile) {
    return tile == SMALLEST_TILE || (tile <= t->largest && tile <= t->rows) ||
           (tile <= t->padded && 3ull * tile <= 4ull * t->rows);
}

/* The tile for the next `rows` rows (> 0). */
static uint32_t next_tile(const tiling *t, uint32_t rows) {
    uint32_t whole = 0, padded = 0;
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        if (!whole && ladder[i] <= t->largest && ladder[i] <= rows) whole = ladder[i];
        if (ladder[i] <= t->padded && ladder[i] >= rows) padded = ladder[i];
    }
    if (padded && (!whole || 4ull * rows >= 3ull * padded)) return padded;
    return whole;
}

/* Chooses the tiles: of at most `most_rows`, as large as their copies fit `most_bytes`, and never below the smallest. */
static void choose_tiles(tiling *t, uint32_t most_rows, uint64_t most_bytes) {
    uint64_t copied = (t->copies_first ? t->first_row_bytes : 0) + (t->copies_second ? t->second_row_bytes : 0);
    t->largest = t->padded = SMALLEST_TILE;
    for (unsigned i = LADDER_STEPS; i-- > 0;) {
        if (ladder[i] > most_rows) continue;
        if (ladder[i] * copied <= most_bytes) t->largest = ladder[i];
        if (ladder[i] * (t->first_row_bytes + t->second_row_bytes) <= most_bytes) t->padded = ladder[i];
    }
    uint32_t most_padded = SMALLEST_TILE, most = SMALLEST_TILE;
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        if (!uses_tile(t, ladder[i])) continue;
        if (ladder[i] > most) most = ladder[i];
        if (ladder[i] > most_padded && ladder[i] <= t->padded) most_padded = ladder[i];
    }
    t->first_bytes = align64((t->copies_first ? most : most_padded) * t->first_row_bytes);
    t->second_bytes = align64((t->copies_second ? most : most_padded) * t->second_row_bytes);
}

static tiling row_tiling(const struct gemm *g, const row_product *p) {
    tiling t = {.rows = p->rows,
                .copies_first = p->type != DTYPE_F32 || p->lda != p->k,
                .copies_second = p->ldc != p->n,
                .first_row_bytes = dtype_bytes(p->type, p->k),
                .second_row_bytes = p->n * sizeof(float)};
    uint32_t share = p->rows / g->state->threads;
    if (p->b_blocked)
        choose_tiles(&t, share < LEAST_SHARED_TILE ? LEAST_SHARED_TILE : share, thread_scratch_bytes);
    else
        choose_tiles(&t, UINT32_MAX, tile_scratch_bytes);
    return t;
}

static primitive_key row_key(const row_product *p, uint32_t tile) {
    return (primitive_key){.m = tile,
                           .n = p->n,
                           .k = p->k,
                           .b_transposed = p->b_transposed,
                           .b_blocked = p->b_blocked,
                           .single = p->b_blocked,
                           .accumulate = p->accumulate,
                           .bias = p->bias,
                           .type = p->type};
}

static tiling reduction_tiling(const reduction_product *p) {
    tiling t = {.rows = p->rows,
                .copies_first = p->type != DTYPE_F32,
                .copies_second = p->type != DTYPE_F32,
                .first_row_bytes = dtype_bytes(p->type, p->m),
                .second_row_bytes = dtype_bytes(p->type, p->n)};
    choose_tiles(&t, UINT32_MAX, tile_scratch_bytes);
    return t;
}

static primitive_key reduction_key(const reduction_product *p, uint32_t tile) {
    return (primitive_key){
        .m = p->m, .n = p->n, .k = tile, .a_transposed = true, .accumulate = true, .type = p->type};
}

levee_status gemm_prepare_rows(struct gemm *g, const row_product *product, levee_error *error) {
    tiling t = row_tiling(g, product);
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = row_key(product, ladder[i]);
        if (uses_tile(&t, ladder[i])) status = primitive_prepare(g, &key, error);
    }
    return status;
}

levee_status gemm_prepare_reduction(struct gemm *g, const reduction_product *product, levee_error *error) {
    tiling t = reduction_tiling(product);
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = reduction_key(product, ladder[i]);
        if (uses_tile(&t, ladder[i])) status = primitive_prepare(g, &key, error);
    }
    return status;
}

/* The row product's tiling with oneDNN's own scratch. Only looks up, so that a run makes nothing. */
static tiling row_layout(const struct gemm *g, const row_product *p) {
    tiling t = row_tiling(g, p);
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        primitive_key key = row_key(p, ladder[i]);
        uint64_t own = uses_tile(&t, ladder[i]) ? align64(primitive_scratch(g, &key)) : 0;
        if (own > t.own_bytes) t.own_bytes = own;
    }
    return t;
}

static tiling reduction_layout(const struct gemm *g, const reduction_product *p) {
    tiling t = reduction_tiling(p);
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        primitive_key key = reduction_key(p, ladder[i]);
        uint64_t own = uses_tile(&t, ladder[i]) ? align64(primitive_scratch(g, &key)) : 0;
        if (own > t.own_bytes) t.own_bytes = own;
    }
    return t;
}

/* Scratch of one thread, or of all that work on the same tile. */
static uint64_t tiles_bytes(const tiling *t) { return t->own_bytes + t->first_bytes + t->second_bytes; }

uint64_t gemm_rows_scratch(struct gemm *g, const row_product *product) {
    if (gemm_prepare_rows(g, product, NULL) != LEVEE_OK) return 0;
    tiling t = row_layout(g, product);
    return tiles_bytes(&t) * (product->b_blocked ? g->state->threads : 1);
}

uint64_t gemm_reduction_scratch(struct gemm *g, const reduction_product *product) {
    if (gemm_prepare_reduction(g, product, NULL) != LEVEE_OK) return 0;
    tiling t = reduction_layout(g, product);
    return tiles_bytes(&t);
}

/* Copies rows between a matrix with a leading dimension and a dense tile. */
typedef struct tile_copy {
    dtype to_type, from_type;
    unsigned char *to;
    const unsigned char *from;
    uint64_t to_row_bytes, from_row_bytes;
    uint64_t cols;
    uint64_t filled; /* rows from here on are set to zero */
} tile_copy;

static void copy_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const tile_copy *t = context;
    (void)thread;
    for (uint64_t r = begin; r < end; r++) {
        if (r < t->filled)
            dtype_convert(t->to_type, t->to + r * t->to_row_bytes, t->from_type, t->from + r * t->from_row_bytes,
                          t->cols);
        else
            memset(t->to + r * t->to_row_bytes, 0, dtype_bytes(t->to_type, t->cols));
    }
}

/* Waking a thread costs a few microseconds: the time for about this many elements. */
enum { ELEMENTS_PER_THREAD = 16384 };

static void copy_tile(const struct gemm *g, bool single, tile_copy *t, uint64_t rows) {
    uint64_t grain = ELEMENTS_PER_THREAD / t->cols + 1;
    if (single || rows <= grain)
        copy_rows(t, 0, rows, 0);
    else
        parallel_for(g->state, rows, grain, copy_rows, t);
}

/* Fills a dense tile of `tile_rows` rows, in the type of the product, from `rows` rows of f32; on the calling thread
 * alone when `single`. */
static void fill_tile(const struct gemm *g, bool single, void *tile, dtype type, const float *from, uint64_t leading,
                      uint32_t rows, uint32_t tile_rows, uint64_t cols) {
    tile_copy t = {.to_type = type,
                   .from_type = DTYPE_F32,
                   .to = tile,
                   .from = (const unsigned char *)from,
                   .to_row_bytes = dtype_bytes(type, cols),
                   .from_row_bytes = leading * sizeof(float),
                   .cols = cols,
                   .filled = rows};
    copy_tile(g, single, &t, tile_rows);
}

static void empty_tile(const struct gemm *g, bool single, const float *tile, float *to, uint64_t leading,
                       uint32_t rows, uint64_t cols) {
    tile_copy t = {.to_type = DTYPE_F32,
                   .from_type = DTYPE_F32,
                   .to = (unsigned char *)to,
                   .from = (const unsigned char *)tile,
                   .to_row_bytes = leading * sizeof(float),
                   .from_row_bytes = cols * sizeof(float),
                   .cols = cols,
                   .filled = rows};
    copy_tile(g, single, &t, rows);
}

/* One run of a product over rows. */
typedef struct row_run {
    const struct gemm *g;
    const row_product *product;
    tiling tiles;
    const float *a, *bias;
    const void *b;
    float *c;
    unsigned char *scratch;
    _Atomic int status; /* the first failure; only it may write to `error` */
    levee_error *error;
} row_run;

static levee_status run_tile(const row_run *r, unsigned thread, uint64_t row, uint32_t tile, uint32_t filled,
                             levee_error *error) {
    const row_product *p = r->product;
    const tiling *t = &r->tiles;
    unsigned char *own = r->scratch + thread * tiles_bytes(t), *a_tile = own + t->own_bytes;
    float *c_tile = (float *)(void *)(a_tile + t->first_bytes), *c_rows = r->c + row * p->ldc;
    const float *a_rows = r->a + row * p->lda;
    primitive_key key = row_key(p, tile);
    bool copies_a = t->copies_first || filled < tile, copies_c = t->copies_second || filled < tile;
    if (copies_a) fill_tile(r->g, key.single, a_tile, p->type, a_rows, p->lda, filled, tile, p->k);
    if (copies_c && p->accumulate)
        fill_tile(r->g, key.single, c_tile, DTYPE_F32, c_rows, p->ldc, filled, tile, p->n);
    levee_status status = primitive_run(r->g, &key, thread, copies_a ? (const void *)a_tile : a_rows, r->b, r->bias,
                                        copies_c ? c_tile : c_rows, own, error);
    if (copies_c && status == LEVEE_OK) empty_tile(r->g, key.single, c_tile, c_rows, p->ldc, filled, p->n);
    return status;
}

static void run_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    row_run *r = context;
    levee_error error = {0};
    for (uint64_t row = begin; row < end && r->status == LEVEE_OK;) {
        uint32_t left = (uint32_t)(end - row), tile = next_tile(&r->tiles, left), filled = left < tile ? left : tile;
        int status = (int)run_tile(r, thread, row, tile, filled, &error), none = LEVEE_OK;
        if (status != LEVEE_OK && atomic_compare_exchange_strong(&r->status, &none, status) && r->error)
            *r->error = error;
        row += filled;
    }
}

levee_status gemm_rows(struct gemm *g, const row_product *product, uint32_t rows, const float *a, const void *b,
                       const float *bias, float *c, void *scratch, levee_error *error) {
    row_run r = {.g = g,
                 .product = product,
                 .tiles = row_layout(g, product),
                 .a = a,
                 .bias = bias,
                 .b = b,
                 .c = c,
                 .scratch = scratch,
                 .error = error};
    if (product->b_blocked)
        parallel_for_dynamic(g->state, NULL, rows, r.tiles.largest, run_rows, &r);
    else
        run_rows(&r, 0, rows, 0);
    return (levee_status)r.status;
}

levee_status gemm_reduction(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
                            const float *b, float *c, void *scratch, levee_error *error) {
    tiling t = reduction_layout(g, product);
    unsigned char *own = scratch, *a_tile = own + t.own_bytes, *b_tile = a_tile + t.first_bytes;
    levee_status status = LEVEE_OK;
    for (uint64_t done = 0; done < rows && status == LEVEE_OK;) {
        uint32_t left = rows - (uint32_t)done, tile = next_tile(&t, left), filled = left < tile ? left : tile;
        const float *a_rows = a + done * product->m, *b_rows = b + done * product->n;
        bool copies = t.copies_first || filled < tile;
        if (copies) {
            fill_tile(g, false, a_tile, product->type, a_rows, product->m, filled, tile, product->m);
            fill_tile(g, false, b_tile, product->type, b_rows, product->n, filled, tile, product->n);
        }
        primitive_key key = reduction_key(product, tile);
        status = primitive_run(g, &key, 0, copies ? (const void *)a_tile : a_rows,
                               copies ? (const void *)b_tile : b_rows, NULL, c, own, error);
        done += filled;
    }
    return status;
}

static primitive_key block_key(const block_product *p) {
    return (primitive_key){.m = p->m,
                           .n = p->n,
                           .k = p->k,
                           .accumulate = p->accumulate,
                           .b_blocked = true,
                           .single = true,
                           .type = p->type};
}

levee_status gemm_prepare_block(struct gemm *g, const block_product *product, levee_error *error) {
    primitive_key key = block_key(product);
    return primitive_prepare(g, &key, error);
}

uint64_t gemm_block_scratch(struct gemm *g, const block_product *product) {
    primitive_key key = block_key(product);
    return primitive_prepare(g, &key, NULL) == LEVEE_OK ? align64(primitive_scratch(g, &key)) : 0;
}

levee_status gemm_block(struct gemm *g, const block_product *product, unsigned thread, const void *a, const void *b,
                        float *c, void *scratch, levee_error *error) {
    primitive_key key = block_key(product);
    return primitive_run(g, &key, thread, a, b, NULL, c, scratch, error);
}
