/* Matrix products over rows, tile by tile: see gemm.h. */
#include "backend/cpu/gemm.h"

#include "backend/cpu/gemm_tile.h"

static tiling row_tiling(const row_product *p) {
    tiling t = {.rows = p->rows,
                .copies_first = p->type != DTYPE_F32 || p->lda != p->k,
                .copies_second = p->ldc != p->n,
                .first_row_bytes = dtype_bytes(p->type, p->k),
                .second_row_bytes = p->n * sizeof(float)};
    choose_tiles(&t, UINT32_MAX, tile_scratch_bytes);
    return t;
}

static primitive_key row_key(const row_product *p, uint32_t tile) {
    return (primitive_key){.m = tile,
                           .n = p->n,
                           .k = p->k,
                           .b_transposed = p->b_transposed,
                           .accumulate = p->accumulate,
                           .bias = p->bias,
                           .type = p->type};
}

levee_status gemm_prepare_rows(struct gemm *g, const row_product *product, levee_error *error) {
    tiling t = row_tiling(product);
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = row_key(product, tile_ladder[i]);
        if (uses_tile(&t, tile_ladder[i])) status = primitive_prepare(g, &key, error);
    }
    return status;
}

/* The row product's tiling with oneDNN's own scratch. Only looks up, so that a run makes nothing. */
static tiling row_layout(const struct gemm *g, const row_product *p) {
    tiling t = row_tiling(p);
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        primitive_key key = row_key(p, tile_ladder[i]);
        uint64_t own = uses_tile(&t, tile_ladder[i]) ? align64(primitive_scratch(g, &key)) : 0;
        if (own > t.own_bytes) t.own_bytes = own;
    }
    return t;
}

uint64_t gemm_rows_scratch(struct gemm *g, const row_product *product) {
    if (gemm_prepare_rows(g, product, NULL) != LEVEE_OK) return 0;
    tiling t = row_layout(g, product);
    return tiles_bytes(&t);
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
} row_run;

static levee_status run_tile(const row_run *r, uint64_t row, uint32_t tile, uint32_t filled, levee_error *error) {
    const row_product *p = r->product;
    const tiling *t = &r->tiles;
    unsigned char *a_tile = r->scratch + t->own_bytes;
    float *c_tile = (float *)(void *)(a_tile + t->first_bytes), *c_rows = r->c + row * p->ldc;
    const float *a_rows = r->a + row * p->lda;
    primitive_key key = row_key(p, tile);
    bool copies_a = t->copies_first || filled < tile, copies_c = t->copies_second || filled < tile;
    if (copies_a) fill_tile(r->g, false, a_tile, p->type, a_rows, p->lda, filled, tile, p->k);
    if (copies_c && p->accumulate) fill_tile(r->g, false, c_tile, DTYPE_F32, c_rows, p->ldc, filled, tile, p->n);
    levee_status status = primitive_run(r->g, &key, 0, copies_a ? (const void *)a_tile : a_rows, r->b, r->bias,
                                        copies_c ? c_tile : c_rows, r->scratch, error);
    if (copies_c && status == LEVEE_OK) empty_tile(r->g, c_tile, c_rows, p->ldc, filled, p->n);
    return status;
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
                 .scratch = scratch};
    levee_status status = LEVEE_OK;
    for (uint32_t row = 0; row < rows && status == LEVEE_OK;) {
        uint32_t left = rows - row, tile = next_tile(&r.tiles, left), filled = left < tile ? left : tile;
        status = run_tile(&r, row, tile, filled, error);
        row += filled;
    }
    return status;
}

static primitive_key block_key(const block_product *p) {
    return (primitive_key){.m = p->m,
                           .n = p->n,
                           .k = p->k,
                           .accumulate = p->accumulate,
                           .b_blocked = !p->b_plain,
                           .b_transposed = p->b_transposed,
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
