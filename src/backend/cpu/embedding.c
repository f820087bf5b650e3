/* Copy, embedding and its gradient. The copy and the embedding overwrite; the gradient adds. */
#include <string.h>

#include "backend/cpu/cpu.h"

static levee_status copy_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)state, (void)error;
    const kernel_buffer *from = &call->in[0];
    memcpy(call->out[0].data, from->data, dtype_bytes(from->type, from->rows * from->cols));
    return LEVEE_OK;
}

static void embed_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const kernel_call *call = context;
    (void)thread;
    const int32_t *ids = call->in[0].data;
    const kernel_buffer *table = &call->in[1];
    float *x = call->out[0].data;
    uint64_t row_bytes = dtype_bytes(table->type, table->cols);
    for (uint64_t t = begin; t < end; t++)
        dtype_convert(DTYPE_F32, x + t * table->cols, table->type,
                      (const unsigned char *)table->data + (uint64_t)ids[t] * row_bytes, table->cols);
}

static levee_status embedding_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    kernel_call own = *call;
    parallel_for(state, call->pass->tokens, 16, embed_rows, &own);
    return LEVEE_OK;
}

/* Threads split the columns, so that two tokens with the same id never race and the order of sums is fixed. */
static void embed_gradient_columns(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const kernel_call *call = context;
    (void)thread;
    const int32_t *ids = call->in[0].data;
    const float *dx = call->in[1].data;
    float *gradient = call->out[0].data;
    uint64_t cols = call->out[0].cols;
    for (uint64_t t = 0; t < call->pass->tokens; t++)
        for (uint64_t i = begin; i < end; i++) gradient[(uint64_t)ids[t] * cols + i] += dx[t * cols + i];
}

static levee_status embedding_gradient_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    kernel_call own = *call;
    parallel_for(state, call->out[0].cols, 16, embed_gradient_columns, &own);
    return LEVEE_OK;
}

const kernel cpu_copy = {.run = copy_run};
const kernel cpu_embedding = {.run = embedding_run};
const kernel cpu_embedding_gradient = {.run = embedding_gradient_run};
