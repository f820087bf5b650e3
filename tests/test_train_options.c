/* Options: defaults, the order in which values win, how they are read, and every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "given_options.h"
#include "platform/headroom.h"
#include "scratch.h"
#include "train/options.h"

static void starts_from_defaults(void **state) {
    (void)state;
    levee_options o;
    options_defaults(&o);
    assert_int_equal(o.type, FINE_TUNE_LORA);
    assert_int_equal(o.num_layers, 16);
    assert_int_equal(o.batch_size, 4);
    assert_int_equal(o.iterations, 1000);
    assert_int_equal(o.accumulation, 1);
    assert_int_equal(o.validation_batches, 25);
    assert_int_equal(o.max_sequence_tokens, 2048);
    assert_int_equal(o.steps_per_report, 10);
    assert_int_equal(o.steps_per_evaluation, 200);
    assert_int_equal(o.save_every, 100);
    assert_int_equal(o.rank, 8);
    assert_int_equal(o.seed, 0);
    assert_true(o.learning_rate == 1e-5 && o.scale == 20 && o.dropout == 0);
    assert_false(o.has_schedule || o.budget_given || o.adapter_path_given);
    assert_string_equal(o.adapter_path, "adapters");
    assert_projections(&o, "1111111");
    assert_int_equal(options_check(&o, NULL), LEVEE_OK);
}

/* What is set later wins, and what a file does not name stays: so defaults, file, command line. */
static void later_wins(void **state) {
    levee_options o = from_text(*state, "iters: 7\nrank: 2\nlora_parameters: {rank: 4}\nlearning_rate: 1e-3\n");
    assert_int_equal(o.iterations, 7);
    assert_int_equal(o.rank, 4);
    assert_int_equal(o.batch_size, 4);
    must_set(&o, "learning-rate", "2e-3");
    must_set(&o, "num-layers", "-1");
    assert_true(o.learning_rate == 2e-3);
    assert_int_equal(o.num_layers, -1);
    must_read(&o, scratch_text(*state, "more.yaml", "num_layers: 3\n---\nnum_layers: 5\n"));
    assert_int_equal(o.num_layers, 5);
    assert_int_equal(o.iterations, 7);

    /* adam has no decay, wherever the word stands; back at adamw, the decay is the one that was given. */
    static const char *const orders[] = {"weight_decay: 0.2\noptimizer: adam\n",
                                         "optimizer: adam\nweight_decay: 0.2\n"};
    for (size_t i = 0; i < 2; i++) {
        o = from_text(*state, orders[i]);
        assert_true(options_optimizer(&o).weight_decay == 0);
        must_set(&o, "optimizer", "adamw");
        assert_true(options_optimizer(&o).weight_decay == 0.2);
    }
    /* Each optimizer's section is its own, as in mlx_lm.lora. */
    o = from_text(*state,
                  "optimizer_config:\n  adamw: {eps: 1e-6, betas: [0.8, 0.98]}\n  adam: {eps: 1e-4}\n  sgd: {}\n"
                  "optimizer: adam\n");
    assert_true(options_optimizer(&o).epsilon == 1e-4 && options_optimizer(&o).beta1 == 0.9);
    must_set(&o, "optimizer", "adamw");
    assert_true(options_optimizer(&o).epsilon == 1e-6 && options_optimizer(&o).beta2 == 0.98);
    must_set(&o, "eps", "1e-5");
    must_set(&o, "max-grad-norm", "2");
    must_set(&o, "optimizer", "AdamW");
    assert_int_equal(o.optimizer, OPTIMIZER_ADAMW);
    must_set(&o, "optimizer", "Adam");
    assert_true(options_optimizer(&o).epsilon == 1e-5 && options_optimizer(&o).max_gradient_norm == 2);
}

