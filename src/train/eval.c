/* levee_eval: loss and perplexity of a split. */
#include <math.h>

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

static levee_status evaluate(run *r, training *engine, dataset *data, uint32_t *ids, evaluation *result,
                             levee_error *error) {
    const levee_options *o = r->options;
    session *s = &r->model;
    training_settings settings = {.longest_tokens = dataset_longest(data) - 1, .evaluate_only = true};
    settings.step_tokens = run_step_tokens(settings.longest_tokens, o->batch_size);
    levee_status status = run_adapted(r, &settings.trained, error);
    if (status == LEVEE_OK) status = training_plan(engine, s, &settings, error);
    if (status == LEVEE_OK) status = training_start(engine, error);
    if (status == LEVEE_OK && fine_tune_is_adapter(settings.trained.type))
        status = parameters_read_adapter(&s->lasting, s->memory.base, o->adapter_path, error);
    if (status != LEVEE_OK) return status;
    return run_evaluate(engine, data, (uint64_t)o->test_batches * o->batch_size, ids, result, error);
}

levee_status levee_eval(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    run r;
    training engine = {0};
    dataset *data = NULL;
    uint32_t *ids = NULL;
    evaluation result = {.loss = NAN};
    const char *split = first_split(options->data);
    levee_status status = run_open(&r, "eval", options, print, context, error);
    if (status == LEVEE_OK && !*options->data)
        status = error_set(error, LEVEE_USAGE, "--data is needed: a directory with test.jsonl");
    if (status == LEVEE_OK) status = run_open_data_briefly(&r, &data, split, error);
    if (status == LEVEE_OK) {
        ids = ledger_alloc_array(LEVEE_DATA, options->max_sequence_tokens, sizeof *ids);
        status = ids ? evaluate(&r, &engine, data, ids, &result, error)
                     : error_out_of_memory(error, "a row of tokens", options->max_sequence_tokens * sizeof *ids);
    }
    if (status == LEVEE_OK)
        run_print(&r, "%s loss %.4f, perplexity %.3f, over %llu tokens of %llu rows", split, result.loss,
                  exp(result.loss), (unsigned long long)result.tokens, (unsigned long long)result.rows);
    training_close(&engine);
    dataset_close(data);
    ledger_free(ids);
    run_close(&r);
    return status;
}
