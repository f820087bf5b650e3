/* The output head and the cross-entropy in one: the logits of `chunk_tokens` rows exist at a time, are turned into their
 * gradient in place, and are gone. Overwrites losses and dx; adds into the gradient of the weight. */
#include <math.h>
#include <string.h>

#include "backend/cpu/gemm.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/vector.h"

/* The products of one chunk, by panels of the vocabulary, and where their scratch lies. */
typedef struct head {
    panels weight;
    uint64_t vocabulary, features;
    uint32_t chunk;
    row_product logits, logits_last, input, input_last;
    reduction_product gradient, gradient_last; /* of the weight, panel by panel, as it is always f32 */
    uint64_t panel_offset, product_offset, scratch_bytes;
} head;

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t align64(uint64_t bytes) { return (bytes + 63) & ~63ull; }

static head describe(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *weight = &call->in[1];
    head h = {.weight = panels_of(state, weight), .vocabulary = weight->rows, .features = weight->cols,
              .chunk = call->parameters->chunk_tokens};
    struct gemm *g = state->products;
    uint32_t full = h.weight.panel_rows, rest = (uint32_t)(weight->rows % full);
    if (!rest) rest = full;
    h.logits = (row_product){.n = full, .k = (uint32_t)h.features, .lda = h.features, .ldb = h.features,
                             .ldc = h.vocabulary, .b_transposed = true, .type = h.weight.compute};
    h.input = (row_product){.n = (uint32_t)h.features, .k = full, .lda = h.vocabulary, .ldb = h.features,
                            .ldc = h.features, .accumulate = true, .type = h.weight.compute};
    h.gradient = (reduction_product){.m = full, .n = (uint32_t)h.features, .lda = h.vocabulary, .ldb = h.features,
                                     .ldc = h.features, .type = h.weight.compute};
    h.logits_last = h.logits, h.logits_last.n = rest;
    h.input_last = h.input, h.input_last.k = rest;
    h.gradient_last = h.gradient, h.gradient_last.m = rest;
    uint64_t products = larger(gemm_rows_scratch(g, &h.logits), gemm_rows_scratch(g, &h.logits_last));
    if (call->out[1].present)
        products = larger(products, larger(gemm_rows_scratch(g, &h.input), gemm_rows_scratch(g, &h.input_last)));
    if (call->out[2].present)
        products = larger(products,
                          larger(gemm_reduction_scratch(g, &h.gradient), gemm_reduction_scratch(g, &h.gradient_last)));
    h.panel_offset = align64(h.chunk * h.vocabulary * sizeof(float));
    h.product_offset = h.panel_offset + h.weight.scratch_bytes;
    h.scratch_bytes = h.product_offset + products;
    return h;
}

static uint64_t scratch(const struct backend_state *state, const kernel_call *call) {
    return describe(state, call).scratch_bytes;
}

static levee_status prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    head h = describe(state, call);
    levee_status status = gemm_prepare_rows(state->products, &h.logits, error);
    if (status == LEVEE_OK) status = gemm_prepare_rows(state->products, &h.logits_last, error);
    if (status == LEVEE_OK && call->out[1].present) status = gemm_prepare_rows(state->products, &h.input, error);
    if (status == LEVEE_OK && call->out[1].present) status = gemm_prepare_rows(state->products, &h.input_last, error);
    if (status == LEVEE_OK && call->out[2].present)
        status = gemm_prepare_reduction(state->products, &h.gradient, error);
    if (status == LEVEE_OK && call->out[2].present)
        status = gemm_prepare_reduction(state->products, &h.gradient_last, error);
    return status;
}

/* From logits to losses, and in place to the logits' gradient. */
typedef struct softmax_rows {
    const struct backend_state *state;
    float *logits;
    const int32_t *labels;
    float *losses;
    uint64_t vocabulary;
    float loss_scale;
    bool gradient;
} softmax_rows;

