/* Matrix products by oneDNN: see gemm.h. */
#include "backend/cpu/gemm.h"

#include <dnnl.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

enum { LADDER_STEPS = 4, TABLE_SLOTS = 4096 };
static const uint32_t ladder[LADDER_STEPS] = {512, 128, 32, 8};

/* What makes two primitives the same. */
typedef struct primitive_key {
    uint32_t m, n, k;
    uint64_t lda, ldb, ldc;
    bool a_transposed, b_transposed, accumulate;
    dtype type;
} primitive_key;

typedef struct primitive {
    primitive_key key;
    dnnl_primitive_t run; /* NULL: a free slot */
    dnnl_memory_t a, b, c, scratchpad;
    uint64_t scratch_bytes;
} primitive;

struct gemm {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    primitive *table; /* open addressing */
    uint32_t count;
};

void omp_set_num_threads(int threads);

levee_status gemm_open(struct gemm **result, unsigned threads, levee_error *error) {
    struct gemm *g = ledger_alloc(LEVEE_RUNTIME, sizeof *g);
    *result = NULL;
    if (g) g->table = ledger_alloc_array(LEVEE_RUNTIME, TABLE_SLOTS, sizeof *g->table);
    if (!g || !g->table) {
        ledger_free(g);
        return error_out_of_memory(error, "the table of matrix products", TABLE_SLOTS * sizeof(primitive));
    }
    omp_set_num_threads((int)threads);
    dnnl_set_primitive_cache_capacity(0); /* the table holds what is needed; a second copy would be unbooked */
    if (dnnl_engine_create(&g->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&g->stream, g->engine, dnnl_stream_default_flags) != dnnl_success) {
        gemm_close(g);
        return error_set(error, LEVEE_INTERNAL, "oneDNN cannot be started on this processor");
    }
    *result = g;
    return LEVEE_OK;
}

static void primitive_close(primitive *p) {
    if (p->run) dnnl_primitive_destroy(p->run);
    if (p->a) dnnl_memory_destroy(p->a);
    if (p->b) dnnl_memory_destroy(p->b);
    if (p->c) dnnl_memory_destroy(p->c);
    if (p->scratchpad) dnnl_memory_destroy(p->scratchpad);
    memset(p, 0, sizeof *p);
}

void gemm_close(struct gemm *g) {
    if (!g) return;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) primitive_close(&g->table[i]);
    if (g->stream) dnnl_stream_destroy(g->stream);
    if (g->engine) dnnl_engine_destroy(g->engine);
    ledger_free(g->table);
    ledger_free(g);
}

static bool same_key(const primitive_key *a, const primitive_key *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc &&
           a->a_transposed == b->a_transposed && a->b_transposed == b->b_transposed &&
           a->accumulate == b->accumulate && a->type == b->type;
}

/* The slot of a key, or the free slot where it belongs; NULL when the table is full. */
static primitive *find_slot(struct gemm *g, const primitive_key *key) {
    uint64_t hash = key->m;
    const uint64_t parts[] = {key->n,  key->k, key->lda, key->ldb, key->ldc, key->a_transposed, key->b_transposed,
                              key->accumulate, key->type};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15ull;
    for (uint32_t probe = 0; probe < TABLE_SLOTS; probe++) {
        primitive *p = &g->table[((hash >> 32) + probe) % TABLE_SLOTS];
        if (!p->run || same_key(&p->key, key)) return p;
    }
    return NULL;
}

static void describe(dnnl_memory_desc_t *d, uint32_t rows, uint32_t cols, uint64_t leading, bool transposed,
                     dnnl_data_type_t type) {
    dnnl_dims_t sizes = {rows, cols};
    dnnl_dims_t strides = {transposed ? 1 : (dnnl_dim_t)leading, transposed ? (dnnl_dim_t)leading : 1};
    dnnl_memory_desc_init_by_strides(d, 2, sizes, type, strides);
}

