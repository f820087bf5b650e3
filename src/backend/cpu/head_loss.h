/* The output head and the cross-entropy: what its two ways share, and the way that never stores logits.
 *
 * When the gradient of the weight is asked for, the logits of a chunk of rows are stored (head_loss.c): what they are
 * divided by must be known before they are multiplied by x, and it is known when all have been seen. For the loss and
 * dx alone that factor can wait until the end, so logits need not be kept (head_streamed.c). */
#ifndef LEVEE_BACKEND_CPU_HEAD_LOSS_H
#define LEVEE_BACKEND_CPU_HEAD_LOSS_H

#include "backend/cpu/cpu.h"

/* LEVEE_INTERNAL when a label of this pass is not in the vocabulary. */
levee_status head_check_labels(const kernel_call *call, levee_error *error);

/* The head without a gradient of the weight: the parts of a kernel. */
uint64_t head_streamed_scratch(const struct backend_state *state, const kernel_call *call);
levee_status head_streamed_prepare(struct backend_state *state, const kernel_call *call, levee_error *error);
levee_status head_streamed_run(struct backend_state *state, const kernel_call *call, levee_error *error);

#endif
