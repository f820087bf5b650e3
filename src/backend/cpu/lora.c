/* LoRA: y = add + scale * u B^T with u = drop(x) A^T, and its gradients. Works on blocks of rows so that its scratch does
 * not grow with the capacity. Always in f32: the products are small and the sums feed the optimizer. */
#include <string.h>

#include "backend/cpu/gemm.h"
#include "base/random.h"

enum { BLOCK_ROWS = 512 };

/* The five products of an adapter of rank r between `in` and `out` features. */
typedef struct lora_products {
    row_product inner;        /* u = x A^T */
    row_product outer;        /* y += (scale u) B^T */
    row_product inner_gradient; /* du = dy B */
    row_product input_gradient; /* dx += du A */
    reduction_product gradient_a, gradient_b;
    uint64_t rank, in, out;
} lora_products;

static lora_products describe(uint64_t in, uint64_t out, uint64_t rank, bool dropout) {
    uint32_t r = (uint32_t)rank, wide_in = (uint32_t)in, wide_out = (uint32_t)out;
    return (lora_products){
        .rank = rank,
        .in = in,
        .out = out,
        .inner = {.n = r, .k = wide_in, .lda = in, .ldb = in, .ldc = rank, .b_transposed = true},
        .outer = {.n = wide_out, .k = r, .lda = rank, .ldb = rank, .ldc = out, .b_transposed = true, .accumulate = true},
        .inner_gradient = {.n = r, .k = wide_out, .lda = out, .ldb = rank, .ldc = rank},
        .input_gradient = {.n = wide_in, .k = r, .lda = rank, .ldb = in, .ldc = in, .accumulate = !dropout},
        .gradient_a = {.m = r, .n = wide_in, .lda = rank, .ldb = in, .ldc = in},
        .gradient_b = {.m = wide_out, .n = r, .lda = out, .ldb = rank, .ldc = rank},
    };
}

static lora_products forward_products(const kernel_call *call) {
    return describe(call->in[0].cols, call->out[0].cols, call->in[1].rows, call->parameters->dropout > 0);
}

static lora_products backward_products(const kernel_call *call) {
    return describe(call->in[1].cols, call->in[0].cols, call->in[3].rows, call->parameters->dropout > 0);
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* A block of [BLOCK_ROWS, cols] f32, in whole cache lines. */
static uint64_t block_bytes(uint64_t cols) { return (BLOCK_ROWS * cols * sizeof(float) + 63) & ~63ull; }

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    lora_products p = forward_products(call);
    uint64_t products = larger(gemm_rows_scratch(state->products, &p.inner), gemm_rows_scratch(state->products, &p.outer));
    return block_bytes(p.rank) + (call->parameters->dropout > 0 ? block_bytes(p.in) : 0) + products;
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = forward_products(call);
    levee_status status = gemm_prepare_rows(state->products, &p.inner, error);
    return status == LEVEE_OK ? gemm_prepare_rows(state->products, &p.outer, error) : status;
}

/* One block of rows whose elements are dropped by their random numbers: to = keep ? from / (1 - dropout) : 0, or with
 * `add`, to += that. */
typedef struct dropping {
    const kernel_call *call;
    const int32_t *examples, *positions;
    const float *from;
    float *to;
    uint64_t cols;
    uint32_t first_row;
    bool add;
} dropping;

static void drop_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const dropping *d = context;
    (void)thread;
    float dropout = d->call->parameters->dropout, factor = 1.0f / (1.0f - dropout);
    const pass_scalars *pass = d->call->pass;
    for (uint64_t r = begin; r < end; r++) {
        uint32_t row = d->first_row + (uint32_t)r;
        uint32_t example = (uint32_t)d->examples[row], position = (uint32_t)d->positions[row];
        /* The step goes into the seed, so that four words are left for where in the model and the data this is. */
        uint64_t seed = pass->seed ^ ((uint64_t)pass->step << 32);
        for (uint64_t i = 0; i < d->cols; i += 4) {
            random_block words = random_philox(seed, example, position, d->call->parameters->site, (uint32_t)(i / 4));
            for (uint64_t k = i; k < i + 4 && k < d->cols; k++) {
                float value = random_unit(words.words[k - i]) >= dropout ? d->from[r * d->cols + k] * factor : 0;
                d->to[r * d->cols + k] = d->add ? d->to[r * d->cols + k] + value : value;
            }
        }
    }
}

static void scale_block(float *to, const float *from, float scale, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) to[i] = scale * from[i];
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = forward_products(call);
    struct gemm *g = state->products;
    bool dropout = call->parameters->dropout > 0;
    unsigned char *scratch = call->scratch;
    float *scaled = (float *)(void *)scratch, *dropped = (float *)(void *)(scratch + block_bytes(p.rank));
    void *product_scratch = scratch + block_bytes(p.rank) + (dropout ? block_bytes(p.in) : 0);
    levee_status status = LEVEE_OK;
    for (uint32_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += BLOCK_ROWS) {
        uint32_t rows = call->pass->tokens - row < BLOCK_ROWS ? call->pass->tokens - row : BLOCK_ROWS;
        const float *x = (const float *)call->in[0].data + row * p.in;
        float *u = (float *)call->out[1].data + row * p.rank, *y = (float *)call->out[0].data + row * p.out;
        if (dropout) {
            dropping d = {.call = call, .examples = call->in[4].data, .positions = call->in[5].data, .from = x,
                          .to = dropped, .cols = p.in, .first_row = row};
            parallel_for(state, rows, 8, drop_rows, &d);
            x = dropped;
        }
        status = gemm_rows(g, &p.inner, rows, x, call->in[1].data, u, product_scratch, error);
        scale_block(scaled, u, call->parameters->scale, rows * p.rank);
        if (status == LEVEE_OK) status = gemm_rows(g, &p.outer, rows, scaled, call->in[2].data, y, product_scratch, error);
    }
    return status;
}