static dnnl_status_t make_attributes(dnnl_primitive_attr_t *attributes, bool accumulate) {
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !accumulate) return status;
    dnnl_post_ops_t sum;
    status = dnnl_post_ops_create(&sum);
    if (status != dnnl_success) return status;
    status = dnnl_post_ops_append_sum(sum, 1.0f);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attributes, sum);
    dnnl_post_ops_destroy(sum);
    return status;
}

/* Fills a slot; oneDNN's own status, so that "no bf16 here" can be told from a failure. */
static dnnl_status_t primitive_make(struct gemm *g, primitive *p, const primitive_key *key) {
    dnnl_data_type_t type = key->type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t a, b, c;
    describe(&a, key->m, key->k, key->lda, key->a_transposed, type);
    describe(&b, key->k, key->n, key->ldb, key->b_transposed, type);
    describe(&c, key->m, key->n, key->ldc, false, dnnl_f32);
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t described = NULL;
    dnnl_status_t status = dnnl_matmul_desc_init(&product, &a, &b, NULL, &c);
    if (status == dnnl_success) status = make_attributes(&attributes, key->accumulate);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(&described, &product, attributes, g->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&p->run, described);
    if (status == dnnl_success) {
        const dnnl_memory_desc_t *scratchpad = dnnl_primitive_desc_query_md(described, dnnl_query_scratchpad_md, 0);
        p->scratch_bytes = dnnl_memory_desc_get_size(scratchpad);
        status = dnnl_memory_create(&p->scratchpad, scratchpad, g->engine, DNNL_MEMORY_NONE);
    }
    if (status == dnnl_success) status = dnnl_memory_create(&p->a, &a, g->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->b, &b, g->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->c, &c, g->engine, DNNL_MEMORY_NONE);
    if (described) dnnl_primitive_desc_destroy(described);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    p->key = *key;
    if (status != dnnl_success) primitive_close(p);
    return status;
}

static levee_status prepare(struct gemm *g, const primitive_key *key, levee_error *error) {
    primitive *p = find_slot(g, key);
    if (!p) return error_set(error, LEVEE_INTERNAL, "the table of matrix products is full");
    if (p->run) return LEVEE_OK;
    if (primitive_make(g, p, key) == dnnl_success) return LEVEE_OK;
    return error_set(error, LEVEE_INTERNAL, "oneDNN has no product of %u x %u x %u in %s", key->m, key->n, key->k,
                     dtype_describe(key->type)->name);
}

static uint64_t align64(uint64_t bytes) { return (bytes + 63) & ~63ull; }

/* oneDNN's own scratch for a key; the primitive is made when it is not there yet. */
static uint64_t own_scratch(struct gemm *g, const primitive_key *key) {
    if (prepare(g, key, NULL) != LEVEE_OK) return 0; /* gemm_prepare_* says why */
    return align64(find_slot(g, key)->scratch_bytes);
}

static levee_status run(struct gemm *g, const primitive_key *key, const void *a, const void *b, float *c, void *scratch,
                        levee_error *error) {
    primitive *p = find_slot(g, key);
    if (!p || !p->run)
        return error_set(error, LEVEE_INTERNAL, "a product of %u x %u x %u was not prepared", key->m, key->n, key->k);
    union {
        const void *source;
        void *data;
    } left = {.source = a}, right = {.source = b};
    dnnl_memory_set_data_handle(p->a, left.data);
    dnnl_memory_set_data_handle(p->b, right.data);
    dnnl_memory_set_data_handle(p->c, c);
    dnnl_memory_set_data_handle(p->scratchpad, scratch);
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p->a},
                                   {DNNL_ARG_WEIGHTS, p->b},
                                   {DNNL_ARG_DST, p->c},
                                   {DNNL_ARG_SCRATCHPAD, p->scratchpad}};
    dnnl_status_t status = dnnl_primitive_execute(p->run, g->stream, 4, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(g->stream);
    if (status == dnnl_success) return LEVEE_OK;
    return error_set(error, status == dnnl_out_of_memory ? LEVEE_DOES_NOT_FIT : LEVEE_INTERNAL,
                     "oneDNN failed on a product of %u x %u x %u (status %d)", key->m, key->n, key->k, (int)status);
}

