/* oneDNN's primitives in a table: see gemm_primitive.h. Their memory objects are made with them and only get their
 * addresses at run time; so a run takes nothing but the few hundred bytes of oneDNN's own argument list. */
#include "backend/cpu/gemm_primitive.h"

#include <dnnl.h>
#include <string.h>

#include "backend/cpu/block_kernel.h"
#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "memory/region.h"
#include "platform/process.h"

enum { TABLE_SLOTS = 4096 };

/* Held bytes of one primitive with its generated code and memory objects, measured as the growth of anonymous memory
 * over hundreds of them: 31 to 89 KiB for the tile kernels, 4 to 16 KiB where oneDNN reuses one general kernel. */
static const int64_t tile_primitive_bytes = 72 * 1024, general_primitive_bytes = 16 * 1024;

/* Memory objects of one primitive and one thread, estimated from above. */
static const int64_t thread_objects_bytes = 2 * 1024;

/* What a call is taken to need inside where the kernel does not tell: oneDNN's AVX2 products were seen to take this
 * much for a thread. */
static const uint64_t unmeasured_thread_bytes = 1024 * 1024;

enum { ARGUMENTS = 5 };

typedef struct primitive {
    primitive_key key;
    dnnl_primitive_t run;  /* NULL: a free slot */
    dnnl_memory_t *memory; /* a, b, bias, c, scratchpad; of each thread that may call */
    unsigned callers;
    bool is_tile_kernel; /* one of oneDNN's better kernels */
    uint64_t scratch_bytes;
    int64_t booked_bytes;
    bool settled; /* was run once, and what it takes inside was measured */
} primitive;

void omp_set_num_threads(int threads);

levee_status gemm_open(struct gemm **result, const struct backend_state *state, levee_error *error) {
    *result = NULL;
    struct gemm *g = ledger_alloc(LEVEE_RUNTIME, sizeof *g);
    if (g) g->table = ledger_alloc_array(LEVEE_RUNTIME, TABLE_SLOTS, sizeof *g->table);
    if (!g || !g->table) {
        ledger_free(g);
        return error_out_of_memory(error, "the table of matrix products", TABLE_SLOTS * sizeof(primitive));
    }
    g->state = state;
    g->streams = ledger_alloc_array(LEVEE_RUNTIME, state->threads, sizeof(dnnl_stream_t));
    if (!g->streams) {
        gemm_close(g);
        return error_out_of_memory(error, "streams of matrix products", state->threads * sizeof(dnnl_stream_t));
    }
    omp_set_num_threads((int)state->threads);
    dnnl_set_primitive_cache_capacity(0); /* the table holds what is needed; a second copy would be unbooked */
    dnnl_status_t status = dnnl_engine_create(&g->engine, dnnl_cpu, 0);
    for (unsigned i = 0; i < state->threads && status == dnnl_success; i++)
        status = dnnl_stream_create(&g->streams[i], g->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        gemm_close(g);
        return error_set(error, LEVEE_INTERNAL, "oneDNN cannot be started on this processor");
    }
    *result = g;
    return LEVEE_OK;
}

static void primitive_close(primitive *p) {
    if (p->run) dnnl_primitive_destroy(p->run);
    for (unsigned i = 0; p->memory && i < ARGUMENTS * p->callers; i++)
        if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
    ledger_free(p->memory);
    ledger_book(LEVEE_RUNTIME, -p->booked_bytes);
    memset(p, 0, sizeof *p);
}

void gemm_clear(struct gemm *g) {
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) primitive_close(&g->table[i]);
    ledger_book(LEVEE_RUNTIME, -(int64_t)g->inside_bytes);
    g->inside_bytes = 0;
    g->refused = false;
}

void gemm_close(struct gemm *g) {
    if (!g) return;
    gemm_clear(g);
    for (unsigned i = 0; g->streams && i < g->state->threads; i++)
        if (g->streams[i]) dnnl_stream_destroy(g->streams[i]);
    ledger_free(g->streams);
    if (g->engine) dnnl_engine_destroy(g->engine);
    ledger_free(g->table);
    ledger_free(g);
}

static bool same_key(const primitive_key *a, const primitive_key *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->a_transposed == b->a_transposed &&
           a->b_transposed == b->b_transposed && a->accumulate == b->accumulate && a->bias == b->bias &&
           a->b_blocked == b->b_blocked && a->single == b->single && a->type == b->type;
}

