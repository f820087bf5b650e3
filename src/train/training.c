/* Plan, pass, update: see training.h. */
#include "train/training.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "model/parameters.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "train/levels.h"
#include "train/requests.h"

void training_close(training *t) {
    executor_close(&t->train_pass);
    executor_close(&t->evaluate_pass);
    profile_close(&t->measured);
    for (uint32_t i = 0; i < t->level_count; i++) plan_level_close(&t->levels[i]);
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

plan_sequence training_plans(const training *t) {
    plan_sequence plans = {.level = t->level};
    for (uint32_t i = 0; i < t->level_count; i++)
        plans.shapes[i] =
            (pass_shape){t->levels[i].planned.chosen.capacity_tokens, t->levels[i].planned.head_chunk_tokens};
    return plans;
}

/* Points a batch at the inputs of a bound plan. */
static void point_batch(batch *b, const executor *e, bool one_sequence) {
    const plan *p = e->planned;
    value_id examples = plan_find(p, VALUE_EXAMPLES);
    *b = (batch){.capacity = p->capacity_tokens,
                 .one_sequence = one_sequence,
                 .ids = executor_data(e, plan_find(p, VALUE_IDS)),
                 .labels = executor_data(e, plan_find(p, VALUE_LABELS)),
                 .positions = executor_data(e, plan_find(p, VALUE_POSITIONS)),
                 .starts = executor_data(e, plan_find(p, VALUE_STARTS)),
                 .examples = examples == NO_VALUE ? NULL : executor_data(e, examples)};
}

/* Finds inputs and outputs where the bound plans have them. */
static void point_at_plans(training *t) {
    const plan_level *level = &t->levels[t->level];
    point_batch(&t->train_batch, &t->train_pass, t->settings.deterministic);
    point_batch(&t->evaluate_batch, &t->evaluate_pass, t->settings.deterministic);
    t->train_losses = executor_data(&t->train_pass, plan_find(&level->planned.chosen, VALUE_LOSSES));
    t->evaluate_losses = executor_data(&t->evaluate_pass, plan_find(&level->evaluation, VALUE_LOSSES));
}

/* With the smallest plan there is nothing to give back, and a pass is not to be cut short for that. */
static bool is_urgent(void *context) {
    const training *t = context;
    return requests_urgent(t->level + 1 < t->level_count);
}

void training_allow_interrupts(training *t, bool allowed) { t->train_pass.interrupt = allowed ? is_urgent : NULL; }

levee_status training_start(training *t, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT];
    uint32_t trained, evaluated;
    session *s = t->model;
    uint32_t smallest = t->level_count - 1, wanted = t->settings.wanted.level;
    t->level = wanted < smallest ? wanted : smallest;
    const plan_level *level = &t->levels[t->level];
    arena_categories(level, categories);
    training_most_operators(t, &trained, &evaluated);
    levee_status status = session_take_memory(s, t->levels[0].arena_bytes, level->arena_bytes, categories, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->train_pass, &level->planned.chosen, trained, error);
    if (status == LEVEE_OK) status = session_bind(s, &t->evaluate_pass, &level->evaluation, evaluated, error);
    if (status == LEVEE_OK && t->settings.profile) {
        status = profile_open(&t->measured, trained, error);
        t->train_pass.measured = &t->measured;
    }
    if (status == LEVEE_OK)
        status = parameters_initialise(&s->source, &s->lasting, s->memory.base, t->settings.seed, error);
    if (status != LEVEE_OK) return status;
    point_at_plans(t);
    t->train_pass.interrupt_context = t->evaluate_pass.interrupt_context = t;
    t->evaluate_pass.interrupt = is_urgent; /* it keeps nothing, and can always be done again */
    training_allow_interrupts(t, true);
    if (!t->settings.evaluate_only)
        optimizer_open(&t->updates, &t->settings.optimizer, &s->lasting, s->memory.base, s->device, s->state);
    seal_take(&t->sealed);
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

/* The sum of the squares of the lengths of a batch's sequences, over their sum: row i of one adds 2 i + 1. */
static double sequence_tokens(const batch *b) {
    double sum = 0;
    for (uint32_t i = 0; i < b->tokens; i++) sum += 2.0 * b->positions[i] + 1;
    return sum / b->tokens;
}

levee_status training_pass(training *t, gradient_progress *progress, double *loss_sum, levee_error *error) {
    pass_scalars pass = {
        .tokens = t->train_batch.tokens, .loss_scale = t->loss_scale, .seed = t->settings.seed, .step = t->step};
    if (!pass.tokens) return LEVEE_OK;
    if (t->settings.profile) t->measured.sequence_tokens = sequence_tokens(&t->train_batch);
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
levee_status training_change_plan(training *t, uint32_t to, double asked_seconds, bool *refused, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT], from_bytes = t->levels[t->level].arena_bytes;
    uint64_t to_bytes = t->levels[to].arena_bytes;
    process_memory before = {0}, after = {0};
    levee_error reason = {0};
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
    change.seconds = machine_seconds() - asked_seconds;
    change.moved_bytes = distance(before.held_bytes, after.held_bytes);
    seal_take(&t->sealed);
    memcpy(change.reason, reason.message, sizeof change.reason);
    if (t->on_change) t->on_change(t->change_context, &change);
    if (status != LEVEE_OK && !change.refused && reason.status != LEVEE_OK && error) *error = reason;
    *refused = change.refused;
    return change.refused ? LEVEE_OK : status;
}

levee_status training_check_sealed(const training *t, levee_error *error) {
    char grown[BYTES_TEXT];
    uint64_t bytes = 0;
    levee_category c = seal_broken(&t->sealed, &bytes);
    if (c == LEVEE_CATEGORY_COUNT) return LEVEE_OK;
    return error_set(
        error, LEVEE_INTERNAL,
        "%s grew by %s, which is in no plan: something keeps memory that it should give back; please report "
        "this with the log and config.yaml",
        levee_category_name(c), bytes_format(grown, bytes));
}

uint64_t training_plan_bytes(const training *t, uint32_t level) {
    const session *s = t->model;
    return s->runtime_bytes + s->lasting.total_bytes[SPACE_HOST] + t->levels[level].arena_bytes;
}

levee_status training_release_arena(training *t, levee_error *error) {
    static const uint64_t nothing[LEVEE_CATEGORY_COUNT];
    return session_resize_memory(t->model, 0, nothing, error);
}

levee_status training_release(training *t, levee_error *error) { return session_release_memory(t->model, error); }

levee_status training_reclaim(training *t, levee_error *error) {
    uint64_t categories[LEVEE_CATEGORY_COUNT];
    session *s = t->model;
    const plan_level *level = &t->levels[t->level];
    arena_categories(level, categories);
    levee_status status = session_resize_memory(s, level->arena_bytes, categories, error);
    if (status != LEVEE_OK) return status;
    seal_take(&t->sealed);
    return parameters_initialise(&s->source, &s->lasting, s->memory.base, t->settings.seed, error);
}

levee_status training_safe_point(training *t, levee_error *error) {
    requests asked = requests_take();
    if (asked.stop) return error_set(error, LEVEE_STOPPED, "stopped as asked; the last whole step counts");
    levee_status status = LEVEE_OK;
    bool refused;
    if (asked.shrink && t->level + 1 < t->level_count)
        status = training_change_plan(t, t->level + 1, asked.asked_seconds, &refused, error);
    else if (asked.grow && t->level > 0)
        status = training_change_plan(t, t->level - 1, asked.asked_seconds, &refused, error);
    if (status == LEVEE_OK && asked.attend && t->on_attend) status = t->on_attend(t->attend_context, error);
    return status;
}
