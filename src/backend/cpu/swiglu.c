/* SwiGLU, its gradient, and the sum of two values: one pass over memory each. All overwrite, possibly in place. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

typedef struct elements {
    const void *a, *b, *c;
    void *first, *second;
} elements;

VECTOR_INLINE lanes sigmoid(lanes x) { return lanes_of(1.0f) / (lanes_of(1.0f) + lanes_exponential(-x)); }

/* Lanes from element i on, of f32 or bf16; `count` of them where they are the last. */
VECTOR_INLINE lanes take(const void *from, bool narrow, uint64_t i, uint64_t count) {
    if (narrow) {
        uint16_t some[VECTOR_LANES] = {0};
        if (count == VECTOR_LANES) return lanes_load_bf16((const uint16_t *)from + i);
        memcpy(some, (const uint16_t *)from + i, count * sizeof *some);
        return lanes_load_bf16(some);
    }
    return count == VECTOR_LANES ? lanes_load((const float *)from + i)
                                 : lanes_load_some((const float *)from + i, count, 0);
}

/* Results are rounded to bf16 by the piece, for which processors have an instruction. */
enum { PIECE = 512 };

VECTOR_INLINE float *place(void *to, bool narrow, uint64_t i, float *piece) {
    return narrow ? piece : (float *)to + i;
}

VECTOR_INLINE void put(float *to, uint64_t count, lanes v) {
    if (count == VECTOR_LANES)
        lanes_store(to, v);
    else
        lanes_store_some(to, v, count);
}

VECTOR_INLINE void settle(void *to, bool narrow, uint64_t i, uint64_t count, const float *piece) {
    if (narrow) vector_operands(DTYPE_BF16, (uint16_t *)to + i, piece, count);
}

VECTOR_INLINE void swiglu_elements(elements *e, bool narrow, uint64_t begin, uint64_t end) {
    float piece[PIECE];
    for (uint64_t from = begin; from < end; from += PIECE) {
        uint64_t stop = end - from < PIECE ? end : from + PIECE;
        float *y = place(e->first, narrow, from, piece);
        for (uint64_t i = from; i < stop; i += VECTOR_LANES) {
            uint64_t count = stop - i < VECTOR_LANES ? stop - i : VECTOR_LANES;
            lanes gate = take(e->a, narrow, i, count), up = take(e->b, narrow, i, count);
            put(y + (i - from), count, gate * sigmoid(gate) * up);
        }
        settle(e->first, narrow, from, stop - from, piece);
    }
}

/* a: dy (f32), b: gate, c: up; first: dgate, second: dup */
VECTOR_INLINE void swiglu_gradient_elements(elements *e, bool narrow, uint64_t begin, uint64_t end) {
    float pieces[2][PIECE];
    for (uint64_t from = begin; from < end; from += PIECE) {
        uint64_t stop = end - from < PIECE ? end : from + PIECE;
        float *dgate = place(e->first, narrow, from, pieces[0]), *dup = place(e->second, narrow, from, pieces[1]);
        for (uint64_t i = from; i < stop; i += VECTOR_LANES) {
            uint64_t count = stop - i < VECTOR_LANES ? stop - i : VECTOR_LANES;
            lanes dy = take(e->a, false, i, count);
            lanes gate = take(e->b, narrow, i, count), up = take(e->c, narrow, i, count);
            lanes s = sigmoid(gate), silu = gate * s;
            put(dgate + (i - from), count, dy * up * (s + silu * (lanes_of(1.0f) - s)));
            put(dup + (i - from), count, dy * silu);
        }
        settle(e->first, narrow, from, stop - from, pieces[0]);
        settle(e->second, narrow, from, stop - from, pieces[1]);
    }
}

VECTOR_INLINE void swiglu_body(elements *e, uint64_t begin, uint64_t end) { swiglu_elements(e, false, begin, end); }
VECTOR_INLINE void swiglu_bf16_body(elements *e, uint64_t begin, uint64_t end) {
    swiglu_elements(e, true, begin, end);
}
VECTOR_INLINE void swiglu_gradient_body(elements *e, uint64_t begin, uint64_t end) {
    swiglu_gradient_elements(e, false, begin, end);
}
VECTOR_INLINE void swiglu_gradient_bf16_body(elements *e, uint64_t begin, uint64_t end) {
    swiglu_gradient_elements(e, true, begin, end);
}
VECTOR_PATHS(swiglu, elements)
VECTOR_PATHS(swiglu_bf16, elements)
VECTOR_PATHS(swiglu_gradient, elements)
VECTOR_PATHS(swiglu_gradient_bf16, elements)

VECTOR_INLINE void add_body(elements *e, uint64_t begin, uint64_t end) {
    const float *a = e->a, *b = e->b;
    float *sum = e->first;
    for (uint64_t i = begin; i < end; i++) sum[i] = a[i] + b[i];
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
    return run_elements(state, call, &(element_work){.body = call->in[0].type == DTYPE_BF16 ? swiglu_bf16 : swiglu});
}

static levee_status swiglu_gradient_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    element_work w = {.body = call->in[1].type == DTYPE_BF16 ? swiglu_gradient_bf16 : swiglu_gradient};
    return run_elements(state, call, &w);
}

static levee_status add_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    return run_elements(state, call, &(element_work){.body = add});
}

const kernel cpu_swiglu = {.run = swiglu_run};
const kernel cpu_swiglu_gradient = {.run = swiglu_gradient_run};
const kernel cpu_add = {.run = add_run};
