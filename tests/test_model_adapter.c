/* PEFT adapters: what is written is read, what cannot be computed is refused by name, and tensors are checked against
 * the model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/json.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/adapter.h"
#include "model/family.h"
#include "scratch.h"

static levee_status read_text(adapter_config *config, const char *directory, const char *text, levee_error *error) {
    scratch_text(directory, "adapter_config.json", text);
    return adapter_config_read(config, directory, error);
}

static const adapter_config sample = {
    .rank = 4,
    .alpha = 8,
    .dropout = 0.25,
    .targets = {[PROJECTION_Q] = true, [PROJECTION_V] = true, [PROJECTION_DOWN] = true},
    .first_layer = 1,
    .layer_count = 2,
    .base_model = "some/model"};

static void reads_what_it_writes(void **state) {
    adapter_config again;
    for (unsigned variant = 0; variant < 2; variant++) {
        adapter_config config = sample;
        if (variant) {
            config.first_layer = 0;
            config.layer_count = UINT32_MAX;
            config.base_model[0] = 0;
            config.dora = true;
        }
        levee_error error;
        scratch_expect("write", LEVEE_OK, "", adapter_config_write(&config, *state, &error), &error);
        scratch_expect("read", LEVEE_OK, "", adapter_config_read(&again, *state, &error), &error);
        assert_int_equal(again.rank, config.rank);
        assert_true(again.alpha == config.alpha && again.dropout == config.dropout);
        assert_memory_equal(again.targets, config.targets, sizeof again.targets);
        assert_int_equal(again.first_layer, config.first_layer);
        assert_int_equal(again.layer_count, config.layer_count);
        assert_string_equal(again.base_model, config.base_model);
        assert_int_equal(again.dora, config.dora);
    }
}

/* The fields that PEFT's loader wants to see, with their types. */
static void writes_every_field(void **state) {
    static const char *const keys[] = {"r",
                                       "lora_alpha",
                                       "lora_dropout",
                                       "bias",
                                       "task_type",
                                       "peft_type",
                                       "fan_in_fan_out",
                                       "inference_mode",
                                       "use_dora",
                                       "use_rslora",
                                       "revision",
                                       "modules_to_save",
                                       "rank_pattern",
                                       "alpha_pattern",
                                       "layers_pattern",
                                       "target_modules",
                                       "layers_to_transform",
                                       "init_lora_weights",
                                       "base_model_name_or_path"};
    adapter_config config = sample;
    config.layer_count = UINT32_MAX;
    config.base_model[0] = 0;
    char path[FILE_PATH_BYTES];
    json_t *object;
    assert_int_equal(adapter_config_write(&config, *state, NULL), LEVEE_OK);
    file_join(path, *state, "adapter_config.json");
    assert_int_equal(json_object_read(&object, path, 10000, NULL), LEVEE_OK);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!json_object_get(object, keys[i])) fail_msg("%s is not written", keys[i]);
    assert_string_equal(json_string_value(json_object_get(object, "task_type")), "CAUSAL_LM");
    assert_true(json_is_true(json_object_get(object, "inference_mode")));
    assert_true(json_is_null(json_object_get(object, "layers_to_transform")));
    assert_true(json_is_null(json_object_get(object, "base_model_name_or_path")));
    assert_int_equal(json_array_size(json_object_get(object, "target_modules")), 3);
    json_decref(object);
}

