/* levee_train: from options to a trained result, a step at a time. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "doctor/calibration.h"
#include "model/adapter.h"
#include "model/parameters.h"
#include "platform/process.h"
#include "report/profile_report.h"
#include "train/reporting.h"
#include "train/requests.h"

/* What libraries take within a call, and caches, may come on top of what is held when all is taken. */
enum { LIMIT_SLACK_BYTES = 64 << 20 };

uint64_t trainer_sample_memory(trainer *t) {
    process_memory now;
    if (!process_memory_read(&now)) return LEVEE_UNKNOWN_BYTES;
    if (now.held_bytes > t->peak_bytes) t->peak_bytes = now.held_bytes;
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
                        .dora = set->type == FINE_TUNE_DORA,
                        .first_layer = all ? 0 : layers - set->last_layers,
                        .layer_count = all ? UINT32_MAX : set->last_layers};
    memcpy(c.targets, set->projections, sizeof c.targets);
    snprintf(c.base_model, sizeof c.base_model, "%s", *o->model_name ? o->model_name : o->model);
    return c;
}

static levee_status save_parameters(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    session *s = &t->common.model;
    if (!fine_tune_is_adapter(o->type))
        return parameters_write_model(&s->source, &s->lasting, s->memory.base, o->model, o->adapter_path, error);
    adapter_config config = adapter_of(t);
    return parameters_write_adapter(&s->lasting, s->memory.base, &config, o->adapter_path, error);
}

levee_status trainer_save_result(trainer *t, const step_report *report, levee_error *error) {
    levee_status status = save_parameters(t, error);
    return status == LEVEE_OK ? trainer_write_card(t, report, error) : status;
}