/* Blocks of scratch of the backward operator, one after the other. */
typedef struct backward_memory {
    uint64_t scaled, inner, dropped, masked, products, total;
} backward_memory;

static backward_memory backward_layout(const struct backend_state *state, const kernel_call *call) {
    lora_products p = backward_products(call);
    struct gemm *g = state->products;
    uint64_t wide = call->parameters->dropout > 0 ? block_bytes(p.in) : 0;
    backward_memory m = {.scaled = 0, .inner = block_bytes(p.rank), .dropped = 2 * block_bytes(p.rank)};
    m.masked = m.dropped + wide;
    m.products = m.masked + wide;
    uint64_t products = larger(gemm_rows_scratch(g, &p.inner_gradient), gemm_rows_scratch(g, &p.input_gradient));
    products = larger(products, gemm_reduction_scratch(g, &p.gradient_a));
    m.total = m.products + larger(products, gemm_reduction_scratch(g, &p.gradient_b));
    return m;
}

static uint64_t backward_scratch(const struct backend_state *state, const kernel_call *call) {
    return backward_layout(state, call).total;
}

static levee_status backward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = backward_products(call);
    levee_status status = gemm_prepare_rows(state->products, &p.inner_gradient, error);
    if (status == LEVEE_OK) status = gemm_prepare_rows(state->products, &p.input_gradient, error);
    if (status == LEVEE_OK) status = gemm_prepare_reduction(state->products, &p.gradient_a, error);
    return status == LEVEE_OK ? gemm_prepare_reduction(state->products, &p.gradient_b, error) : status;
}

/* dx of one block from du. */
static levee_status input_gradient(struct backend_state *state, const kernel_call *call, const lora_products *p,
                                   uint32_t row, uint32_t rows, const float *du, float *masked, void *scratch,
                                   levee_error *error) {
    float *dx = (float *)call->out[0].data + row * p->in;
    if (!call->in[5].data) memset(dx, 0, rows * p->in * sizeof *dx);
    if (!(call->parameters->dropout > 0))
        return gemm_rows(state->products, &p->input_gradient, rows, du, call->in[3].data, dx, scratch, error);
    levee_status status =
        gemm_rows(state->products, &p->input_gradient, rows, du, call->in[3].data, masked, scratch, error);
    dropping d = {.call = call, .examples = call->in[6].data, .positions = call->in[7].data, .from = masked, .to = dx,
                  .cols = p->in, .first_row = row, .add = true};
    parallel_for(state, rows, 8, drop_rows, &d);
    return status;
}

static levee_status backward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    lora_products p = backward_products(call);
    backward_memory m = backward_layout(state, call);
    struct gemm *g = state->products;
    unsigned char *scratch = call->scratch;
    float *scaled = (float *)(void *)(scratch + m.scaled), *du = (float *)(void *)(scratch + m.inner);
    float *dropped = (float *)(void *)(scratch + m.dropped), *masked = (float *)(void *)(scratch + m.masked);
    void *product_scratch = scratch + m.products;
    levee_status status = LEVEE_OK;
    for (uint32_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += BLOCK_ROWS) {
        uint32_t rows = call->pass->tokens - row < BLOCK_ROWS ? call->pass->tokens - row : BLOCK_ROWS;
        const float *dy = (const float *)call->in[0].data + row * p.out;
        const float *x = (const float *)call->in[1].data + row * p.in;
        const float *u = (const float *)call->in[2].data + row * p.rank;
        scale_block(scaled, u, call->parameters->scale, rows * p.rank);
        status = gemm_reduction(g, &p.gradient_b, rows, dy, scaled, call->out[2].data, product_scratch, error);
        if (status == LEVEE_OK)
            status = gemm_rows(g, &p.inner_gradient, rows, dy, call->in[4].data, du, product_scratch, error);
        scale_block(du, du, call->parameters->scale, rows * p.rank);
        if (call->parameters->dropout > 0) {
            dropping d = {.call = call, .examples = call->in[6].data, .positions = call->in[7].data, .from = x,
                          .to = dropped, .cols = p.in, .first_row = row};
            parallel_for(state, rows, 8, drop_rows, &d);
            x = dropped;
        }
        if (status == LEVEE_OK)
            status = gemm_reduction(g, &p.gradient_a, rows, du, x, call->out[1].data, product_scratch, error);
        if (status == LEVEE_OK && call->out[0].data)
            status = input_gradient(state, call, &p, row, rows, du, masked, product_scratch, error);
    }
    return status;
}

const kernel cpu_lora = {forward_scratch, forward_prepare, forward_run};
const kernel cpu_lora_gradient = {backward_scratch, backward_prepare, backward_run};
