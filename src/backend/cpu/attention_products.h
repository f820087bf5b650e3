/* Attention whose products of blocks are oneDNN's, for processors with tile kernels: much faster than the loops of
 * attention.c, and with bf16 products in bf16 as well (queries, keys, values, weights and their gradients are
 * rounded; scores, sums and all that lies between products stay f32). attention.c and attention_gradient.c choose.
 *
 * attention_products.c is the forward part, attention_products_gradient.c the other; attention_blocks.h is what they
 * share, attention_weights.h what is between products. */
#ifndef LEVEE_BACKEND_CPU_ATTENTION_PRODUCTS_H
#define LEVEE_BACKEND_CPU_ATTENTION_PRODUCTS_H

#include "backend/cpu/attention.h"

bool attention_has_products(const struct backend_state *state);

/* The parts of the two kernels, see kernel.h. */
uint64_t attention_products_scratch(const struct backend_state *state, const kernel_call *call);
levee_status attention_products_prepare(struct backend_state *state, const kernel_call *call, levee_error *error);
levee_status attention_products_run(struct backend_state *state, const kernel_call *call, levee_error *error);

/* Of the gradient, whose row sums of do o [tokens, heads] are given to the run. */
uint64_t attention_products_gradient_scratch(const struct backend_state *state, const kernel_call *call);
levee_status attention_products_gradient_prepare(struct backend_state *state, const kernel_call *call,
                                                 levee_error *error);
levee_status attention_products_gradient_run(struct backend_state *state, const kernel_call *call,
                                             const float *row_sums, void *scratch, levee_error *error);

#endif
