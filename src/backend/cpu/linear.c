/* Linear operators, with LoRA and without: products with a weight, panel by panel. Where panels are blocked, threads
 * take tiles of rows and do LoRA's part with them; else all threads do one product at a time, and LoRA's part before
 * and after. y is overwritten; dx is overwritten, or added to when `add` is given; gradients are added to. */
#include <string.h>

#include "backend/cpu/lora.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/row_tiles.h"
#include "backend/cpu/vector.h"

/* The products of one operator with the panels of its weight: whole ones, and the last, which may be smaller.
 * Scratch: the decoded bias, the decoded panel, the products' own, rows as floats, then LoRA's. */
typedef struct panel_products {
    panels weight;
    bool tiled;
    row_tiles tiles[2];
    row_product products[2];
    uint64_t bias_bytes, product_bytes;
    uint64_t input_bytes, result_bytes; /* products of all threads know only floats */
} panel_products;

/* Rows of which a thread does LoRA's part at a time. */
enum { LORA_RANGE = 128 };

static uint64_t floats_bytes(const panel_products *p, const kernel_buffer *rows) {
    return p->tiled || rows->type == DTYPE_F32 ? 0 : align64(rows->rows * rows->cols * sizeof(float));
}

/* Of a product as it is with a whole panel, and with the last. */
static void make_products(const struct backend_state *state, const kernel_call *call, panel_products *p,
                          row_product whole, row_product last) {
    const row_product *both[2] = {&whole, &last};
    p->tiled = p->weight.order != PANEL_PLAIN;
    for (unsigned i = 0; i < 2; i++) {
        const row_product *r = both[i];
        if (p->tiled) {
            p->tiles[i] = row_tiles_of(state, r->rows, r->n, r->k, r->type);
            p->product_bytes = larger(p->product_bytes, row_tiles_scratch(state, &p->tiles[i]));
        } else {
            p->products[i] = *r;
            p->product_bytes = larger(p->product_bytes, gemm_rows_scratch(state->products, r));
        }
    }
    p->input_bytes = floats_bytes(p, &call->in[0]);
    p->result_bytes = floats_bytes(p, &call->out[0]);
}

/* y [T, panel] = x weight^T: a panel is n wide. */
static panel_products forward_products(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *x = &call->in[0], *weight = &call->in[1];
    panel_products p = {.weight = panels_of(state, weight, false, x->rows, PANEL_BLOCKED_COLUMNS)};
    row_product whole = {.rows = (uint32_t)x->rows,
                         .n = p.weight.panel_rows,
                         .k = (uint32_t)weight->cols,
                         .lda = weight->cols,
                         .ldc = weight->rows,
                         .b_transposed = true,
                         .bias = call->in[2].present,
                         .type = p.weight.compute};
    row_product last = whole;
    last.n = p.weight.last_rows;
    make_products(state, call, &p, whole, last);
    if (call->in[2].present) p.bias_bytes = align64(weight->rows * sizeof(float));
    return p;
}

/* dx [T, in] += dy [T, panel] weight: a panel is k deep. The first of several adds to zeros. */
static panel_products backward_products(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *dy = &call->in[0], *weight = &call->in[1];
    panel_products p = {.weight = panels_of(state, weight, false, dy->rows, PANEL_BLOCKED_ROWS)};
    row_product whole = {.rows = (uint32_t)dy->rows,
                         .n = (uint32_t)weight->cols,
                         .k = p.weight.panel_rows,
                         .lda = weight->rows,
                         .ldc = weight->cols,
                         .accumulate = call->in[2].present || p.weight.panel_rows < weight->rows,
                         .type = p.weight.compute};
    row_product last = whole;
    last.k = p.weight.last_rows;
    make_products(state, call, &p, whole, last);
    return p;
}

static uint64_t scratch_before_lora(const panel_products *p) {
    return p->bias_bytes + p->weight.scratch_bytes + p->product_bytes + p->input_bytes + p->result_bytes;
}

static levee_status prepare_products(struct backend_state *state, const panel_products *p, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < 2 && status == LEVEE_OK; i++)
        status = p->tiled ? row_tiles_prepare(state, &p->tiles[i], error)
                          : gemm_prepare_rows(state->products, &p->products[i], error);
    return status;
}

/* One operator at work. */
typedef struct linear_run {
    struct backend_state *state;
    const kernel_call *call;
    const panel_products *p;
    const lora *adapter; /* NULL without one */
    uint64_t panel_row;  /* the weight's row that the panel at hand begins with */
    row_tile_steps steps;
} linear_run;

