/* levee_train: from options to a trained result, a step at a time. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "data/cursor.h"
#include "data/dataset.h"
#include "memory/ledger.h"
#include "model/adapter.h"
#include "model/parameters.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "report/metrics.h"
#include "report/table.h"
#include "train/requests.h"
#include "train/run.h"
#include "train/step.h"

typedef struct trainer {
    run common;
    trainable_set trained;
    dataset *train, *valid;
    training engine;
    metrics log;
    uint32_t *ids; /* of the row being read */
    cursor order;
    uint64_t trained_tokens, peak_bytes, predicted_bytes;
    uint64_t planned[LEVEE_CATEGORY_COUNT];
    uint32_t steps;
} trainer;

static uint32_t step_examples(const levee_options *o) { return o->batch_size * o->accumulation; }

/* Held memory now; also raises the peak. */
static uint64_t sample_memory(trainer *t) {
    process_memory now = {0};
    if (process_memory_read(&now) && now.held_bytes > t->peak_bytes) t->peak_bytes = now.held_bytes;
    return now.held_bytes;
}

static adapter_config adapter_of(const trainer *t) {
    const levee_options *o = t->common.options;
    const trainable_set *set = &t->trained;
    uint32_t layers = t->common.model.config.layers;
    bool all = set->last_layers >= layers;
    adapter_config c = {.rank = set->rank,
                        .alpha = (double)set->scale * set->rank,
                        .dropout = (double)set->dropout,
                        .first_layer = all ? 0 : layers - set->last_layers,
                        .layer_count = all ? UINT32_MAX : set->last_layers};
    memcpy(c.targets, set->projections, sizeof c.targets);
    snprintf(c.base_model, sizeof c.base_model, "%s", o->model);
    return c;
}

static levee_status save(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    session *s = &t->common.model;
    if (o->type != FINE_TUNE_LORA)
        return parameters_write_model(&s->source, &s->lasting, s->memory.base, o->model, o->adapter_path, error);
    adapter_config config = adapter_of(t);
    return parameters_write_adapter(&s->lasting, s->memory.base, &config, o->adapter_path, error);
}

/* Refuses a target that would lose something, before anything is written. */
static levee_status check_target(const trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    char path[FILE_PATH_BYTES];
    if (o->type == FINE_TUNE_LORA) {
        adapter_config config = adapter_of(t);
        if (file_join(path, o->adapter_path, "model.safetensors") && file_exists(path))
            return error_set(error, LEVEE_USAGE, "%s: holds a model; give another --adapter-path", o->adapter_path);
        return adapter_directory_check_writable(o->adapter_path, &config, &t->common.model.config, error);
    }
    if (!strcmp(o->model, o->adapter_path) ||
        (file_join(path, o->adapter_path, "adapter_config.json") && file_exists(path)))
        return error_set(
            error, LEVEE_USAGE,
            "%s: holds the model that is trained, or an adapter; --fine-tune-type %s writes a whole model, so "
            "give another --adapter-path",
            o->adapter_path, o->type == FINE_TUNE_FULL ? "full" : "head");
    return LEVEE_OK;
}

