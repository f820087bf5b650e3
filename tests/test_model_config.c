/* config.json: both spellings, what is refused by name, and the frequencies of RoPE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "memory/json.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/config.h"
#include "model/family.h"
#include "scratch.h"

static const char base_text[] =
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":172,\"num_hidden_layers\":5,"
    "\"num_attention_heads\":8,\"num_key_value_heads\":4,\"vocab_size\":512,\"max_position_embeddings\":512,"
    "\"rms_norm_eps\":1e-05,\"tie_word_embeddings\":true,\"hidden_act\":\"silu\",\"bos_token_id\":1,\"eos_token_id\":"
    "2,"
    "\"rope_theta\":10000.0,\"torch_dtype\":\"bfloat16\",\"architectures\":[\"LlamaForCausalLM\"],\"use_cache\":true,"
    "\"attention_bias\":false,\"mlp_bias\":false,\"pretraining_tp\":1,\"sliding_window\":null,\"pad_token_id\":null}";

/* Reads the base with the keys of `changes` put over it; a key whose value is "-" is removed. */
static levee_status read_changed(model_config *config, const char *directory, const char *changes,
                                 levee_error *error) {
    json_t *object = json_loads(base_text, 0, NULL), *over = json_loads(changes, 0, NULL), *value;
    assert_non_null(object);
    if (!over) fail_msg("the test's own JSON is wrong: %s", changes);
    const char *key;
    json_object_foreach(over, key, value) {
        bool removed = json_is_string(value) && !strcmp(json_string_value(value), "-");
        assert_int_equal(removed ? json_object_del(object, key) : json_object_set(object, key, value), 0);
    }
    char path[FILE_PATH_BYTES];
    file_join(path, directory, "config.json");
    assert_int_equal(json_object_write(object, path, NULL), LEVEE_OK);
    json_decref(object);
    json_decref(over);
    return model_config_read(config, directory, error);
}

static void reads_every_field(void **state) {
    model_config c;
    levee_error error;
    scratch_expect("base", LEVEE_OK, "", read_changed(&c, *state, "{}", &error), &error);
    assert_string_equal(c.family->type, "llama");
    assert_int_equal(model_config_window(&c, 0), UINT32_MAX);
    assert_false(c.head_norms || c.biased[PROJECTION_Q]);
    assert_int_equal(c.hidden_size, 64);
    assert_int_equal(c.intermediate_size, 172);
    assert_int_equal(c.layers, 5);
    assert_int_equal(c.heads, 8);
    assert_int_equal(c.kv_heads, 4);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.vocabulary_size, 512);
    assert_int_equal(c.max_positions, 512);
    assert_true(c.norm_epsilon == 1e-5f);
    assert_true(c.rope_theta == 10000);
    assert_int_equal(c.rope, ROPE_DEFAULT);
    assert_true(c.tied_head);
    assert_int_equal(c.stored_type, DTYPE_BF16);
    assert_int_equal(c.bos_id, 1);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos_ids[0], 2);
}

static void takes_defaults(void **state) {
    model_config c;
    levee_error error;
    static const char changes[] =
        "{\"num_key_value_heads\":null,\"head_dim\":null,\"max_position_embeddings\":\"-\",\"rms_norm_eps\":\"-\","
        "\"rope_theta\":"
        "\"-\",\"torch_dtype\":\"-\",\"tie_word_embeddings\":\"-\",\"bos_token_id\":\"-\",\"eos_token_id\":[3,511],"
        "\"hidden_act\":\"-\"}";
    scratch_expect("defaults", LEVEE_OK, "", read_changed(&c, *state, changes, &error), &error);
    assert_int_equal(c.kv_heads, 8);
    assert_int_equal(c.head_dim, 8);
    assert_int_equal(c.max_positions, 2048);
    assert_true(c.norm_epsilon == 1e-6f);
    assert_true(c.rope_theta == 10000);
    assert_int_equal(c.stored_type, DTYPE_F32);
    assert_false(c.tied_head);
    assert_int_equal(c.bos_id, -1);
    assert_int_equal(c.eos_count, 2);
    assert_int_equal(c.eos_ids[1], 511);
}

