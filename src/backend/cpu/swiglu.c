/* SwiGLU, its gradient, and the sum of two values: one pass over memory each. All overwrite, possibly in place. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

typedef struct elements {
    const float *a, *b, *c;
    float *first, *second;
} elements;

VECTOR_INLINE lanes sigmoid(lanes x) { return lanes_of(1.0f) / (lanes_of(1.0f) + lanes_exponential(-x)); }

VECTOR_INLINE void swiglu_body(elements *e, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i += VECTOR_LANES) {
        uint64_t count = end - i < VECTOR_LANES ? end - i : VECTOR_LANES;
        bool whole = count == VECTOR_LANES;
        lanes gate = whole ? lanes_load(e->a + i) : lanes_load_some(e->a + i, count, 0);
        lanes up = whole ? lanes_load(e->b + i) : lanes_load_some(e->b + i, count, 0);
        lanes y = gate * sigmoid(gate) * up;
        if (whole)
            lanes_store(e->first + i, y);
        else
            lanes_store_some(e->first + i, y, count);
    }
}
VECTOR_PATHS(swiglu, elements)

/* a: dy, b: gate, c: up; first: dgate, second: dup */
VECTOR_INLINE void swiglu_gradient_body(elements *e, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i += VECTOR_LANES) {
        uint64_t count = end - i < VECTOR_LANES ? end - i : VECTOR_LANES;
        bool whole = count == VECTOR_LANES;
        lanes dy = whole ? lanes_load(e->a + i) : lanes_load_some(e->a + i, count, 0);
        lanes gate = whole ? lanes_load(e->b + i) : lanes_load_some(e->b + i, count, 0);
        lanes up = whole ? lanes_load(e->c + i) : lanes_load_some(e->c + i, count, 0);
        lanes s = sigmoid(gate), silu = gate * s;
        lanes dgate = dy * up * (s + silu * (lanes_of(1.0f) - s)), dup = dy * silu;
        if (whole) {
            lanes_store(e->first + i, dgate);
            lanes_store(e->second + i, dup);
        } else {
            lanes_store_some(e->first + i, dgate, count);
            lanes_store_some(e->second + i, dup, count);
        }
    }
}
VECTOR_PATHS(swiglu_gradient, elements)

VECTOR_INLINE void add_body(elements *e, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) e->first[i] = e->a[i] + e->b[i];
}
VECTOR_PATHS(add, elements)

typedef struct element_work {
    elements data;
    instruction_set instructions;
    void (*body)(instruction_set, elements *, uint64_t, uint64_t);
} element_work;

static void work(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    element_work *w = context;
    (void)thread;
    w->body(w->instructions, &w->data, begin, end);
}

static levee_status run_elements(struct backend_state *state, const kernel_call *call, element_work *w) {
    enum { GRAIN = 4096 };
    w->instructions = state->instructions;
    w->data = (elements){call->in[0].data, call->in[1].data, call->in[2].data, call->out[0].data, call->out[1].data};
    parallel_for(state, call->pass->tokens * call->in[0].cols, GRAIN, work, w);
    return LEVEE_OK;
}

static levee_status swiglu_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    return run_elements(state, call, &(element_work){.body = swiglu});
}

static levee_status swiglu_gradient_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    return run_elements(state, call, &(element_work){.body = swiglu_gradient});
}

static levee_status add_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    return run_elements(state, call, &(element_work){.body = add});
}

const kernel cpu_swiglu = {.run = swiglu_run};
const kernel cpu_swiglu_gradient = {.run = swiglu_gradient_run};
const kernel cpu_add = {.run = add_run};
