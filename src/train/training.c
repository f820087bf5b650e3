/* Plan, pass, update: see training.h. */
#include "train/training.h"

#include <string.h>

#include "base/error.h"
#include "model/parameters.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "train/requests.h"

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
static levee_status plan_evaluation(training *t, plan_level *level, levee_error *error) {
    const plan *trained = &level->planned.chosen;
    for (uint32_t i = 0; i < t->evaluated.node_count; i++)
        if (t->evaluated.nodes[i].kind == OPERATOR_HEAD_LOSS)
            t->evaluated.nodes[i].parameters.chunk_tokens = level->planned.head_chunk_tokens;
    return plan_make(&level->evaluation, &t->evaluated, &t->model->lasting, trained->capacity_tokens,
                     t->model->device->kernels, t->model->state, error);
}

static void close_level(plan_level *level) {
    plan_close(&level->planned.chosen);
    plan_close(&level->evaluation);
    memset(level, 0, sizeof *level);
}

/* Finds a plan within `budget_bytes` for lasting values and arena, and the evaluation's plan beside it. */
static levee_status make_level(training *t, plan_level *level, const machine_rates *rates, uint64_t budget_bytes,
                               uint64_t *smallest_bytes, levee_error *error) {
    session *s = t->model;
    search_request request = {.g = &t->loss,
                              .lasting = &s->lasting,
                              .kernels = s->device->kernels,
                              .state = s->state,
                              .longest_tokens = t->settings.longest_tokens,
                              .step_tokens = t->settings.step_tokens,
                              .budget_bytes = budget_bytes,
                              .recompute = t->settings.recompute,
                              .rates = *rates};
    levee_status status = plan_search(&level->planned, &request, smallest_bytes, error);
    if (status == LEVEE_OK) status = plan_evaluation(t, level, error);
    uint64_t trained = level->planned.chosen.arena_bytes[SPACE_HOST];
    uint64_t evaluated = level->evaluation.arena_bytes[SPACE_HOST];
    level->arena_bytes = trained > evaluated ? trained : evaluated;
    return status;
}

/* The smaller plans, each in half of the arena of the one before, as long as that can be had and is worth a plan. */
static levee_status find_smaller_levels(training *t, const machine_rates *rates, levee_error *error) {
    static const double worthwhile = 0.8;
    uint64_t lasting_bytes = t->model->lasting.total_bytes[SPACE_HOST], smallest_bytes;
    while (t->level_count < PLAN_LEVELS && !t->settings.evaluate_only) {
        plan_level *level = &t->levels[t->level_count];
        uint64_t larger = level[-1].arena_bytes;
        levee_error nothing_smaller = {0};
        levee_status status =
            make_level(t, level, rates, lasting_bytes + larger / 2, &smallest_bytes, &nothing_smaller);
        /* Below half: the least that there is. */
        if (status == LEVEE_DOES_NOT_FIT && (double)(smallest_bytes - lasting_bytes) < worthwhile * (double)larger) {
            close_level(level);
            status = make_level(t, level, rates, smallest_bytes, &smallest_bytes, &nothing_smaller);
        }
        if (status != LEVEE_OK || (double)level->arena_bytes > worthwhile * (double)larger) {
            close_level(level);
            if (status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT) return LEVEE_OK;
            *error = nothing_smaller;
            return status;
        }
        t->level_count++;
    }
    return LEVEE_OK;
}

/* Finds plans for what the budget leaves now. When there is none, *needed_bytes is the budget that the smallest asks
 * for, without its own structures. */
static levee_status find_levels(training *t, const machine_rates *rates, uint64_t *needed_bytes, levee_error *error) {
    uint64_t smallest_bytes;
    for (uint32_t i = 0; i < t->level_count; i++) close_level(&t->levels[i]);
    t->level_count = 1;
    levee_status status = make_level(t, &t->levels[0], rates, session_plan_budget(t->model), &smallest_bytes, error);
    if (status == LEVEE_DOES_NOT_FIT) *needed_bytes = smallest_bytes + session_unplanned_bytes(t->model);
    return status == LEVEE_OK ? find_smaller_levels(t, rates, error) : status;
}

