/* levee_eval: loss and perplexity of a split. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/parameters.h"
#include "train/run.h"

static const char *first_split(const char *data) {
    static const char *const splits[] = {"test", "valid", "train"};
    for (unsigned i = 0; i < 3; i++)
        if (dataset_split_exists(data, splits[i])) return splits[i];
    return "test";
}

/* The index of a split goes into a directory that is gone as soon as it is open: its pages stay mapped. */
static levee_status open_data(run *r, dataset **data, const char *split, levee_error *error) {
    char directory[FILE_PATH_BYTES], index[FILE_PATH_BYTES], name[64];
    const char *parent = getenv("TMPDIR");
    if (!*r->options->data) return error_set(error, LEVEE_USAGE, "--data is needed: a directory with test.jsonl");
    snprintf(name, sizeof name, "%s.index", split);
    if (!file_join(directory, parent && *parent ? parent : "/tmp", "levee-eval-XXXXXX") || !mkdtemp(directory))
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be made; set TMPDIR to a directory that can be written",
                         directory);
    levee_status status = run_open_data(r, data, split, directory, error);
    if (file_join(index, directory, name)) remove(index);
    remove(directory);
    return status;
}

static levee_status evaluate(run *r, training *engine, dataset *data, uint32_t *ids, double *loss,
                             levee_error *error) {
    const levee_options *o = r->options;
    session *s = &r->model;
    training_settings settings = {.longest_tokens = dataset_longest(data) - 1, .evaluate_only = true};
    settings.step_tokens = run_step_tokens(settings.longest_tokens, o->batch_size);
    levee_status status = run_adapted(r, &settings.trained, error);
    if (status == LEVEE_OK) status = training_plan(engine, s, &settings, error);
    if (status == LEVEE_OK) status = training_start(engine, error);
    if (status == LEVEE_OK && settings.trained.type == FINE_TUNE_LORA)
        status = parameters_read_adapter(&s->lasting, s->memory.base, o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    return run_evaluate(engine, data, (uint64_t)o->test_batches * o->batch_size, ids, loss, error);
}

levee_status levee_eval(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    run r;
    training engine = {0};
    dataset *data = NULL;
    uint32_t *ids = NULL;
    double loss = NAN;
    const char *split = first_split(options->data);
    levee_status status = run_open(&r, options, print, context, error);
    if (status == LEVEE_OK) status = open_data(&r, &data, split, error);
    if (status == LEVEE_OK) {
        ids = ledger_alloc_array(LEVEE_DATA, options->max_sequence_tokens, sizeof *ids);
        status = ids ? evaluate(&r, &engine, data, ids, &loss, error)
                     : error_out_of_memory(error, "a row of tokens", options->max_sequence_tokens * sizeof *ids);
    }
    if (status == LEVEE_OK) run_print(&r, "%s loss %.4f, perplexity %.3f", split, loss, exp(loss));
    training_close(&engine);
    dataset_close(data);
    ledger_free(ids);
    run_close(&r);
    return status;
}
