/* What train, eval and generate share: see run.h. Also the public calls on options. */
#include "train/run.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/adapter.h"
#include "model/parameters.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "report/table.h"
#include "train/generate.h"

levee_options *levee_options_create(void) {
    levee_options *o = ledger_alloc(LEVEE_RUNTIME, sizeof *o);
    if (o) options_defaults(o);
    return o;
}

void levee_options_free(levee_options *options) { ledger_free(options); }

levee_status levee_options_set(levee_options *options, const char *key, const char *given, levee_error *error) {
    return options_set(options, key, given, error);
}

levee_status levee_options_read(levee_options *options, const char *path, levee_error *error) {
    return options_read(options, path, error);
}

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

levee_status run_open_data(run *r, dataset **data, const char *split, levee_error *error) {
    const levee_options *o = r->options;
    dataset_options options = {.path = o->data,
                               .split = split,
                               .index_directory = o->adapter_path,
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

levee_status run_evaluate(run *r, training *engine, dataset *data, uint64_t examples, uint32_t *ids, double *loss,
                          levee_error *error) {
    (void)r;
    uint64_t rows = dataset_rows(data) < examples ? dataset_rows(data) : examples, targets = 0;
    batch *b = training_evaluation_batch(engine);
    double sum = 0;
    levee_status status = LEVEE_OK;
    batch_clear(b);
    for (uint64_t row = 0; row < rows && status == LEVEE_OK; row++) {
        uint32_t count;
        status = dataset_read(data, row, ids, &count, error);
        if (status != LEVEE_OK) break;
        targets += count - 1;
        if (batch_add(b, ids, NULL, count, 0)) continue;
        status = training_evaluate(engine, &sum, error);
        batch_clear(b);
        if (status == LEVEE_OK && !batch_add(b, ids, NULL, count, 0))
            status = error_set(error, LEVEE_INTERNAL, "a row of %u tokens does not fit a pass of %u", count, b->capacity);
    }
    if (status == LEVEE_OK) status = training_evaluate(engine, &sum, error);
    *loss = targets ? sum / (double)targets : NAN;
    return status;
}

/* The adapter to read, when one was asked for: its shape from its configuration. */
static levee_status adapter_shape(const levee_options *o, const model_config *model, trainable_set *set,
                                  levee_error *error) {
    adapter_config config;
    *set = (trainable_set){.type = FINE_TUNE_NONE};
    if (!o->adapter_path_given) return LEVEE_OK;
    levee_status status = adapter_config_read(&config, o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    bool all = config.layer_count == UINT32_MAX;
    if (!all && config.first_layer + config.layer_count != model->layers)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: adapter_config.json: layers_to_transform must be the model's last layers", o->adapter_path);
    *set = (trainable_set){.type = FINE_TUNE_LORA,
                           .last_layers = config.layer_count,
                           .rank = config.rank,
                           .scale = (float)(config.alpha / config.rank)};
    memcpy(set->projections, config.targets, sizeof set->projections);
    return LEVEE_OK;
}

static const char *first_split(const char *data) {
    static const char *const splits[] = {"test", "valid", "train"};
    for (unsigned i = 0; i < 3; i++)
        if (dataset_split_exists(data, splits[i])) return splits[i];
    return "test";
}

static levee_status evaluate_data(run *r, dataset *data, const char *split, uint32_t *ids, levee_error *error) {
    const levee_options *o = r->options;
    training engine = {0};
    training_settings settings = {.longest_tokens = dataset_longest(data) - 1, .evaluate_only = true};
    uint64_t step_tokens = (uint64_t)settings.longest_tokens * o->batch_size;
    settings.step_tokens = step_tokens < 1u << 20 ? (uint32_t)step_tokens : 1u << 20;
    double loss = NAN;
    levee_status status = adapter_shape(o, &r->model.config, &settings.trained, error);
    if (status == LEVEE_OK) status = training_plan(&engine, &r->model, &settings, error);
    if (status == LEVEE_OK) status = training_start(&engine, error);
    if (status == LEVEE_OK && settings.trained.type == FINE_TUNE_LORA)
        status = parameters_read_adapter(&r->model.lasting, r->model.memory.base, o->adapter_path, error);
    if (status == LEVEE_OK)
        status = run_evaluate(r, &engine, data, (uint64_t)o->test_batches * o->batch_size, ids, &loss, error);
    if (status == LEVEE_OK) run_print(r, "%s loss %.4f, perplexity %.3f", split, loss, exp(loss));
    training_close(&engine);
    return status;
}

levee_status levee_eval(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    run r;
    dataset *data = NULL;
    uint32_t *ids = NULL;
    char directory[] = "/tmp/levee-eval-XXXXXX", path[FILE_PATH_BYTES];
    const char *split = first_split(options->data);
    levee_status status = run_open(&r, options, print, context, error);
    if (status == LEVEE_OK && !*options->data) status = error_set(error, LEVEE_USAGE, "--data is needed");
    bool made = status == LEVEE_OK && mkdtemp(directory);
    if (status == LEVEE_OK && !made) status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be made", directory);
    if (status == LEVEE_OK) {
        dataset_options opened = {.path = options->data, .split = split, .index_directory = directory,
                                  .max_sequence_tokens = options->max_sequence_tokens, .append_eos = true, .max_row_bytes = options->max_row_bytes};
        status = dataset_open(&data, &opened, r.model.tokens, error);
    }
    if (status == LEVEE_OK) {
        ids = ledger_alloc_array(LEVEE_DATA, options->max_sequence_tokens, sizeof *ids);
        status = ids ? evaluate_data(&r, data, split, ids, error)
                     : error_out_of_memory(error, "a row of tokens", options->max_sequence_tokens * sizeof *ids);
    }
    dataset_close(data);
    ledger_free(ids);
    snprintf(path, sizeof path, "%s/%s.index", directory, split);
    if (made) remove(path);
    if (made) remove(directory);
    run_close(&r);
    return status;
}

static bool ends_text(const run *r, uint32_t id) {
    for (uint32_t i = 0; i < r->model.config.eos_count; i++)
        if (r->model.config.eos_ids[i] == id) return true;
    return tokenizer_eos(r->model.tokens) == (int64_t)id;
}

/* Generates after `prompt`; the new ids are appended to `text`. */
static levee_status continue_prompt(run *r, generation *g, const token_list *prompt, token_list *text,
                                    levee_error *error) {
    uint32_t next;
    levee_status status = generation_step(g, prompt->ids, (uint32_t)prompt->count, &next, error);
    for (uint32_t i = 1; status == LEVEE_OK && !ends_text(r, next); i++) {
        status = token_list_add(text, next, error);
        if (i == r->options->max_new_tokens || status != LEVEE_OK) break;
        status = generation_step(g, &text->ids[text->count - 1], 1, &next, error);
    }
    return status;
}

levee_status levee_generate(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    run r;
    generation g = {0};
    token_list prompt = {0}, text = {0};
    char *decoded = NULL;
    generation_settings settings = {.adapter_path = options->adapter_path, .most_tokens = options->max_new_tokens};
    levee_status status = run_open(&r, options, print, context, error);
    if (status == LEVEE_OK)
        status = tokenizer_encode(r.model.tokens, options->prompt, strlen(options->prompt), true, &prompt, error);
    if (status == LEVEE_OK && !prompt.count) status = error_set(error, LEVEE_USAGE, "--prompt is needed: a text to continue");
    settings.prompt_tokens = (uint32_t)prompt.count;
    if (status == LEVEE_OK) status = adapter_shape(options, &r.model.config, &settings.adapted, error);
    if (status == LEVEE_OK) status = generation_open(&g, &r.model, &settings, error);
    if (status == LEVEE_OK) status = continue_prompt(&r, &g, &prompt, &text, error);
    if (status == LEVEE_OK) status = tokenizer_decode(r.model.tokens, text.ids, text.count, true, &decoded, NULL, error);
    if (status == LEVEE_OK && print) print(context, decoded);
    ledger_free(decoded);
    token_list_free(&prompt);
    token_list_free(&text);
    generation_close(&g);
    run_close(&r);
    return status;
}