#define LLAMA3 "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4"

static void reads_both_spellings_of_rope(void **state) {
    static const struct {
        const char *changes;
        rope_type type;
        double theta;
        uint32_t original;
    } cases[] = {
        {"{\"rope_theta\":500000,\"rope_scaling\":null}", ROPE_DEFAULT, 500000, 0},
        {"{\"rope_theta\":500000,\"rope_scaling\":{}}", ROPE_DEFAULT, 500000, 0},
        {"{\"rope_theta\":5,\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3
         ",\"original_max_position_embeddings\":64}}",
         ROPE_LLAMA3, 5, 64},
        {"{\"rope_theta\":5,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 "}}", ROPE_LLAMA3, 5, 512},
        {"{\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 "}}", ROPE_LLAMA3,
         10000, 32},
        {"{\"rope_theta\":\"-\",\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":7}}", ROPE_DEFAULT, 7,
         0},
        {"{\"rope_theta\":6,\"rope_parameters\":{\"rope_type\":\"default\"}}", ROPE_DEFAULT, 6, 0},
        {"{\"rope_theta\":\"-\",\"rope_parameters\":{\"rope_theta\":7}}", ROPE_DEFAULT, 7, 0},
        {"{\"rope_theta\":\"-\",\"rope_parameters\":{\"rope_theta\":7,\"rope_type\":\"llama3\"," LLAMA3
         ",\"original_max_position_embeddings\":64}}",
         ROPE_LLAMA3, 7, 64},
        {"{\"rope_scaling\":{},\"rope_parameters\":{\"rope_theta\":7}}", ROPE_DEFAULT, 7, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        levee_error error;
        scratch_expect(cases[i].changes, LEVEE_OK, "", read_changed(&c, *state, cases[i].changes, &error), &error);
        assert_int_equal(c.rope, cases[i].type);
        assert_true(c.rope_theta == cases[i].theta);
        assert_int_equal(c.rope_original_positions, cases[i].original);
        if (c.rope == ROPE_LLAMA3) assert_true(c.rope_factor == 8 && c.rope_high_frequency_factor == 4);
    }
}

