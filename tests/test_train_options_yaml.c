/* Files of options: refusals by line, the example configuration of mlx-lm, and that what is written is read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "given_options.h"
#include "scratch.h"
#include "train/options.h"

static void assert_same(const levee_options *a, const levee_options *b) {
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->data, b->data);
    assert_string_equal(a->adapter_path, b->adapter_path);
    assert_string_equal(a->resume_adapter_file, b->resume_adapter_file);
    assert_string_equal(a->prompt, b->prompt);
    const uint64_t numbers[][2] = {
        {a->type, b->type},
        {(uint64_t)a->num_layers, (uint64_t)b->num_layers},
        {a->batch_size, b->batch_size},
        {a->micro_batch_size, b->micro_batch_size},
        {a->iterations, b->iterations},
        {a->accumulation, b->accumulation},
        {a->max_sequence_tokens, b->max_sequence_tokens},
        {a->validation_batches, b->validation_batches},
        {a->test_batches, b->test_batches},
        {a->steps_per_report, b->steps_per_report},
        {a->steps_per_evaluation, b->steps_per_evaluation},
        {a->save_every, b->save_every},
        {a->threads, b->threads},
        {a->max_new_tokens, b->max_new_tokens},
        {a->has_schedule, b->has_schedule},
        {a->rate.kind, b->rate.kind},
        {a->rate.argument_count, b->rate.argument_count},
        {a->rate.warmup, b->rate.warmup},
        {a->rank, b->rank},
        {a->recompute, b->recompute},
        {a->compute, b->compute},
        {a->seed, b->seed},
        {a->budget_bytes, b->budget_bytes},
        {a->others_bytes, b->others_bytes},
        {a->max_row_bytes, b->max_row_bytes},
        {a->budget_given, b->budget_given},
        {a->optimizer, b->optimizer},
        {a->train, b->train},
        {a->test, b->test},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i][0] != numbers[i][1]) fail_msg("number %zu differs", i);
    optimizer_settings left = options_optimizer(a), right = options_optimizer(b);
    const double reals[][2] = {
        {a->learning_rate, b->learning_rate},
        {a->scale, b->scale},
        {a->dropout, b->dropout},
        {a->rate.warmup_init, b->rate.warmup_init},
        {left.beta1, right.beta1},
        {left.beta2, right.beta2},
        {left.epsilon, right.epsilon},
        {left.weight_decay, right.weight_decay},
        {left.max_gradient_norm, right.max_gradient_norm},
        {left.bias_correction, right.bias_correction},
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (reals[i][0] != reals[i][1]) fail_msg("real %zu: %.17g is not %.17g", i, reals[i][0], reals[i][1]);
    assert_memory_equal(a->rate.arguments, b->rate.arguments, sizeof a->rate.arguments);
    assert_memory_equal(a->projections, b->projections, sizeof a->projections);
}

static void refuses_bad_files(void **state) {
    static const char *const cases[][2] = {
        {"iters: 1\nbatchsize: 3\n", "f.yaml: line 2|did you mean batch_size"},
        {"iters: [1, 2]\n", "line 1|iters: one value is needed, not a list"},
        {"train: true\nadapter_path: [a]\n", "line 2: adapter_path: one value"},
        {"lora_parameters:\n  rank: [8]\n", "line 2: lora_parameters.rank: one value"},
        {"unknown: [8]\n", "'unknown' is no option"},
        {"lora_parameters:\n  rank: 8\n  alpha: 16\n", "line 3|alpha: is not used|alpha / rank"},
        {"lora_parameters:\n  rank: no\n", "line 2|rank"},
        {"- iters\n", "line 1|list"},
        {"iters\n", "line 1|a map of options"},
        {"iters: {a: 1}\n", "iters.a"},
        {"keys: [[q_proj]]\n", "line 1|list"},
        {"keys: [{a: b}]\n", "line 1|map"},
        {"a: &x 1\n", "'a' is no option"},
        {"iters: 1\nrank: *x\n", "line 2"},
        {"iters: \"unfinished\nrank: 1\n", "f.yaml: line"},
        {"a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}\n", "map"},
        {"\xff\xfe\xff", "f.yaml"},
        {"iters: \"5\\0\"\n", "line 1|NUL"},
        {"iters: \"5\\n6\\x1b\"\n", "'5 6 '"},
    };
    levee_options o;
    levee_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options_defaults(&o);
        const char *path = scratch_text(*state, "f.yaml", cases[i][0]);
        scratch_expect(cases[i][0], LEVEE_USAGE, cases[i][1], options_read(&o, path, &error), &error);
    }
    options_defaults(&o);
    scratch_expect("missing", LEVEE_MISSING_INPUT, "none.yaml", options_read(&o, "/nowhere/none.yaml", &error),
                   &error);
    must_read(&o, scratch_text(*state, "empty.yaml", "# nothing\n"));
    assert_int_equal(o.iterations, 1000);
}

/* What the example configuration of mlx-lm sets; both files below say the same. */
static void assert_example(const levee_options *o) {
    assert_int_equal(o->type, FINE_TUNE_LORA);
    assert_int_equal(o->optimizer, OPTIMIZER_ADAMW);
    assert_int_equal(o->seed, 0);
    assert_int_equal(o->num_layers, 16);
    assert_int_equal(o->batch_size, 4);
    assert_int_equal(o->iterations, 1000);
    assert_int_equal(o->validation_batches, 25);
    assert_true(o->learning_rate == 1e-5);
    assert_int_equal(o->steps_per_report, 10);
    assert_int_equal(o->steps_per_evaluation, 200);
    assert_int_equal(o->accumulation, 1);
    assert_string_equal(o->resume_adapter_file, "");
    assert_string_equal(o->adapter_path, "adapters");
    assert_int_equal(o->save_every, 100);
    assert_int_equal(o->test_batches, 100);
    assert_int_equal(o->max_sequence_tokens, 2048);
    assert_int_equal(o->recompute, RECOMPUTE_AUTO);
    assert_projections(o, "1010000");
    assert_int_equal(o->rank, 8);
    assert_true(o->scale == 20 && o->dropout == 0);
    assert_int_equal(options_check(o, NULL), LEVEE_OK);
}

