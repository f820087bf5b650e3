/* What train, eval and generate share: see run.h. */
#include "train/run.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/adapter.h"
#include "model/hub.h"
#include "platform/headroom.h"
#include "platform/process.h"
#include "platform/promises.h"
#include "report/table.h"

void levee_prepare(void) {
    process_prepare();
    pool_hook_json();
}

levee_status levee_volunteer(levee_error *error) { return process_volunteer(error); }

/* A safe share of what the machine can spare, and has not promised to another run. */
static levee_status choose_budget(const levee_options *o, const promises *others, uint64_t *bytes,
                                  levee_error *error) {
    headroom room;
    *bytes = o->budget_bytes;
    if (o->budget_given) return LEVEE_OK;
    levee_status status = headroom_read(&room, o->others_bytes, error);
    if (status != LEVEE_OK) return status;
    *bytes = room.bytes > others->outstanding_bytes ? (room.bytes - others->outstanding_bytes) / 2 : 0;
    return *bytes ? LEVEE_OK : headroom_refuse(&room, "memory is needed, and other runs were promised it", error);
}

/* Where nothing can be known of other runs, this one goes on by what it sees. One that only asks is promised
 * nothing. */
static levee_status take_budget(run *r, bool only_asks, uint64_t *bytes, levee_error *error) {
    promises others;
    levee_error why = {0};
    bool known = promises_read(&others, &why) == LEVEE_OK;
    if (!known && !r->options->budget_given)
        run_print(r, "what other runs were promised is not known: %s", why.message);
    levee_status status = choose_budget(r->options, &others, bytes, error);
    if (known && !only_asks && status == LEVEE_OK) r->promised = promises_make(&others, *bytes, NULL) == LEVEE_OK;
    promises_leave(&others);
    return status;
}

/* Where none can be made the run is refused: who asks for this relies on it. */
static levee_status enter_group(run *r, levee_error *error) {
    uint64_t bytes = r->options->group_bytes;
    levee_error why = {0};
    char size[BYTES_TEXT];
    if (bytes == UINT64_MAX) return LEVEE_OK;
    levee_status status = own_group_make(&r->group, kernel_roots_default, bytes, &why);
    if (status == LEVEE_OK) status = own_group_enter(&r->group, &why);
    if (status != LEVEE_OK)
        return error_set(error, status, "--cgroup: %s; run as root or in a delegated group, or leave --cgroup out",
                         why.message);
    run_print(r, "control group %s of %s", r->group.path, bytes_format(size, bytes));
    return LEVEE_OK;
}

/* The process may go on without us, so it is taken back to where it was. */
static void leave_group(run *r) {
    if (r->group.made) own_group_leave(&r->group, NULL);
    own_group_remove(&r->group);
}

/* Trains, or plans as one does that trains: then all that a training takes is taken, so that plans are the same. */
static bool is_trained(const char *verb) {
    return !strcmp(verb, "train") || !strcmp(verb, "plan") || !strcmp(verb, "probe");
}

static levee_status open_stream(run *r, levee_error *error) {
    r->told = ledger_alloc(LEVEE_RUNTIME, sizeof *r->told);
    return r->told ? run_stream_open(r->told, error)
                   : error_out_of_memory(error, "what a run tells", sizeof *r->told);
}

levee_status run_open(run *r, const char *verb, const levee_options *options, levee_print *print, void *context,
                      levee_error *error) {
    *r = (run){.options = options, .print = options->quiet ? NULL : print, .context = context};
    levee_status status = options_check(options, error);
    if (status == LEVEE_OK) status = options_check_verb(options, verb, error);
    if (status == LEVEE_OK) status = options_check_model(options, error);
    if (status == LEVEE_OK && is_trained(verb)) status = open_stream(r, error);
    if (status != LEVEE_OK) return status;
    session_options opened = {.model_directory = options->model,
                              .others_bytes = options->others_bytes,
                              .device = {.threads = options->threads, .compute = options->compute},
                              .analysis = !strcmp(verb, "plan")};
    /* Before anything is taken or measured. A plan only asks. */
    if (!opened.analysis) status = enter_group(r, error);
    if (status == LEVEE_OK && !opened.analysis) stand_ins_start(&r->substitutes);
    if (status == LEVEE_OK) status = take_budget(r, opened.analysis, &opened.budget_bytes, error);
    return status == LEVEE_OK ? session_open(&r->model, &opened, true, error) : status;
}