static void refuses_by_name(void **state) {
    static const struct {
        const char *changes, *words;
    } cases[] = {
        {"{\"model_type\":\"gemma2\"}", "model_type|'gemma2'|supported: llama, mistral, qwen2, qwen3"},
        {"{\"model_type\":\"-\"}", "model_type|(none)|supported: llama"},
        {"{\"model_type\":3}", "model_type"},
        {"{\"attention_bias\":1}", "attention_bias|true or false"},
        {"{\"model_type\":\"mistral\",\"attention_bias\":true}", "attention_bias|true is not supported|mistral"},
        {"{\"model_type\":\"qwen2\",\"mlp_bias\":true}", "mlp_bias|qwen2"},
        {"{\"model_type\":\"mistral\",\"sliding_window\":0}", "sliding_window|a whole number"},
        {"{\"model_type\":\"mistral\",\"layer_types\":[\"full_attention\"]}", "layer_types|mistral"},
        {"{\"model_type\":\"qwen3\",\"layer_types\":[\"full_attention\"]}", "layer_types|a list of 5"},
        {"{\"model_type\":\"qwen2\",\"layer_types\":{\"a\":1}}", "layer_types|a list of 5"},
        {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]}",
         "layer_types|'chunked_attention'"},
        {"{\"model_type\":\"qwen2\",\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}",
         "layer_types|use_sliding_window"},
        {"{\"use_qk_norm\":true}", "use_qk_norm"},
        {"{\"hidden_act\":\"gelu\"}", "hidden_act|'gelu'|silu is"},
        {"{\"hidden_act\":7}", "hidden_act"},
        {"{\"quantization_config\":{\"bits\":4}}", "quantization_config"},
        {"{\"sliding_window\":4096}", "sliding_window"},
        {"{\"partial_rotary_factor\":0.5}", "partial_rotary_factor|only 1"},
        {"{\"pretraining_tp\":2}", "pretraining_tp|only 1"},
        {"{\"attention_multiplier\":0.1}", "attention_multiplier"},
        {"{\"embedding_multiplier\":12}", "embedding_multiplier"},
        {"{\"residual_multiplier\":0.2}", "residual_multiplier"},
        {"{\"logits_scaling\":8}", "logits_scaling"},
        {"{\"final_logit_softcapping\":30}", "final_logit_softcapping"},
        {"{\"num_local_experts\":8}", "num_local_experts"},
        {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}}",
         "rope_scaling.rope_type|'linear'|default and llama3"},
        {"{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", "rope_scaling|'dynamic'"},
        {"{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2}}", "rope_scaling|'yarn'"},
        {"{\"rope_parameters\":{\"rope_type\":\"longrope\"}}", "rope_parameters.rope_type|'longrope'"},
        {"{\"rope_scaling\":{\"factor\":2}}", "rope_scaling.factor|without a rope_type"},
        {"{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1}}}",
         "rope_parameters.full_attention|without a rope_type"},
        {"{\"rope_scaling\":\"linear\"}", "rope_scaling|an object or null"},
        {"{\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}}",
         "rope_parameters.partial_rotary_factor|only 1"},
        {"{\"rope_scaling\":{\"type\":\"llama3\"}}", "rope_scaling.factor"},
        {"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":0.5,\"low_freq_factor\":1,\"high_freq_factor\":4}}",
         "factor"},
        {"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
         "high_freq_factor|larger than low_freq_factor"},
        {"{\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 ",\"original_max_position_embeddings\":1e30}}",
         "rope_scaling.original_max_position_embeddings"},
        {"{\"rope_theta\":0}", "rope_theta"},
        {"{\"rope_theta\":1e-300}", "rope_theta|32-bit"},
        {"{\"rope_theta\":\"10000\"}", "rope_theta"},
        {"{\"hidden_size\":\"-\"}", "hidden_size|a whole number"},
        {"{\"hidden_size\":0}", "hidden_size"},
        {"{\"hidden_size\":64.0}", "hidden_size"},
        {"{\"hidden_size\":4611686018427387904}", "hidden_size"},
        {"{\"hidden_size\":60}", "num_attention_heads|must divide hidden_size"},
        {"{\"hidden_size\":16777216,\"num_attention_heads\":1,\"num_key_value_heads\":1}", "head_dim|16777216"},
        {"{\"intermediate_size\":-1}", "intermediate_size"},
        {"{\"num_hidden_layers\":0}", "num_hidden_layers"},
        {"{\"num_hidden_layers\":1000000}", "num_hidden_layers"},
        {"{\"num_attention_heads\":0}", "num_attention_heads"},
        {"{\"num_key_value_heads\":3}", "num_key_value_heads|must divide"},
        {"{\"num_key_value_heads\":16}", "num_key_value_heads|must divide"},
        {"{\"head_dim\":7}", "head_dim|even"},
        {"{\"head_dim\":0}", "head_dim"},
        {"{\"vocab_size\":\"many\"}", "vocab_size"},
        {"{\"rms_norm_eps\":-1e-5}", "rms_norm_eps"},
        {"{\"rms_norm_eps\":1e-300}", "rms_norm_eps|32-bit"},
        {"{\"rms_norm_eps\":1e300}", "rms_norm_eps|32-bit"},
        {"{\"tie_word_embeddings\":\"yes\"}", "tie_word_embeddings|true or false"},
        {"{\"torch_dtype\":\"float64\"}", "torch_dtype|'float64'|bfloat16"},
        {"{\"dtype\":\"int8\"}", "dtype|'int8'"},
        {"{\"dtype\":16}", "dtype"},
        {"{\"eos_token_id\":512}", "eos_token_id|from 0 to 511"},
        {"{\"eos_token_id\":[2,-1]}", "eos_token_id"},
        {"{\"eos_token_id\":[1,2,3,4,5,6,7,8,9]}", "eos_token_id|more than 8"},
        {"{\"bos_token_id\":512}", "bos_token_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        levee_error error;
        levee_status status = read_changed(&c, *state, cases[i].changes, &error);
        scratch_expect(cases[i].changes, LEVEE_BAD_DATA, "config.json: ", status, &error);
        scratch_expect(cases[i].changes, LEVEE_BAD_DATA, cases[i].words, status, &error);
    }
}