static void loads_an_example(void **state) {
    levee_options o = from_text(
        *state,
        "model: \"directory/of a model\"\ntrain: true\nfine_tune_type: lora\noptimizer: adamw\n"
        "data: \"directory/of data\"\nseed: 0\nnum_layers: 16\nbatch_size: 4\niters: 1000\nval_batches: 25\n"
        "learning_rate: 1e-5\nsteps_per_report: 10\nsteps_per_eval: 200\ngrad_accumulation_steps: 1\n"
        "resume_adapter_file: null\nadapter_path: \"adapters\"\nsave_every: 100\ntest: false\n"
        "test_batches: 100\nmax_seq_length: 2048\ngrad_checkpoint: false\nclear_cache_threshold: 0\n"
        "report_to: null\nproject_name: null\nmask_prompt: false\n"
        "optimizer_config:\n  adam: {}\n  adamw:\n    betas: [0.9, 0.98]\n    eps: 1e-6\n    weight_decay: 0.05\n"
        "    bias_correction: true\n"
        "lora_parameters:\n  keys: [\"self_attn.q_proj\", \"self_attn.v_proj\"]\n  rank: 8\n  scale: 20.0\n"
        "  dropout: 0.0\nlr_schedule: null\n");
    assert_example(&o);
    assert_string_equal(o.model, "directory/of a model");
    assert_string_equal(o.data, "directory/of data");
    optimizer_settings s = options_optimizer(&o);
    assert_true(s.beta1 == 0.9 && s.beta2 == 0.98 && s.epsilon == 1e-6 && s.weight_decay == 0.05 &&
                s.bias_correction);
}

static void loads_the_published_example(void **state) {
    (void)state;
    char path[FILE_PATH_BYTES];
    if (!scratch_shared(path, "mlx-lm/lora_config.yaml")) skip();
    levee_options o;
    options_defaults(&o);
    must_read(&o, path);
    assert_example(&o);
}

static void keep_line(void *context, const char *text) {
    char *all = context;
    strcat(strcat(all, text), "\n");
}

/* The line of a key says where its value came from. */
static void assert_place(const char *printed, const char *key, const char *place) {
    const char *line = strstr(printed, key);
    if (!line) fail_msg("%s is not printed", key);
    const char *end = strchr(++line, '\n'), *from = strstr(line, " # ");
    if (!from || from > end || !memmem(from, (size_t)(end - from), place, strlen(place)))
        fail_msg("%.*s: '%s' is expected", (int)(end - line), line, place);
}

