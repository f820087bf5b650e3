/* Linear operators: products with a weight, panel by panel. y is overwritten; dx is overwritten, or added to when
 * `add` is given; the gradient of the weight is added to. */
#include <string.h>

#include "backend/cpu/gemm.h"
#include "backend/cpu/panel.h"

/* The products of one operator with the panels of its weight, and its scratch: the decoded bias, the decoded panel,
 * then the products' own. */
typedef struct panel_products {
    panels weight;
    row_product full, last; /* `last` is the panel at the end, which may be shorter */
    uint64_t bias_bytes, scratch_bytes;
} panel_products;

static panel_products with_scratch(const struct backend_state *state, panel_products p) {
    uint64_t full = gemm_rows_scratch(state->products, &p.full), last = gemm_rows_scratch(state->products, &p.last);
    p.scratch_bytes = p.bias_bytes + p.weight.scratch_bytes + (full > last ? full : last);
    return p;
}

/* y [T, panel] = x weight^T: a panel is n wide. */
static panel_products forward_products(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *x = &call->in[0], *weight = &call->in[1];
    panel_products p = {.weight = panels_of(state, weight, false, x->rows, PANEL_BLOCKED_COLUMNS)};
    p.full = (row_product){.rows = (uint32_t)x->rows,
                           .n = p.weight.panel_rows,
                           .k = (uint32_t)weight->cols,
                           .lda = weight->cols,
                           .ldc = weight->rows,
                           .b_transposed = p.weight.order == PANEL_PLAIN,
                           .b_blocked = p.weight.order != PANEL_PLAIN,
                           .bias = call->in[2].present,
                           .type = p.weight.compute};
    p.last = p.full;
    p.last.n = p.weight.last_rows;
    if (call->in[2].present) p.bias_bytes = align64(weight->rows * sizeof(float));
    return p;
}

/* dx [T, in] += dy [T, panel] weight: a panel is k deep. The first of several adds to zeros. */
static panel_products backward_products(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *dy = &call->in[0], *weight = &call->in[1];
    panel_products p = {.weight = panels_of(state, weight, false, dy->rows, PANEL_BLOCKED_ROWS)};
    p.full = (row_product){.rows = (uint32_t)dy->rows,
                           .n = (uint32_t)weight->cols,
                           .k = p.weight.panel_rows,
                           .lda = weight->rows,
                           .ldc = weight->cols,
                           .b_blocked = p.weight.order != PANEL_PLAIN,
                           .accumulate = call->in[2].present || p.weight.panel_rows < weight->rows,
                           .type = p.weight.compute};
    p.last = p.full;
    p.last.k = p.weight.last_rows;
    return p;
}

static levee_status prepare_products(struct backend_state *state, const panel_products *p, levee_error *error) {
    levee_status status = gemm_prepare_rows(state->products, &p->full, error);
    return status == LEVEE_OK ? gemm_prepare_rows(state->products, &p->last, error) : status;
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    return with_scratch(state, forward_products(state, call)).scratch_bytes;
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    panel_products p = forward_products(state, call);
    return prepare_products(state, &p, error);
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const kernel_buffer *weight = &call->in[1], *bias = &call->in[2];
    panel_products p = forward_products(state, call);
    unsigned char *bias_memory = call->scratch, *panel_memory = bias_memory + p.bias_bytes;
    unsigned char *product_memory = panel_memory + p.weight.scratch_bytes;
    float *y = call->out[0].data, *decoded_bias = (float *)(void *)bias_memory;
    if (bias->present) dtype_convert(DTYPE_F32, decoded_bias, bias->type, bias->data, weight->rows);
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < weight->rows && status == LEVEE_OK; row += p.weight.panel_rows) {
        if (pass_is_interrupted(call->pass)) return LEVEE_STOPPED;
        const void *panel = panel_fetch(state, &p.weight, weight->data, row, panel_memory);
        bool last = row + p.weight.panel_rows >= weight->rows;
        status = gemm_rows(state->products, last ? &p.last : &p.full, call->pass->tokens, call->in[0].data, panel,
                           bias->present ? decoded_bias + row : NULL, y + row, product_memory, error);
    }
    return status;
}

static uint64_t input_scratch(const struct backend_state *state, const kernel_call *call) {
    return with_scratch(state, backward_products(state, call)).scratch_bytes;
}

static levee_status input_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    panel_products p = backward_products(state, call);
    return prepare_products(state, &p, error);
}

static levee_status input_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const kernel_buffer *weight = &call->in[1];
    panel_products p = backward_products(state, call);
    unsigned char *panel_memory = call->scratch, *product_memory = panel_memory + p.weight.scratch_bytes;
    const float *dy = call->in[0].data;
    float *dx = call->out[0].data;
    if (p.full.accumulate && !call->in[2].present) memset(dx, 0, call->pass->tokens * weight->cols * sizeof *dx);
    levee_status status = LEVEE_OK;
    for (uint64_t row = 0; row < weight->rows && status == LEVEE_OK; row += p.weight.panel_rows) {
        if (pass_is_interrupted(call->pass)) return LEVEE_STOPPED;
        const void *panel = panel_fetch(state, &p.weight, weight->data, row, panel_memory);
        bool last = row + p.weight.panel_rows >= weight->rows;
        status = gemm_rows(state->products, last ? &p.last : &p.full, call->pass->tokens, dy + row, panel, NULL, dx,
                           product_memory, error);
    }
    return status;
}

static reduction_product weight_product(const struct backend_state *state, const kernel_call *call) {
    return (reduction_product){.rows = (uint32_t)call->in[0].rows,
                               .m = (uint32_t)call->in[0].cols,
                               .n = (uint32_t)call->in[1].cols,
                               .type = product_type(state)};
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
