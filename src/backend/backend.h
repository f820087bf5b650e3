/* A backend: a table of operator kernels, the memory they work on, and the optimizer's kernels.
 *
 * The trainer and the executor know only this table. A backend that works in a space of its own gets its values there
 * by copy operators, which the graph inserts. */
#ifndef LEVEE_BACKEND_BACKEND_H
#define LEVEE_BACKEND_BACKEND_H

#include "graph/kernel.h"

/* In which type matrix products are computed. Sums, gradients of parameters and parameters are f32 either way. */
typedef enum compute_type { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_BF16 } compute_type;

typedef struct backend_options {
    unsigned threads;     /* at least 1 */
    compute_type compute; /* AUTO measures a product of the given shape in both types and takes the faster */
} backend_options;

/* One AdamW update of `count` elements; all arrays f32. Decay is decoupled: p -= learning_rate * weight_decay * p.
 * Moments are bias-corrected by the given factors: m / first_correction, v / second_correction. `gradient_scale` is
 * the clipping factor. The gradient is set to zero afterwards. */
typedef struct adamw_update {
    float *parameters, *gradients, *first_moments, *second_moments;
    uint64_t count;
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float first_correction, second_correction, gradient_scale;
} adamw_update;

typedef struct backend {
    const char *name;
    levee_status (*open)(struct backend_state **state, const backend_options *options, levee_error *error);
    void (*close)(struct backend_state *state);
    /* Runs what was prepared since the last call once, so that what libraries keep is held from then on;
     * *library_bytes is the most that they take inside one call and give back. */
    levee_status (*settle)(struct backend_state *state, uint64_t *library_bytes, levee_error *error);
    compute_type (*compute)(const struct backend_state *state); /* never AUTO */
    kernel_table kernels;
    levee_status (*adamw)(struct backend_state *state, const adamw_update *update, levee_error *error);
    /* Sum of squares, accumulated in double in a fixed order. */
    double (*sum_of_squares)(struct backend_state *state, const float *values, uint64_t count);
} backend;

extern const backend cpu_backend;

#endif
