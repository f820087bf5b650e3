/* A trial: what other settings would take, planned beside a session that is open and in the way that a training is.
 * Nothing is taken but the plan's own structures. */
#ifndef LEVEE_TRAIN_TRIAL_H
#define LEVEE_TRAIN_TRIAL_H

#include "train/levels.h"

typedef struct trial {
    session model; /* shares everything with the session but its layout */
    training engine;
} trial;

typedef struct trial_result {
    bool fits;
    uint64_t planned_bytes; /* lasting values and arena of the plan; of the smallest one when it does not fit */
    uint32_t recomputed_tensors;
} trial_result;

/* Builds the graphs of the settings. The session must have been planned for once, and outlive the trial; `rates` are
 * those of its training. trial_close accepts a zeroed trial. */
levee_status trial_open(trial *t, const session *model, const training_settings *settings, const machine_rates *rates,
                        levee_error *error);
void trial_close(trial *t);

/* Finds the plan for lasting values and arena within `plan_budget_bytes`; `capacity_tokens` 0 leaves the rows of a
 * pass to the search. That nothing fits is no failure. */
levee_status trial_plan(trial *t, uint32_t capacity_tokens, uint64_t plan_budget_bytes, trial_result *result,
                        levee_error *error);

/* The smallest plan of so many rows a pass: with everything recomputed that may be. */
levee_status trial_smallest(trial *t, uint32_t capacity_tokens, uint64_t *planned_bytes, levee_error *error);

/* Plans settings for a --memory exactly as a training does, smaller plans and what they take included. */
levee_status trial_fits(const session *model, const training_settings *settings, uint64_t budget_bytes, bool *fits,
                        levee_error *error);

#endif