static void reads_what_others_write(void **state) {
    const double root8 = sqrt(8);
    const struct {
        const char *text;
        uint32_t rank, targets, first, count; /* `targets` one bit each, q the lowest */
        double alpha;
    } cases[] = {
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"q_proj\"]}", 8, 1, 0, UINT32_MAX, 8},
        {"{\"peft_type\":\"LORA\",\"target_modules\":\"all-linear\",\"r\":2,\"lora_alpha\":3.5}", 2, 127, 0,
         UINT32_MAX, 3.5},
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"down_proj\",\"mlp.up_proj\",\"self_attn.k_proj\"],\"r\":16}",
         16, 98, 0, UINT32_MAX, 8},
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"v_proj\"],\"use_rslora\":true}", 8, 4, 0, UINT32_MAX,
         8 * root8},
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"v_proj\"],\"layers_to_transform\":[5,3,4]}", 8, 4, 3, 3, 8},
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"v_proj\"],\"layers_to_transform\":7,\"layers_pattern\":"
         "\"layers\"}",
         8, 4, 7, 1, 8},
        {"{\"peft_type\":\"LORA\",\"target_modules\":[\"o_proj\"],\"layers_to_transform\":[],\"layers_pattern\":["
         "\"layers\"],"
         "\"init_lora_weights\":\"gaussian\",\"loftq_config\":{},\"megatron_core\":\"megatron.core\",\"an_unknown_"
         "note\":1,"
         "\"modules_to_save\":[],\"rank_pattern\":{},\"use_dora\":false,\"task_type\":null}",
         8, 8, 0, UINT32_MAX, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        adapter_config c;
        levee_error error;
        scratch_expect(cases[i].text, LEVEE_OK, "", read_text(&c, *state, cases[i].text, &error), &error);
        assert_int_equal(c.rank, cases[i].rank);
        assert_true(c.alpha == cases[i].alpha);
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) assert_int_equal(c.targets[p], cases[i].targets >> p & 1);
        assert_int_equal(c.first_layer, cases[i].first);
        assert_int_equal(c.layer_count, cases[i].count);
    }
}

