/* Reductions over rows: see gemm.h. All threads work on one tile of rows after the other, and each tile adds to all
 * of c; or, where there are tile kernels, the rows go in deep pieces, b of a piece is put into the order of
 * blocked.h, and the threads share out the columns of a, which are rows of c: so c is read and written a fourth as
 * often. */
#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_tile.h"

/* --- all threads on one tile --- */

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

static levee_status prepare_tiles(struct gemm *g, const reduction_product *product, levee_error *error) {
    tiling t = reduction_tiling(product);
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = reduction_key(product, tile_ladder[i]);
        if (uses_tile(&t, tile_ladder[i])) status = primitive_prepare(g, &key, error);
    }
    return status;
}

static tiling reduction_layout(const struct gemm *g, const reduction_product *p) {
    tiling t = reduction_tiling(p);
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        primitive_key key = reduction_key(p, tile_ladder[i]);
        uint64_t own = uses_tile(&t, tile_ladder[i]) ? align64(primitive_scratch(g, &key)) : 0;
        if (own > t.own_bytes) t.own_bytes = own;
    }
    return t;
}

static levee_status run_tiles(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
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

/* --- each thread its own rows of c --- */

/* Rows of a piece, from the deepest on, and columns of a that a thread takes. */
enum { DEPTHS = 3, SLICE = 64, LEAST_ROWS = 32 };
static const uint32_t depths[DEPTHS] = {512, 128, 32};

/* Are there enough columns for the threads to share out? */
static bool is_shared(struct gemm *g, const reduction_product *p) {
    return p->rows >= LEAST_ROWS && p->m >= 2 * SLICE && gemm_reads_blocked(g, p->type);
}

static bool uses_depth(const reduction_product *p, uint32_t depth) {
    if (depth == LEAST_ROWS) return true;
    return depth <= p->rows && blocked_bytes(p->type, depth, p->n) <= tile_scratch_bytes;
}

static uint32_t deepest(const reduction_product *p) {
    for (unsigned i = 0; i < DEPTHS; i++)
        if (uses_depth(p, depths[i])) return depths[i];
    return LEAST_ROWS;
}

/* The deepest that the rows fill; the last rows fill the least one in part. */
static uint32_t next_depth(const reduction_product *p, uint32_t rows) {
    for (unsigned i = 0; i < DEPTHS; i++)
        if (uses_depth(p, depths[i]) && rows >= depths[i]) return depths[i];
    return LEAST_ROWS;
}

static primitive_key slice_key(const reduction_product *p, uint32_t columns, uint32_t depth) {
    return (primitive_key){.m = columns,
                           .n = p->n,
                           .k = depth,
                           .a_transposed = true,
                           .b_blocked = true,
                           .single = true,
                           .accumulate = true,
                           .type = p->type};
}

static levee_status prepare_slices(struct gemm *g, const reduction_product *p, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < DEPTHS && status == LEVEE_OK; i++) {
        primitive_key whole = slice_key(p, SLICE, depths[i]), last = slice_key(p, p->m % SLICE, depths[i]);
        if (!uses_depth(p, depths[i])) continue;
        status = primitive_prepare(g, &whole, error);
        if (status == LEVEE_OK && last.m) status = primitive_prepare(g, &last, error);
    }
    return status;
}

/* Scratch: b of a piece; then of each thread oneDNN's own and a slice of a. */
typedef struct slices_memory {
    uint64_t b, own, thread;
} slices_memory;

static slices_memory slices_layout(const struct gemm *g, const reduction_product *p) {
    slices_memory m = {.b = blocked_bytes(p->type, deepest(p), p->n)};
    for (unsigned i = 0; i < DEPTHS; i++) {
        primitive_key whole = slice_key(p, SLICE, depths[i]), last = slice_key(p, p->m % SLICE, depths[i]);
        if (!uses_depth(p, depths[i])) continue;
        uint64_t own = align64(primitive_scratch(g, &whole)), own_last = align64(primitive_scratch(g, &last));
        if (own_last > own) own = own_last;
        if (own > m.own) m.own = own;
    }
    m.thread = m.own + align64(dtype_bytes(p->type, (uint64_t)deepest(p) * SLICE));
    return m;
}

typedef struct slice_run {
    struct gemm *g;
    const reduction_product *product;
    slices_memory memory;
    uint32_t depth, filled; /* of the piece */
    const float *a;         /* its first row */
    float *c;
    unsigned char *scratch;
    first_failure failure;
} slice_run;

static void run_slice(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    slice_run *r = context;
    const reduction_product *p = r->product;
    unsigned char *own = r->scratch + r->memory.b + thread * r->memory.thread, *a_tile = own + r->memory.own;
    levee_error error = {0};
    for (uint64_t slice = begin; slice < end && r->failure.status == LEVEE_OK; slice++) {
        uint64_t first = slice * SLICE;
        uint32_t columns = p->m - first < SLICE ? (uint32_t)(p->m - first) : SLICE;
        primitive_key key = slice_key(p, columns, r->depth);
        fill_tile(r->g, true, a_tile, p->type, r->a + first, p->m, r->filled, r->depth, columns);
        first_failure_note(
            &r->failure,
            primitive_run(r->g, &key, thread, a_tile, r->scratch, NULL, r->c + first * p->n, own, &error), &error);
    }
}

static levee_status run_slices(struct gemm *g, const reduction_product *p, uint32_t rows, const float *a,
                               const float *b, float *c, void *scratch, levee_error *error) {
    slice_run r = {
        .g = g, .product = p, .memory = slices_layout(g, p), .c = c, .scratch = scratch, .failure = {.error = error}};
    for (uint64_t done = 0; done < rows && r.failure.status == LEVEE_OK; done += r.filled) {
        uint32_t left = rows - (uint32_t)done;
        r.depth = next_depth(p, left);
        r.filled = left < r.depth ? left : r.depth;
        r.a = a + done * p->m;
        blocked_source piece = {.stored = DTYPE_F32,
                                .type = p->type,
                                .from = b + done * p->n,
                                .rows = r.filled,
                                .cols = p->n,
                                .stride = p->n};
        blocked_fill(g->state, &piece, r.depth, scratch);
        parallel_for_dynamic(g->state, NULL, (p->m + SLICE - 1) / SLICE, 1, run_slice, &r);
    }
    return (levee_status)r.failure.status;
}

/* --- either --- */

levee_status gemm_prepare_reduction(struct gemm *g, const reduction_product *product, levee_error *error) {
    return is_shared(g, product) ? prepare_slices(g, product, error) : prepare_tiles(g, product, error);
}

uint64_t gemm_reduction_scratch(struct gemm *g, const reduction_product *product) {
    if (gemm_prepare_reduction(g, product, NULL) != LEVEE_OK) return 0;
    if (is_shared(g, product)) {
        slices_memory m = slices_layout(g, product);
        return m.b + g->state->threads * m.thread;
    }
    tiling t = reduction_layout(g, product);
    return tiles_bytes(&t);
}

levee_status gemm_reduction(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
                            const float *b, float *c, void *scratch, levee_error *error) {
    if (is_shared(g, product)) return run_slices(g, product, rows, a, b, c, scratch, error);
    return run_tiles(g, product, rows, a, b, c, scratch, error);
}