static levee_status open_data(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    if (!*o->data) return error_set(error, LEVEE_USAGE, "--data is needed: a directory with train.jsonl");
    levee_status status = file_make_directory(o->adapter_path, error);
    if (status == LEVEE_OK) status = run_open_data(&t->common, &t->train, "train", o->adapter_path, error);
    if (status == LEVEE_OK && o->validation_batches && dataset_split_exists(o->data, "valid"))
        status = run_open_data(&t->common, &t->valid, "valid", o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    t->order = (cursor){.seed = o->seed, .rows = dataset_rows(t->train), .batch_size = step_examples(o)};
    t->ids = ledger_alloc_array(LEVEE_DATA, o->max_sequence_tokens, sizeof *t->ids);
    run_print(&t->common,
              "%llu rows to train on, the longest of %u tokens; %llu cut to --max-seq-length, %llu too short",
              (unsigned long long)dataset_rows(t->train), dataset_longest(t->train),
              (unsigned long long)dataset_cut_rows(t->train), (unsigned long long)dataset_short_rows(t->train));
    return t->ids ? LEVEE_OK : error_out_of_memory(error, "a row of tokens", o->max_sequence_tokens * sizeof *t->ids);
}

static levee_status plan_engine(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    uint32_t longest = dataset_longest(t->train);
    if (t->valid && dataset_longest(t->valid) > longest) longest = dataset_longest(t->valid);
    training_settings settings = {
        .trained = t->trained,
        .optimizer = options_optimizer(o),
        .recompute = o->recompute,
        .longest_tokens = longest - 1,
        .step_tokens = run_step_tokens(longest - 1, step_examples(o)),
        .seed = o->seed,
    };
    return training_plan(&t->engine, &t->common.model, &settings, error);
}

static void print_plan(trainer *t) {
    const search_result *planned = &t->engine.levels[0].planned;
    char table[TABLE_BYTES];
    training_planned_bytes(&t->engine, t->planned);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) t->predicted_bytes += t->planned[c];
    table_of_plan(table, t->planned, t->common.model.budget_bytes);
    run_print(&t->common, "%s", table);
    const plan *chosen = &planned->chosen;
    const node *peak = &chosen->g.nodes[chosen->peak_node];
    char place[64] = "";
    if (peak->layer >= 0) snprintf(place, sizeof place, " of layer %d", (int)peak->layer);
    run_print(
        &t->common,
        "%u tokens a pass, %u of %u groups of activations recomputed, logits of %u rows at a time, %s products; "
        "the peak is at %s%s",
        chosen->capacity_tokens, planned->recomputed_tensors, planned->candidate_tensors, planned->head_chunk_tokens,
        t->common.model.device->compute(t->common.model.state) == COMPUTE_BF16 ? "bf16" : "f32",
        operator_name(peak->kind), place);
}

static levee_status train_step(trainer *t, uint32_t step, step_report *report, levee_error *error) {
    const levee_options *o = t->common.options;
    const step_input input = {.data = t->train, .order = &t->order, .ids = t->ids};
    step_result done;
    bool applied = true;
    double began = machine_seconds();
    levee_status status = step_run(&t->engine, &input, step, &done, error);
    report->learning_rate = o->has_schedule ? schedule_rate(&o->rate, step) : o->learning_rate;
    if (status == LEVEE_OK)
        status = optimizer_update(&t->engine.updates, report->learning_rate, &report->gradient_norm, &applied, error);
    if (status == LEVEE_OK && (!applied || !isfinite(done.loss_sum)))
        status = error_set(
            error, LEVEE_STOPPED,
            "step %u: loss or gradient is not finite, so it was not applied; lower --learning-rate. What was "
            "saved before is whole",
            step + 1);
    t->trained_tokens += done.targets;
    report->loss = done.loss_sum / (double)done.targets;
    report->passes = done.passes;
    report->repeated = done.repeated;
    report->plan_level = t->engine.level;
    report->seconds = machine_seconds() - began;
    report->tokens = done.targets;
    report->trained_tokens = t->trained_tokens;
    report->tokens_per_second = (double)done.targets / report->seconds;
    return status;
}

static levee_status validate(trainer *t, double *loss, levee_error *error) {
    const levee_options *o = t->common.options;
    return run_evaluate(&t->engine, t->valid, (uint64_t)o->validation_batches * o->batch_size, t->ids, loss, error);
}

