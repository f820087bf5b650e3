/* From a planned training to its report: see describing.h. */
#include "train/describing.h"

#include <math.h>
#include <stdio.h>

#include "doctor/calibration.h"
#include "model/family.h"
#include "model/size.h"
#include "platform/headroom.h"
#include "platform/process.h"
#include "train/resume.h"

void describe_node(char text[REPORT_NAME_BYTES], const node *n) {
    char layer[32] = "";
    if (n->layer >= 0) snprintf(layer, sizeof layer, " of layer %d", (int)n->layer);
    snprintf(text, REPORT_NAME_BYTES, "%s%s%s", operator_name(n->kind), layer, n->recomputed ? ", again" : "");
}

levee_status describe_model(plan_report *r, const described *d, levee_error *error) {
    const levee_options *o = d->common->options;
    const session *model = &d->common->model;
    static const char *const types[] = {"none", "lora", "full", "head", "dora"};
    model_size size;
    levee_status status = model_measure(&size, &model->source, error);
    if (status != LEVEE_OK) return status;
    uint32_t layers = model->config.layers, last = d->settings->trained.last_layers;
    r->model = o->model;
    r->family = model->config.family->type;
    r->stored_type = dtype_describe(model->config.stored_type)->name;
    r->fine_tune_type = types[o->type];
    r->compute = model->device->compute(model->state) == COMPUTE_BF16 ? "bf16" : "f32";
    r->layers = layers;
    r->trained_layers = o->type == FINE_TUNE_HEAD ? 0 : last < layers ? last : layers;
    r->rank = fine_tune_is_adapter(o->type) ? o->rank : 0;
    r->parameters = size.parameters;
    r->weights_bytes = model->tensors ? safetensors_mapped_bytes(model->tensors) : size.bytes;
    for (uint32_t i = 0; i < model->lasting.count; i++)
        if (model->lasting.entries[i].role == VALUE_PARAMETER)
            r->trained_parameters += model->lasting.entries[i].rows * model->lasting.entries[i].cols;
    return LEVEE_OK;
}

/* What an average step holds. */
typedef struct step_tokens {
    double tokens; /* rows, of all its examples */
    double
        sequence_tokens; /* the sum of the squares of the lengths of its sequences, over their sum (graph/work.h) */
} step_tokens;

/* Of the data; without them, all sequences are as long as the longest. The last token of a row is only a target. */
static step_tokens count_tokens(const plan_report *r, const described *d) {
    const dataset *data = d->data->train;
    double sum = 0, squares = 0, examples = r->examples_step;
    step_tokens longest = {.tokens = examples * d->settings->longest_tokens,
                           .sequence_tokens = d->settings->longest_tokens};
    if (!data) return longest;
    uint64_t rows = dataset_rows(data);
    for (uint64_t row = 0; row < rows; row++) {
        double tokens = dataset_row_tokens(data, row) - 1.0;
        sum += tokens;
        squares += tokens * tokens;
    }
    return (step_tokens){.tokens = examples * sum / (double)rows, .sequence_tokens = squares / sum};
}

/* Passes of an average step: as many whole sequences of average length as each holds. */
static double count_passes(const plan_report *r, const described *d, const step_tokens *step) {
    double examples = r->examples_step, mean = step->tokens / examples;
    uint64_t held = d->settings->deterministic ? 1 : (uint64_t)(r->capacity_tokens / mean);
    return ceil(examples / (double)(held ? held : 1));
}

static void estimate_time(plan_report *r, const described *d) {
    const session *model = &d->common->model;
    step_tokens step = count_tokens(r, d);
    calibration here;
    double rates[WORK_KINDS];
    char path[FILE_PATH_BYTES];
    r->tokens_step = step.tokens;
    calibration_identify(&here, kernel_roots_default, d->common->options->threads);
    if (calibration_path(path, NULL) != LEVEE_OK || !calibration_find(path, &here)) return;
    if (!calibration_rates(&here, model->device->compute(model->state), rates)) return;
    double passes = count_passes(r, d, &step);
    work pass = {0}, all = {0};
    work_add_pass(&pass, &d->engine->levels[0].planned.chosen.g, step.tokens / passes, step.sequence_tokens);
    for (unsigned kind = 0; kind < WORK_KINDS; kind++) all.amount[kind] = passes * pass.amount[kind];
    work_add_update(&all, (double)r->trained_parameters);
    r->seconds_step = work_seconds(&all, rates);
}

void describe_plan(plan_report *r, const described *d) {
    const levee_options *o = d->common->options;
    const search_result *planned = &d->engine->levels[0].planned;
    const layout *lasting = &d->common->model.lasting;
    training_planned_bytes(d->engine, r->planned_bytes);
    r->longest_tokens = d->settings->longest_tokens;
    r->examples_step = planning_step_examples(o);
    r->steps = planning_steps(o);
    r->budget_bytes = d->common->model.budget_bytes;
    r->budget_given = o->budget_given;
    r->capacity_tokens = planned->chosen.capacity_tokens;
    r->passes_step = planned->passes;
    r->arena_bytes = planned->chosen.arena_bytes[SPACE_HOST];
    r->live_bytes = planned->chosen.lower_bound_bytes[SPACE_HOST];
    r->recomputed = planned->recomputed_tensors;
    r->candidates = planned->candidate_tensors;
    r->head_chunk_tokens = planned->head_chunk_tokens;
    describe_node(r->peak, &planned->chosen.g.nodes[planned->chosen.peak_node]);
    r->checkpoint_bytes = resume_checkpoint_bytes(lasting);
    r->checkpoints = planning_checkpoints(o);
    r->result_bytes = planning_result_bytes(o, &d->common->model, r->weights_bytes);
    estimate_time(r, d);
}

levee_status describe_machine(plan_report *r, const run *common, levee_error *error) {
    headroom room;
    process_memory now = {0};
    levee_status status = headroom_read(&room, common->options->others_bytes, error);
    if (status != LEVEE_OK) return status;
    process_memory_read(&now);
    snprintf(r->limit, sizeof r->limit, "%.*s", REPORT_TEXT_BYTES - 1, room.limit.name);
    r->available_bytes = room.limit.available_bytes + now.held_bytes;
    r->reserve_bytes = room.reserve_bytes;
    return LEVEE_OK;
}
