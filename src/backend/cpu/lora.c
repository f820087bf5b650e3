/* LoRA: y = add + scale * u B^T with u = drop(x) A^T, and its gradients. y and dx are overwritten, or added to when
 * `add` is given; the gradients of A and B are added to. Works on blocks of rows, so that its scratch does not grow
 * with the capacity. Always in f32: the products are small and their sums feed the optimizer. */
#include <math.h>
#include <string.h>

#include "backend/cpu/gemm.h"
#include "backend/cpu/vector.h"
#include "base/random.h"

enum { BLOCK_ROWS = 128 };

/* The products of an adapter of rank r between `in` and `out` features. The gradient of B is made transposed, [r,
 * out], in scratch: oneDNN takes a third of the time for that shape, and a thirtieth of the scratch. */
typedef struct lora_products {
    uint64_t rank, in, out;
    uint32_t rows;                                       /* of a block */
    row_product inner;                                   /* u = x A^T */
    row_product outer;                                   /* y (+)= (scale u) B^T */
    row_product inner_gradient;                          /* du = dy B */
    row_product input_gradient;                          /* dx (+)= du A */
    reduction_product gradient_a, gradient_b_transposed; /* += du^T x, += (scale u)^T dy */
} lora_products;

static lora_products describe(uint64_t capacity, uint64_t in, uint64_t out, uint64_t rank) {
    uint32_t r = (uint32_t)rank, n_in = (uint32_t)in, n_out = (uint32_t)out;
    uint32_t rows = capacity < BLOCK_ROWS ? (uint32_t)capacity : BLOCK_ROWS;
    return (lora_products){
        .rank = rank,
        .in = in,
        .out = out,
        .rows = rows,
        .inner = {.rows = rows, .n = r, .k = n_in, .lda = in, .ldc = rank, .b_transposed = true},
        .outer = {.rows = rows, .n = n_out, .k = r, .lda = rank, .ldc = out, .b_transposed = true},
        .inner_gradient = {.rows = rows, .n = r, .k = n_out, .lda = out, .ldc = rank},
        .input_gradient = {.rows = rows, .n = n_in, .k = r, .lda = rank, .ldc = in},
        .gradient_a = {.rows = rows, .m = r, .n = n_in},
        .gradient_b_transposed = {.rows = rows, .m = r, .n = n_out},
    };
}

static bool drops(const kernel_call *call) { return call->parameters->dropout > 0; }

static lora_products forward_products(const kernel_call *call) {
    lora_products p = describe(call->in[0].rows, call->in[0].cols, call->out[0].cols, call->in[1].rows);
    p.outer.accumulate = call->in[3].present;
    return p;
}

/* With dropout, du A is made in scratch, and masked on its way into dx. */
static lora_products backward_products(const kernel_call *call) {
    lora_products p = describe(call->in[0].rows, call->in[1].cols, call->in[0].cols, call->in[3].rows);
    p.input_gradient.accumulate = call->in[5].present && !drops(call);
    return p;
}

/* One block of rows whose elements are dropped by their random numbers: to = keep ? from / (1 - dropout) : 0, or to
 * += that.
 *
 * The key mixes seed and step; the counter is example, position, site and a number within the row. Of each 64
 * features, feature i takes word i / 16 of counter i % 16, so that a group of 16 counters is computed in vectors and
 * stored as is. */
typedef struct dropping {
    uint64_t key;
    uint32_t site, threshold; /* words below the threshold drop */
    float factor;
    const int32_t *examples, *positions; /* of the block's rows */
    const float *from;
    float *to;
    uint64_t cols;
    bool add;
    instruction_set instructions;
} dropping;

enum { GROUP_COUNTERS = 16, GROUP_FEATURES = 4 * GROUP_COUNTERS };

VECTOR_INLINE void drop_group(const dropping *d, uint64_t row, uint64_t first, uint64_t count) {
    uint32_t words[GROUP_FEATURES];
    uint32_t example = (uint32_t)d->examples[row], position = (uint32_t)d->positions[row];
    for (uint32_t i = 0; i < GROUP_COUNTERS; i++) {
        random_block block = random_philox(d->key, example, position, d->site, (uint32_t)(first / 4) + i);
        for (uint32_t k = 0; k < 4; k++) words[k * GROUP_COUNTERS + i] = block.words[k];
    }
    const float *from = d->from + row * d->cols + first;
    float *to = d->to + row * d->cols + first;
    if (d->add)
        for (uint64_t i = 0; i < count; i++) to[i] += words[i] >= d->threshold ? from[i] * d->factor : 0.0f;
    else
        for (uint64_t i = 0; i < count; i++) to[i] = words[i] >= d->threshold ? from[i] * d->factor : 0.0f;
}

