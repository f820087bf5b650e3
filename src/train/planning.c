/* From options to plans: see planning.h. */
#include "train/planning.h"

#include "base/error.h"
#include "memory/ledger.h"
#include "platform/headroom.h"
#include "train/checkpoint_directory.h"

static levee_status open_split(dataset **data, run *common, const char *split, const char *index_directory,
                               levee_error *error) {
    return index_directory ? run_open_data(common, data, split, index_directory, error)
                           : run_open_data_briefly(common, data, split, error);
}

levee_status planning_open_data(planning_data *data, run *common, const char *index_directory, levee_error *error) {
    const levee_options *o = common->options;
    levee_status status = open_split(&data->train, common, "train", index_directory, error);
    if (status == LEVEE_OK && o->validation_batches && dataset_split_exists(o->data, "valid"))
        status = open_split(&data->valid, common, "valid", index_directory, error);
    if (status != LEVEE_OK) return status;
    data->ids = ledger_alloc_array(LEVEE_DATA, o->max_sequence_tokens, sizeof *data->ids);
    return data->ids ? LEVEE_OK
                     : error_out_of_memory(error, "a row of tokens", o->max_sequence_tokens * sizeof *data->ids);
}

void planning_close_data(planning_data *data) {
    dataset_close(data->train);
    dataset_close(data->valid);
    ledger_free(data->ids);
    *data = (planning_data){0};
}

uint32_t planning_longest_tokens(const planning_data *data, const levee_options *o) {
    uint32_t longest = data && data->train ? dataset_longest(data->train) : o->max_sequence_tokens;
    if (data && data->valid && dataset_longest(data->valid) > longest) longest = dataset_longest(data->valid);
    return longest - 1;
}

uint32_t planning_step_examples(const levee_options *o) { return o->batch_size * o->accumulation; }

uint32_t planning_steps(const levee_options *o) { return (o->iterations + o->accumulation - 1) / o->accumulation; }

double planning_rate(const levee_options *o, uint32_t step) {
    return o->has_schedule ? schedule_rate(&o->rate, step) : o->learning_rate;
}

training_settings planning_settings(const levee_options *o, uint32_t longest_tokens) {
    uint32_t examples = planning_step_examples(o);
    uint32_t together = o->micro_batch_size < examples ? o->micro_batch_size : examples;
    return (training_settings){
        .trained = run_trainable(o),
        .optimizer = options_optimizer(o),
        .recompute = o->recompute,
        .longest_tokens = longest_tokens,
        .step_tokens = run_step_tokens(longest_tokens, examples),
        .seed = o->seed,
        .deterministic = o->deterministic,
        .wanted.shapes[0].capacity_tokens = run_step_tokens(longest_tokens, together),
        .profile = o->profile,
    };
}

/* The guard is opened before the plans, so that what it takes is counted. */
static levee_status open_guard(guarding *protection, const run *common, levee_error *error) {
    const levee_options *o = common->options;
    guard_limits limits = guard_limits_default();
    limits.response = o->on_pressure;
    limits.can_pause = true;
    limits.breaker.first_seconds = o->cool_down_seconds;
    limits.pressure.budget_bytes = common->model.budget_bytes;
    limits.pressure.yellow = o->yellow_at;
    limits.pressure.orange = o->orange_at;
    limits.pressure.red = o->red_at;
    levee_status status = headroom_machine_reserve(o->others_bytes, &limits.pressure.machine_reserve_bytes, error);
    return status == LEVEE_OK ? guarding_open(protection, o->guard, &limits, common, error) : status;
}

levee_status planning_make(guarding *protection, training *engine, run *common, const training_settings *settings,
                           levee_error *error) {
    levee_status status = open_guard(protection, common, error);
    return status == LEVEE_OK ? training_plan(engine, &common->model, settings, error) : status;
}

uint64_t planning_checkpoints(const levee_options *o) {
    return checkpoints_at_once(o->keep_last, planning_steps(o) / o->save_every + 1);
}

uint64_t planning_result_bytes(const levee_options *o, const session *model, uint64_t weights_bytes) {
    return model->lasting.parameters_bytes + (fine_tune_is_adapter(o->type) ? 0 : weights_bytes);
}