/* The slot of a key, or the free slot where it belongs; NULL when the table is full. */
static primitive *find_slot(const struct gemm *g, const primitive_key *key) {
    const uint64_t parts[] = {
        key->m,          key->n,    key->k,         key->a_transposed, key->b_transposed,
        key->accumulate, key->bias, key->b_blocked, key->single,       key->type,
    };
    uint64_t hash = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) hash = (hash ^ parts[i]) * 0x9e3779b97f4a7c15ull;
    for (uint32_t probe = 0; probe < TABLE_SLOTS; probe++) {
        primitive *p = &g->table[((hash >> 32) + probe) % TABLE_SLOTS];
        if (!p->run || same_key(&p->key, key)) return p;
    }
    return NULL;
}

static void describe_matrix(dnnl_memory_desc_t *d, uint32_t rows, uint32_t cols, bool transposed,
                            dnnl_data_type_t type) {
    dnnl_dims_t sizes = {rows, cols};
    dnnl_dims_t strides = {transposed ? 1 : (dnnl_dim_t)cols, transposed ? (dnnl_dim_t)rows : 1};
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

static void book_primitive(primitive *p, dnnl_primitive_desc_t described) {
    const char *implementation = "";
    dnnl_primitive_desc_query(described, dnnl_query_impl_info_str, 0, &implementation);
    p->is_tile_kernel = !strncmp(implementation, "brg", 3);
    p->booked_bytes = p->is_tile_kernel ? tile_primitive_bytes : general_primitive_bytes;
    p->booked_bytes += (p->callers - 1) * thread_objects_bytes;
    ledger_book(LEVEE_RUNTIME, p->booked_bytes);
}

/* The memory objects of each thread that may call, without addresses. */
static dnnl_status_t make_objects(const struct gemm *g, primitive *p, const dnnl_memory_desc_t d[ARGUMENTS]) {
    p->memory = ledger_alloc_array(LEVEE_RUNTIME, ARGUMENTS * p->callers, sizeof *p->memory);
    if (!p->memory) return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_success;
    for (unsigned i = 0; i < ARGUMENTS * p->callers && status == dnnl_success; i++)
        status = dnnl_memory_create(&p->memory[i], &d[i % ARGUMENTS], g->engine, DNNL_MEMORY_NONE);
    return status;
}

/* Fills a free slot; oneDNN's own status, so that "no bf16 here" can be told from a failure. */
static dnnl_status_t primitive_make(struct gemm *g, primitive *p, const primitive_key *key) {
    dnnl_data_type_t type = key->type == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t d[ARGUMENTS];
    describe_matrix(&d[0], key->m, key->k, key->a_transposed, type);
    if (key->b_blocked)
        dnnl_memory_desc_init_by_tag(&d[1], 2, (dnnl_dims_t){key->k, key->n}, type,
                                     key->type == DTYPE_BF16 ? dnnl_BA16a64b2a : dnnl_BA16a64b);
    else
        describe_matrix(&d[1], key->k, key->n, key->b_transposed, type);
    describe_matrix(&d[2], 1, key->n, false, dnnl_f32);
    describe_matrix(&d[3], key->m, key->n, false, dnnl_f32);
    dnnl_matmul_desc_t product;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t described = NULL;
    omp_set_num_threads(key->single ? 1 : (int)g->state->threads); /* a primitive is made for a number of threads */
    dnnl_status_t status = dnnl_matmul_desc_init(&product, &d[0], &d[1], key->bias ? &d[2] : NULL, &d[3]);
    if (status == dnnl_success) status = make_attributes(&attributes, key->accumulate);
    if (status == dnnl_success)
        status = dnnl_primitive_desc_create(&described, &product, attributes, g->engine, NULL);
    if (status == dnnl_success) status = dnnl_primitive_create(&p->run, described);
    if (status == dnnl_success) {
        d[4] = *dnnl_primitive_desc_query_md(described, dnnl_query_scratchpad_md, 0);
        p->scratch_bytes = dnnl_memory_desc_get_size(&d[4]);
        p->key = *key;
        p->callers = key->single ? g->state->threads : 1;
        book_primitive(p, described);
        status = make_objects(g, p, d);
    }
    omp_set_num_threads((int)g->state->threads);
    if (described) dnnl_primitive_desc_destroy(described);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    if (status != dnnl_success) primitive_close(p);
    return status;
}

/* Are products of this type that read the blocked order ours, not oneDNN's? */
static bool ours_reads_blocked(const struct gemm *g, dtype type) {
    return type == DTYPE_F32 && block_kernel_serves(g->state->instructions);
}

static bool is_own(const struct gemm *g, const primitive_key *key) {
    return key->b_blocked && ours_reads_blocked(g, key->type);
}

levee_status primitive_prepare(struct gemm *g, const primitive_key *key, levee_error *error) {
    if (is_own(g, key)) return LEVEE_OK;
    primitive *p = find_slot(g, key);
    if (!p) return error_set(error, LEVEE_INTERNAL, "matrix products: more than %d primitives", (int)TABLE_SLOTS);
    if (p->run && !g->refused) return LEVEE_OK;
    dnnl_status_t status = g->refused ? dnnl_out_of_memory : primitive_make(g, p, key);
    if (status == dnnl_success) return LEVEE_OK;
    g->refused = true;
    if (status == dnnl_out_of_memory)
        return error_out_of_memory(error, "a matrix product", (uint64_t)tile_primitive_bytes);
    return error_set(error, LEVEE_INTERNAL, "oneDNN has no product of %u x %u x %u in %s (status %d)", key->m, key->n,
                     key->k, dtype_describe(key->type)->name, (int)status);
}

uint64_t primitive_scratch(const struct gemm *g, const primitive_key *key) {
    const primitive *p = find_slot(g, key);
    return p && p->run ? p->scratch_bytes : 0;
}

/* oneDNN takes every address as one that it may write to. */
static void *writable(const void *address) {
    union {
        const void *in;
        void *out;
    } both = {.in = address};
    return both.out;
}

levee_status primitive_run(const struct gemm *g, const primitive_key *key, unsigned thread, const void *a,
                           const void *b, const float *bias, float *c, void *scratch, levee_error *error) {
    if (is_own(g, key)) {
        block_kernel_run(&(block_operands){.m = key->m,
                                           .n = key->n,
                                           .k = key->k,
                                           .a_transposed = key->a_transposed,
                                           .accumulate = key->accumulate,
                                           .a = a,
                                           .b = b,
                                           .c = c});
        return LEVEE_OK;
    }
    static const int names[ARGUMENTS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST,
                                         DNNL_ARG_SCRATCHPAD};
    void *const addresses[ARGUMENTS] = {writable(a), writable(b), writable(bias), c, scratch};
    const primitive *p = find_slot(g, key);
    if (!p || !p->run)
        return error_set(error, LEVEE_INTERNAL, "a product of %u x %u x %u was not prepared", key->m, key->n, key->k);
    dnnl_exec_arg_t arguments[ARGUMENTS];
    const dnnl_memory_t *memory = p->memory + (key->single ? thread * ARGUMENTS : 0);
    int count = 0;
    dnnl_status_t status = dnnl_success;
    for (unsigned i = 0; i < ARGUMENTS && status == dnnl_success; i++) {
        if (names[i] == DNNL_ARG_BIAS && !key->bias) continue;
        arguments[count++] = (dnnl_exec_arg_t){names[i], memory[i]};
        status = dnnl_memory_set_data_handle(memory[i], addresses[i]);
    }
    /* The setting belongs to the calling thread; only the tile kernels remember for how many they were made. */
    if (!key->single || !p->is_tile_kernel) omp_set_num_threads(key->single ? 1 : (int)g->state->threads);
    if (status == dnnl_success) status = dnnl_primitive_execute(p->run, g->streams[thread], count, arguments);
    if (status == dnnl_success) status = dnnl_stream_wait(g->streams[thread]);
    if (status == dnnl_success) return LEVEE_OK;
    return error_set(error, status == dnnl_out_of_memory ? LEVEE_DOES_NOT_FIT : LEVEE_INTERNAL,
                     "oneDNN failed on a product of %u x %u x %u (status %d)", key->m, key->n, key->k, (int)status);
}

bool gemm_has_bf16(struct gemm *g) {
    primitive_key key = {.m = 32, .n = 32, .k = 32, .type = DTYPE_BF16};
    primitive *p = find_slot(g, &key);
    return p && (p->run || primitive_make(g, p, &key) == dnnl_success);
}

bool gemm_reads_blocked(struct gemm *g, dtype type) {
    if (ours_reads_blocked(g, type)) return true;
    if (g->state->instructions != INSTRUCTIONS_AVX512) return false; /* so tests see what other processors do */
    if (g->blocked_types[type] == BLOCKED_UNKNOWN) {
        primitive_key key = {.m = 32, .n = 64, .k = 64, .b_blocked = true, .single = true, .type = type};
        primitive *p = find_slot(g, &key);
        bool there = p && p->run;
        dnnl_status_t status = !p ? dnnl_unimplemented : there ? dnnl_success : primitive_make(g, p, &key);
        if (status == dnnl_out_of_memory) { /* not the processor's fault: no other order is to be taken for it */
            g->refused = true;
            return false;
        }
        g->blocked_types[type] = status == dnnl_success && p->is_tile_kernel ? BLOCKED_READ : BLOCKED_NOT_READ;
        if (status == dnnl_success && !there) primitive_close(p);
    }
    return g->blocked_types[type] == BLOCKED_READ;
}

static void book_inside(struct gemm *g, uint64_t bytes) {
    if (bytes <= g->inside_bytes) return;
    ledger_book(LEVEE_RUNTIME, (int64_t)(bytes - g->inside_bytes));
    g->inside_bytes = bytes;
}

/* The floats of the largest operand that is only read. */
static uint64_t read_floats(const primitive_key *k) {
    uint64_t a = (uint64_t)k->m * k->k, b = (uint64_t)k->k * k->n;
    if (k->b_blocked) b = blocked_bytes(DTYPE_F32, k->k + 16u, k->n) / sizeof(float); /* bf16 is filled up to 32 */
    uint64_t largest = a > b ? a : b;
    return k->n > largest ? k->n : largest;
}

/* Runs a primitive on zeros. */
static levee_status settle(struct gemm *g, primitive *p, const void *zeros, levee_error *error) {
    const primitive_key *k = &p->key;
    uint64_t c_bytes = (uint64_t)k->m * k->n * sizeof(float), resident, rise;
    float *c = ledger_alloc(LEVEE_RUNTIME, c_bytes);
    void *scratch = ledger_alloc(LEVEE_RUNTIME, p->scratch_bytes);
    levee_status status = LEVEE_OK;
    if (!c || !scratch) status = error_out_of_memory(error, "a first matrix product", c_bytes + p->scratch_bytes);
    /* The first run takes what stays; the second shows what comes and goes. */
    for (unsigned run = 0; run < 2 && status == LEVEE_OK; run++) {
        bool known = process_rise_begin(&resident);
        status = primitive_run(g, k, 0, zeros, zeros, zeros, c, scratch, error);
        if (status != LEVEE_OK || !run) continue;
        if (!known || !process_rise_end(resident, &rise))
            rise = unmeasured_thread_bytes * g->state->threads;
        else if (!p->is_tile_kernel)
            rise *= p->callers; /* all may call at once */
        book_inside(g, rise);
    }
    ledger_free(c);
    ledger_free(scratch);
    p->settled = status == LEVEE_OK;
    return status;
}

/* All read the same zeros: memory that may be read wherever nothing was written, and so takes none, but each page of
 * it a fault. */
levee_status gemm_settle(struct gemm *g, uint64_t *inside_bytes, levee_error *error) {
    uint64_t floats = 0;
    if (g->refused) return error_out_of_memory(error, "a matrix product", (uint64_t)tile_primitive_bytes);
    for (uint32_t i = 0; i < TABLE_SLOTS; i++)
        if (g->table[i].run && !g->table[i].settled && read_floats(&g->table[i].key) > floats)
            floats = read_floats(&g->table[i].key);
    region zeros = {0};
    levee_status status = floats ? region_open(&zeros, floats * sizeof(float), error) : LEVEE_OK;
    if (status == LEVEE_OK && floats) status = region_commit(&zeros, floats * sizeof(float), error);
    for (uint32_t i = 0; i < TABLE_SLOTS && status == LEVEE_OK; i++)
        if (g->table[i].run && !g->table[i].settled) status = settle(g, &g->table[i], zeros.base, error);
    region_close(&zeros);
    *inside_bytes = g->inside_bytes;
    return status;
}