VECTOR_INLINE void drop_body(dropping *d, uint64_t begin, uint64_t end) {
    for (uint64_t row = begin; row < end; row++) {
        uint64_t i = 0;
        for (; i + GROUP_FEATURES <= d->cols; i += GROUP_FEATURES) drop_group(d, row, i, GROUP_FEATURES);
        if (i < d->cols) drop_group(d, row, i, d->cols - i);
    }
}
VECTOR_PATHS(drop, dropping)

static void drop_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    dropping *d = context;
    (void)thread;
    drop(d->instructions, d, begin, end);
}

static void drop_block(const struct backend_state *state, const kernel_call *call, const kernel_buffer *examples,
                       const kernel_buffer *positions, uint64_t row, uint32_t rows, const float *from, float *to,
                       uint64_t cols, bool add) {
    const pass_scalars *pass = call->pass;
    random_block key = random_philox(pass->seed, pass->step, 0x41526f4c, 0, 0); /* "LoRA" */
    dropping d = {.key = key.words[0] | (uint64_t)key.words[1] << 32,
                  .site = call->parameters->site,
                  .threshold = (uint32_t)ceil(call->parameters->dropout * 0x1p32),
                  .factor = 1.0f / (1.0f - call->parameters->dropout),
                  .examples = (const int32_t *)examples->data + row,
                  .positions = (const int32_t *)positions->data + row,
                  .from = from,
                  .to = to,
                  .cols = cols,
                  .add = add,
                  .instructions = state->instructions};
    parallel_for(state, rows, 4, drop_range, &d);
}

static void scale_block(float *to, const float *from, float scale, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) to[i] = scale * from[i];
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t floats_bytes(uint64_t rows, uint64_t cols) { return (rows * cols * sizeof(float) + 63) & ~63ull; }

/* Where the blocks of scratch lie, in bytes from its start. `own` is that of the products. */
typedef struct lora_memory {
    uint64_t scaled, inner, wide, gradient_b, own;
} lora_memory;

static lora_memory forward_memory(const kernel_call *call, const lora_products *p) {
    lora_memory m = {.scaled = 0, .inner = floats_bytes(p->rows, p->rank)};
    m.wide = m.inner + (call->out[1].present ? 0 : floats_bytes(p->rows, p->rank));
    m.own = m.wide + (drops(call) ? floats_bytes(p->rows, p->in) : 0);
    return m;
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    lora_products p = forward_products(call);
    struct gemm *g = state->products;
    return forward_memory(call, &p).own + larger(gemm_rows_scratch(g, &p.inner), gemm_rows_scratch(g, &p.outer));
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = forward_products(call);
    levee_status status = gemm_prepare_rows(state->products, &p.inner, error);
    return status == LEVEE_OK ? gemm_prepare_rows(state->products, &p.outer, error) : status;
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = forward_products(call);
    lora_memory m = forward_memory(call, &p);
    unsigned char *memory = call->scratch;
    float *scaled = (float *)(void *)(memory + m.scaled), *wide = (float *)(void *)(memory + m.wide);
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += p.rows) {
        uint32_t left = call->pass->tokens - (uint32_t)row, rows = left < p.rows ? left : p.rows;
        const float *x = (const float *)call->in[0].data + row * p.in;
        float *y = (float *)call->out[0].data + row * p.out;
        float *u =
            call->out[1].present ? (float *)call->out[1].data + row * p.rank : (float *)(void *)(memory + m.inner);
        if (drops(call)) {
            drop_block(state, call, &call->in[4], &call->in[5], row, rows, x, wide, p.in, false);
            x = wide;
        }
        status = gemm_rows(state->products, &p.inner, rows, x, call->in[1].data, NULL, u, memory + m.own, error);
        if (status != LEVEE_OK) break;
        scale_block(scaled, u, call->parameters->scale, rows * p.rank);
        status = gemm_rows(state->products, &p.outer, rows, scaled, call->in[2].data, NULL, y, memory + m.own, error);
    }
    return status;
}

static lora_memory backward_memory(const kernel_call *call, const lora_products *p) {
    lora_memory m = {
        .scaled = 0, .inner = floats_bytes(p->rows, p->rank), .wide = 2 * floats_bytes(p->rows, p->rank)};
    m.gradient_b = m.wide + (drops(call) ? floats_bytes(p->rows, p->in) : 0);
    m.own = m.gradient_b + floats_bytes(p->rank, p->out);
    return m;
}