bool gemm_has_bf16(struct gemm *g) {
    primitive_key key = {.m = 32, .n = 32, .k = 32, .lda = 32, .ldb = 32, .ldc = 32, .type = DTYPE_BF16};
    return prepare(g, &key, NULL) == LEVEE_OK;
}

/* Where the tiles of a product lie in its scratch: oneDNN's own first, then a's tile, then c's. */
typedef struct tile_scratch {
    uint64_t own, a, c;
} tile_scratch;

static primitive_key row_key(const row_product *p, uint32_t tile, bool through_scratch) {
    bool converted = p->type != DTYPE_F32;
    return (primitive_key){.m = tile,
                           .n = p->n,
                           .k = p->k,
                           .lda = through_scratch || converted ? p->k : p->lda,
                           .ldb = p->ldb,
                           .ldc = through_scratch ? p->n : p->ldc,
                           .b_transposed = p->b_transposed,
                           .accumulate = p->accumulate,
                           .type = p->type};
}

/* The tile for the next `rows` rows: the largest that they fill, or the smallest, which they do not. */
static uint32_t next_tile(uint32_t rows) {
    for (unsigned i = 0; i < LADDER_STEPS; i++)
        if (rows >= ladder[i]) return ladder[i];
    return ladder[LADDER_STEPS - 1];
}

levee_status gemm_prepare_rows(struct gemm *g, const row_product *product, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = row_key(product, ladder[i], false);
        status = prepare(g, &key, error);
    }
    primitive_key last = row_key(product, ladder[LADDER_STEPS - 1], true);
    return status == LEVEE_OK ? prepare(g, &last, error) : status;
}

static tile_scratch row_scratch(struct gemm *g, const row_product *p) {
    tile_scratch s = {0};
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        primitive_key key = row_key(p, ladder[i], false);
        uint64_t own = own_scratch(g, &key);
        if (own > s.own) s.own = own;
    }
    primitive_key last = row_key(p, ladder[LADDER_STEPS - 1], true);
    uint64_t own = own_scratch(g, &last);
    if (own > s.own) s.own = own;
    uint32_t a_rows = p->type == DTYPE_F32 ? ladder[LADDER_STEPS - 1] : ladder[0];
    s.a = align64(dtype_bytes(p->type, (uint64_t)a_rows * p->k));
    s.c = align64((uint64_t)ladder[LADDER_STEPS - 1] * p->n * sizeof(float));
    return s;
}

uint64_t gemm_rows_scratch(struct gemm *g, const row_product *product) {
    tile_scratch s = row_scratch(g, product);
    return s.own + s.a + s.c;
}

/* Copies `rows` rows of `cols` f32 into a dense tile of `tile_rows` rows in the type of the product, zeros below. */
static void fill_tile(void *tile, dtype type, const float *from, uint64_t leading, uint32_t rows, uint32_t tile_rows,
                      uint64_t cols) {
    unsigned char *to = tile;
    uint64_t row_bytes = dtype_bytes(type, cols);
    for (uint32_t r = 0; r < rows; r++) dtype_convert(type, to + r * row_bytes, DTYPE_F32, from + r * leading, cols);
    memset(to + rows * row_bytes, 0, (tile_rows - rows) * row_bytes);
}