static void reads_values(void **state) {
    levee_options o =
        from_text(*state, "memory: 6GiB\nmax_row_bytes: 64k\nseed: 18446744073709551615\nval_batches: -1\n"
                          "test_batches: -1\nresume_adapter_file:\nmodel: ~\ngrad_checkpoint: true\n"
                          "bias_correction: false\ndtype: bf16\nfine_tune_type: full\nbatch_size: 8.0\n"
                          "mask_prompt:\nhf_dataset: false\ntrain: false\nreport_to: [wandb, swanlab]\n");
    assert_false(o.train);
    assert_int_equal(o.budget_bytes, 6ull << 30);
    assert_true(o.budget_given);
    assert_int_equal(o.max_row_bytes, 64 << 10);
    assert_false(o.mask_prompt);
    assert_string_equal(o.chat_feature, "messages");
    must_set(&o, "mask-prompt", "");
    must_set(&o, "prompt-feature", "question");
    assert_true(o.mask_prompt);
    assert_string_equal(o.prompt_feature, "question");
    assert_int_equal(o.others_bytes, HEADROOM_USUAL_RESERVE);
    must_set(&o, "reserve", "1.5GiB");
    assert_int_equal(o.others_bytes, 3ull << 29);
    must_set(&o, "reserve", "0");
    assert_int_equal(o.others_bytes, 0);
    assert_int_equal(o.seed, UINT64_MAX);
    assert_int_equal(o.validation_batches, UINT32_MAX);
    assert_int_equal(o.test_batches, UINT32_MAX);
    assert_string_equal(o.model, "");
    assert_string_equal(o.resume_adapter_file, "");
    assert_int_equal(o.recompute, RECOMPUTE_ALL);
    assert_false(options_optimizer(&o).bias_correction);
    assert_int_equal(o.compute, COMPUTE_BF16);
    assert_int_equal(o.type, FINE_TUNE_FULL);
    assert_int_equal(o.batch_size, 8);

    /* A lone flag on the command line is on; a key without a value is null, as in any YAML. */
    must_set(&o, "bias-correction", "");
    assert_true(options_optimizer(&o).bias_correction);
    must_set(&o, "grad-checkpoint", "off");
    assert_int_equal(o.recompute, RECOMPUTE_OFF);
    must_set(&o, "grad-checkpoint", "");
    assert_int_equal(o.recompute, RECOMPUTE_ALL);
    must_read(&o, scratch_text(*state, "n.yaml", "bias_correction:\ngrad_checkpoint: False\n"));
    assert_false(options_optimizer(&o).bias_correction);
    assert_int_equal(o.recompute, RECOMPUTE_AUTO);
    must_set(&o, "val-batches", "0");
    assert_int_equal(o.validation_batches, 0);
}

static void reads_lora_parameters(void **state) {
    levee_options o = from_text(*state, "lora_parameters:\n  keys: [\"self_attn.q_proj\", mlp.down_proj]\n"
                                        "  rank: 16\n  scale: 2.5\n  dropout: 0.125\n");
    assert_projections(&o, "1000001");
    assert_int_equal(o.rank, 16);
    assert_true(o.scale == 2.5 && o.dropout == 0.125);
    must_set(&o, "keys", "v_proj, o_proj");
    assert_projections(&o, "0011000");
    must_set(&o, "lora_parameters.keys", "null");
    assert_projections(&o, "1111111");
    must_set(&o, "lora_parameters", "null");
}