void run_close(run *r) {
    if (r->told) run_stream_close(r->told);
    ledger_free(r->told);
    r->told = NULL;
    session_close(&r->model);
    if (r->promised) promises_withdraw();
    r->promised = false;
    stand_ins_stop(&r->substitutes);
    leave_group(r);
}

void run_print(const run *r, const char *format, ...) {
    char text[TABLE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    run_print_text((void *)r, text);
}

void run_note(const run *r, const char *text) {
    if (r->told) run_stream_push_text(r->told, text);
}

void run_print_text(void *context, const char *text) {
    const run *r = context;
    if (r->print) r->print(r->context, text);
    run_note(r, text);
}

levee_status run_open_data(run *r, dataset **data, const char *split, const char *index_directory,
                           levee_error *error) {
    const levee_options *o = r->options;
    if (!file_exists(o->data) && hub_is_name(o->data)) return hub_refuse("--data", o->data, "dataset", error);
    dataset_options options = {.path = o->data,
                               .split = split,
                               .index_directory = index_directory,
                               .max_sequence_tokens = o->max_sequence_tokens,
                               .append_eos = true,
                               .max_row_bytes = o->max_row_bytes,
                               .model_directory = o->model,
                               .mask_prompt = o->mask_prompt,
                               .fields = {.text = o->text_feature,
                                          .prompt = o->prompt_feature,
                                          .completion = o->completion_feature,
                                          .chat = o->chat_feature}};
    return dataset_open(data, &options, r->model.tokens, error);
}

levee_status run_open_data_briefly(run *r, dataset **data, const char *split, levee_error *error) {
    char directory[FILE_PATH_BYTES], index[FILE_PATH_BYTES], name[64];
    const char *parent = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s.index", split);
    levee_status status =
        file_make_temporary_directory(directory, parent && *parent ? parent : "/tmp", "levee", error);
    if (status != LEVEE_OK) return error_context(error, "TMPDIR must name a directory that can be written");
    status = run_open_data(r, data, split, directory, error);
    if (file_join(index, directory, name)) file_remove(index, NULL);
    file_remove_directory(directory, NULL);
    return status;
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
    for (*end = begin; *end < rows; ++*end) {
        uint32_t count;
        levee_status status = dataset_read(data, *end, ids, &count, error);
        if (status != LEVEE_OK) return status;
        if (!batch_add(b, ids, dataset_loss_mask(data), count, 0)) break;
    }
    *targets = b->targets;
    if (*end == begin) return error_set(error, LEVEE_INTERNAL, "a row does not fit a pass of %u tokens", b->capacity);
    return LEVEE_OK;
}

levee_status run_evaluate(training *engine, dataset *data, uint64_t examples, uint32_t *ids, evaluation *result,
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
    *result = (evaluation){.loss = targets ? sum / (double)targets : NAN, .tokens = targets, .rows = rows};
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
    uint32_t first, end;
    adapter_layers(&config, model, &first, &end);
    if (end != model->layers)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: adapter_config.json: layers_to_transform must be the model's last layers",
                         o->adapter_path);
    *set = (trainable_set){.type = config.dora ? FINE_TUNE_DORA : FINE_TUNE_LORA,
                           .last_layers = end - first,
                           .rank = config.rank,
                           .scale = (float)(config.alpha / config.rank)};
    memcpy(set->projections, config.targets, sizeof set->projections);
    return LEVEE_OK;
}