/* What each family makes of its own options: the windows of the five layers ('.': none), the projections with a bias.
 */
static void reads_families(void **state) {
    static const struct {
        const char *changes, *windowed, *biased;
        uint32_t window, head_dim, kv_heads;
    } cases[] = {
        {"{\"attention_bias\":true}", ".....", "1111000", UINT32_MAX, 8, 4},
        {"{\"mlp_bias\":true}", ".....", "0000111", UINT32_MAX, 8, 4},
        {"{\"model_type\":\"mistral\",\"sliding_window\":24}", "wwwww", "0000000", 24, 8, 4},
        {"{\"model_type\":\"mistral\",\"sliding_window\":\"-\"}", "wwwww", "0000000", 4096, 8, 4},
        {"{\"model_type\":\"mistral\",\"num_key_value_heads\":\"-\"}", ".....", "0000000", UINT32_MAX, 8, 8},
        {"{\"model_type\":\"mistral\",\"head_dim\":32}", ".....", "0000000", UINT32_MAX, 32, 4},
        {"{\"model_type\":\"qwen2\",\"sliding_window\":24}", ".....", "1110000", UINT32_MAX, 8, 4},
        {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_window\":24,\"max_window_layers\":3}",
         "...ww", "1110000", 24, 8, 4},
        {"{\"model_type\":\"qwen2\",\"use_sliding_window\":true}", ".....", "1110000", UINT32_MAX, 8, 4},
        {"{\"model_type\":\"qwen3\"}", ".....", "0000000", UINT32_MAX, 128, 4},
        {"{\"model_type\":\"qwen3\",\"head_dim\":16,\"attention_bias\":true,\"use_sliding_window\":true,"
         "\"sliding_window\":7,\"layer_types\":[\"sliding_attention\",\"full_attention\",\"full_attention\","
         "\"sliding_attention\",\"full_attention\"]}",
         "w..w.", "1111000", 7, 16, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        model_config c;
        levee_error error;
        scratch_expect(cases[i].changes, LEVEE_OK, "", read_changed(&c, *state, cases[i].changes, &error), &error);
        for (uint32_t layer = 0; layer < 5; layer++)
            assert_int_equal(model_config_window(&c, layer),
                             cases[i].windowed[layer] == 'w' ? cases[i].window : UINT32_MAX);
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) assert_int_equal(c.biased[p], cases[i].biased[p] == '1');
        assert_int_equal(c.head_dim, cases[i].head_dim);
        assert_int_equal(c.kv_heads, cases[i].kv_heads);
        assert_int_equal(c.head_norms, c.family == family_find("qwen3"));
        assert_int_equal(model_projection_width(&c, PROJECTION_Q, true), 8 * c.head_dim);
        assert_int_equal(model_projection_width(&c, PROJECTION_O, false), 8 * c.head_dim);
    }
    char names[FAMILY_NAMES_BYTES];
    assert_string_equal(family_names(names), "llama, mistral, qwen2, qwen3");
}

/* What a training run or a newer library leaves behind changes nothing. */
static void skips_harmless_keys(void **state) {
    model_config c;
    levee_error error;
    static const char changes[] = "{\"transformers_version\":\"9.9\",\"initializer_range\":0.02,\"attention_"
                                  "dropout\":0.1,\"_name_or_path\":\"x\","
                                  "\"some_future_note\":{\"a\":1},\"quantization_config\":null,\"sliding_window\":"
                                  "null,\"partial_rotary_factor\":1.0,"
                                  "\"head_dim\":16,\"rope_interleaved\":false,\"is_llama_config\":true}";
    scratch_expect("harmless", LEVEE_OK, "", read_changed(&c, *state, changes, &error), &error);
    assert_int_equal(c.head_dim, 16);
}