static bool is_last_panel(const linear_run *r) { return r->panel_row + r->p->weight.panel_rows >= r->p->weight.rows; }

/* The panel at hand, in order for the products. */
static const void *fetch(const linear_run *r) {
    unsigned char *memory = (unsigned char *)r->call->scratch + r->p->bias_bytes;
    return panel_fetch(r->state, &r->p->weight, r->call->in[1].data, r->panel_row, memory);
}

static void *product_memory(const linear_run *r) {
    return (unsigned char *)r->call->scratch + r->p->bias_bytes + r->p->weight.scratch_bytes;
}

/* Rows of the first input as the products take them. */
static const void *input_rows(const linear_run *r) {
    const kernel_buffer *in = &r->call->in[0];
    if (!r->p->input_bytes) return in->data;
    float *floats = (float *)(void *)((unsigned char *)product_memory(r) + r->p->product_bytes);
    vector_floats(r->state->instructions, floats, in->type, in->data, r->call->pass->tokens * in->cols);
    return floats;
}

/* Where the products put the first output. */
static void *result_rows(const linear_run *r) {
    if (!r->p->result_bytes) return r->call->out[0].data;
    return (unsigned char *)product_memory(r) + r->p->product_bytes + r->p->input_bytes;
}

/* The product with the panel at hand; `tiles` says of what. */
static levee_status multiply(const linear_run *r, row_tiles_call *tiles, levee_error *error) {
    bool last = is_last_panel(r);
    tiles->rows = r->call->pass->tokens;
    tiles->a_type = r->call->in[0].type, tiles->c_type = r->call->out[0].type;
    tiles->b = fetch(r);
    tiles->scratch = product_memory(r);
    if (r->p->tiled) return row_tiles_run(r->state, &r->p->tiles[last], tiles, &r->steps, error);
    return gemm_rows(r->state->products, &r->p->products[last], tiles->rows, tiles->a, tiles->b, tiles->bias,
                     tiles->c, tiles->scratch, error);
}

/* --- forward --- */

static void narrow_rows(void *context, uint64_t row, uint64_t rows, unsigned thread) {
    const linear_run *r = context;
    if (r->panel_row == 0) lora_narrow(r->adapter, row, rows, thread);
}

static void add_outputs(void *context, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *y) {
    const linear_run *r = context;
    lora_add_output(r->adapter, row, rows, r->panel_row + first, cols, y);
}

/* All of LoRA's part, after products of all threads. */
static void adapt_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const linear_run *r = context;
    const lora *l = r->adapter;
    lora_narrow(l, begin, end - begin, thread);
    lora_add_output(l, begin, end - begin, 0, l->out, (float *)result_rows(r) + begin * l->out);
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    panel_products p = forward_products(state, call);
    uint64_t adapter_bytes = call->in[3].present ? lora_forward(state, call, NULL).scratch_bytes : 0;
    return scratch_before_lora(&p) + adapter_bytes;
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    panel_products p = forward_products(state, call);
    return prepare_products(state, &p, error);
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const kernel_buffer *weight = &call->in[1], *bias = &call->in[2];
    panel_products p = forward_products(state, call);
    linear_run r = {.state = state, .call = call, .p = &p, .steps.context = &r};
    lora adapter;
    if (call->in[3].present) {
        adapter = lora_forward(state, call, (unsigned char *)call->scratch + scratch_before_lora(&p));
        r.adapter = &adapter;
        r.steps.before = narrow_rows, r.steps.on_result = add_outputs;
    }
    float *decoded_bias = call->scratch;
    const void *x = input_rows(&r);
    unsigned char *y = result_rows(&r);
    uint64_t element = p.tiled ? dtype_bytes(call->out[0].type, 1) : sizeof(float);
    if (bias->present) dtype_convert(DTYPE_F32, decoded_bias, bias->type, bias->data, weight->rows);
    levee_status status = LEVEE_OK;
    for (; r.panel_row < weight->rows && status == LEVEE_OK; r.panel_row += p.weight.panel_rows) {
        if (pass_is_interrupted(call->pass)) return LEVEE_STOPPED;
        row_tiles_call tiles = {.a = x, .lda = weight->cols, .c = y + r.panel_row * element, .ldc = weight->rows};
        if (bias->present) tiles.bias = decoded_bias + r.panel_row;
        status = multiply(&r, &tiles, error);
    }
    if (status == LEVEE_OK && r.adapter && !p.tiled)
        status = parallel_for_dynamic(state, NULL, call->pass->tokens, LORA_RANGE, adapt_rows, &r);
    if (p.result_bytes) vector_operands(call->out[0].type, call->out[0].data, y, call->pass->tokens * weight->rows);
    return status;
}

