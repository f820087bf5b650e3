/* How the plans of a training are found: the part of training.h that runs nothing and takes no planned memory. Who
 * only wants to know (trial.h) goes the same way as who trains. */
#ifndef LEVEE_TRAIN_LEVELS_H
#define LEVEE_TRAIN_LEVELS_H

#include "train/training.h"

/* Builds the graphs and lays out model->lasting, which must be closed; training_close in any case. */
levee_status training_describe(training *t, session *model, const training_settings *settings, levee_error *error);

/* Opens everything that takes memory outside the plan, so that it is measured, and measures how fast the machine is.
 */
levee_status training_warm_up(training *t, levee_error *error);

/* Finds a plan within `budget_bytes` for lasting values and arena, and the evaluation's plan beside it. On
 * LEVEE_DOES_NOT_FIT *smallest_bytes is what would do, or UINT64_MAX when a block was refused while planning. */
levee_status training_make_level(training *t, plan_level *level, uint64_t budget_bytes, uint64_t *smallest_bytes,
                                 levee_error *error);
void plan_level_close(plan_level *level);

/* The longest lists of operators that a level has. */
void training_most_operators(const training *t, uint32_t *trained, uint32_t *evaluated);

/* The least --memory with which this training can be planned, as a refusal names it: in whole MiB, and tried. Its
 * plans are then those of that budget. Call after training_plan, or after training_describe on a session that is
 * warm. */
levee_status training_least_budget(training *t, uint64_t *bytes, levee_error *error);

/* A budget to be named to people: whole MiB, with a margin, because what is held moves by some tens of KiB from run
 * to run, and what is named must do in the next one. */
uint64_t training_round_budget(uint64_t bytes);

#endif