static void refuses_by_name(void **state) {
    static const struct {
        const char *field, *words;
    } cases[] = {
        {"\"peft_type\":\"IA3\"", "peft_type|'IA3'|LORA"},
        {"\"use_dora\":1", "use_dora|true or false"},
        {"\"bias\":\"all\"", "bias|only none"},
        {"\"bias\":\"lora_only\"", "bias"},
        {"\"lora_bias\":true", "lora_bias"},
        {"\"modules_to_save\":[\"lm_head\"]", "modules_to_save"},
        {"\"rank_pattern\":{\"q_proj\":2}", "rank_pattern"},
        {"\"alpha_pattern\":{\"q_proj\":2}", "alpha_pattern"},
        {"\"fan_in_fan_out\":true", "fan_in_fan_out"},
        {"\"layer_replication\":[[0,2]]", "layer_replication"},
        {"\"alora_invocation_tokens\":[1]", "alora_invocation_tokens"},
        {"\"trainable_token_indices\":[1]", "trainable_token_indices"},
        {"\"exclude_modules\":\"lm_head\"", "exclude_modules"},
        {"\"init_lora_weights\":\"pissa\"", "init_lora_weights|'pissa'|base weights"},
        {"\"init_lora_weights\":\"loftq\"", "init_lora_weights|'loftq'"},
        {"\"target_modules\":[]", "target_modules|list of projections"},
        {"\"target_modules\":null", "target_modules"},
        {"\"target_modules\":\".*q_proj\"", "target_modules|pattern '.*q_proj'"},
        {"\"target_modules\":[\"lm_head\"]", "target_modules|'lm_head'|down_proj"},
        {"\"target_modules\":[1]", "target_modules"},
        {"\"target_modules\":{\"q_proj\":1}", "target_modules"},
        {"\"r\":0", "adapter_config.json: r: "},
        {"\"r\":\"8\"", "adapter_config.json: r: "},
        {"\"r\":100000", "adapter_config.json: r: "},
        {"\"lora_alpha\":\"16\"", "lora_alpha"},
        {"\"lora_alpha\":0", "lora_alpha"},
        {"\"lora_alpha\":1e308,\"use_rslora\":true", "lora_alpha|too large"},
        {"\"lora_alpha\":1e-300", "lora_alpha|too small"},
        {"\"lora_dropout\":1", "lora_dropout"},
        {"\"lora_dropout\":-0.1", "lora_dropout"},
        {"\"lora_dropout\":\"none\"", "lora_dropout"},
        {"\"use_rslora\":\"yes\"", "use_rslora|true or false"},
        {"\"layers_to_transform\":[0,2]", "layers_to_transform|consecutive"},
        {"\"layers_to_transform\":[1,1]", "layers_to_transform|twice"},
        {"\"layers_to_transform\":[-1]", "layers_to_transform"},
        {"\"layers_to_transform\":[\"1\"]", "layers_to_transform"},
        {"\"layers_to_transform\":5000", "layers_to_transform"},
        {"\"layers_pattern\":\"h\"", "layers_pattern"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* The field under test comes in place of the good one of its name. */
        char text[512];
        bool type = !strncmp(cases[i].field, "\"peft_type", 10),
             targets = !strncmp(cases[i].field, "\"target_modules", 15);
        snprintf(text, sizeof text, "{%s%s%s}", cases[i].field, type ? "" : ",\"peft_type\":\"LORA\"",
                 targets ? "" : ",\"target_modules\":[\"q_proj\"]");
        adapter_config c;
        levee_error error;
        levee_status status = read_text(&c, *state, text, &error);
        scratch_expect(text, LEVEE_BAD_DATA, "adapter_config.json: ", status, &error);
        scratch_expect(text, LEVEE_BAD_DATA, cases[i].words, status, &error);
    }
    adapter_config c;
    levee_error error;
    static const char *const mlx[][2] = {
        {"\"num_layers\":4", "lora_parameters: an object"},
        {"\"num_layers\":4,\"lora_parameters\":{\"rank\":2}", "lora_parameters.scale"},
        {"\"lora_parameters\":{\"rank\":2,\"scale\":1}", "num_layers"},
        {"\"num_layers\":4,\"lora_parameters\":{\"rank\":0,\"scale\":1}", "lora_parameters.rank"},
        {"\"num_layers\":4,\"lora_parameters\":{\"scale\":1,\"keys\":[\"lm_head\"]}", "keys|'lm_head'"},
        {"\"num_layers\":4,\"lora_parameters\":{\"scale\":1,\"dropout\":1}", "lora_parameters.dropout"},
    };
    for (size_t i = 0; i < sizeof mlx / sizeof *mlx; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"fine_tune_type\":\"lora\",%s}", mlx[i][0]);
        scratch_expect(text, LEVEE_BAD_DATA, mlx[i][1], read_text(&c, *state, text, &error), &error);
    }
    scratch_expect("full", LEVEE_BAD_DATA, "fine_tune_type: 'full'",
                   read_text(&c, *state, "{\"fine_tune_type\":\"full\",\"num_layers\":4}", &error), &error);
    scratch_expect("missing", LEVEE_MISSING_INPUT, "/nowhere|adapter_config.json",
                   adapter_config_read(&c, "/nowhere", &error), &error);
}

/* mlx-lm counts layers from the last; without keys it adapts all projections. */
static void reads_mlx_adapters(void **state) {
    adapter_config c;
    levee_error error;
    uint32_t first, end;
    const model_config five = {.layers = 5};
    scratch_expect("some", LEVEE_OK, "",
                   read_text(&c, *state,
                             "{\"fine_tune_type\":\"lora\",\"num_layers\":2,\"model\":\"a/b\",\"lora_parameters\":"
                             "{\"rank\":4,\"scale\":3.0,\"dropout\":0.25,\"keys\":[\"self_attn.v_proj\"]}}",
                             &error),
                   &error);
    adapter_layers(&c, &five, &first, &end);
    assert_true(c.format == ADAPTER_MLX && c.rank == 4 && c.alpha == 12 && c.dropout == 0.25);
    assert_true(first == 3 && end == 5 && c.targets[PROJECTION_V] && !c.targets[PROJECTION_Q]);
    assert_string_equal(c.base_model, "a/b");
    static const char *const all[] = {"-1", "0", "5", "16"};
    for (unsigned i = 0; i < 4; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"num_layers\":%s,\"lora_parameters\":{\"scale\":20}}", all[i]);
        scratch_expect(text, LEVEE_OK, "", read_text(&c, *state, text, &error), &error);
        adapter_layers(&c, &five, &first, &end);
        assert_true(first == 0 && end == 5 && c.rank == 8);
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) assert_true(c.targets[p]);
    }
}