static uint64_t backward_scratch(const struct backend_state *state, const kernel_call *call) {
    lora_products p = backward_products(call);
    struct gemm *g = state->products;
    uint64_t own = larger(gemm_rows_scratch(g, &p.inner_gradient), gemm_reduction_scratch(g, &p.gradient_a));
    own = larger(own, gemm_reduction_scratch(g, &p.gradient_b_transposed));
    if (call->out[0].present) own = larger(own, gemm_rows_scratch(g, &p.input_gradient));
    return backward_memory(call, &p).own + own;
}

static levee_status backward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = backward_products(call);
    levee_status status = gemm_prepare_rows(state->products, &p.inner_gradient, error);
    if (status == LEVEE_OK) status = gemm_prepare_reduction(state->products, &p.gradient_a, error);
    if (status == LEVEE_OK) status = gemm_prepare_reduction(state->products, &p.gradient_b_transposed, error);
    if (status == LEVEE_OK && call->out[0].present)
        status = gemm_prepare_rows(state->products, &p.input_gradient, error);
    return status;
}

/* dx of one block from du. */
static levee_status input_gradient(struct backend_state *state, const kernel_call *call, const lora_products *p,
                                   uint64_t row, uint32_t rows, const float *du, float *wide, void *own,
                                   levee_error *error) {
    float *dx = (float *)call->out[0].data + row * p->in;
    levee_status status = gemm_rows(state->products, &p->input_gradient, rows, du, call->in[3].data, NULL,
                                    drops(call) ? wide : dx, own, error);
    if (status == LEVEE_OK && drops(call))
        drop_block(state, call, &call->in[6], &call->in[7], row, rows, wide, dx, p->in, call->in[5].present);
    return status;
}

/* The gradients of A and B from one block, unless they are absent; leaves scale * du in `du`. */
static levee_status block_gradients(struct backend_state *state, const kernel_call *call, const lora_products *p,
                                    const lora_memory *m, uint64_t row, uint32_t rows, levee_error *error) {
    unsigned char *memory = call->scratch, *own = memory + m->own;
    float *scaled = (float *)(void *)(memory + m->scaled), *du = (float *)(void *)(memory + m->inner);
    float *wide = (float *)(void *)(memory + m->wide), *gradient_b = (float *)(void *)(memory + m->gradient_b);
    const float *dy = (const float *)call->in[0].data + row * p->out;
    const float *x = (const float *)call->in[1].data + row * p->in;
    levee_status status =
        gemm_rows(state->products, &p->inner_gradient, rows, dy, call->in[4].data, NULL, du, own, error);
    if (status != LEVEE_OK) return status;
    scale_block(du, du, call->parameters->scale, rows * p->rank);
    if (!call->out[1].present) return LEVEE_OK;
    scale_block(scaled, (const float *)call->in[2].data + row * p->rank, call->parameters->scale, rows * p->rank);
    status = gemm_reduction(state->products, &p->gradient_b_transposed, rows, scaled, dy, gradient_b, own, error);
    if (status != LEVEE_OK) return status;
    if (drops(call)) {
        drop_block(state, call, &call->in[6], &call->in[7], row, rows, x, wide, p->in, false);
        x = wide;
    }
    return gemm_reduction(state->products, &p->gradient_a, rows, du, x, call->out[1].data, own, error);
}

static void add_transposed(float *to, const float *from, uint64_t rows, uint64_t cols) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) to[r * cols + c] += from[c * rows + r];
}

static levee_status backward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = backward_products(call);
    lora_memory m = backward_memory(call, &p);
    unsigned char *memory = call->scratch;
    float *gradient_b = (float *)(void *)(memory + m.gradient_b);
    memset(gradient_b, 0, p.rank * p.out * sizeof *gradient_b);
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += p.rows) {
        uint32_t left = call->pass->tokens - (uint32_t)row, rows = left < p.rows ? left : p.rows;
        status = block_gradients(state, call, &p, &m, row, rows, error);
        if (status == LEVEE_OK && call->out[0].present)
            status = input_gradient(state, call, &p, row, rows, (const float *)(const void *)(memory + m.inner),
                                    (float *)(void *)(memory + m.wide), memory + m.own, error);
    }
    if (status == LEVEE_OK && call->out[2].present) add_transposed(call->out[2].data, gradient_b, p.out, p.rank);
    return status;
}

const kernel cpu_lora = {forward_scratch, forward_prepare, forward_run};
const kernel cpu_lora_gradient = {backward_scratch, backward_prepare, backward_run};
