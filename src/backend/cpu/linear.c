/* Linear operators: products with a weight, panel by panel. Overwrites y; adds into dx when `add` is given, and into the
 * gradient of the weight. */
#include "backend/cpu/gemm.h"
#include "backend/cpu/panel.h"

/* What one product with a panel needs; the panel's height is n (forward) or k (gradient of the input). */
typedef struct panel_product {
    panels weight;
    row_product full, last; /* of the panels; `last` is the shorter one at the end */
    bool has_last;
    uint64_t panel_scratch, product_scratch;
} panel_product;

static row_product forward_product(const panels *p, uint32_t height, uint64_t in, uint64_t out) {
    return (row_product){.n = height, .k = (uint32_t)in, .lda = in, .ldb = in, .ldc = out, .b_transposed = true,
                         .type = p->compute};
}

static row_product backward_product(const panels *p, uint32_t height, uint64_t in, uint64_t out) {
    return (row_product){.n = (uint32_t)in, .k = height, .lda = out, .ldb = in, .ldc = in, .accumulate = true,
                         .type = p->compute};
}

typedef row_product make_product(const panels *p, uint32_t height, uint64_t in, uint64_t out);

static panel_product describe(const struct backend_state *state, const kernel_buffer *weight, make_product *make) {
    panel_product d = {.weight = panels_of(state, weight)};
    uint32_t rest = (uint32_t)(weight->rows % d.weight.panel_rows);
    d.full = make(&d.weight, d.weight.panel_rows, weight->cols, weight->rows);
    d.has_last = rest != 0;
    d.last = make(&d.weight, rest ? rest : d.weight.panel_rows, weight->cols, weight->rows);
    d.panel_scratch = d.weight.scratch_bytes;
    d.product_scratch = gemm_rows_scratch(state->products, &d.full);
    uint64_t last = gemm_rows_scratch(state->products, &d.last);
    if (last > d.product_scratch) d.product_scratch = last;
    return d;
}

static levee_status prepare(struct backend_state *state, const kernel_call *call, make_product *make,
                            levee_error *error) {
    panel_product d = describe(state, &call->in[1], make);
    levee_status status = gemm_prepare_rows(state->products, &d.full, error);
    return status == LEVEE_OK ? gemm_prepare_rows(state->products, &d.last, error) : status;
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    panel_product d = describe(state, &call->in[1], forward_product);
    return d.panel_scratch + d.product_scratch;
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    return prepare(state, call, forward_product, error);
}

static void add_bias(float *y, const kernel_buffer *bias, uint32_t rows) {
    for (uint32_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < bias->cols; i++) {
            float value;
            dtype_convert(DTYPE_F32, &value, bias->type,
                          (const unsigned char *)bias->data + i * dtype_bytes(bias->type, 1), 1);
            y[r * bias->cols + i] += value;
        }
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const kernel_buffer *weight = &call->in[1];
    panel_product d = describe(state, weight, forward_product);
    unsigned char *panel_memory = call->scratch, *product_memory = panel_memory + d.panel_scratch;
    float *y = call->out[0].data;
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < weight->rows && status == LEVEE_OK; row += d.weight.panel_rows) {
        const void *panel = panel_fetch(state, &d.weight, weight->data, row, panel_memory);
        bool last = panel_height(&d.weight, row) < d.weight.panel_rows;
        status = gemm_rows(state->products, last ? &d.last : &d.full, call->pass->tokens, call->in[0].data, panel, y + row,
                           product_memory, error);
    }
    if (status == LEVEE_OK && call->in[2].data) add_bias(y, &call->in[2], call->pass->tokens);
    return status;
}

static uint64_t input_scratch(const struct backend_state *state, const kernel_call *call) {
    panel_product d = describe(state, &call->in[1], backward_product);
    return d.panel_scratch + d.product_scratch;
}

static levee_status input_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    return prepare(state, call, backward_product, error);
}

typedef struct zeroing {
    float *values;
    uint64_t cols;
} zeroing;

static void zero_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const zeroing *z = context;
    (void)thread;
    for (uint64_t i = begin * z->cols; i < end * z->cols; i++) z->values[i] = 0;
}

static levee_status input_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const kernel_buffer *weight = &call->in[1];
    panel_product d = describe(state, weight, backward_product);
    unsigned char *panel_memory = call->scratch, *product_memory = panel_memory + d.panel_scratch;
    const float *dy = call->in[0].data;
    float *dx = call->out[0].data;
    if (!call->in[2].data) {
        zeroing z = {.values = dx, .cols = weight->cols};
        parallel_for(state, call->pass->tokens, 16, zero_rows, &z);
    }
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < weight->rows && status == LEVEE_OK; row += d.weight.panel_rows) {
        const void *panel = panel_fetch(state, &d.weight, weight->data, row, panel_memory);
        bool last = panel_height(&d.weight, row) < d.weight.panel_rows;
        status = gemm_rows(state->products, last ? &d.last : &d.full, call->pass->tokens, dy + row, panel, dx,
                           product_memory, error);
    }
    return status;
}

static reduction_product weight_product(const struct backend_state *state, const kernel_call *call) {
    uint64_t out = call->in[0].cols, in = call->in[1].cols;
    return (reduction_product){.m = (uint32_t)out, .n = (uint32_t)in, .lda = out, .ldb = in, .ldc = in,
                               .type = state->compute == COMPUTE_BF16 ? DTYPE_BF16 : DTYPE_F32};
}

static uint64_t weight_scratch(const struct backend_state *state, const kernel_call *call) {
    reduction_product product = weight_product(state, call);
    return gemm_reduction_scratch(state->products, &product);
}

static levee_status weight_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    reduction_product product = weight_product(state, call);
    return gemm_prepare_reduction(state->products, &product, error);
}

static levee_status weight_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    reduction_product product = weight_product(state, call);
    return gemm_reduction(state->products, &product, call->pass->tokens, call->in[0].data, call->in[1].data,
                          call->out[0].data, call->scratch, error);
}

const kernel cpu_linear = {forward_scratch, forward_prepare, forward_run};
const kernel cpu_linear_gradient_input = {input_scratch, input_prepare, input_run};
const kernel cpu_linear_gradient_weight = {weight_scratch, weight_prepare, weight_run};