static model_config model = {.hidden_size = 16,
                             .intermediate_size = 40,
                             .layers = 3,
                             .heads = 4,
                             .kv_heads = 2,
                             .head_dim = 6,
                             .vocabulary_size = 32};

static void names_tensors(void **state) {
    (void)state;
    char name[TENSOR_NAME_BYTES];
    static const struct {
        uint32_t layer;
        model_projection projection;
        adapter_part part;
        const char *name, *tensor;
    } cases[] = {
        {12, PROJECTION_Q, ADAPTER_A, "base_model.model.model.layers.12.self_attn.q_proj.lora_A.weight",
         "model.layers.12.self_attn.q_proj.weight"},
        {0, PROJECTION_DOWN, ADAPTER_B, "base_model.model.model.layers.0.mlp.down_proj.lora_B.weight",
         "model.layers.0.mlp.down_proj.weight"},
        {3, PROJECTION_UP, ADAPTER_MAGNITUDE, "base_model.model.model.layers.3.mlp.up_proj.lora_magnitude_vector",
         "model.layers.3.mlp.up_proj.weight"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char value_name[VALUE_NAME_BYTES], tensor[VALUE_NAME_BYTES];
        adapter_part part;
        model_adapter_name(value_name, &model, cases[i].layer, cases[i].projection, cases[i].part);
        adapter_tensor_name(name, value_name);
        assert_string_equal(name, cases[i].name);
        assert_true(model_adapter_part(value_name, &part, tensor));
        assert_int_equal(part, cases[i].part);
        assert_string_equal(tensor, cases[i].tensor);
    }
    assert_false(model_adapter_part("model.norm.weight", &(adapter_part){0}, NULL));
    assert_false(model_adapter_part("weight", &(adapter_part){0}, NULL));
}

/* What the adapter of `sample` has on `model`: two layers of q (16 to 24), v (16 to 12) and down (40 to 16), rank 4.
 */
enum { SAMPLE_TENSORS = 12, SAMPLE_MAGNITUDES = 6 };

static void name_tensor(tensor_declaration *t, uint32_t layer, model_projection projection, adapter_part part) {
    char value_name[VALUE_NAME_BYTES];
    model_adapter_name(value_name, &model, layer, projection, part);
    adapter_tensor_name(t->name, value_name);
}

/* The magnitudes, if `tensors` are to be those of DoRA, come after the matrices. */
static void declare_magnitudes(tensor_declaration tensors[SAMPLE_MAGNITUDES]) {
    static const model_projection projections[] = {PROJECTION_Q, PROJECTION_V, PROJECTION_DOWN};
    static const uint64_t widths[] = {24, 12, 16};
    for (uint32_t i = 0; i < SAMPLE_MAGNITUDES; i++) {
        tensors[i] = (tensor_declaration){.type = DTYPE_F32, .rank = 1, .shape = {widths[i % 3]}};
        name_tensor(&tensors[i], 1 + i / 3, projections[i % 3], ADAPTER_MAGNITUDE);
    }
}

static void declare_sample(tensor_declaration tensors[SAMPLE_TENSORS]) {
    static const struct {
        model_projection projection;
        uint64_t in, out;
    } shapes[] = {{PROJECTION_Q, 16, 24}, {PROJECTION_V, 16, 12}, {PROJECTION_DOWN, 40, 16}};
    memset(tensors, 0, SAMPLE_TENSORS * sizeof *tensors);
    for (uint32_t i = 0; i < SAMPLE_TENSORS; i++) {
        bool is_b = i % 2;
        uint64_t in = shapes[i / 2 % 3].in, out = shapes[i / 2 % 3].out;
        tensors[i] = (tensor_declaration){.type = DTYPE_F32, .rank = 2, .shape = {is_b ? out : 4, is_b ? 4 : in}};
        name_tensor(&tensors[i], 1 + i / 6, shapes[i / 2 % 3].projection, is_b ? ADAPTER_B : ADAPTER_A);
    }
}

static void write_tensors(const char *path, const tensor_declaration *tensors, uint32_t count) {
    static const unsigned char zeros[65536];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t elements = 1;
        for (uint32_t d = 0; d < tensors[i].rank; d++) elements *= tensors[i].shape[d];
        bytes += dtype_bytes(tensors[i].type, elements);
    }
    assert_true(bytes <= sizeof zeros);
    file_writer w;
    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    assert_int_equal(safetensors_write_header(&w, scratch_describe, tensors, count, NULL), LEVEE_OK);
    assert_int_equal(file_writer_write(&w, zeros, bytes, NULL), LEVEE_OK);
    assert_int_equal(file_writer_commit(&w, NULL), LEVEE_OK);
}