static void names_missing_and_broken_files(void **state) {
    model_config c;
    levee_error error;
    scratch_expect("missing", LEVEE_MISSING_INPUT, "config.json|--model", model_config_read(&c, *state, &error),
                   &error);
    scratch_text(*state, "config.json", "{\n\"model_type\": \"llama\",,\n}");
    scratch_expect("broken", LEVEE_BAD_DATA, "config.json: line 2, column", model_config_read(&c, *state, &error),
                   &error);
    scratch_text(*state, "config.json", "{\"hidden_size\":1,\"hidden_size\":2}");
    scratch_expect("twice", LEVEE_BAD_DATA, "config.json|duplicate", model_config_read(&c, *state, &error), &error);
}

static void unties_the_head(void **state) {
    model_config c;
    levee_error error;
    assert_int_equal(read_changed(&c, *state, "{\"a_note\":\"kept\"}", NULL), LEVEE_OK);
    assert_true(c.tied_head);
    scratch_expect("untie", LEVEE_OK, "", model_config_copy(*state, *state, CONFIG_UNTIED, &error), &error);
    assert_int_equal(model_config_read(&c, *state, NULL), LEVEE_OK);
    assert_false(c.tied_head);
    char path[FILE_PATH_BYTES];
    json_t *object;
    file_join(path, *state, "config.json");
    assert_int_equal(json_object_read(&object, path, 10000, NULL), LEVEE_OK);
    assert_string_equal(json_string_value(json_object_get(object, "a_note")), "kept");
    json_decref(object);
    assert_int_equal(model_config_copy("/nowhere", *state, CONFIG_UNTIED, &error), LEVEE_MISSING_INPUT);
}

static void finds_projections(void **state) {
    (void)state;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) {
        const char *name = model_projection_name((model_projection)p);
        assert_int_equal(model_projection_find(name), p);
        assert_int_equal(model_projection_find(strchr(name, '.') + 1), p);
    }
    const char *const others[] = {"", "lm_head", "q", "attn.q_proj", "q_proj.weight"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(model_projection_find(others[i]), PROJECTION_COUNT);
}

/* In double precision, from the definition: wavelengths beyond original/low are slowed by the factor, those below
 * original/high are kept, and the frequencies between run linearly in original/wavelength. */
static double reference_frequency(const model_config *c, uint32_t pair) {
    double frequency = pow(c->rope_theta, -2.0 * pair / c->head_dim);
    if (c->rope == ROPE_DEFAULT) return frequency;
    double turns = c->rope_original_positions * frequency / (2 * acos(-1));
    double kept =
        (turns - c->rope_low_frequency_factor) / (c->rope_high_frequency_factor - c->rope_low_frequency_factor);
    kept = fmin(1, fmax(0, kept));
    return kept * frequency + (1 - kept) * frequency / c->rope_factor;
}

