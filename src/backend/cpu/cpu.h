/* The CPU backend's own shared parts: its state, its threads, and the kernels of each file.
 *
 * Threads: work is split by parallel_for over threads of our own (crew.h). */
#ifndef LEVEE_BACKEND_CPU_CPU_H
#define LEVEE_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "platform/machine.h"

struct gemm; /* gemm.h */
struct crew; /* crew.h */

struct backend_state {
    unsigned threads;
    instruction_set instructions; /* which of the compiled paths run; tests lower it */
    compute_type compute;
    struct gemm *products;
    struct crew *crew; /* NULL with one thread */
};

/* The type that products are computed in. */
static inline dtype product_type(const struct backend_state *state) {
    return state->compute == COMPUTE_BF16 ? DTYPE_BF16 : DTYPE_F32;
}

/* Pieces of scratch begin at multiples of 64. */
static inline uint64_t align64(uint64_t bytes) { return (bytes + 63) & ~63ull; }

static inline uint64_t up_to(uint64_t count, uint64_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

static inline uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* Calls body(context, begin, end, thread) for disjoint ranges that cover [0, count), at most one range a thread, each
 * but the last a multiple of `grain`. thread < state->threads. Returns when all are done. Allocates nothing. */
typedef void parallel_body(void *context, uint64_t begin, uint64_t end, unsigned thread);
void parallel_for(const struct backend_state *state, uint64_t count, uint64_t grain, parallel_body *body,
                  void *context);

/* As above, but ranges of `grain` are handed out in their order as threads become free: for work of uneven cost, and
 * work that is long. When the pass is interrupted no more are handed out, and the result is LEVEE_STOPPED; without a
 * pass (NULL) nothing interrupts. */
levee_status parallel_for_dynamic(const struct backend_state *state, const pass_scalars *pass, uint64_t count,
                                  uint64_t grain, parallel_body *body, void *context);

/* Kernels by file; collected in cpu.c into the table. */
extern const kernel cpu_copy, cpu_embedding, cpu_embedding_gradient;                      /* embedding.c */
extern const kernel cpu_rmsnorm, cpu_rmsnorm_gradient_input, cpu_rmsnorm_gradient_weight; /* rmsnorm.c */
extern const kernel cpu_linear, cpu_linear_gradient_input, cpu_linear_gradient_weight;    /* linear.c; LoRA too */
extern const kernel cpu_linear_gradient_bias;                                             /* bias.c */
extern const kernel cpu_adapted_norm, cpu_magnitude, cpu_magnitude_gradient;              /* dora.c */
extern const kernel cpu_rope_table, cpu_rope;                                             /* rope.c */
extern const kernel cpu_attention, cpu_attention_gradient, cpu_attention_cached;          /* attention*.c */
extern const kernel cpu_swiglu, cpu_swiglu_gradient, cpu_add;                             /* swiglu.c */
extern const kernel cpu_head_loss, cpu_head_loss_gradient;                                /* head_loss.c */
levee_status cpu_adamw(struct backend_state *state, const adamw_update *update, levee_error *error); /* adamw.c */
double cpu_sum_of_squares(struct backend_state *state, const float *values, uint64_t count);         /* adamw.c */

#endif