static levee_status check_file(const char *path, const adapter_config *config, const model_config *on,
                               levee_error *error) {
    safetensors *s;
    assert_int_equal(safetensors_open(&s, path, NULL), LEVEE_OK);
    levee_status status = adapter_check_tensors(config, on, s, path, error);
    safetensors_close(s);
    return status;
}

static void checks_tensors(void **state) {
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "adapter_model.safetensors");
    tensor_declaration *tensors = calloc(SAMPLE_TENSORS + 1, sizeof *tensors);
    levee_error error;
    declare_sample(tensors);
    write_tensors(path, tensors, SAMPLE_TENSORS);
    scratch_expect("whole", LEVEE_OK, "", check_file(path, &sample, &model, &error), &error);

    model_config other = model;
    other.hidden_size = 20;
    scratch_expect("other width", LEVEE_BAD_DATA,
                   "adapter_model.safetensors|layers.1.self_attn.q_proj.lora_A.weight|[4, 16]|[4, 20]|another model",
                   check_file(path, &sample, &other, &error), &error);
    other = model;
    other.kv_heads = 4;
    scratch_expect("other heads", LEVEE_BAD_DATA, "layers.1.self_attn.v_proj.lora_B.weight|[12, 4]|[24, 4]",
                   check_file(path, &sample, &other, &error), &error);
    other = model;
    other.layers = 2;
    scratch_expect("fewer layers", LEVEE_BAD_DATA, "on layers 1 to 2|last is 1",
                   check_file(path, &sample, &other, &error), &error);
    adapter_config config = sample;
    config.rank = 8;
    scratch_expect("other rank", LEVEE_BAD_DATA, "lora_A.weight|[4, 16]|[8, 16]",
                   check_file(path, &config, &model, &error), &error);
    config = sample;
    config.targets[PROJECTION_O] = true;
    scratch_expect("one more target", LEVEE_BAD_DATA, "layers.1.self_attn.o_proj.lora_A.weight|missing",
                   check_file(path, &config, &model, &error), &error);
    config = sample;
    config.targets[PROJECTION_DOWN] = false;
    scratch_expect("one target less", LEVEE_BAD_DATA, "mlp.down_proj|belongs to no projection",
                   check_file(path, &config, &model, &error), &error);
    config = sample;
    config.layer_count = 1;
    scratch_expect("one layer less", LEVEE_BAD_DATA, "layers.2.|belongs to no projection",
                   check_file(path, &config, &model, &error), &error);

    write_tensors(path, tensors, SAMPLE_TENSORS - 1);
    scratch_expect("one short", LEVEE_BAD_DATA, "layers.2.mlp.down_proj.lora_B.weight|missing",
                   check_file(path, &sample, &model, &error), &error);
    tensors[SAMPLE_TENSORS] = (tensor_declaration){"base_model.model.lm_head.weight", DTYPE_F32, 1, {1}};
    write_tensors(path, tensors, SAMPLE_TENSORS + 1);
    scratch_expect("one too many", LEVEE_BAD_DATA, "lm_head.weight|belongs to no projection",
                   check_file(path, &sample, &model, &error), &error);
    tensors[0].type = DTYPE_I32;
    write_tensors(path, tensors, SAMPLE_TENSORS);
    scratch_expect("whole numbers", LEVEE_BAD_DATA, "q_proj.lora_A.weight|F32, F16 or BF16",
                   check_file(path, &sample, &model, &error), &error);
    free(tensors);
}

