/* Planning beside a session: see trial.h. */
#include "train/trial.h"

#include <string.h>

static session share(const session *model) {
    session shared = *model;
    memset(&shared.lasting, 0, sizeof shared.lasting);
    memset(&shared.memory, 0, sizeof shared.memory);
    return shared;
}

levee_status trial_open(trial *t, const session *model, const training_settings *settings, const machine_rates *rates,
                        levee_error *error) {
    t->model = share(model);
    levee_status status = training_describe(&t->engine, &t->model, settings, error);
    t->engine.rates = *rates;
    if (status != LEVEE_OK) trial_close(t);
    return status;
}

void trial_close(trial *t) {
    training_close(&t->engine);
    layout_close(&t->model.lasting);
}

levee_status trial_plan(trial *t, uint32_t capacity_tokens, uint64_t plan_budget_bytes, trial_result *result,
                        levee_error *error) {
    training *engine = &t->engine;
    plan_level *level = &engine->levels[0];
    uint64_t smallest;
    if (!engine->settings.deterministic) engine->settings.wanted.shapes[0].capacity_tokens = capacity_tokens;
    memset(result, 0, sizeof *result);
    levee_status status = training_make_level(engine, level, plan_budget_bytes, &smallest, error);
    if (status == LEVEE_OK) {
        result->planned_bytes = t->model.lasting.total_bytes[SPACE_HOST] + level->arena_bytes;
        result->fits = result->planned_bytes <= plan_budget_bytes;
        result->recomputed_tensors = level->planned.recomputed_tensors;
    } else if (status == LEVEE_DOES_NOT_FIT && smallest != UINT64_MAX) {
        result->planned_bytes = smallest;
        status = LEVEE_OK;
    }
    plan_level_close(level);
    return status;
}

levee_status trial_smallest(trial *t, uint32_t capacity_tokens, uint64_t *planned_bytes, levee_error *error) {
    trial_result result;
    levee_status status = trial_plan(t, capacity_tokens, 0, &result, error);
    *planned_bytes = result.planned_bytes;
    return status;
}

levee_status trial_fits(const session *model, const training_settings *settings, uint64_t budget_bytes, bool *fits,
                        levee_error *error) {
    training engine = {0};
    session shared = share(model);
    shared.budget_bytes = budget_bytes;
    levee_error refused = {0};
    levee_status status = training_plan(&engine, &shared, settings, &refused);
    *fits = status == LEVEE_OK;
    training_close(&engine);
    layout_close(&shared.lasting);
    if (status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT) return LEVEE_OK;
    if (error) *error = refused;
    return status;
}