static levee_status finish_step(trainer *t, step_report *report, levee_error *error) {
    const levee_options *o = t->common.options;
    bool last = report->step == t->steps;
    levee_status status = LEVEE_OK;
    report->validation_loss = NAN;
    if (t->valid && (last || report->step % o->steps_per_evaluation == 0))
        status = validate(t, &report->validation_loss, error);
    if (status == LEVEE_OK && (last || report->step % o->save_every == 0)) status = save(t, error);
    report->held_bytes = sample_memory(t);
    report->peak_bytes = t->peak_bytes;
    if (status == LEVEE_OK) status = metrics_write(&t->log, report, error);
    char line[PROGRESS_BYTES];
    metrics_progress(line, report);
    if (last || report->step == 1 || report->step % o->steps_per_report == 0) run_print(&t->common, "%s", line);
    if (!isnan(report->validation_loss))
        run_print(&t->common, "step %llu  validation loss %.4f", (unsigned long long)report->step,
                  report->validation_loss);
    return status;
}

static levee_status loop(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    t->steps = (o->iterations + o->accumulation - 1) / o->accumulation;
    double loss;
    levee_status status = LEVEE_OK;
    if (t->valid) {
        status = validate(t, &loss, error);
        if (status == LEVEE_OK) run_print(&t->common, "before training: validation loss %.4f", loss);
    }
    for (uint32_t step = 0; step < t->steps && status == LEVEE_OK; step++) {
        step_report report = {.step = step + 1,
                              .steps = t->steps,
                              .planned_bytes = t->planned,
                              .predicted_bytes = t->predicted_bytes,
                              .budget_bytes = t->common.model.budget_bytes};
        status = train_step(t, step, &report, error);
        if (status == LEVEE_OK) status = finish_step(t, &report, error);
    }
    return status;
}

/* Says what a change of plan gave back or took. */
static void print_change(void *context, const level_change *c) {
    const trainer *t = context;
    char promised[BYTES_TEXT], moved[BYTES_TEXT];
    bytes_format(promised, c->promised_bytes);
    bytes_format(moved, c->moved_bytes);
    if (c->refused)
        run_print(&t->common, "plan %u stays: %s", c->from, c->reason);
    else
        run_print(&t->common, "plan %u instead of %u: %s %s, %s promised, in %.1f ms; %u tokens a pass", c->to,
                  c->from, moved, c->to > c->from ? "given back" : "taken again", promised, 1e3 * c->seconds,
                  t->engine.levels[c->to].planned.chosen.capacity_tokens);
}

static levee_status start(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    char path[FILE_PATH_BYTES];
    levee_status status = training_start(&t->engine, error);
    t->engine.on_change = print_change;
    t->engine.change_context = t;
    requests_clear();
    if (status == LEVEE_OK && *o->resume_adapter_file)
        status = parameters_read_adapter(&t->common.model.lasting, t->common.model.memory.base,
                                         o->resume_adapter_file, error);
    if (status == LEVEE_OK && file_join(path, o->adapter_path, "metrics.jsonl"))
        status = metrics_open(&t->log, path, error);
    if (status == LEVEE_OK && file_join(path, o->adapter_path, "config.yaml")) status = options_write(o, path, error);
    return status;
}

levee_status levee_train(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    trainer t = {.trained = run_trainable(options), .log.descriptor = -1};
    levee_status status = run_open(&t.common, options, print, context, error);
    if (status == LEVEE_OK) status = check_target(&t, error);
    if (status == LEVEE_OK) status = open_data(&t, error);
    if (status == LEVEE_OK) status = plan_engine(&t, error);
    if (status == LEVEE_OK) print_plan(&t);
    if (status == LEVEE_OK) status = start(&t, error);
    if (status == LEVEE_OK) status = loop(&t, error);
    if (t.predicted_bytes && t.peak_bytes) {
        char text[TABLE_BYTES];
        table_of_result(text, t.predicted_bytes, t.peak_bytes, t.common.model.budget_bytes);
        run_print(&t.common, "%s", text);
    }
    metrics_close(&t.log);
    training_close(&t.engine);
    dataset_close(t.train);
    dataset_close(t.valid);
    ledger_free(t.ids);
    run_close(&t.common);
    return status;
}