static void checks_magnitudes(void **state) {
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "adapter_model.safetensors");
    tensor_declaration *tensors = calloc(SAMPLE_TENSORS + SAMPLE_MAGNITUDES, sizeof *tensors);
    levee_error error;
    adapter_config dora = sample;
    dora.dora = true;
    declare_sample(tensors);
    declare_magnitudes(tensors + SAMPLE_TENSORS);
    write_tensors(path, tensors, SAMPLE_TENSORS + SAMPLE_MAGNITUDES);
    scratch_expect("whole", LEVEE_OK, "", check_file(path, &dora, &model, &error), &error);
    scratch_expect("of LoRA", LEVEE_BAD_DATA, "lora_magnitude_vector|belongs to no projection",
                   check_file(path, &sample, &model, &error), &error);
    write_tensors(path, tensors, SAMPLE_TENSORS);
    scratch_expect("without", LEVEE_BAD_DATA, "layers.1.self_attn.q_proj.lora_magnitude_vector|missing",
                   check_file(path, &dora, &model, &error), &error);
    tensors[SAMPLE_TENSORS + 1].shape[0] = 13;
    write_tensors(path, tensors, SAMPLE_TENSORS + SAMPLE_MAGNITUDES);
    scratch_expect("wide", LEVEE_BAD_DATA, "layers.1.self_attn.v_proj.lora_magnitude_vector|[13]|[12]",
                   check_file(path, &dora, &model, &error), &error);
    free(tensors);
}

static void protects_another_adapter(void **state) {
    char directory[FILE_PATH_BYTES], path[FILE_PATH_BYTES];
    levee_error error;
    strcpy(directory, *state);
    scratch_expect("empty", LEVEE_OK, "", adapter_directory_check_writable(directory, &sample, &model, &error),
                   &error);
    scratch_expect("not there", LEVEE_OK, "", adapter_directory_check_writable("/nowhere", &sample, &model, &error),
                   &error);
    assert_int_equal(adapter_config_write(&sample, directory, NULL), LEVEE_OK);
    scratch_expect("the same", LEVEE_OK, "", adapter_directory_check_writable(directory, &sample, &model, &error),
                   &error);
    adapter_config others[4] = {sample, sample, sample, sample};
    others[0].rank = 8;
    others[1].targets[PROJECTION_K] = true;
    others[2].first_layer = 0;
    others[3].dora = true;
    for (unsigned i = 0; i < 4; i++) {
        scratch_expect("another shape", LEVEE_USAGE, "another shape|give another --adapter-path or remove it",
                       adapter_directory_check_writable(directory, &others[i], &model, &error), &error);
    }
    tensor_declaration *tensors = calloc(SAMPLE_TENSORS, sizeof *tensors);
    declare_sample(tensors);
    file_join(path, directory, "adapter_model.safetensors");
    write_tensors(path, tensors, SAMPLE_TENSORS);
    free(tensors);
    scratch_expect("whole", LEVEE_OK, "", adapter_directory_check_writable(directory, &sample, &model, &error),
                   &error);
    model_config wider = model;
    wider.hidden_size = 32;
    scratch_expect("another base", LEVEE_USAGE,
                   "another adapter; give another directory or remove it|[4, 16]|[4, 32]",
                   adapter_directory_check_writable(directory, &sample, &wider, &error), &error);
    scratch_expect("no adapter of ours", LEVEE_BAD_DATA, "--adapter-path|not empty|peft_type",
                   (scratch_text(directory, "adapter_config.json", "{}"),
                    adapter_directory_check_writable(directory, &sample, &model, &error)),
                   &error);
}

