/* How much work a pass is: floating-point operations by the kind of code that does them, and bytes that are moved.
 * From this and what a machine does in a second follows a time.
 *
 * With T tokens in the pass, of which each is in a sequence of L tokens, a weight [out, in], rank r, h features, V
 * words and heads * d = q, an operator takes
 *
 * Linear, its input gradient and its weight gradient: 2 T in out each, in products.
 *
 * Head and loss: 2 T h V in products; with gradients as much again for dx, and for the gradient of the weight, if
 * present. For the latter logits are written, read and written as probabilities, and read: 16 T V bytes beside.
 *
 * LoRA: 2 T r (in + out) in thin products; its gradient 2 T r (2 out + in), and 2 T r in for dx, if present.
 *
 * DoRA's norm: 2 r in out in thin products, once a pass.
 *
 * Attention: 4 T q S, where S is how many rows a row sees on average: L / 2, or with a window of w below L, w (1 - w
 * / 2L); by two products of 2 T q S. Its gradient takes five: 10 T q S.
 *
 * Any: bytes of its values of a row once, T times; its weights, gradients and parameters once, those that are decoded
 * twice more as f32.
 *
 * An operator that runs again in the backward part is a node of its own, and counts again. */
#ifndef LEVEE_GRAPH_WORK_H
#define LEVEE_GRAPH_WORK_H

#include "graph/graph.h"

typedef enum work_kind {
    WORK_PRODUCTS,      /* with a weight, in the type that the backend computes in */
    WORK_THIN_PRODUCTS, /* with LoRA's matrices, f32 */
    WORK_ATTENTION,
    WORK_BYTES, /* bytes, not operations */
    WORK_KINDS
} work_kind;

typedef struct work {
    double amount[WORK_KINDS];
} work;

/* How many rows a row of a sequence of so many tokens sees on average, with a window of `window` rows. */
double work_rows_seen(uint32_t window, double sequence_tokens);

/* Adds what a pass over `g` with so many tokens takes; `sequence_tokens` is L: the sum of the squares of the lengths
 * of its sequences, over their sum. */
void work_add_pass(work *sum, const graph *g, double tokens, double sequence_tokens);

/* The same for one operator. */
void work_add_operator(work *sum, const graph *g, const node *n, double tokens, double sequence_tokens);

/* Adds what AdamW moves for so many parameters: parameter, gradient and two moments, read and written, in f32. */
void work_add_update(work *sum, double parameters);

/* The sum over kinds of amount / rate, in seconds; `rates` are amounts a second, above 0. */
double work_seconds(const work *w, const double rates[WORK_KINDS]);

#endif