static void says_where_values_come_from(void **state) {
    levee_options o, again;
    static char printed[65536];
    *printed = 0;
    options_defaults(&o);
    must_read(&o, scratch_text(*state, "first.yaml", "iters: 5\nseed: 3\n"));
    must_read(&o,
              scratch_text(*state, "second.yaml",
                           "# a line\nseed: 4\noptimizer: adam\noptimizer_config:\n  adamw: {eps: 1e-3}\n  adam:\n"
                           "    betas: [0.5, 0.6]\n  muon: {momentum: 0.9}\nlora_parameters:\n  rank: 9\n"));
    must_set(&o, "batch-size", "7");
    options_print(&o, keep_line, printed);
    assert_place(printed, "\niters: 5 ", "a file before");
    assert_place(printed, "\nseed: 4 ", "second.yaml:2");
    assert_place(printed, "\nbetas: [0.5, 0.6] ", "second.yaml:7");
    assert_place(printed, "\neps: 1e-08 ", "default"); /* adamw's was set */
    assert_place(printed, "\nrank: 9 ", "second.yaml:10");
    assert_place(printed, "\nbatch_size: 7 ", "command line");
    assert_place(printed, "\n# memory: auto ", "default");
    options_defaults(&again);
    must_read(&again, scratch_text(*state, "printed.yaml", printed));
    assert_same(&o, &again);
}

static void reads_what_it_writes(void **state) {
    static const char *const settings[][2] = {
        {"model", "a \"quoted\\ name\"\twith\nlines: \x7f # \xC3\xA9"},
        {"data", "null ish"},
        {"prompt",
         "YAML's other line ends: \xC2\x85 \xE2\x80\xA8 \xE2\x80\xA9, controls: \xC2\x9F, a mark: \xEF\xBB\xBF"},
        {"adapter_path", "  spaces "},
        {"memory", "6GiB"},
        {"reserve", "3GiB"},
        {"reserve", "0"},
        {"fine_tune_type", "head"},
        {"num_layers", "-1"},
        {"batch_size", "3"},
        {"iters", "17"},
        {"grad_accumulation_steps", "5"},
        {"learning_rate", "1.2345678901234567e-5"},
        {"max_seq_length", "77"},
        {"rank", "9"},
        {"scale", "0.1"},
        {"dropout", "0.3"},
        {"keys", "q_proj,down_proj"},
        {"betas", "0.9000000001,0.99999999"},
        {"eps", "3e-9"},
        {"weight_decay", "0.07"},
        {"bias_correction", "false"},
        {"max_grad_norm", "1e300"},
        {"max_grad_norm", "0.7"},
        {"grad_checkpoint", "off"},
        {"dtype", "bf16"},
        {"steps_per_report", "2"},
        {"steps_per_eval", "3"},
        {"val_batches", "-1"},
        {"test_batches", "6"},
        {"save_every", "8"},
        {"micro_batch_size", "3"},
        {"seed", "18446744073709551615"},
        {"threads", "3"},
        {"max_row_bytes", "12345"},
        {"prompt", "say: 'so'"},
        {"max_tokens", "11"},
        {"lr_schedule.name", "cosine"},
        {"lr_schedule.warmup", "12"},
        {"lr_schedule.warmup_init", "1e-7"},
        {"lr_schedule.arguments", "1e-5,1000,1.1e-7"},
        {"optimizer", "adam"},
        {"optimizer_config.adam.eps", "5e-9"},
        {"lr_schedule", "null"},
    };
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, *state, "written.yaml"));
    levee_options o, again;
    levee_error error;
    options_defaults(&o);
    /* After each: what is written then, read from the defaults. */
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        must_set(&o, settings[i][0], settings[i][1]);
        scratch_expect(settings[i][0], LEVEE_OK, "", options_write(&o, path, "", &error), &error);
        options_defaults(&again);
        must_read(&again, path);
        assert_same(&o, &again);
    }
    scratch_expect("nowhere", LEVEE_IO_ERROR, "/nowhere", options_write(&o, "/nowhere/w.yaml", "", &error), &error);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(refuses_bad_files),           SCRATCH_TEST(loads_an_example),
        SCRATCH_TEST(loads_the_published_example), SCRATCH_TEST(says_where_values_come_from),
        SCRATCH_TEST(reads_what_it_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
