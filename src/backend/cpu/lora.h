/* What LoRA adds to a linear operator, y += scale * drop(x) A^T B^T, and to its gradient, rows by rows: so that it is
 * done while rows and results lie in a thread's cache anyway. Always in f32: the products are small and their sums
 * feed the optimizer.
 *
 * What rows add to the gradients of A and B is kept for chunks of rows, and added up in their order: so sums do not
 * depend on the threads. A chunk's rows must come in order, from one thread. */
#ifndef LEVEE_BACKEND_CPU_LORA_H
#define LEVEE_BACKEND_CPU_LORA_H

#include "backend/cpu/cpu.h"

typedef struct lora {
    const struct backend_state *state;
    const kernel_call *call;
    uint64_t rank, in, out, tokens;
    bool drops;
    const kernel_buffer *x, *dy; /* [T, in]; [T, out], backward: each f32 or bf16 */
    const float *a, *b;          /* [rank, in], [out, rank] */
    const int32_t *examples, *positions;
    float *u;            /* [T, rank]: drop(x) A^T */
    float *du;           /* [T, rank]: scale * dy B; backward, in scratch */
    float *scaled_b;     /* [rank, out]: scale * B^T, in scratch */
    float *wide;         /* of each thread: a few rows of x or dy, decoded, or with dropout */
    float *chunks;       /* of each chunk: gradients of A [rank, in] and of B^T / scale [rank, out] */
    uint64_t chunk_rows; /* a power of two */
    uint64_t scratch_bytes;
} lora;

/* OPERATOR_LORA; `scratch` is the part of the call's scratch that is LoRA's, scratch_bytes of it. Makes scaled_b when
 * there is data. */
lora lora_forward(const struct backend_state *state, const kernel_call *call, void *scratch);

/* OPERATOR_LORA_GRADIENT */
lora lora_backward(const struct backend_state *state, const kernel_call *call, void *scratch);

/* u of rows from `row` on. */
void lora_narrow(const lora *l, uint64_t row, uint64_t rows, unsigned thread);

/* y [rows, cols] += u scaled_b, of the columns from `first` on. */
void lora_add_output(const lora *l, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *y);

/* du of rows, and what they add to the gradient of B. */
void lora_take_output(const lora *l, uint64_t row, uint64_t rows, unsigned thread);

/* dx [rows, cols] += du A, of the columns from `first` on; only without dropout. */
void lora_add_input(const lora *l, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *dx);

/* What rows add to the gradient of A, and with dropout dx [rows, in] += drop'(du A), unless dx is NULL. */
void lora_take_input(const lora *l, uint64_t row, uint64_t rows, float *dx, unsigned thread);

/* Adds the chunks to the gradients of A and B, when all rows are done. */
void lora_finish(const lora *l);

#endif