static void survives_refused_memory(void **state) {
    levee_status read = LEVEE_DOES_NOT_FIT, written = LEVEE_DOES_NOT_FIT;
    adapter_config config, again = sample;
    assert_int_equal(adapter_config_write(&sample, *state, NULL), LEVEE_OK);
    for (uint64_t budget = 0; read != LEVEE_OK || written != LEVEE_OK; budget += 64) {
        levee_error error;
        assert_true(budget < 1 << 20);
        ledger_set_budget(budget);
        read = adapter_config_read(&config, *state, &error);
        if (read != LEVEE_OK) scratch_expect("read", LEVEE_DOES_NOT_FIT, "adapter_config.json", read, &error);
        written = adapter_config_write(&again, *state, &error);
        if (written != LEVEE_OK) scratch_expect("write", LEVEE_DOES_NOT_FIT, "adapter_config.json", written, &error);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
        if (budget % 4096 == 0) {
            /* What a refused write left behind is what was there before. */
            ledger_set_budget(UINT64_MAX);
            assert_int_equal(adapter_config_read(&config, *state, NULL), LEVEE_OK);
            assert_int_equal(config.layer_count, sample.layer_count);
            assert_memory_equal(config.targets, sample.targets, sizeof config.targets);
        }
    }
}

static void reads_real_adapters(void **state) {
    (void)state;
    static const char *const models[] = {
        "stories260k", "tiny-llama-gqa-untied", "tiny-llama31-rope-tied", "tiny-mistral-window", "tiny-qwen2",
        "tiny-qwen3"};
    static const char *const adapters[] = {"adapter_init", "adapter_after20"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (size_t j = 0; j < 2; j++) {
            char name[128], directory[FILE_PATH_BYTES], path[FILE_PATH_BYTES];
            snprintf(name, sizeof name, "models/%s", models[i]);
            if (!scratch_shared(directory, name)) skip();
            model_config base;
            adapter_config c;
            levee_error error;
            scratch_expect(name, LEVEE_OK, "", model_config_read(&base, directory, &error), &error);
            file_join(path, directory, adapters[j]);
            strcpy(directory, path);
            scratch_expect(name, LEVEE_OK, "", adapter_config_read(&c, directory, &error), &error);
            assert_int_equal(c.rank, 4);
            assert_true(c.alpha == 8 && c.layer_count == UINT32_MAX);
            for (unsigned p = 0; p < PROJECTION_COUNT; p++) assert_true(c.targets[p]);
            file_join(path, directory, "adapter_model.safetensors");
            scratch_expect(name, LEVEE_OK, "", check_file(path, &c, &base, &error), &error);
        }
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    pool_hook_json();
    model.family = family_find("llama");
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(reads_what_it_writes),     SCRATCH_TEST(writes_every_field),
        SCRATCH_TEST(reads_what_others_write),  SCRATCH_TEST(refuses_by_name),
        SCRATCH_TEST(reads_mlx_adapters),       SCRATCH_TEST(names_tensors),
        SCRATCH_TEST(checks_tensors),           SCRATCH_TEST(checks_magnitudes),
        SCRATCH_TEST(protects_another_adapter), SCRATCH_TEST(survives_refused_memory),
        SCRATCH_TEST(reads_real_adapters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
