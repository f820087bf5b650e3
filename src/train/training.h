/* Training as the engine sees it: plan, pass, update. Knows no files of data and no schedule; the loop (trainer.h)
 * and the golden check drive it.
 *
 * One step is: training_begin_step, then for each micro-batch fill training_batch and call training_pass, then
 * training_update. Gradients add up over the passes, each token's loss weighted by 1 / targets of the whole step, so
 * how the step is split changes the result by rounding only. */
#ifndef LEVEE_TRAIN_TRAINING_H
#define LEVEE_TRAIN_TRAINING_H

#include "data/batch.h"
#include "train/optimizer.h"
#include "train/session.h"

typedef struct training_settings {
    trainable_set trained;
    optimizer_settings optimizer;
    recompute_choice recompute;
    uint32_t longest_tokens; /* rows of the longest sequence of any data that will be seen */
    uint32_t step_tokens;    /* rows of an effective batch, at most */
    uint64_t seed;
    bool evaluate_only; /* no gradients and no optimizer: only training_evaluate is of use */
} training_settings;

typedef struct training {
    session *model; /* the caller's; its memory is taken by training_plan */
    training_settings settings;
    graph loss; /* differentiated */
    graph evaluated;
    search_result planned;
    plan evaluation;
    executor train_pass, evaluate_pass;
    optimizer updates;
    batch train_batch, evaluate_batch;
    const float *train_losses, *evaluate_losses;
    uint32_t step;
    float loss_scale;
} training;

/* Builds the graphs, warms up, measures and finds a plan; takes no memory yet. On LEVEE_DOES_NOT_FIT the message says
 * the smallest budget that would do. training_close frees, and accepts a zeroed training; the session stays the
 * caller's. */
levee_status training_plan(training *t, session *model, const training_settings *settings, levee_error *error);
void training_close(training *t);

/* Bytes by category of lasting values and arena, and what is not planned under LEVEE_RUNTIME. */
void training_planned_bytes(const training *t, uint64_t bytes[LEVEE_CATEGORY_COUNT]);

/* Takes the memory and gives every parameter its first value. */
levee_status training_start(training *t, levee_error *error);

/* The batch to fill before a pass. */
batch *training_batch(training *t);
batch *training_evaluation_batch(training *t);

/* Starts step number `step` (from 0), whose micro-batches hold `targets` target tokens together. */
void training_begin_step(training *t, uint32_t step, uint64_t targets);

/* Forward and backward over the filled batch; adds the sum of its tokens' losses to *loss_sum. */
levee_status training_pass(training *t, double *loss_sum, levee_error *error);

/* Forward only over the filled evaluation batch; adds to *loss_sum. */
levee_status training_evaluate(training *t, double *loss_sum, levee_error *error);

#endif
