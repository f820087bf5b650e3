/* The gradient of a linear operator's bias: the sum of dy over tokens, added to what is there. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

typedef struct bias_columns {
    const kernel_call *call;
    instruction_set instructions;
} bias_columns;

VECTOR_INLINE void sum_body(bias_columns *b, uint64_t begin, uint64_t end) {
    const kernel_call *call = b->call;
    float *gradient = call->out[0].data;
    for (uint64_t t = 0; t < call->pass->tokens; t++) {
        const float *dy = (const float *)call->in[0].data + t * call->in[0].cols;
        for (uint64_t i = begin; i < end; i++) gradient[i] += dy[i];
    }
}
VECTOR_PATHS(sum, bias_columns)

static void sum_columns(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    bias_columns *b = context;
    (void)thread;
    sum(b->instructions, b, begin, end);
}

/* Columns are split between threads: no race, and one order of sums. */
static levee_status bias_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    bias_columns b = {call, state->instructions};
    parallel_for(state, call->in[0].cols, 16, sum_columns, &b);
    return LEVEE_OK;
}

const kernel cpu_linear_gradient_bias = {.run = bias_run};
