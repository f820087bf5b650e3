/* The output head and the cross-entropy in one. Losses and dx are overwritten; the gradient of the weight is added
 * to. Without the latter all is done by head_streamed.c (head_loss.h says why).
 *
 * With it the operator works on chunks of rows and panels of the vocabulary. The logits of one chunk exist at a time:
 * they are turned into their gradient in place, and are gone. They lie panel by panel, each [chunk, panel] and dense,
 * because oneDNN's better kernels want dense operands. */
#include "backend/cpu/head_loss.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/gemm.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/vector.h"
#include "base/error.h"

/* The products of one chunk, by panels of the vocabulary, and where their scratch lies: logits, then the decoded
 * panel, then the products' own. */
typedef struct head {
    panels weight;
    uint64_t vocabulary, features;
    uint32_t chunk;
    bool gradient_input;
    row_product logits, logits_last, input, input_last;
    reduction_product reduction, reduction_last;
    uint64_t panel_offset, product_offset;
} head;

static head describe(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *x = &call->in[0], *weight = &call->in[1];
    head h = {.weight = panels_of(state, weight, true, call->parameters->chunk_tokens, PANEL_PLAIN),
              .vocabulary = weight->rows,
              .features = weight->cols,
              .chunk = call->parameters->chunk_tokens,
              .gradient_input = call->out[1].present};
    if (!h.chunk || h.chunk > x->rows) h.chunk = (uint32_t)x->rows;
    uint32_t panel = h.weight.panel_rows, last = h.weight.last_rows, features = (uint32_t)h.features;
    dtype type = h.weight.compute;
    h.logits = (row_product){.rows = h.chunk, .n = panel, .k = features, .lda = features, .ldc = panel, .type = type};
    h.logits.b_transposed = true;
    h.logits_last = h.logits;
    h.logits_last.n = last, h.logits_last.ldc = last;
    h.input = (row_product){.rows = h.chunk, .n = features, .k = panel, .lda = panel, .ldc = features, .type = type};
    h.input.accumulate = true;
    h.input_last = h.input;
    h.input_last.k = last, h.input_last.lda = last;
    h.reduction = (reduction_product){.rows = h.chunk, .m = panel, .n = features, .type = type};
    h.reduction_last = h.reduction;
    h.reduction_last.m = last;
    h.panel_offset = align64(h.chunk * h.vocabulary * sizeof(float));
    h.product_offset = h.panel_offset + h.weight.scratch_bytes;
    return h;
}

/* A pass that is done again leaves out the gradients that were added before, and must compute all else as it did: so
 * the chunk, which the plan gives where logits are stored, decides too. */
static bool is_streamed(const kernel_call *call) { return !call->out[2].present && !call->parameters->chunk_tokens; }

static uint64_t scratch(const struct backend_state *state, const kernel_call *call) {
    if (is_streamed(call)) return head_streamed_scratch(state, call);
    head h = describe(state, call);
    struct gemm *g = state->products;
    uint64_t own = larger(gemm_rows_scratch(g, &h.logits), gemm_rows_scratch(g, &h.logits_last));
    if (h.gradient_input)
        own = larger(own, larger(gemm_rows_scratch(g, &h.input), gemm_rows_scratch(g, &h.input_last)));
    own = larger(own, larger(gemm_reduction_scratch(g, &h.reduction), gemm_reduction_scratch(g, &h.reduction_last)));
    return h.product_offset + own;
}

static levee_status prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    if (is_streamed(call)) return head_streamed_prepare(state, call, error);
    head h = describe(state, call);
    struct gemm *g = state->products;
    levee_status status = gemm_prepare_rows(g, &h.logits, error);
    if (status == LEVEE_OK) status = gemm_prepare_rows(g, &h.logits_last, error);
    if (status == LEVEE_OK && h.gradient_input) status = gemm_prepare_rows(g, &h.input, error);
    if (status == LEVEE_OK && h.gradient_input) status = gemm_prepare_rows(g, &h.input_last, error);
    if (status == LEVEE_OK) status = gemm_prepare_reduction(g, &h.reduction, error);
    if (status == LEVEE_OK) status = gemm_prepare_reduction(g, &h.reduction_last, error);
    return status;
}

/* One chunk of rows on its way through the operator. */
typedef struct chunk {
    struct backend_state *state;
    const kernel_call *call;
    const head *h;
    uint64_t row; /* of the first */
    uint32_t rows;
    const int32_t *labels;
    float *losses;
    float *logits;
    unsigned char *panel_memory, *product_memory;
} chunk;

/* The logits of one row in the panel that starts at vocabulary row v. */
static float *panel_logits(const chunk *c, uint64_t r, uint64_t v) {
    return c->logits + v * c->h->chunk + r * panel_height(&c->h->weight, v);
}

