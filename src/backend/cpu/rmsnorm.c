/* RMSNorm and its gradients. y, inverse_rms and dx are overwritten (dx on top of `add`); the weight's gradient adds.
 */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

/* The weight may be of any type and width, so each row decodes it piece by piece. */
enum { WEIGHT_PIECE = 256 };

static const float *weight_piece(const kernel_buffer *weight, uint64_t from, uint64_t count,
                                 float piece[WEIGHT_PIECE]) {
    dtype_convert(DTYPE_F32, piece, weight->type,
                  (const unsigned char *)weight->data + from * dtype_bytes(weight->type, 1), count);
    return piece;
}

typedef struct norm_rows {
    const kernel_call *call;
} norm_rows;

/* Groups lie one behind the other, so each is a row of its own, as wide as the weight. */
static uint64_t group_rows(const kernel_call *call, const kernel_buffer *x, const kernel_buffer *weight) {
    return call->pass->tokens * (x->cols / weight->cols);
}

VECTOR_INLINE double dot(const float *a, const float *b, uint64_t count) {
    lanes sum = lanes_of(0.0f);
    uint64_t i = 0;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES) sum += lanes_load(a + i) * lanes_load(b + i);
    double total = (double)lanes_sum(sum);
    for (; i < count; i++) total += (double)a[i] * b[i];
    return total;
}

VECTOR_INLINE void forward_body(norm_rows *n, uint64_t begin, uint64_t end) {
    const kernel_call *call = n->call;
    uint64_t cols = call->in[1].cols;
    dtype type = call->out[0].type;
    float piece[WEIGHT_PIECE], narrow[WEIGHT_PIECE];
    for (uint64_t t = begin; t < end; t++) {
        const float *x = (const float *)call->in[0].data + t * cols;
        unsigned char *y = (unsigned char *)call->out[0].data + dtype_bytes(type, t * cols);
        float inverse = (float)(1.0 / sqrt(dot(x, x, cols) / (double)cols + (double)call->parameters->epsilon));
        ((float *)call->out[1].data)[t] = inverse;
        for (uint64_t from = 0; from < cols; from += WEIGHT_PIECE) {
            uint64_t count = cols - from < WEIGHT_PIECE ? cols - from : WEIGHT_PIECE;
            const float *w = weight_piece(&call->in[1], from, count, piece);
            float *to = type == DTYPE_F32 ? (float *)(void *)y + from : narrow;
            for (uint64_t i = 0; i < count; i++) to[i] = x[from + i] * inverse * w[i];
            if (type != DTYPE_F32) vector_operands(type, y + dtype_bytes(type, from), narrow, count);
        }
    }
}
VECTOR_PATHS(forward, norm_rows)

/* dx = inverse * (w dy - x * inverse^2 * mean(w dy x)) */
VECTOR_INLINE void input_body(norm_rows *n, uint64_t begin, uint64_t end) {
    const kernel_call *call = n->call;
    uint64_t cols = call->in[2].cols;
    float piece[WEIGHT_PIECE], product[WEIGHT_PIECE];
    for (uint64_t t = begin; t < end; t++) {
        const float *dy = (const float *)call->in[0].data + t * cols, *x = (const float *)call->in[1].data + t * cols;
        float *dx = (float *)call->out[0].data + t * cols, inverse = ((const float *)call->in[3].data)[t];
        double sum = 0;
        for (uint64_t from = 0; from < cols; from += WEIGHT_PIECE) {
            uint64_t count = cols - from < WEIGHT_PIECE ? cols - from : WEIGHT_PIECE;
            const float *w = weight_piece(&call->in[2], from, count, piece);
            for (uint64_t i = 0; i < count; i++) product[i] = w[i] * dy[from + i];
            sum += dot(product, x + from, count);
        }
        float correction = (float)(sum / (double)cols) * inverse * inverse;
        for (uint64_t from = 0; from < cols; from += WEIGHT_PIECE) {
            uint64_t count = cols - from < WEIGHT_PIECE ? cols - from : WEIGHT_PIECE;
            const float *w = weight_piece(&call->in[2], from, count, piece);
            for (uint64_t i = 0; i < count; i++) {
                float d = inverse * (w[i] * dy[from + i] - x[from + i] * correction);
                dx[from + i] = call->in[4].data ? dx[from + i] + d : d;
            }
        }
    }
}
VECTOR_PATHS(input, norm_rows)

/* Columns are split between threads: no race, and one order of sums. */
VECTOR_INLINE void weight_body(norm_rows *n, uint64_t begin, uint64_t end) {
    const kernel_call *call = n->call;
    uint64_t cols = call->out[0].cols, rows = group_rows(call, &call->in[1], &call->out[0]);
    const float *inverse = call->in[2].data;
    float *gradient = call->out[0].data;
    for (uint64_t t = 0; t < rows; t++) {
        const float *dy = (const float *)call->in[0].data + t * cols, *x = (const float *)call->in[1].data + t * cols;
        for (uint64_t i = begin; i < end; i++) gradient[i] += dy[i] * x[i] * inverse[t];
    }
}
VECTOR_PATHS(weight, norm_rows)

typedef struct norm_work {
    norm_rows rows;
    instruction_set instructions;
    void (*body)(instruction_set, norm_rows *, uint64_t, uint64_t);
} norm_work;

static void work(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    norm_work *w = context;
    (void)thread;
    w->body(w->instructions, &w->rows, begin, end);
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    norm_work w = {.rows = {call}, .instructions = state->instructions, .body = forward};
    parallel_for(state, group_rows(call, &call->in[0], &call->in[1]), 8, work, &w);
    return LEVEE_OK;
}

static levee_status input_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    norm_work w = {.rows = {call}, .instructions = state->instructions, .body = input};
    parallel_for(state, group_rows(call, &call->in[1], &call->in[2]), 8, work, &w);
    return LEVEE_OK;
}

static levee_status weight_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    norm_work w = {.rows = {call}, .instructions = state->instructions, .body = weight};
    parallel_for(state, call->out[0].cols, 16, work, &w);
    return LEVEE_OK;
}

const kernel cpu_rmsnorm = {.run = forward_run};
const kernel cpu_rmsnorm_gradient_input = {.run = input_run};
const kernel cpu_rmsnorm_gradient_weight = {.run = weight_run};
