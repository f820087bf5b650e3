/* Finding the plans of a training: see levels.h. */
#include "train/levels.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/parameters.h"

/* Where products are in bf16, so are the values that only they would read. */
static levee_status store_operands(training *t, graph *g, levee_error *error) {
    if (t->model->device->compute(t->model->state) != COMPUTE_BF16) return LEVEE_OK;
    return graph_store_operands(g, DTYPE_BF16, error);
}

static levee_status build_graphs(training *t, levee_error *error) {
    const model_source *source = &t->model->source;
    graph_open(&t->loss, SPACE_HOST);
    graph_open(&t->evaluated, SPACE_HOST);
    trainable_set without_dropout = t->settings.trained;
    without_dropout.dropout = 0;
    levee_status status = model_build_loss(&t->loss, source, &t->settings.trained, error);
    if (status == LEVEE_OK) status = store_operands(t, &t->loss, error);
    if (status == LEVEE_OK && !t->settings.evaluate_only) status = graph_differentiate(&t->loss, error);
    if (status == LEVEE_OK) status = model_build_loss(&t->evaluated, source, &without_dropout, error);
    if (status == LEVEE_OK) status = store_operands(t, &t->evaluated, error);
    return status;
}

levee_status training_warm_up(training *t, levee_error *error) {
    levee_status status = session_warm_up(t->model, &t->loss, t->settings.longest_tokens, error);
    if (status == LEVEE_OK) status = session_warm_up(t->model, &t->evaluated, t->settings.longest_tokens, error);
    if (status == LEVEE_OK) status = session_rates(t->model, &t->rates, error);
    t->warm_bytes = ledger_booked(LEVEE_CATEGORY_COUNT); /* its products stay */
    if (status == LEVEE_OK) status = session_measure(t->model, error);
    return status;
}

/* Plans the forward-only pass into the same arena; it holds a subset of what training holds. */
static levee_status plan_evaluation(training *t, plan_level *level, levee_error *error) {
    const plan *trained = &level->planned.chosen;
    return plan_make(&level->evaluation, &t->evaluated, &t->model->lasting, trained->capacity_tokens,
                     t->model->device->kernels, t->model->state, error);
}

void plan_level_close(plan_level *level) {
    plan_close(&level->planned.chosen);
    plan_close(&level->evaluation);
    memset(level, 0, sizeof *level);
}

levee_status training_make_level(training *t, plan_level *level, uint64_t budget_bytes, uint64_t *smallest_bytes,
                                 levee_error *error) {
    session *s = t->model;
    search_request request = {.g = &t->loss,
                              .lasting = &s->lasting,
                              .kernels = s->device->kernels,
                              .state = s->state,
                              .longest_tokens = t->settings.longest_tokens,
                              .step_tokens = t->settings.step_tokens,
                              .budget_bytes = budget_bytes,
                              .recompute = t->settings.recompute,
                              .fixed = t->settings.wanted.shapes[level - t->levels],
                              .rates = t->rates,
                              .memory = &t->searched};
    levee_status status = plan_search(&level->planned, &request, smallest_bytes, error);
    if (status == LEVEE_OK) {
        status = plan_evaluation(t, level, error);
        *smallest_bytes = UINT64_MAX;
    }
    uint64_t trained = level->planned.chosen.arena_bytes[SPACE_HOST];
    uint64_t evaluated = level->evaluation.arena_bytes[SPACE_HOST];
    level->arena_bytes = trained > evaluated ? trained : evaluated;
    return status;
}

/* The smaller plans, each in half of the arena of the one before, as long as that can be had and is worth a plan. */
static levee_status find_smaller_levels(training *t, levee_error *error) {
    static const double worthwhile = 0.8;
    uint64_t lasting_bytes = t->model->lasting.total_bytes[SPACE_HOST], smallest_bytes;
    while (t->level_count < PLAN_LEVELS && !t->settings.evaluate_only) {
        plan_level *level = &t->levels[t->level_count];
        uint64_t larger = level[-1].arena_bytes;
        levee_error nothing_smaller = {0};
        levee_status status =
            training_make_level(t, level, lasting_bytes + larger / 2, &smallest_bytes, &nothing_smaller);
        /* Below half: the least that there is. */
        if (status == LEVEE_DOES_NOT_FIT && (double)(smallest_bytes - lasting_bytes) < worthwhile * (double)larger) {
            plan_level_close(level);
            status = training_make_level(t, level, smallest_bytes, &smallest_bytes, &nothing_smaller);
        }
        if (status != LEVEE_OK || (double)level->arena_bytes > worthwhile * (double)larger) {
            plan_level_close(level);
            if (status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT) return LEVEE_OK;
            *error = nothing_smaller;
            return status;
        }
        t->level_count++;
    }
    return LEVEE_OK;
}

/* Finds plans for what the budget leaves now. When there is none, *needed_bytes is the budget that the smallest asks
 * for, without its own structures; it stays as it is when that could not be found out. */
static levee_status find_levels(training *t, uint64_t *needed_bytes, levee_error *error) {
    uint64_t smallest_bytes;
    for (uint32_t i = 0; i < t->level_count; i++) plan_level_close(&t->levels[i]);
    t->level_count = 1;
    levee_status status =
        training_make_level(t, &t->levels[0], session_plan_budget(t->model), &smallest_bytes, error);
    if (status == LEVEE_DOES_NOT_FIT && smallest_bytes != UINT64_MAX)
        *needed_bytes = smallest_bytes + session_unplanned_bytes(t->model);
    return status == LEVEE_OK ? find_smaller_levels(t, error) : status;
}