/* Refuses a target that would lose something, before anything is written. */
static levee_status check_target(const trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    char path[FILE_PATH_BYTES];
    if (fine_tune_is_adapter(o->type)) {
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

/* Whether the adapter to start from is one that this run could have made. */
static levee_status check_start(const trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    if (!*o->resume_adapter_file || t->place.goes_on) return LEVEE_OK;
    if (!fine_tune_is_adapter(o->type))
        return error_set(
            error, LEVEE_USAGE,
            "--resume-adapter-file is for --fine-tune-type lora and dora; levee export merges an adapter "
            "into a model that can be trained further");
    adapter_config config = adapter_of(t);
    return adapter_check_start(o->resume_adapter_file, &config, &t->common.model.config, error);
}

/* What --mask-prompt leaves. */
static void print_masked(const trainer *t) {
    const dataset *d = t->data.train;
    run_print(&t->common, "%llu of %llu tokens count in the loss; %llu rows have none that does, and are left out",
              (unsigned long long)dataset_targets(d), (unsigned long long)(dataset_tokens(d) - dataset_rows(d)),
              (unsigned long long)dataset_untrained_rows(d));
    if (dataset_hidden_rows(d))
        run_print(
            &t->common,
            "%llu rows have answers before the last that the chat template writes otherwise when others follow: "
            "these do not count",
            (unsigned long long)dataset_hidden_rows(d));
}

static levee_status open_data(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    if (!*o->data) return error_set(error, LEVEE_USAGE, "--data is needed: a directory with train.jsonl");
    levee_status status = resume_claim(&t->place, o, error);
    if (status == LEVEE_OK) status = planning_open_data(&t->data, &t->common, o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    t->order =
        (cursor){.seed = o->seed, .rows = dataset_rows(t->data.train), .batch_size = planning_step_examples(o)};
    run_print(
        &t->common, "%llu rows to train on, the longest of %u tokens; %llu cut to --max-seq-length, %llu too short",
        (unsigned long long)dataset_rows(t->data.train), dataset_longest(t->data.train),
        (unsigned long long)dataset_cut_rows(t->data.train), (unsigned long long)dataset_short_rows(t->data.train));
    if (o->mask_prompt) print_masked(t);
    return LEVEE_OK;
}

static levee_status plan_engine(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    training_settings settings = planning_settings(o, planning_longest_tokens(&t->data, o));
    if (t->place.state.plans.shapes[0].capacity_tokens) settings.wanted = t->place.state.plans;
    return planning_make(&t->protection, &t->engine, &t->common, &settings, error);
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
    char logits[48] = "";
    if (planned->head_chunk_tokens)
        snprintf(logits, sizeof logits, ", logits of %u rows at a time", planned->head_chunk_tokens);
    run_print(&t->common,
              "%u tokens a pass, %u of %u groups of activations recomputed%s, %s products; the peak is at %s%s",
              chosen->capacity_tokens, planned->recomputed_tensors, planned->candidate_tensors, logits,
              t->common.model.device->compute(t->common.model.state) == COMPUTE_BF16 ? "bf16" : "f32",
              operator_name(peak->kind), place);
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

/* Asks the disk for what the run will write, before the first step. */
static levee_status check_disk(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    uint32_t begin = (uint32_t)t->place.state.step;
    uint64_t saves = begin < t->steps ? t->steps / o->save_every - begin / o->save_every + 1 : 0;
    const session *model = &t->common.model;
    t->result_bytes = planning_result_bytes(o, model, safetensors_mapped_bytes(model->tensors));
    return resume_check_disk(&t->place, saves, t->result_bytes, error);
}

static levee_status start(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    char path[FILE_PATH_BYTES];
    levee_status status = training_start(&t->engine, error);
    t->engine.on_change = print_change;
    t->engine.change_context = t;
    if (status == LEVEE_OK && *o->resume_adapter_file && !t->place.goes_on)
        status = parameters_read_adapter(&t->common.model.lasting, t->common.model.memory.base,
                                         o->resume_adapter_file, error);
    if (status == LEVEE_OK) status = resume_load(&t->place, &t->common, &t->engine, t->data.train, error);
    if (status == LEVEE_OK) status = check_disk(t, error);
    if (status == LEVEE_OK) status = reporting_open(t, error);
    if (status == LEVEE_OK) status = run_file_path(path, o->adapter_path, RUN_CONFIG, error);
    if (status == LEVEE_OK) status = options_write(o, path, "", error);
    if (status == LEVEE_OK && o->limit_data) status = process_limit_data(LIMIT_SLACK_BYTES, error);
    if (status == LEVEE_OK) guarding_begin(&t->protection, &t->engine, &t->exercises);
    return status;
}

/* A run that goes on computes in the type that the one before had chosen. */
static void keep_compute(levee_options *o, const resumption *place) {
    if (place->goes_on && o->compute == COMPUTE_AUTO) o->compute = (compute_type)place->state.compute;
}

/* The test split, by what was written, now or earlier. An adapter path that is empty is the model as it is, as in
 * mlx-lm. */
static levee_status test_result(const levee_options *o, levee_print *print, void *context, levee_error *error) {
    if (*o->data && !dataset_split_exists(o->data, "test"))
        return error_set(error, LEVEE_MISSING_INPUT, "%s--test: %s holds no test.jsonl",
                         o->train ? "the training is done, but " : "", o->data);
    levee_options result = *o;
    result.quiet = false; /* this is asked for */
    result.owned_keys[OWNER_TRAIN] = NULL;
    result.adapter_path_given = fine_tune_is_adapter(o->type) && *o->adapter_path;
    if (!fine_tune_is_adapter(o->type) && *o->adapter_path)
        memcpy(result.model, o->adapter_path, sizeof result.model);
    return levee_eval(&result, print, context, error);
}

/* As mlx-lm's YAML has it: `train: false` with `test: true` tests what an earlier training left. */
static levee_status test_only(const levee_options *o, levee_print *print, void *context, levee_error *error) {
    if (!o->test)
        return error_set(error, LEVEE_USAGE,
                         "train is false and test is too, so there is nothing to do; set one of them to true");
    return test_result(o, print, context, error);
}

/* Where the time went, with what this machine can do beside it where that was measured. */
static levee_status report_profile(const trainer *t, levee_error *error) {
    const profile *p = &t->engine.measured;
    const session *model = &t->common.model;
    char text[TABLE_BYTES], path[FILE_PATH_BYTES];
    double rates[WORK_KINDS];
    calibration here;
    calibration_identify(&here, kernel_roots_default, t->common.options->threads);
    bool known = calibration_path(path, NULL) == LEVEE_OK && calibration_find(path, &here) &&
                 calibration_rates(&here, model->device->compute(model->state), rates);
    table_of_profile(text, p, t->step_seconds, known ? rates : NULL);
    run_print(&t->common, "%s", text);
    if (!file_join(path, t->common.options->adapter_path, "trace.json")) return LEVEE_OK;
    return profile_trace_write(p, path, error);
}

levee_status levee_train(const levee_options *given, levee_print *print, void *context, levee_error *error) {
    levee_options options = *given;
    if (given->print_config && print) {
        levee_status status = options_check(given, error);
        if (status == LEVEE_OK) options_print(given, print, context);
        return status;
    }
    if (!given->train) return test_only(given, print, context, error);
    trainer t = {.trained = run_trainable(given), .validation_loss = NAN};
    t.steps = planning_steps(given);
    requests_clear();
    levee_status status = resume_find(&t.place, &options, error);
    keep_compute(&options, &t.place);
    if (status == LEVEE_OK) status = run_open(&t.common, "train", &options, print, context, error);
    if (status == LEVEE_OK) status = drill_open(&t.exercises, options.inject, &t.common, error);
    if (status == LEVEE_OK) status = check_target(&t, error);
    if (status == LEVEE_OK) status = check_start(&t, error);
    if (status == LEVEE_OK) status = open_data(&t, error);
    if (status == LEVEE_OK) status = reporting_prepare(&t, error);
    if (status == LEVEE_OK) status = plan_engine(&t, error);
    if (status == LEVEE_OK) print_plan(&t);
    if (status == LEVEE_OK) status = start(&t, error);
    if (status == LEVEE_OK) status = trainer_run_steps(&t, error);
    if (t.predicted_bytes && t.peak_bytes) {
        char text[TABLE_BYTES];
        trainer_sample_memory(&t);
        table_of_result(text, t.predicted_bytes, t.peak_bytes, t.common.model.budget_bytes);
        run_print(&t.common, "%s", text);
    }
    if (t.engine.measured.passes) {
        levee_error why = {0};
        levee_status written = report_profile(&t, status == LEVEE_OK ? error : &why);
        if (status == LEVEE_OK) status = written;
    }
    reporting_close(&t, status, error);
    guarding_close(&t.protection);
    drill_close(&t.exercises);
    training_close(&t.engine);
    planning_close_data(&t.data);
    run_close(&t.common);
    resume_close(&t.place);
    return status == LEVEE_OK && options.test ? test_result(&options, print, context, error) : status;
}
