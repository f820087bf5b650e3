/* What train, eval and generate share: see run.h. */
#include "train/run.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/adapter.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "report/table.h"

void levee_prepare(void) {
    process_prepare();
    pool_hook_json();
}

levee_status run_open(run *r, const levee_options *options, levee_print *print, void *context, levee_error *error) {
    *r = (run){.options = options, .print = print, .context = context};
    levee_status status = options_check(options, error);
    if (status != LEVEE_OK) return status;
    if (!*options->model) return error_set(error, LEVEE_USAGE, "--model is needed: a Hugging Face model directory");
    session_options opened = {.model_directory = options->model,
                              .budget_bytes = options->budget_bytes,
                              .device = {.threads = options->threads, .compute = options->compute}};
    if (!options->budget_given) {
        uint64_t available;
        if (!machine_available_bytes(&available))
            return error_set(error, LEVEE_USAGE, "--memory is needed: what this machine has free cannot be read");
        opened.budget_bytes = available / 2;
    }
    return session_open(&r->model, &opened, true, error);
}

void run_close(run *r) { session_close(&r->model); }

void run_print(const run *r, const char *format, ...) {
    char text[TABLE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (r->print) r->print(r->context, text);
}

levee_status run_open_data(run *r, dataset **data, const char *split, const char *index_directory,
                           levee_error *error) {
    const levee_options *o = r->options;
    dataset_options options = {.path = o->data,
                               .split = split,
                               .index_directory = index_directory,
                               .max_sequence_tokens = o->max_sequence_tokens,
                               .append_eos = true,
                               .max_row_bytes = o->max_row_bytes};
    return dataset_open(data, &options, r->model.tokens, error);
}

trainable_set run_trainable(const levee_options *o) {
    trainable_set set = {.type = o->type,
                         .last_layers = o->num_layers <= 0 ? UINT32_MAX : (uint32_t)o->num_layers,
                         .rank = o->rank,
                         .scale = (float)o->scale,
                         .dropout = (float)o->dropout};
    memcpy(set.projections, o->projections, sizeof set.projections);
    return set;
}

uint32_t run_step_tokens(uint32_t longest_tokens, uint64_t examples) {
    static const uint64_t most = 1u << 20;
    uint64_t tokens = longest_tokens * examples;
    return tokens < most ? (uint32_t)tokens : (uint32_t)most;
}

/* Fills the evaluation batch with rows from `begin` on; *end is where it ends. */
static levee_status fill_batch(training *engine, dataset *data, uint64_t begin, uint64_t rows, uint32_t *ids,
                               uint64_t *end, uint64_t *targets, levee_error *error) {
    batch *b = training_evaluation_batch(engine);
    batch_clear(b);
    *targets = 0;
    for (*end = begin; *end < rows; ++*end) {
        uint32_t count;
        levee_status status = dataset_read(data, *end, ids, &count, error);
        if (status != LEVEE_OK) return status;
        if (!batch_add(b, ids, NULL, count, 0)) break;
        *targets += count - 1;
    }
    if (*end == begin) return error_set(error, LEVEE_INTERNAL, "a row does not fit a pass of %u tokens", b->capacity);
    return LEVEE_OK;
}

levee_status run_evaluate(training *engine, dataset *data, uint64_t examples, uint32_t *ids, double *loss,
                          levee_error *error) {
    uint64_t rows = dataset_rows(data) < examples ? dataset_rows(data) : examples, targets = 0;
    double sum = 0;
    levee_status status = LEVEE_OK;
    for (uint64_t next = 0; next < rows && status == LEVEE_OK;) {
        uint64_t end, pass_targets;
        status = training_safe_point(engine, error);
        if (status == LEVEE_OK) status = fill_batch(engine, data, next, rows, ids, &end, &pass_targets, error);
        if (status != LEVEE_OK) break;
        status = training_evaluate(engine, &sum, error);
        if (status == LEVEE_STOPPED) {
            status = LEVEE_OK; /* cut short: the next safe point says why, and the pass is done again */
            continue;
        }
        targets += pass_targets;
        next = end;
    }
    *loss = targets ? sum / (double)targets : NAN;
    return status;
}

levee_status run_adapted(const run *r, trainable_set *set, levee_error *error) {
    const levee_options *o = r->options;
    const model_config *model = &r->model.config;
    adapter_config config;
    *set = (trainable_set){.type = FINE_TUNE_NONE};
    if (!o->adapter_path_given) return LEVEE_OK;
    levee_status status = adapter_config_read(&config, o->adapter_path, error);
    if (status == LEVEE_OK) status = adapter_check_layers(&config, model, o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    bool all = config.layer_count == UINT32_MAX;
    if (!all && config.first_layer + config.layer_count != model->layers)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: adapter_config.json: layers_to_transform must be the model's last layers",
                         o->adapter_path);
    *set = (trainable_set){.type = FINE_TUNE_LORA,
                           .last_layers = config.layer_count,
                           .rank = config.rank,
                           .scale = (float)(config.alpha / config.rank)};
    memcpy(set->projections, config.targets, sizeof set->projections);
    return LEVEE_OK;
}