static void computes_rope_frequencies(void **state) {
    (void)state;
    static const struct {
        model_config config;
        uint32_t pair; /* one frequency as transformers gives it, to 9 digits */
        double frequency;
    } cases[] = {
        {{.head_dim = 8, .rope_theta = 10000}, 3, 0.00100000005},
        {{.head_dim = 64, .rope_theta = 100000}, 4, 0.237137362},
        {{.head_dim = 128,
          .rope_theta = 500000,
          .rope = ROPE_LLAMA3,
          .rope_factor = 8,
          .rope_low_frequency_factor = 1,
          .rope_high_frequency_factor = 4,
          .rope_original_positions = 8192},
         32,
         0.000524846022},
        {{.head_dim = 64,
          .rope_theta = 500000,
          .rope = ROPE_LLAMA3,
          .rope_factor = 32,
          .rope_low_frequency_factor = 1,
          .rope_high_frequency_factor = 4,
          .rope_original_positions = 8192},
         16,
         0.000429556705},
        {{.head_dim = 8,
          .rope_theta = 500000,
          .rope = ROPE_LLAMA3,
          .rope_factor = 8,
          .rope_low_frequency_factor = 1,
          .rope_high_frequency_factor = 4,
          .rope_original_positions = 64},
         1,
         0.00470075384},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float frequencies[64];
        const model_config *c = &cases[i].config;
        model_config_rope_frequencies(c, frequencies);
        assert_true(fabs(frequencies[cases[i].pair] / cases[i].frequency - 1) < 1e-7);
        for (uint32_t pair = 0; pair < c->head_dim / 2; pair++) {
            double off = fabs(frequencies[pair] / reference_frequency(c, pair) - 1);
            /* f32 arithmetic; where two of its terms cancel a few more units are lost */
            if (off > 2e-6) fail_msg("case %zu, pair %u: %.9g is off by %g", i, pair, (double)frequencies[pair], off);
        }
    }
}

static void survives_refused_memory(void **state) {
    model_config c;
    assert_int_equal(read_changed(&c, *state, "{}", NULL), LEVEE_OK);
    levee_status read = LEVEE_DOES_NOT_FIT, untied = LEVEE_DOES_NOT_FIT;
    for (uint64_t budget = 0; read != LEVEE_OK || untied != LEVEE_OK; budget += 256) {
        levee_error error;
        assert_true(budget < 1 << 20);
        ledger_set_budget(budget);
        read = model_config_read(&c, *state, &error);
        if (read != LEVEE_OK) scratch_expect("read", LEVEE_DOES_NOT_FIT, "config.json", read, &error);
        untied = model_config_copy(*state, *state, CONFIG_UNTIED, &error);
        if (untied != LEVEE_OK) scratch_expect("untie", LEVEE_DOES_NOT_FIT, "config.json", untied, &error);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
}

static void reads_real_models(void **state) {
    (void)state;
    static const struct {
        const char *name;
        levee_status status;
        const char *words;
    } models[] = {
        {"stories260k", LEVEE_OK, ""},
        {"tiny-llama-gqa-untied", LEVEE_OK, ""},
        {"tiny-llama31-rope-tied", LEVEE_OK, ""},
        {"tiny-mistral-window", LEVEE_OK, ""},
        {"tiny-qwen2", LEVEE_OK, ""},
        {"tiny-qwen3", LEVEE_OK, ""},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char name[128], path[FILE_PATH_BYTES];
        snprintf(name, sizeof name, "models/%s", models[i].name);
        if (!scratch_shared(path, name)) skip();
        model_config c;
        levee_error error;
        scratch_expect(name, models[i].status, models[i].words, model_config_read(&c, path, &error), &error);
        if (i == 2)
            assert_true(c.rope == ROPE_LLAMA3 && c.rope_original_positions == 64 && c.stored_type == DTYPE_BF16);
        if (i == 1) assert_true(!c.tied_head && c.kv_heads == 4);
        if (i == 3) assert_true(model_config_window(&c, 0) == 24 && model_config_window(&c, 2) == 24);
        if (i == 4) assert_true(c.biased[PROJECTION_K] && !c.biased[PROJECTION_O] && !c.head_norms);
        if (i == 5) assert_true(c.head_norms && c.head_dim == 16 && c.hidden_size == 64);
    }
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(reads_every_field),
        SCRATCH_TEST(takes_defaults),
        SCRATCH_TEST(reads_both_spellings_of_rope),
        SCRATCH_TEST(reads_families),
        SCRATCH_TEST(refuses_by_name),
        SCRATCH_TEST(skips_harmless_keys),
        SCRATCH_TEST(names_missing_and_broken_files),
        SCRATCH_TEST(unties_the_head),
        SCRATCH_TEST(finds_projections),
        SCRATCH_TEST(computes_rope_frequencies),
        SCRATCH_TEST(survives_refused_memory),
        SCRATCH_TEST(reads_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
