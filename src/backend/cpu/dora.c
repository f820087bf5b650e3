/* DoRA: the norms of an adapted weight's rows, and the magnitude that takes their place. Norms, y and dx are
 * overwritten; the gradient of the magnitude is added to. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

/* Rows of a weight, and those of biases, are worked on in pieces of so many features: they stay in the first cache.
 */
enum { PIECE = 256 };

typedef struct dora_work {
    const kernel_call *call;
    instruction_set instructions;
    void (*body)(instruction_set, struct dora_work *, uint64_t, uint64_t);
} dora_work;

static inline uint64_t piece_from(uint64_t from, uint64_t end) { return end - from < PIECE ? end - from : PIECE; }

VECTOR_INLINE double square_sum(const float *values, uint64_t count) {
    lanes sum = lanes_of(0.0f);
    uint64_t i = 0;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES) sum += lanes_load(values + i) * lanes_load(values + i);
    double total = (double)lanes_sum(sum);
    for (; i < count; i++) total += (double)values[i] * values[i];
    return total;
}

/* Each row of weight + scale * B A exists a piece at a time. */
VECTOR_INLINE void norm_body(dora_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const kernel_buffer *weight = &call->in[0];
    const float *a = call->in[1].data, *b = call->in[2].data;
    uint64_t cols = weight->cols, rank = call->in[1].rows;
    float row[PIECE];
    for (uint64_t j = begin; j < end; j++) {
        double squares = 0;
        for (uint64_t from = 0; from < cols; from += PIECE) {
            uint64_t count = piece_from(from, cols);
            dtype_convert(DTYPE_F32, row, weight->type,
                          (const unsigned char *)weight->data + dtype_bytes(weight->type, j * cols + from), count);
            for (uint64_t k = 0; k < rank; k++) {
                float factor = call->parameters->scale * b[j * rank + k];
                const float *a_row = a + k * cols + from;
                for (uint64_t i = 0; i < count; i++) row[i] += factor * a_row[i];
            }
            squares += square_sum(row, count);
        }
        ((float *)call->out[0].data)[j] = squares > 0 ? (float)(1.0 / sqrt(squares)) : 0.0f;
    }
}
VECTOR_PATHS(norm, dora_work)

VECTOR_INLINE void magnitude_body(dora_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const kernel_buffer *bias = &call->in[3];
    const float *magnitude = call->in[1].data, *inverse = call->in[2].data;
    uint64_t cols = call->in[0].cols;
    float factor[PIECE], shift[PIECE];
    for (uint64_t from = 0; from < cols; from += PIECE) {
        uint64_t count = piece_from(from, cols);
        for (uint64_t i = 0; i < count; i++) factor[i] = magnitude[from + i] * inverse[from + i], shift[i] = 0;
        if (bias->present)
            dtype_convert(DTYPE_F32, shift, bias->type,
                          (const unsigned char *)bias->data + dtype_bytes(bias->type, from), count);
        for (uint64_t t = begin; t < end; t++) {
            const float *x = (const float *)call->in[0].data + t * cols + from;
            float *y = (float *)call->out[0].data + t * cols + from;
            for (uint64_t i = 0; i < count; i++) y[i] = x[i] * factor[i] + shift[i];
        }
    }
}
VECTOR_PATHS(magnitude, dora_work)

/* Columns are split between threads: no race, and one order of sums. */
VECTOR_INLINE void gradient_body(dora_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const float *magnitude = call->in[2].data, *inverse = call->in[3].data;
    uint64_t cols = call->in[0].cols;
    float *gradient = call->out[1].data;
    for (uint64_t t = 0; t < call->pass->tokens; t++) {
        const float *dy = (const float *)call->in[0].data + t * cols, *x = (const float *)call->in[1].data + t * cols;
        float *dx = (float *)call->out[0].data + t * cols;
        if (gradient)
            for (uint64_t i = begin; i < end; i++) gradient[i] += dy[i] * x[i] * inverse[i];
        for (uint64_t i = begin; i < end; i++) dx[i] = dy[i] * (magnitude[i] * inverse[i]);
    }
}
VECTOR_PATHS(gradient, dora_work)

static void work(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    dora_work *w = context;
    (void)thread;
    w->body(w->instructions, w, begin, end);
}

static levee_status norm_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    dora_work w = {call, state->instructions, norm};
    return parallel_for_dynamic(state, call->pass, call->in[0].rows, 16, work, &w);
}

static levee_status magnitude_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    dora_work w = {call, state->instructions, magnitude};
    parallel_for(state, call->pass->tokens, 16, work, &w);
    return LEVEE_OK;
}

static levee_status gradient_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    dora_work w = {call, state->instructions, gradient};
    parallel_for(state, call->in[0].cols, 16, work, &w);
    return LEVEE_OK;
}

const kernel cpu_adapted_norm = {.run = norm_run};
const kernel cpu_magnitude = {.run = magnitude_run};
const kernel cpu_magnitude_gradient = {.run = gradient_run};