levee_status gemm_rows(struct gemm *g, const row_product *product, uint32_t rows, const float *a, const void *b,
                       float *c, void *scratch, levee_error *error) {
    tile_scratch layout = row_scratch(g, product);
    unsigned char *own = scratch, *a_tile = own + layout.own;
    float *c_tile = (float *)(void *)(a_tile + layout.a);
    levee_status status = LEVEE_OK;
    for (uint32_t done = 0; done < rows && status == LEVEE_OK;) {
        uint32_t tile = next_tile(rows - done), filled = rows - done < tile ? rows - done : tile;
        const float *a_rows = a + done * product->lda;
        float *c_rows = c + done * product->ldc;
        primitive_key key = row_key(product, tile, filled < tile);
        if (filled < tile) {
            fill_tile(a_tile, product->type, a_rows, product->lda, filled, tile, product->k);
            if (product->accumulate) fill_tile(c_tile, DTYPE_F32, c_rows, product->ldc, filled, tile, product->n);
            status = run(g, &key, a_tile, b, c_tile, own, error);
            for (uint32_t r = 0; r < filled; r++)
                memcpy(c_rows + r * product->ldc, c_tile + (uint64_t)r * product->n, product->n * sizeof(float));
        } else if (product->type != DTYPE_F32) {
            fill_tile(a_tile, product->type, a_rows, product->lda, tile, tile, product->k);
            status = run(g, &key, a_tile, b, c_rows, own, error);
        } else {
            status = run(g, &key, a_rows, b, c_rows, own, error);
        }
        done += filled;
    }
    return status;
}

static primitive_key reduction_key(const reduction_product *p, uint32_t tile, bool through_scratch) {
    bool dense = through_scratch || p->type != DTYPE_F32;
    return (primitive_key){.m = p->m,
                           .n = p->n,
                           .k = tile,
                           .lda = dense ? p->m : p->lda,
                           .ldb = dense ? p->n : p->ldb,
                           .ldc = p->ldc,
                           .a_transposed = true,
                           .accumulate = true,
                           .type = p->type};
}

levee_status gemm_prepare_reduction(struct gemm *g, const reduction_product *product, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < LADDER_STEPS && status == LEVEE_OK; i++) {
        primitive_key key = reduction_key(product, ladder[i], false);
        status = prepare(g, &key, error);
    }
    primitive_key last = reduction_key(product, ladder[LADDER_STEPS - 1], true);
    return status == LEVEE_OK ? prepare(g, &last, error) : status;
}

static tile_scratch reduction_scratch(struct gemm *g, const reduction_product *p) {
    tile_scratch s = {0};
    for (unsigned i = 0; i <= LADDER_STEPS; i++) {
        bool last = i == LADDER_STEPS;
        primitive_key key = reduction_key(p, ladder[last ? LADDER_STEPS - 1 : i], last);
        uint64_t own = own_scratch(g, &key);
        if (own > s.own) s.own = own;
    }
    uint32_t rows = p->type == DTYPE_F32 ? ladder[LADDER_STEPS - 1] : ladder[0];
    s.a = align64(dtype_bytes(p->type, (uint64_t)rows * p->m));
    s.c = align64(dtype_bytes(p->type, (uint64_t)rows * p->n)); /* b's tile takes the place of c's */
    return s;
}

uint64_t gemm_reduction_scratch(struct gemm *g, const reduction_product *product) {
    tile_scratch s = reduction_scratch(g, product);
    return s.own + s.a + s.c;
}

levee_status gemm_reduction(struct gemm *g, const reduction_product *product, uint32_t rows, const float *a,
                            const float *b, float *c, void *scratch, levee_error *error) {
    tile_scratch layout = reduction_scratch(g, product);
    unsigned char *own = scratch, *a_tile = own + layout.own, *b_tile = a_tile + layout.a;
    levee_status status = LEVEE_OK;
    for (uint32_t done = 0; done < rows && status == LEVEE_OK;) {
        uint32_t tile = next_tile(rows - done), filled = rows - done < tile ? rows - done : tile;
        const float *a_rows = a + done * product->lda, *b_rows = b + done * product->ldb;
        primitive_key key = reduction_key(product, tile, filled < tile);
        if (filled < tile || product->type != DTYPE_F32) {
            fill_tile(a_tile, product->type, a_rows, product->lda, filled, tile, product->m);
            fill_tile(b_tile, product->type, b_rows, product->ldb, filled, tile, product->n);
            status = run(g, &key, a_tile, b_tile, c, own, error);
        } else {
            status = run(g, &key, a_rows, b_rows, c, own, error);
        }
        done += filled;
    }
    return status;
}