/* The longest lists of operators that a level has. */
static void most_operators(const training *t, uint32_t *trained, uint32_t *evaluated) {
    *trained = *evaluated = 0;
    for (uint32_t i = 0; i < t->level_count; i++) {
        uint32_t train = t->levels[i].planned.chosen.g.node_count, evaluate = t->levels[i].evaluation.g.node_count;
        if (train > *trained) *trained = train;
        if (evaluate > *evaluated) *evaluated = evaluate;
    }
}

/* The plans themselves take memory too, so what is held is measured again when they are there; if they then do not
 * fit by that much, they are made again for what is left. */
static levee_status plan_within(training *t, const machine_rates *rates, uint64_t budget_bytes,
                                uint64_t *needed_bytes, levee_error *error) {
    enum { MOST_ATTEMPTS = 4 };
    session *s = t->model;
    s->budget_bytes = budget_bytes;
    for (unsigned attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        uint32_t trained, evaluated;
        levee_status status = find_levels(t, rates, needed_bytes, error);
        if (status == LEVEE_OK) status = session_measure(s, error);
        if (status != LEVEE_OK) return status;
        most_operators(t, &trained, &evaluated);
        s->runtime_bytes += executor_bytes(trained) + executor_bytes(evaluated);
        uint64_t planned = s->lasting.total_bytes[SPACE_HOST] + t->levels[0].arena_bytes;
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
    /* What is held moves by some tens of KiB from run to run, and the budget that is named must do in the next one.
     */
    static const uint64_t mebibyte = 1024 * 1024, margin = 256 * 1024;
    session *s = t->model;
    uint64_t asked = s->budget_bytes, needed = 0, enough = asked;
    levee_status status = plan_within(t, rates, asked, &needed, error);
    bool refused = status == LEVEE_DOES_NOT_FIT;
    for (unsigned trial = 0; trial < MOST_TRIALS && status == LEVEE_DOES_NOT_FIT; trial++) {
        enough = needed > enough ? needed : enough + 1;
        enough = (enough + margin + mebibyte - 1) / mebibyte * mebibyte;
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
    for (uint32_t i = 0; i < t->level_count; i++) close_level(&t->levels[i]);
    graph_close(&t->loss);
    graph_close(&t->evaluated);
    memset(t, 0, sizeof *t);
}

static void arena_categories(const plan_level *level, uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    memcpy(bytes, level->planned.chosen.category_bytes, LEVEE_CATEGORY_COUNT * sizeof *bytes);
    bytes[LEVEE_ACTIVATIONS] += level->arena_bytes - level->planned.chosen.arena_bytes[SPACE_HOST];
}

void training_planned_bytes(const training *t, uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    arena_categories(&t->levels[0], bytes);
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

/* Finds inputs and outputs where the bound plans have them. */
static void point_at_plans(training *t) {
    const plan_level *level = &t->levels[t->level];
    point_batch(&t->train_batch, &t->train_pass);
    point_batch(&t->evaluate_batch, &t->evaluate_pass);
    t->train_losses = executor_data(&t->train_pass, plan_find(&level->planned.chosen, VALUE_LOSSES));
    t->evaluate_losses = executor_data(&t->evaluate_pass, plan_find(&level->evaluation, VALUE_LOSSES));
}

static bool is_urgent(void *context) {
    (void)context;
    return requests_urgent();
}

void training_allow_interrupts(training *t, bool allowed) {
    t->train_pass.interrupt = allowed ? is_urgent : NULL;
}

levee_status training_start(training *t, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT];
    uint32_t trained, evaluated;
    session *s = t->model;
    const plan_level *level = &t->levels[0];
    arena_categories(level, categories);
    most_operators(t, &trained, &evaluated);
    levee_status status = session_take_memory(s, level->arena_bytes, categories, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->train_pass, &level->planned.chosen, trained, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->evaluate_pass, &level->evaluation, evaluated, error);
    if (status == LEVEE_OK)
        status = parameters_initialise(&s->source, &s->lasting, s->memory.base, t->settings.seed, error);
    if (status != LEVEE_OK) return status;
    point_at_plans(t);
    t->evaluate_pass.interrupt = is_urgent; /* it keeps nothing, and can always be done again */
    training_allow_interrupts(t, true);
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

levee_status training_pass(training *t, gradient_progress *progress, double *loss_sum, levee_error *error) {
    pass_scalars pass = {
        .tokens = t->train_batch.tokens, .loss_scale = t->loss_scale, .seed = t->settings.seed, .step = t->step};
    if (!pass.tokens) return LEVEE_OK;
    levee_status status = executor_run(&t->train_pass, &pass, progress, error);
    if (status == LEVEE_OK) *loss_sum += sum_losses(t->train_losses, pass.tokens);
    return status;
}

levee_status training_evaluate(training *t, double *loss_sum, levee_error *error) {
    pass_scalars pass = {.tokens = t->evaluate_batch.tokens};
    gradient_progress none = 0;
    if (!pass.tokens) return LEVEE_OK;
    levee_status status = executor_run(&t->evaluate_pass, &pass, &none, error);
    if (status == LEVEE_OK) *loss_sum += sum_losses(t->evaluate_losses, pass.tokens);
    return status;
}

static levee_status bind_level(training *t, uint32_t level, levee_error *error) {
    kernel_table kernels = t->model->device->kernels;
    levee_status status = executor_rebind(&t->train_pass, &t->levels[level].planned.chosen, kernels, error);
    if (status == LEVEE_OK) status = executor_rebind(&t->evaluate_pass, &t->levels[level].evaluation, kernels, error);
    t->level = level;
    if (status == LEVEE_OK) point_at_plans(t);
    return status;
}

static uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/* The memory first when it grows, the plan first when it shrinks: no plan is ever bound to memory that is not there.
 */
static levee_status change_level(training *t, uint32_t to, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT], from_bytes = t->levels[t->level].arena_bytes;
    uint64_t to_bytes = t->levels[to].arena_bytes;
    process_memory before = {0}, after = {0};
    levee_error reason = {0};
    double began = machine_seconds();
    bool grows = to < t->level;
    level_change change = {.from = t->level, .to = to};
    change.promised_bytes = grows ? to_bytes - from_bytes : from_bytes - to_bytes;
    arena_categories(&t->levels[to], categories);
    process_memory_read(&before);
    levee_status status = LEVEE_OK;
    if (grows) {
        status = session_resize_memory(t->model, to_bytes, categories, &reason);
        change.refused = status == LEVEE_DOES_NOT_FIT;
        if (status == LEVEE_OK) status = bind_level(t, to, error);
    } else {
        status = bind_level(t, to, error);
        if (status == LEVEE_OK) status = session_resize_memory(t->model, to_bytes, categories, &reason);
    }
    process_memory_read(&after);
    change.seconds = machine_seconds() - began;
    change.moved_bytes = distance(before.held_bytes, after.held_bytes);
    memcpy(change.reason, reason.message, sizeof change.reason);
    if (t->on_change) t->on_change(t->change_context, &change);
    if (status != LEVEE_OK && !change.refused && reason.status != LEVEE_OK && error) *error = reason;
    return change.refused ? LEVEE_OK : status;
}

levee_status training_safe_point(training *t, levee_error *error) {
    requests asked = requests_take();
    if (asked.stop) return error_set(error, LEVEE_STOPPED, "stopped as asked; the last whole step counts");
    if (asked.shrink && t->level + 1 < t->level_count) return change_level(t, t->level + 1, error);
    if (asked.grow && t->level > 0) return change_level(t, t->level - 1, error);
    return LEVEE_OK;
}
