/* The table of oneDNN's primitives: made once, by key, and then only looked up; and, under the same keys, the product
 * of our own (block_kernel.h). Used by gemm.c and gemm_reduction.c. */
#ifndef LEVEE_BACKEND_CPU_GEMM_PRIMITIVE_H
#define LEVEE_BACKEND_CPU_GEMM_PRIMITIVE_H

#include "backend/cpu/cpu.h"

/* c [m, n] = a [m, k] b [k, n], all dense; what is transposed is stored the other way round.
 *
 * A primitive runs on all threads and must be called by one at a time, or it is `single`: it runs on the thread that
 * calls it, and all may do so at once. */
typedef struct primitive_key {
    uint32_t m, n, k;
    bool a_transposed, b_transposed, accumulate, bias;
    bool b_blocked; /* in the order of blocked.h */
    bool single;
    dtype type;
} primitive_key;

struct gemm {
    const struct backend_state *state;
    struct dnnl_engine *engine;
    struct dnnl_stream **streams; /* one a thread */
    struct primitive *table;      /* open addressing */
    enum { BLOCKED_UNKNOWN, BLOCKED_READ, BLOCKED_NOT_READ } blocked_types[DTYPE_COUNT];
    bool refused; /* a primitive could not be made: the scratch that was told may be too small, so none runs */
    uint64_t inside_bytes; /* booked for what oneDNN takes inside a call: the most that any product took */
};

/* Makes the primitive of a key unless it is there. */
levee_status primitive_prepare(struct gemm *g, const primitive_key *key, levee_error *error);

/* The scratch of a primitive that is there, in bytes; 0 when it is not. */
uint64_t primitive_scratch(const struct gemm *g, const primitive_key *key);

/* Runs a primitive that is there: LEVEE_INTERNAL when it is not. `thread` is the calling one, 0 outside of
 * parallel_for. */
levee_status primitive_run(const struct gemm *g, const primitive_key *key, unsigned thread, const void *a,
                           const void *b, const float *bias, float *c, void *scratch, levee_error *error);

#endif
