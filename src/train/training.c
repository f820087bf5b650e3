/* Plan, pass, update: see training.h. */
#include "train/training.h"

#include <string.h>

#include "base/error.h"
#include "model/parameters.h"

static levee_status build_graphs(training *t, levee_error *error) {
    const model_source *source = &t->model->source;
    graph_open(&t->loss, SPACE_HOST);
    graph_open(&t->evaluated, SPACE_HOST);
    trainable_set without_dropout = t->settings.trained;
    without_dropout.dropout = 0;
    levee_status status = model_build_loss(&t->loss, source, &t->settings.trained, error);
    if (status == LEVEE_OK && !t->settings.evaluate_only) status = graph_differentiate(&t->loss, error);
    if (status == LEVEE_OK) status = model_build_loss(&t->evaluated, source, &without_dropout, error);
    return status;
}

/* Opens everything that takes memory outside the plan, so that it is measured. */
static levee_status warm_up(training *t, machine_rates *rates, levee_error *error) {
    levee_status status = session_warm_up(t->model, &t->loss, t->settings.longest_tokens, error);
    if (status == LEVEE_OK) status = session_warm_up(t->model, &t->evaluated, t->settings.longest_tokens, error);
    if (status == LEVEE_OK) status = session_rates(t->model, rates, error);
    if (status == LEVEE_OK) status = session_measure(t->model, error);
    return status;
}

/* Plans the forward-only pass into the same arena; it holds a subset of what training holds. */
static levee_status plan_evaluation(training *t, levee_error *error) {
    const plan *trained = &t->planned.chosen;
    for (uint32_t i = 0; i < t->evaluated.node_count; i++)
        if (t->evaluated.nodes[i].kind == OPERATOR_HEAD_LOSS)
            t->evaluated.nodes[i].parameters.chunk_tokens = t->planned.head_chunk_tokens;
    return plan_make(&t->evaluation, &t->evaluated, &t->model->lasting, trained->capacity_tokens,
                     t->model->device->kernels, t->model->state, error);
}

static uint64_t arena_bytes(const training *t) {
    uint64_t trained = t->planned.chosen.arena_bytes[SPACE_HOST], evaluated = t->evaluation.arena_bytes[SPACE_HOST];
    return trained > evaluated ? trained : evaluated;
}

/* Finds a plan for what the budget leaves now, and the evaluation's plan beside it. When there is none, *needed_bytes
 * is the budget that the smallest plan asks for, without its own structures. */
static levee_status find_plans(training *t, const machine_rates *rates, uint64_t *needed_bytes, levee_error *error) {
    session *s = t->model;
    search_request request = {.g = &t->loss,
                              .lasting = &s->lasting,
                              .kernels = s->device->kernels,
                              .state = s->state,
                              .longest_tokens = t->settings.longest_tokens,
                              .step_tokens = t->settings.step_tokens,
                              .budget_bytes = session_plan_budget(s),
                              .recompute = t->settings.recompute,
                              .rates = *rates};
    uint64_t smallest_bytes;
    plan_close(&t->planned.chosen);
    plan_close(&t->evaluation);
    levee_status status = plan_search(&t->planned, &request, &smallest_bytes, error);
    if (status == LEVEE_DOES_NOT_FIT) *needed_bytes = smallest_bytes + session_unplanned_bytes(s);
    return status == LEVEE_OK ? plan_evaluation(t, error) : status;
}

/* The plans themselves take memory too, so what is held is measured again when they are there; if they then do not
 * fit by that much, they are made again for what is left. */
static levee_status plan_within(training *t, const machine_rates *rates, uint64_t budget_bytes,
                                uint64_t *needed_bytes, levee_error *error) {
    enum { MOST_ATTEMPTS = 4 };
    session *s = t->model;
    s->budget_bytes = budget_bytes;
    for (unsigned attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        levee_status status = find_plans(t, rates, needed_bytes, error);
        if (status == LEVEE_OK) status = session_measure(s, error);
        if (status != LEVEE_OK) return status;
        s->runtime_bytes += executor_bytes(&t->planned.chosen) + executor_bytes(&t->evaluation);
        uint64_t planned = s->lasting.total_bytes[SPACE_HOST] + arena_bytes(t);
        if (planned <= session_plan_budget(s)) break;
        *needed_bytes = planned + session_unplanned_bytes(s);
        if (attempt + 1 == MOST_ATTEMPTS) return LEVEE_DOES_NOT_FIT;
    }
    if (session_opening_bytes(s) <= budget_bytes) return LEVEE_OK;
    *needed_bytes = session_opening_bytes(s);
    return LEVEE_DOES_NOT_FIT;
}