void training_most_operators(const training *t, uint32_t *trained, uint32_t *evaluated) {
    *trained = *evaluated = 0;
    for (uint32_t i = 0; i < t->level_count; i++) {
        uint32_t train = t->levels[i].planned.chosen.g.node_count, evaluate = t->levels[i].evaluation.g.node_count;
        if (train > *trained) *trained = train;
        if (evaluate > *evaluated) *evaluated = evaluate;
    }
}

/* The plans themselves take memory too, so what is held is measured again when they are there; if they then do not
 * fit by that much, they are made again for what is left. On LEVEE_DOES_NOT_FIT *needed_bytes is the budget to try
 * next, or 0 when a block was refused on the way, which says nothing about the job. */
static levee_status plan_within(training *t, uint64_t budget_bytes, uint64_t *needed_bytes, levee_error *error) {
    enum { MOST_ATTEMPTS = 4 };
    session *s = t->model;
    s->budget_bytes = budget_bytes;
    for (unsigned attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        uint32_t trained, evaluated;
        *needed_bytes = 0;
        levee_status status = find_levels(t, needed_bytes, error);
        if (status == LEVEE_OK) status = session_measure(s, error);
        if (status != LEVEE_OK) return status;
        training_most_operators(t, &trained, &evaluated);
        s->runtime_bytes += executor_bytes(trained) + executor_bytes(evaluated);
        if (t->settings.profile) s->runtime_bytes += profile_bytes(trained);
        uint64_t planned = s->lasting.total_bytes[SPACE_HOST] + t->levels[0].arena_bytes;
        if (planned <= session_plan_budget(s)) break;
        *needed_bytes = planned + session_unplanned_bytes(s);
        if (attempt + 1 == MOST_ATTEMPTS) return LEVEE_DOES_NOT_FIT;
    }
    if (session_opening_bytes(s) <= budget_bytes) return LEVEE_OK;
    *needed_bytes = session_opening_bytes(s);
    return LEVEE_DOES_NOT_FIT;
}

uint64_t training_round_budget(uint64_t bytes) {
    static const uint64_t mebibyte = 1024 * 1024, margin = 256 * 1024;
    return (bytes + margin + mebibyte - 1) / mebibyte * mebibyte;
}

/* From a budget that is known to be too small to one that does, a plan for which has been made: *enough, from what is
 * `needed` upwards. */
static levee_status find_enough(training *t, uint64_t needed, uint64_t *enough, levee_error *error) {
    enum { MOST_TRIALS = 8 };
    levee_status status = LEVEE_DOES_NOT_FIT;
    for (unsigned trial = 0; trial < MOST_TRIALS && status == LEVEE_DOES_NOT_FIT && needed; trial++) {
        *enough = training_round_budget(needed > *enough ? needed : *enough + 1);
        status = plan_within(t, *enough, &needed, error);
    }
    return status == LEVEE_DOES_NOT_FIT && needed ? LEVEE_OK : status;
}

/* Forgets the plans that were wanted; what they took does not count against those that come. */
static levee_status do_without(training *t, levee_error *error) {
    for (uint32_t i = 0; i < t->level_count; i++) plan_level_close(&t->levels[i]);
    t->settings.wanted = (plan_sequence){0};
    return session_measure(t->model, error);
}

/* When the job does not fit, the budget that the message names has been tried: a plan was made for it. */
static levee_status find_fitting_plans(training *t, levee_error *error) {
    session *s = t->model;
    uint64_t asked = s->budget_bytes, needed = 0, enough = asked;
    levee_status status = plan_within(t, asked, &needed, error);
    if (status == LEVEE_DOES_NOT_FIT && needed && !t->settings.deterministic &&
        t->settings.wanted.shapes[0].capacity_tokens) {
        status = do_without(t, error);
        if (status == LEVEE_OK) status = plan_within(t, asked, &needed, error);
    }
    if (status != LEVEE_DOES_NOT_FIT || !needed) return status;
    status = find_enough(t, needed, &enough, error);
    s->budget_bytes = asked;
    return status == LEVEE_OK ? session_refuse(s, enough, t->settings.longest_tokens, error) : status;
}

/* All plans of a deterministic training cut up its work alike, whatever the budget. */
static void want_one_shape(training_settings *settings) {
    /* Rows of logits: as few as small budgets ask for, and as many as products need to run well. */
    enum { HEAD_CHUNK_TOKENS = 32 };
    for (uint32_t i = 0; i < PLAN_LEVELS; i++)
        settings->wanted.shapes[i] = (pass_shape){settings->longest_tokens, HEAD_CHUNK_TOKENS};
}

/* Graphs and layout: what the settings alone decide. */
levee_status training_describe(training *t, session *model, const training_settings *settings, levee_error *error) {
    memset(t, 0, sizeof *t);
    t->model = model;
    t->settings = *settings;
    if (settings->deterministic) want_one_shape(&t->settings);
    levee_status status = build_graphs(t, error);
    return status == LEVEE_OK ? layout_make(&model->lasting, &t->loss, !settings->evaluate_only, error) : status;
}

levee_status training_plan(training *t, session *model, const training_settings *settings, levee_error *error) {
    levee_status status = training_describe(t, model, settings, error);
    if (status == LEVEE_OK) status = training_warm_up(t, error);
    if (status == LEVEE_OK) status = find_fitting_plans(t, error);
    if (status != LEVEE_OK) training_close(t);
    return status;
}

levee_status training_least_budget(training *t, uint64_t *bytes, levee_error *error) {
    uint64_t asked = t->model->budget_bytes, needed = 0;
    *bytes = 0;
    if (!t->settings.deterministic)
        t->settings.wanted = (plan_sequence){0}; /* a small budget has a training do without */
    levee_status status = plan_within(t, 1, &needed, error);
    if (status == LEVEE_DOES_NOT_FIT && needed) status = find_enough(t, needed, bytes, error);
    t->model->budget_bytes = asked;
    return status;
}
