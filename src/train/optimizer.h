/* AdamW over all parameters at once, with clipping by the global norm.
 *
 * Works in place on the layout's contiguous blocks; allocates nothing. */
#ifndef LEVEE_TRAIN_OPTIMIZER_H
#define LEVEE_TRAIN_OPTIMIZER_H

#include "backend/backend.h"
#include "graph/layout.h"

typedef struct optimizer_settings {
    double beta1, beta2, epsilon, weight_decay;
    bool bias_correction;
    double max_gradient_norm; /* INFINITY: no clipping */
} optimizer_settings;

typedef struct optimizer {
    optimizer_settings settings;
    const backend *device;
    struct backend_state *state;
    float *parameters, *gradients, *first_moments, *second_moments;
    uint64_t count;
    uint64_t updates; /* done so far */
} optimizer;

/* Points an optimizer at the blocks of a layout in memory that starts at `base`. */
void optimizer_open(optimizer *o, const optimizer_settings *settings, const layout *lasting, unsigned char *base,
                    const backend *device, struct backend_state *state);

/* One update from the accumulated gradients of a step whose loss is `loss`; they are zero afterwards. *gradient_norm
 * is the norm before clipping. When loss or norm is not finite, nothing else is changed, and *applied is false. */
levee_status optimizer_update(optimizer *o, double learning_rate, double loss, double *gradient_norm, bool *applied,
                              levee_error *error);

#endif