/* When the job does not fit, the budget that the message names has been tried: a plan was made for it. */
static levee_status find_fitting_plans(training *t, const machine_rates *rates, levee_error *error) {
    enum { MOST_TRIALS = 8 };
    static const uint64_t mebibyte = 1024 * 1024;
    session *s = t->model;
    uint64_t asked = s->budget_bytes, needed = 0, enough = asked;
    levee_status status = plan_within(t, rates, asked, &needed, error);
    bool refused = status == LEVEE_DOES_NOT_FIT;
    for (unsigned trial = 0; trial < MOST_TRIALS && status == LEVEE_DOES_NOT_FIT; trial++) {
        enough = needed > enough ? needed : enough + 1;
        enough = (enough + mebibyte - 1) / mebibyte * mebibyte;
        status = plan_within(t, rates, enough, &needed, error);
    }
    s->budget_bytes = asked;
    return refused ? session_refuse(s, enough, t->settings.longest_tokens, error) : status;
}

levee_status training_plan(training *t, session *model, const training_settings *settings, levee_error *error) {
    memset(t, 0, sizeof *t);
    t->model = model;
    t->settings = *settings;
    machine_rates rates;
    levee_status status = build_graphs(t, error);
    if (status == LEVEE_OK) status = layout_make(&model->lasting, &t->loss, !settings->evaluate_only, error);
    if (status == LEVEE_OK) status = warm_up(t, &rates, error);
    if (status == LEVEE_OK) status = find_fitting_plans(t, &rates, error);
    if (status != LEVEE_OK) training_close(t);
    return status;
}

void training_close(training *t) {
    executor_close(&t->train_pass);
    executor_close(&t->evaluate_pass);
    plan_close(&t->planned.chosen);
    plan_close(&t->evaluation);
    graph_close(&t->loss);
    graph_close(&t->evaluated);
    memset(t, 0, sizeof *t);
}

static void arena_categories(const training *t, uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    memcpy(bytes, t->planned.chosen.category_bytes, LEVEE_CATEGORY_COUNT * sizeof *bytes);
    bytes[LEVEE_ACTIVATIONS] += arena_bytes(t) - t->planned.chosen.arena_bytes[SPACE_HOST];
}

void training_planned_bytes(const training *t, uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    arena_categories(t, bytes);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) bytes[c] += t->model->lasting.category_bytes[c];
    bytes[LEVEE_RUNTIME] += t->model->runtime_bytes;
}

/* Points a batch at the inputs of a bound plan. */
static void point_batch(batch *b, const executor *e) {
    const plan *p = e->planned;
    value_id examples = plan_find(p, VALUE_EXAMPLES);
    *b = (batch){.capacity = p->capacity_tokens,
                 .ids = executor_data(e, plan_find(p, VALUE_IDS)),
                 .labels = executor_data(e, plan_find(p, VALUE_LABELS)),
                 .positions = executor_data(e, plan_find(p, VALUE_POSITIONS)),
                 .starts = executor_data(e, plan_find(p, VALUE_STARTS)),
                 .examples = examples == NO_VALUE ? NULL : executor_data(e, examples)};
}

levee_status training_start(training *t, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT];
    arena_categories(t, categories);
    session *s = t->model;
    levee_status status = session_take_memory(s, arena_bytes(t), categories, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->train_pass, &t->planned.chosen, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->evaluate_pass, &t->evaluation, error);
    if (status == LEVEE_OK)
        status = parameters_initialise(&s->source, &s->lasting, s->memory.base, t->settings.seed, error);
    if (status != LEVEE_OK) return status;
    point_batch(&t->train_batch, &t->train_pass);
    point_batch(&t->evaluate_batch, &t->evaluate_pass);
    t->train_losses = executor_data(&t->train_pass, plan_find(&t->planned.chosen, VALUE_LOSSES));
    t->evaluate_losses = executor_data(&t->evaluate_pass, plan_find(&t->evaluation, VALUE_LOSSES));
    if (!t->settings.evaluate_only)
        optimizer_open(&t->updates, &t->settings.optimizer, &s->lasting, s->memory.base, s->device, s->state);
    return LEVEE_OK;
}

batch *training_batch(training *t) { return &t->train_batch; }
batch *training_evaluation_batch(training *t) { return &t->evaluate_batch; }

void training_begin_step(training *t, uint32_t step, uint64_t targets) {
    t->step = step;
    t->loss_scale = targets ? 1.0f / (float)targets : 0.0f;
}

static double sum_losses(const float *losses, uint32_t count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) sum += losses[i];
    return sum;
}

levee_status training_pass(training *t, double *loss_sum, levee_error *error) {
    pass_scalars pass = {
        .tokens = t->train_batch.tokens, .loss_scale = t->loss_scale, .seed = t->settings.seed, .step = t->step};
    if (!pass.tokens) return LEVEE_OK;
    levee_status status = executor_run(&t->train_pass, &pass, error);
    if (status == LEVEE_OK) *loss_sum += sum_losses(t->train_losses, pass.tokens);
    return status;
}

levee_status training_evaluate(training *t, double *loss_sum, levee_error *error) {
    pass_scalars pass = {.tokens = t->evaluate_batch.tokens};
    if (!pass.tokens) return LEVEE_OK;
    levee_status status = executor_run(&t->evaluate_pass, &pass, error);
    if (status == LEVEE_OK) *loss_sum += sum_losses(t->evaluate_losses, pass.tokens);
    return status;
}
