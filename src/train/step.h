/* One optimizer step's passes as a transaction: which examples it has is fixed at its start; how they are split into
 * passes is not, and may change in the middle. */
#ifndef LEVEE_TRAIN_STEP_H
#define LEVEE_TRAIN_STEP_H

#include "data/cursor.h"
#include "data/dataset.h"
#include "train/training.h"

typedef struct step_input {
    dataset *data;
    const cursor *order;
    uint32_t *ids; /* scratch: [max_sequence_tokens of the data] */
} step_input;

typedef struct step_result {
    uint64_t targets;  /* tokens that count in the loss */
    double loss_sum;   /* of their losses */
    uint32_t passes;   /* those that were cut short not counted */
    uint32_t repeated; /* passes that were cut short, and whose examples were done again */
} step_result;

/* Runs all examples of step number `step` (from 0) forward and backward; the gradients then wait for the optimizer.
 * At safe points it answers requests, so that the plan may be another one afterwards. LEVEE_STOPPED when a stop was
 * asked for: the step's gradients are of no use then. */
levee_status step_run(training *engine, const step_input *input, uint32_t step, step_result *result,
                      levee_error *error);

#endif
