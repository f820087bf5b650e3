/* Training as the engine sees it: plan, pass, update. Knows no files of data and no schedule; the loop (trainer.h)
 * and the golden check drive it.
 *
 * One step is: training_begin_step, then for each micro-batch fill training_batch and call training_pass, then
 * training_update. Gradients add up over the passes, each token's loss weighted by 1 / targets of the whole step, so
 * how the step is split changes the result by rounding only.
 *
 * Safe points. A training has several plans, the largest that the budget holds first, each later one in about half of
 * the memory. What lasts lies below all of them at the same place, so a plan can be exchanged for another between
 * passes, and in a pass between two operators: that pass is then dropped and its examples done again. */
#ifndef LEVEE_TRAIN_TRAINING_H
#define LEVEE_TRAIN_TRAINING_H

#include "data/batch.h"
#include "memory/seal.h"
#include "train/optimizer.h"
#include "train/session.h"

enum { PLAN_LEVELS = 4 };

/* The plans that a training has or, to go on as if it had never stopped, had: 0 is free. */
typedef struct plan_sequence {
    pass_shape shapes[PLAN_LEVELS]; /* the largest plan first */
    uint32_t level;                 /* the one in use */
} plan_sequence;

typedef struct training_settings {
    trainable_set trained;
    optimizer_settings optimizer;
    recompute_choice recompute;
    uint32_t longest_tokens; /* rows of the longest sequence of any data that will be seen */
    uint32_t step_tokens;    /* rows of an effective batch, at most */
    uint64_t seed;
    /* Splits, requests, changes of plan and budgets then change no bit: each pass holds one sequence, and all plans
     * cut its work up alike. */
    bool deterministic;
    plan_sequence wanted; /* deterministic training has its own */
    bool profile;         /* measure each operator of the passes that train */
    bool evaluate_only;   /* no gradients and no optimizer: only training_evaluate is of use */
} training_settings;

/* Memory for one way of working: the pass that trains and, in the same arena, the one that evaluates. */
typedef struct plan_level {
    search_result planned;
    plan evaluation;
    uint64_t arena_bytes;
} plan_level;

/* What one change of plan promised and did. */
typedef struct level_change {
    uint32_t from, to;
    uint64_t promised_bytes; /* that the arena becomes smaller or larger */
    uint64_t moved_bytes;    /* by which held memory fell or rose, as the kernel says */
    double seconds;          /* from the request to its being done */
    bool refused;            /* a larger one that the machine has no memory for; why is in `reason` */
    char reason[LEVEE_ERROR_BYTES];
} level_change;

typedef struct training {
    session *model; /* the caller's; its memory is taken by training_plan */
    training_settings settings;
    graph loss; /* differentiated */
    graph evaluated;
    machine_rates rates;
    uint64_t warm_bytes; /* booked when the machine was measured, which takes memory for a moment */
    search_memory searched;
    plan_level levels[PLAN_LEVELS]; /* the largest first */
    uint32_t level_count, level;    /* level: the one in use */
    executor train_pass, evaluate_pass;
    optimizer updates;
    batch train_batch, evaluate_batch;
    const float *train_losses, *evaluate_losses;
    uint32_t step;
    float loss_scale;
    profile measured; /* of the passes that train, when that is asked for */
    seal sealed;      /* what is booked since the plan in use was bound */
    /* Told of each change of plan; NULL: nobody. */
    void (*on_change)(void *context, const level_change *change);
    void *change_context;
    /* Asked at a safe point when the guard wants to be; what it returns is what the safe point returns. NULL: nobody.
     */
    levee_status (*on_attend)(void *context, levee_error *error);
    void *attend_context;
} training;

/* Builds the graphs, warms up, measures and finds plans; takes no memory yet. When those that were wanted do not fit,
 * others are found: compare with training_plans. On LEVEE_DOES_NOT_FIT the message says the smallest budget that
 * would do. training_close frees, and accepts a zeroed training; the session stays the caller's. */
levee_status training_plan(training *t, session *model, const training_settings *settings, levee_error *error);
void training_close(training *t);

/* LEVEE_INTERNAL, with its name, when more of a category is booked than the plan in use had it be: since the training
 * was started, or the plan changed, nothing may have grown. Ask between two steps. */
levee_status training_check_sealed(const training *t, levee_error *error);

/* Bytes by category of lasting values and the largest arena, and what is not planned under LEVEE_RUNTIME. */
void training_planned_bytes(const training *t, uint64_t bytes[LEVEE_CATEGORY_COUNT]);

/* The plans that were found, and the one in use. */
plan_sequence training_plans(const training *t);

/* Takes the memory and gives every parameter its first value. */
levee_status training_start(training *t, levee_error *error);

/* The batch to fill before a pass. */
batch *training_batch(training *t);
batch *training_evaluation_batch(training *t);

/* Starts step number `step` (from 0), whose micro-batches hold `targets` target tokens together. */
void training_begin_step(training *t, uint32_t step, uint64_t targets);

/* Forward and backward over the filled batch; adds the sum of its tokens' losses to *loss_sum. LEVEE_STOPPED when an
 * urgent request (requests.h) cut the pass short: then *progress says what it had added, for when its examples are
 * done again with it; 0 for examples that are new. */
levee_status training_pass(training *t, gradient_progress *progress, double *loss_sum, levee_error *error);

/* Whether urgent requests may cut passes that train short from now on; they may at first. */
void training_allow_interrupts(training *t, bool allowed);

/* Forward only over the filled evaluation batch; adds to *loss_sum. LEVEE_STOPPED as above: then do it again. */
levee_status training_evaluate(training *t, double *loss_sum, levee_error *error);

/* Answers what was requested; call between passes, and after one that was cut short. Batches are empty afterwards and
 * may have moved. LEVEE_STOPPED when a stop was asked for. A growth that is refused is no failure; a change that is
 * not to be had (no smaller or larger plan) does nothing. */
levee_status training_safe_point(training *t, levee_error *error);

/* Goes over to plan number `to` (< level_count) at a safe point, because of a request made at `asked_seconds`. When
 * the machine has no memory for a larger one, *refused, and the plan stays. */
levee_status training_change_plan(training *t, uint32_t to, double asked_seconds, bool *refused, levee_error *error);

/* All that the process is expected to hold with plan number `level`. */
uint64_t training_plan_bytes(const training *t, uint32_t level);

/* Gives back what only a pass needs, at once; what lasts stays, to be stored. Then training_release follows, or the
 * end: no pass may run. */
levee_status training_release_arena(training *t, levee_error *error);

/* Gives back everything that the plans took, what lasts included: store it before. Then training_reclaim takes it
 * again, or fails with LEVEE_DOES_NOT_FIT and holds nothing; parameters have their first values after it, to be read
 * from where they were stored. */
levee_status training_release(training *t, levee_error *error);
levee_status training_reclaim(training *t, levee_error *error);

#endif
