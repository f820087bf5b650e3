/* Rotary position embedding: the table of cosines and sines, and the rotation. Both overwrite. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

static void table_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const kernel_call *call = context;
    (void)thread;
    const int32_t *positions = call->in[0].data;
    const float *frequencies = call->in[1].data;
    uint64_t half = call->out[0].cols / 2;
    for (uint64_t t = begin; t < end; t++) {
        float *row = (float *)call->out[0].data + t * 2 * half;
        for (uint64_t i = 0; i < half; i++) {
            float angle = (float)positions[t] * frequencies[i]; /* rounded as the reference rounds it */
            row[i] = cosf(angle);
            row[half + i] = sinf(angle);
        }
    }
}

static levee_status table_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    kernel_call own = *call;
    parallel_for(state, call->pass->tokens, 8, table_rows, &own);
    return LEVEE_OK;
}

typedef struct rotation {
    const kernel_call *call;
    instruction_set instructions;
} rotation;

VECTOR_INLINE void rotate_body(rotation *r, uint64_t begin, uint64_t end) {
    const kernel_call *call = r->call;
    uint64_t half = call->parameters->head_dim / 2, heads = call->parameters->heads;
    float sign = call->parameters->inverse ? -1.0f : 1.0f;
    for (uint64_t t = begin; t < end; t++) {
        const float *cosines = (const float *)call->in[1].data + t * 2 * half, *sines = cosines + half;
        for (uint64_t h = 0; h < heads; h++) {
            const float *x = (const float *)call->in[0].data + (t * heads + h) * 2 * half;
            float *y = (float *)call->out[0].data + (t * heads + h) * 2 * half;
            for (uint64_t i = 0; i < half; i++) {
                float first = x[i], second = x[half + i], c = cosines[i], s = sign * sines[i];
                y[i] = first * c - second * s;
                y[half + i] = second * c + first * s;
            }
        }
    }
}
VECTOR_PATHS(rotate, rotation)

static void rotate_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    rotation *r = context;
    (void)thread;
    rotate(r->instructions, r, begin, end);
}

static levee_status rope_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    rotation r = {call, state->instructions};
    parallel_for(state, call->pass->tokens, 8, rotate_rows, &r);
    return LEVEE_OK;
}

const kernel cpu_rope_table = {.run = table_run};
const kernel cpu_rope = {.run = rope_run};