static void reads_schedules(void **state) {
    levee_options o = from_text(*state, "lr_schedule:\n  name: cosine_decay\n  warmup: 100 # 0 for no warmup\n"
                                        "  warmup_init: 1e-7\n  arguments: [1e-5, 1000, 1e-7]\n");
    assert_true(o.has_schedule);
    assert_int_equal(o.rate.kind, SCHEDULE_COSINE);
    assert_int_equal(o.rate.warmup, 100);
    assert_int_equal(o.rate.argument_count, 3);
    assert_true(o.rate.warmup_init == 1e-7 && o.rate.arguments[0] == 1e-5 && o.rate.arguments[1] == 1000 &&
                o.rate.arguments[2] == 1e-7);
    assert_int_equal(options_check(&o, NULL), LEVEE_OK);
    must_read(&o, scratch_text(*state, "none.yaml", "lr_schedule: null\n"));
    assert_false(o.has_schedule);
    assert_int_equal(o.rate.warmup, 0);

    static const char *const good[][2] = {
        {"constant", "1e-4"},      {"linear", "1e-4,0,10"},       {"linear_schedule", "0,1e-4,10"},
        {"cosine", "1e-4,10"},     {"cosine_decay", "1e-4,10,0"}, {"step", "1e-4, 0.5, 10"},
        {"step_decay", "1,0.5,1"}, {"exponential", "1e-4 0.999"}, {"exponential_decay", "1e-4,0.5"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        levee_error error;
        options_defaults(&o);
        must_set(&o, "lr-schedule.name", good[i][0]);
        must_set(&o, "lr-schedule.arguments", good[i][1]);
        scratch_expect(good[i][0], LEVEE_OK, "", options_check(&o, &error), &error);
    }
    static const char *const bad[][3] = {
        {"constant", "1,2", "constant needs [rate]"},
        {"linear", "1e-4,0", "linear_schedule needs"},
        {"linear", "1e-4,0,0", "updates from 1"},
        {"cosine", "1e-4", "cosine_decay needs"},
        {"cosine", "1e-4,0", "cosine_decay"},
        {"cosine", "1,2,3,4", "cosine_decay"},
        {"step", "1e-4,0.5", "step_decay needs"},
        {"step", "1e-4,0.5,0", "step_decay"},
        {"exponential", "1e-4", "exponential_decay"},
        {"exponential", "-1,0.5", "rates from 0"},
        {"exponential", "1,inf", "exponential_decay"},
        {"constant", NULL, "lr_schedule.arguments|constant"},
        {NULL, "1e-4,0,10", "lr_schedule|name|constant"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        levee_error error;
        options_defaults(&o);
        if (bad[i][0]) must_set(&o, "lr_schedule.name", bad[i][0]);
        if (bad[i][1]) must_set(&o, "lr_schedule.arguments", bad[i][1]);
        scratch_expect(bad[i][2], LEVEE_USAGE, bad[i][2], options_check(&o, &error), &error);
    }
    options_defaults(&o);
    must_set(&o, "lr_schedule.warmup", "5");
    assert_int_equal(options_check(&o, NULL), LEVEE_USAGE);
    options_defaults(&o);
    must_set(&o, "batch_size", "65536");
    must_set(&o, "grad_accumulation_steps", "65536");
    assert_int_equal(options_check(&o, NULL), LEVEE_USAGE);
}

/* Who asks which batch is safe must know whether one was given; and a deterministic pass has its size. */
static void knows_sizes(void **state) {
    (void)state;
    levee_options o;
    levee_error error;
    options_defaults(&o);
    assert_false(o.batch_size_given);
    assert_int_equal(o.micro_batch_size, 0);
    must_set(&o, "deterministic", "true");
    must_set(&o, "micro-batch-size", "1");
    assert_int_equal(options_check(&o, NULL), LEVEE_OK);
    must_set(&o, "micro-batch-size", "2");
    scratch_expect("sizes", LEVEE_USAGE, "micro_batch_size 2", options_check(&o, &error), &error);
    must_set(&o, "batch-size", "4");
    assert_true(o.batch_size_given);
}

static void refuses_bad_options(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"batchsize", "3", "'batchsize' is no option|did you mean batch_size?"},
        {"learning-rat", "3", "did you mean learning_rate?"},
        {"lora_parameters.ranks", "3", "did you mean rank?"},
        {"lr_schedule.warm", "3", "did you mean lr_schedule.warmup?"},
        {"optimizer_config.adamw.betass", "3", "did you mean betas?"},
        {"lora_layers", "3", "did you mean num_layers?"},
        {"", "3", "is no option"},
        {"batch_size", "0", "batch_size: '0'|a whole number from 1 to"},
        {"batch_size", "-1", "batch_size"},
        {"batch_size", "2.5", "whole number"},
        {"batch_size", "four", "'four'"},
        {"batch_size", "4x", "'4x'"},
        {"batch_size", "", "whole number"},
        {"batch_size", "1e12", "1e+06"},
        {"batch_size", "nan", "whole number"},
        {"iters", "1e10", "iters"},
        {"iters", "inf", "iters"},
        {"num_layers", "-2", "num_layers|from -1"},
        {"max_seq_length", "1", "max_seq_length|from 2"},
        {"val_batches", "-2", "val_batches|or -1 for all"},
        {"test_batches", "0", "test_batches|from 1"},
        {"learning_rate", "-1e-5", "learning_rate|a number from 0"},
        {"learning_rate", "1e-5,", "learning_rate"},
        {"learning_rate", "inf", "learning_rate"},
        {"max_grad_norm", "0", "max_grad_norm"},
        {"dropout", "1", "dropout|0.999"},
        {"rank", "0", "rank"},
        {"rank", "5000", "rank|4096"},
        {"scale", "x", "scale"},
        {"betas", "0.9", "betas|two numbers"},
        {"betas", "0.9,1", "two numbers"},
        {"betas", "0.9,0.98,0.5", "two numbers"},
        {"betas", "high,low", "a list of numbers"},
        {"keys", "q_proj,w_proj", "'w_proj'|q_proj"},
        {"keys", "", "keys|at least one"},
        {"lr_schedule", "cosine", "lr_schedule|a map"},
        {"lr_schedule.name", "cosin", "'cosin'|cosine"},
        {"lr_schedule.name", "join_schedules", "exponential"},
        {"lr_schedule.arguments", "1,2,3,4,5", "a list of numbers"},
        {"lr_schedule.warmup", "-1", "warmup"},
        {"lora_parameters", "8", "lora_parameters|a map"},
        {"optimizer", "sgd", "optimizer: sgd is not supported; adamw and adam are"},
        {"optimizer", "Muon", "optimizer: Muon is not supported"},
        {"lora_alpha", "16", "alpha / rank"},
        {"train", "maybe", "train|true or false"},
        {"optimizer", "sdg", "optimizer|adamw|adam"},
        {"optimizer_config.adam.weight_decay", "0.1", "adam has no weight decay"},
        {"fine_tune_type", "none", "lora"},
        {"grad_checkpoint", "maybe", "auto"},
        {"dtype", "f16", "bf16"},
        {"bias_correction", "2", "true or false"},
        {"memory", "6 apples", "memory|600MiB"},
        {"memory", "0", "memory"},
        {"memory", "-1GiB", "memory"},
        {"memory", "18446744073709551615", "memory"},
        {"reserve", "some", "reserve|600MiB"},
        {"reserve", "-1", "reserve"},
        {"max_row_bytes", "0", "max_row_bytes"},
        {"seed", "-1", "seed|whole number"},
        {"seed", " 1", "seed"},
        {"seed", "18446744073709551616", "seed"},
        {"seed", "1.5", "seed"},
        {"mask_prompt", "maybe", "mask_prompt|true or false"},
        {"chat_feature", "", "chat_feature|1 to 63 bytes"},
        {"hf_dataset.path", "billsum", "hf_dataset: |train.jsonl|text_feature"},
        {"threads", "0", "threads"},
    };
    levee_options o;
    options_defaults(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        levee_error error;
        levee_status status = options_set(&o, cases[i][0], cases[i][1], &error);
        scratch_expect(cases[i][0], LEVEE_USAGE, cases[i][2], status, &error);
    }
    char text[FILE_PATH_BYTES + 100];
    memset(text, 'q', sizeof text - 1);
    text[sizeof text - 1] = 0;
    levee_error error;
    scratch_expect("model", LEVEE_USAGE, "model|shorter", options_set(&o, "model", text, &error), &error);
    scratch_expect("long key", LEVEE_USAGE, "is no option", options_set(&o, text, "1", &error), &error);
    memcpy(text, "q_proj,", 7);
    scratch_expect("keys", LEVEE_USAGE, "keys", options_set(&o, "keys", text, &error), &error);
}

static void lists_its_keys(void **state) {
    (void)state;
    unsigned described = 0;
    for (unsigned i = 0; i < levee_option_count(); i++) {
        assert_non_null(levee_option_key(i));
        described += levee_option_help(i) != NULL;
        for (unsigned k = 0; k < i; k++) assert_string_not_equal(levee_option_key(i), levee_option_key(k));
    }
    assert_true(described > 30);
    assert_null(levee_option_key(levee_option_count()));
    assert_null(levee_option_help(levee_option_count()));
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(starts_from_defaults),  SCRATCH_TEST(later_wins),      SCRATCH_TEST(reads_values),
        SCRATCH_TEST(reads_lora_parameters), SCRATCH_TEST(reads_schedules), SCRATCH_TEST(refuses_bad_options),
        SCRATCH_TEST(lists_its_keys),        SCRATCH_TEST(knows_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