/* From logits to loss, and in place to the logits' gradient: (softmax - one at the label) * loss_scale. */
static void gradient_row(const chunk *c, uint64_t r) {
    const head *h = c->h;
    instruction_set set = c->state->instructions;
    uint64_t step = h->weight.panel_rows;
    int32_t label = c->labels[r];
    float loss_scale = c->call->pass->loss_scale;
    exponential_sum all = {-INFINITY, 0};
    for (uint64_t v = 0; v < h->vocabulary; v += step)
        vector_add_exponentials(set, &all, panel_logits(c, r, v), panel_height(&h->weight, v));
    uint64_t label_panel = (uint64_t)label / step * step;
    float *at_label = panel_logits(c, r, label_panel) + ((uint64_t)label - label_panel);
    c->losses[r] = (float)(log(all.sum) - ((double)*at_label - (double)all.highest));
    for (uint64_t v = 0; v < h->vocabulary; v += step)
        vector_exponentials(set, panel_logits(c, r, v), panel_height(&h->weight, v), all.highest,
                            (float)(loss_scale / all.sum));
    *at_label -= loss_scale;
}

static void gradient_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const chunk *c = context;
    const panels *weight = &c->h->weight;
    (void)thread;
    for (uint64_t r = begin; r < end; r++) {
        if (c->labels[r] >= 0) {
            gradient_row(c, r);
            continue;
        }
        c->losses[r] = 0;
        for (uint64_t v = 0; v < c->h->vocabulary; v += weight->panel_rows)
            memset(panel_logits(c, r, v), 0, panel_height(weight, v) * sizeof(float));
    }
}

static levee_status make_logits(const chunk *c, uint64_t v, const void *panel, float *to, levee_error *error) {
    const head *h = c->h;
    const float *x = (const float *)c->call->in[0].data + c->row * h->features;
    bool last = v + h->weight.panel_rows >= h->vocabulary;
    return gemm_rows(c->state->products, last ? &h->logits_last : &h->logits, c->rows, x, panel, NULL, to,
                     c->product_memory, error);
}

static bool call_adds(const chunk *c) { return c->call->out[2].present; }

static levee_status loss_and_gradients(chunk *c, levee_error *error) {
    const head *h = c->h;
    const float *x = (const float *)c->call->in[0].data + c->row * h->features;
    float *dx = h->gradient_input ? (float *)c->call->out[1].data + c->row * h->features : NULL;
    float *dw = call_adds(c) ? c->call->out[2].data : NULL;
    levee_status status = LEVEE_OK;
    for (uint64_t v = 0; v < h->vocabulary && status == LEVEE_OK; v += h->weight.panel_rows) {
        const void *panel = panel_fetch(c->state, &h->weight, c->call->in[1].data, v, c->panel_memory);
        status = make_logits(c, v, panel, c->logits + v * h->chunk, error);
    }
    if (status != LEVEE_OK) return status;
    parallel_for(c->state, c->rows, 1, gradient_rows, c);
    if (dx) memset(dx, 0, c->rows * h->features * sizeof *dx);
    for (uint64_t v = 0; v < h->vocabulary && status == LEVEE_OK; v += h->weight.panel_rows) {
        bool last = v + h->weight.panel_rows >= h->vocabulary;
        const float *dlogits = c->logits + v * h->chunk;
        if (dx) {
            const void *panel = panel_fetch(c->state, &h->weight, c->call->in[1].data, v, c->panel_memory);
            status = gemm_rows(c->state->products, last ? &h->input_last : &h->input, c->rows, dlogits, panel, NULL,
                               dx, c->product_memory, error);
        }
        if (dw && status == LEVEE_OK)
            status = gemm_reduction(c->state->products, last ? &h->reduction_last : &h->reduction, c->rows, dlogits,
                                    x, dw + v * h->features, c->product_memory, error);
    }
    return status;
}

/* A chunk without targets costs nothing. */
static void skip_chunk(const chunk *c) {
    memset(c->losses, 0, c->rows * sizeof *c->losses);
    if (c->h->gradient_input)
        memset((float *)c->call->out[1].data + c->row * c->h->features, 0, c->rows * c->h->features * sizeof(float));
}

static bool has_targets(const chunk *c) {
    for (uint32_t r = 0; r < c->rows; r++)
        if (c->labels[r] >= 0) return true;
    return false;
}

levee_status head_check_labels(const kernel_call *call, levee_error *error) {
    const int32_t *labels = call->in[2].data;
    uint64_t vocabulary = call->in[1].rows;
    for (uint32_t r = 0; r < call->pass->tokens; r++)
        if (labels[r] >= 0 && (uint64_t)labels[r] >= vocabulary)
            return error_set(error, LEVEE_INTERNAL, "label %d of token %u is not below the vocabulary of %llu",
                             labels[r], r, (unsigned long long)vocabulary);
    return LEVEE_OK;
}

static levee_status run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    if (is_streamed(call)) return head_streamed_run(state, call, error);
    head h = describe(state, call);
    unsigned char *memory = call->scratch;
    levee_status status = head_check_labels(call, error);
    for (uint64_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += h.chunk) {
        uint32_t left = call->pass->tokens - (uint32_t)row;
        chunk c = {.state = state,
                   .call = call,
                   .h = &h,
                   .row = row,
                   .rows = left < h.chunk ? left : h.chunk,
                   .labels = (const int32_t *)call->in[2].data + row,
                   .losses = (float *)call->out[0].data + row,
                   .logits = (float *)(void *)memory,
                   .panel_memory = memory + h.panel_offset,
                   .product_memory = memory + h.product_offset};
        if (has_targets(&c))
            status = loss_and_gradients(&c, error);
        else
            skip_chunk(&c);
    }
    return status;
}

const kernel cpu_head_loss = {scratch, prepare, run};
const kernel cpu_head_loss_gradient = {scratch, prepare, run};