/* --- backward --- */

static void take_outputs(void *context, uint64_t row, uint64_t rows, unsigned thread) {
    const linear_run *r = context;
    if (r->panel_row == 0) lora_take_output(r->adapter, row, rows, thread);
}

static void add_inputs(void *context, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *dx) {
    const linear_run *r = context;
    if (is_last_panel(r) && !r->adapter->drops) lora_add_input(r->adapter, row, rows, first, cols, dx);
}

static float *input_gradient(const linear_run *r, uint64_t row) {
    float *dx = r->call->out[0].data;
    return dx ? dx + row * r->adapter->in : NULL;
}

static void take_inputs(void *context, uint64_t row, uint64_t rows, unsigned thread) {
    const linear_run *r = context;
    if (is_last_panel(r)) lora_take_input(r->adapter, row, rows, input_gradient(r, row), thread);
}

/* All of LoRA's part, after products of all threads, or without a product. */
static void take_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const linear_run *r = context;
    const lora *l = r->adapter;
    float *dx = input_gradient(r, begin);
    lora_take_output(l, begin, end - begin, thread);
    if (dx && !l->drops) lora_add_input(l, begin, end - begin, 0, l->in, dx);
    lora_take_input(l, begin, end - begin, dx, thread);
}

/* Without a gradient of its input an adapted operator has no product. */
static bool has_product(const kernel_call *call) { return call->out[0].present; }

static uint64_t input_scratch(const struct backend_state *state, const kernel_call *call) {
    uint64_t bytes = call->in[5].present ? lora_backward(state, call, NULL).scratch_bytes : 0;
    if (!has_product(call)) return bytes;
    panel_products p = backward_products(state, call);
    return scratch_before_lora(&p) + bytes;
}

static levee_status input_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    if (!has_product(call)) return LEVEE_OK;
    panel_products p = backward_products(state, call);
    return prepare_products(state, &p, error);
}

static levee_status multiply_panels(linear_run *r, levee_error *error) {
    const kernel_buffer *weight = &r->call->in[1], *add = &r->call->in[2];
    const unsigned char *dy = input_rows(r);
    uint64_t element = r->p->tiled ? dtype_bytes(r->call->in[0].type, 1) : sizeof(float);
    float *dx = r->call->out[0].data;
    bool zeroed = !r->p->tiled && r->p->products[0].accumulate && !add->present;
    if (zeroed) memset(dx, 0, r->call->pass->tokens * weight->cols * sizeof *dx);
    levee_status status = LEVEE_OK;
    for (; r->panel_row < weight->rows && status == LEVEE_OK; r->panel_row += r->p->weight.panel_rows) {
        if (pass_is_interrupted(r->call->pass)) return LEVEE_STOPPED;
        row_tiles_call tiles = {.a = dy + r->panel_row * element,
                                .lda = weight->rows,
                                .c = dx,
                                .ldc = weight->cols,
                                .add = add->present || r->panel_row > 0};
        status = multiply(r, &tiles, error);
    }
    return status;
}

static levee_status input_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    panel_products p = {0};
    linear_run r = {.state = state, .call = call, .p = &p, .steps.context = &r};
    lora adapter;
    if (has_product(call)) p = backward_products(state, call);
    if (call->in[5].present) {
        adapter = lora_backward(state, call, (unsigned char *)call->scratch + scratch_before_lora(&p));
        r.adapter = &adapter;
        r.steps.before = take_outputs, r.steps.on_result = add_inputs, r.steps.after = take_inputs;
        r.steps.range_rows = adapter.chunk_rows;
    }
    levee_status status = has_product(call) ? multiply_panels(&r, error) : LEVEE_OK;
    if (status != LEVEE_OK || !r.adapter) return status;
    if (!p.tiled) parallel_for_dynamic(state, NULL, call->pass->tokens, r.adapter->chunk_rows, take_rows, &r);
    lora_finish(r.adapter);
    return LEVEE_OK;
}

/* --- the weight's gradient --- */

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