static void softmax_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const softmax_rows *s = context;
    (void)thread;
    for (uint64_t r = begin; r < end; r++) {
        float *row = s->logits + r * s->vocabulary;
        int32_t label = s->labels[r];
        if (label < 0) {
            s->losses[r] = 0;
            if (s->gradient) memset(row, 0, s->vocabulary * sizeof *row);
            continue;
        }
        float highest = vector_maximum(s->state->instructions, row, s->vocabulary), at_label = row[label];
        double sum = vector_exponentials(s->state->instructions, row, s->vocabulary, highest);
        s->losses[r] = (float)(log(sum) - ((double)at_label - highest));
        if (!s->gradient) continue;
        vector_scale(s->state->instructions, row, s->vocabulary, (float)(s->loss_scale / sum));
        row[label] -= s->loss_scale;
    }
}

static levee_status chunk_logits(struct backend_state *state, const kernel_call *call, const head *h, uint32_t row,
                                 uint32_t rows, levee_error *error) {
    unsigned char *memory = call->scratch;
    float *logits = (float *)(void *)memory;
    const float *x = (const float *)call->in[0].data + row * h->features;
    levee_status status = LEVEE_OK;
    for (uint64_t v = 0; v < h->vocabulary && status == LEVEE_OK; v += h->weight.panel_rows) {
        const void *panel = panel_fetch(state, &h->weight, call->in[1].data, v, memory + h->panel_offset);
        bool last = panel_height(&h->weight, v) < h->weight.panel_rows;
        status = gemm_rows(state->products, last ? &h->logits_last : &h->logits, rows, x, panel, logits + v,
                           memory + h->product_offset, error);
    }
    return status;
}

static levee_status chunk_gradients(struct backend_state *state, const kernel_call *call, const head *h, uint32_t row,
                                    uint32_t rows, levee_error *error) {
    unsigned char *memory = call->scratch;
    const float *logits = (const float *)(const void *)memory;
    const float *x = (const float *)call->in[0].data + row * h->features;
    float *dx = call->out[1].data ? (float *)call->out[1].data + row * h->features : NULL, *dw = call->out[2].data;
    levee_status status = LEVEE_OK;
    if (dx) memset(dx, 0, rows * h->features * sizeof *dx);
    for (uint64_t v = 0; v < h->vocabulary && status == LEVEE_OK; v += h->weight.panel_rows) {
        bool last = panel_height(&h->weight, v) < h->weight.panel_rows;
        if (dx) {
            const void *panel = panel_fetch(state, &h->weight, call->in[1].data, v, memory + h->panel_offset);
            status = gemm_rows(state->products, last ? &h->input_last : &h->input, rows, logits + v, panel, dx,
                               memory + h->product_offset, error);
        }
        if (dw && status == LEVEE_OK)
            status = gemm_reduction(state->products, last ? &h->gradient_last : &h->gradient, rows, logits + v, x,
                                    dw + v * h->features, memory + h->product_offset, error);
    }
    return status;
}

static bool has_target(const int32_t *labels, uint32_t rows) {
    for (uint32_t r = 0; r < rows; r++)
        if (labels[r] >= 0) return true;
    return false;
}

static levee_status run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    head h = describe(state, call);
    bool gradient = call->out[1].data || call->out[2].data;
    levee_status status = LEVEE_OK;
    for (uint32_t row = 0; row < call->pass->tokens && status == LEVEE_OK; row += h.chunk) {
        uint32_t rows = call->pass->tokens - row < h.chunk ? call->pass->tokens - row : h.chunk;
        softmax_rows s = {.state = state,
                          .logits = call->scratch,
                          .labels = (const int32_t *)call->in[2].data + row,
                          .losses = (float *)call->out[0].data + row,
                          .vocabulary = h.vocabulary,
                          .loss_scale = call->pass->loss_scale,
                          .gradient = gradient};
        if (!has_target(s.labels, rows)) {
            memset(s.losses, 0, rows * sizeof *s.losses);
            if (call->out[1].data)
                memset((float *)call->out[1].data + row * h.features, 0, rows * h.features * sizeof(float));
            continue;
        }
        status = chunk_logits(state, call, &h, row, rows, error);
        if (status == LEVEE_OK) parallel_for(state, rows, 1, softmax_range, &s);
        if (status == LEVEE_OK && gradient) status = chunk_gradients(state, call, &h, row, rows, error);
    }
    return status;
}

const kernel cpu_head_loss = {scratch, prepare, run};
const kernel cpu_head_loss_gradient = {scratch, prepare, run};
