/* config.json: see config.h. */
#include "model/config.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"

static const char *const projection_names[PROJECTION_COUNT] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj",
};

const char *model_projection_name(model_projection projection) { return projection_names[projection]; }

model_projection model_projection_find(const char *name) {
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (!strcmp(name, projection_names[p]) || !strcmp(name, strchr(projection_names[p], '.') + 1))
            return (model_projection)p;
    return PROJECTION_COUNT;
}

/* One file being read; the first failure is kept, so that the fields can be read one after the other. */
typedef struct reader {
    const char *path;
    const json_t *object;
    levee_status status;
    levee_error *error;
} reader;

static void refuse(reader *r, const char *key, const char *problem) {
    if (r->status == LEVEE_OK)
        r->status = error_set(r->error, LEVEE_BAD_DATA, "%s: %s: %s", r->path, key, problem);
}

static bool is_absent(const json_t *value) { return !value || json_is_null(value); }

/* A whole number within [least, most]; `otherwise` when the key is absent and not negative, else it must be there. */
static uint32_t read_whole(reader *r, const char *key, int64_t least, int64_t most, int64_t otherwise) {
    const json_t *value = json_object_get(r->object, key);
    if (is_absent(value) && otherwise >= 0) return (uint32_t)otherwise;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < least || number > most) {
        char problem[128];
        snprintf(problem, sizeof problem, "a whole number from %lld to %lld is needed", (long long)least, (long long)most);
        refuse(r, key, problem);
        return (uint32_t)least;
    }
    return (uint32_t)number;
}

static double read_number(reader *r, const json_t *object, const char *key, double otherwise) {
    const json_t *value = json_object_get(object, key);
    if (is_absent(value) && !isnan(otherwise)) return otherwise;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number > 0) || !isfinite(number)) {
        refuse(r, key, "a positive number is needed");
        return 1;
    }
    return number;
}

static bool read_flag(reader *r, const char *key, bool otherwise) {
    const json_t *value = json_object_get(r->object, key);
    if (is_absent(value)) return otherwise;
    if (!json_is_boolean(value)) refuse(r, key, "true or false is needed");
    return json_is_true(value);
}

/* Options of other models, or of this family's variants, that change what is computed. Each may be there only with the
 * value that changes nothing. */
static void refuse_other_mathematics(reader *r) {
    static const char *const flags[] = {"attention_bias", "mlp_bias",    "use_qk_norm",     "qk_norm",
                                        "use_sliding_window", "is_encoder_decoder", "use_bias", "add_cross_attention"};
    static const char *const objects[] = {"quantization_config", "sliding_window", "attn_logit_softcapping",
                                          "final_logit_softcapping", "logits_scaling", "residual_multiplier",
                                          "embedding_multiplier", "attention_multiplier", "num_local_experts",
                                          "num_experts", "no_rope_layers", "query_pre_attn_scalar", "logit_scale"};
    static const char *const ones[] = {"pretraining_tp", "partial_rotary_factor"};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        if (read_flag(r, flags[i], false)) refuse(r, flags[i], "true is not supported for a Llama model");
    for (unsigned i = 0; i < sizeof objects / sizeof *objects; i++)
        if (!is_absent(json_object_get(r->object, objects[i])))
            refuse(r, objects[i], "is not supported for a Llama model");
    for (unsigned i = 0; i < sizeof ones / sizeof *ones; i++) {
        const json_t *value = json_object_get(r->object, ones[i]);
        if (!is_absent(value) && json_number_value(value) != 1) refuse(r, ones[i], "only 1 is supported");
    }
    const char *activation = json_string_value(json_object_get(r->object, "hidden_act"));
    if (activation && strcmp(activation, "silu")) refuse(r, "hidden_act", "only silu is supported");
}

static void read_rope(reader *r, model_config *c) {
    const json_t *newer = json_object_get(r->object, "rope_parameters");
    const json_t *older = json_object_get(r->object, "rope_scaling");
    const json_t *scaling = is_absent(newer) ? older : newer;
    c->rope_theta = read_number(r, is_absent(newer) ? r->object : newer, "rope_theta", 10000.0);
    if (is_absent(scaling)) return;
    const char *type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type) type = json_string_value(json_object_get(scaling, "type"));
    if (!type || !strcmp(type, "default")) return;
    if (strcmp(type, "llama3")) {
        char problem[128];
        snprintf(problem, sizeof problem, "RoPE of type '%.40s' is not supported; default and llama3 are", type);
        refuse(r, is_absent(newer) ? "rope_scaling" : "rope_parameters", problem);
        return;
    }
    c->rope = ROPE_LLAMA3;
    c->rope_factor = read_number(r, scaling, "factor", NAN);
    c->rope_low_frequency_factor = read_number(r, scaling, "low_freq_factor", NAN);
    c->rope_high_frequency_factor = read_number(r, scaling, "high_freq_factor", NAN);
    c->rope_original_positions = (uint32_t)read_number(r, scaling, "original_max_position_embeddings", NAN);
    if (c->rope_high_frequency_factor <= c->rope_low_frequency_factor)
        refuse(r, "high_freq_factor", "must be larger than low_freq_factor");
}

static void read_end_tokens(reader *r, model_config *c) {
    const json_t *value = json_object_get(r->object, "eos_token_id");
    size_t count = json_is_array(value) ? json_array_size(value) : !is_absent(value);
    if (count > CONFIG_EOS_IDS) refuse(r, "eos_token_id", "has more than 8 tokens");
    for (size_t i = 0; i < count && i < CONFIG_EOS_IDS; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= c->vocabulary_size)
            refuse(r, "eos_token_id", "is no token of the vocabulary");
        else
            c->eos_ids[c->eos_count++] = (uint32_t)json_integer_value(id);
    }
}

static void read_type(reader *r, model_config *c) {
    const json_t *value = json_object_get(r->object, "dtype");
    if (is_absent(value)) value = json_object_get(r->object, "torch_dtype");
    const char *name = json_string_value(value);
    c->stored_type = DTYPE_F32;
    if (!name || !strcmp(name, "float32") || !strcmp(name, "auto")) return;
    if (!strcmp(name, "bfloat16"))
        c->stored_type = DTYPE_BF16;
    else if (!strcmp(name, "float16"))
        c->stored_type = DTYPE_F16;
    else
        refuse(r, "dtype", "float32, float16 and bfloat16 are supported");
}

static void read_sizes(reader *r, model_config *c) {
    enum { MOST = 1 << 24 };
    c->hidden_size = read_whole(r, "hidden_size", 2, MOST, -1);
    c->intermediate_size = read_whole(r, "intermediate_size", 1, MOST, -1);
    c->layers = read_whole(r, "num_hidden_layers", 1, 4096, -1);
    c->heads = read_whole(r, "num_attention_heads", 1, 65536, -1);
    c->kv_heads = read_whole(r, "num_key_value_heads", 1, 65536, c->heads);
    c->head_dim = read_whole(r, "head_dim", 2, 4096, c->hidden_size / c->heads);
    c->vocabulary_size = read_whole(r, "vocab_size", 1, MOST, -1);
    c->max_positions = read_whole(r, "max_position_embeddings", 1, INT32_MAX, 2048);
    c->norm_epsilon = (float)read_number(r, r->object, "rms_norm_eps", 1e-6);
    c->tied_head = read_flag(r, "tie_word_embeddings", false);
    if (c->heads % c->kv_heads) refuse(r, "num_key_value_heads", "must divide num_attention_heads");
    if (c->head_dim % 2 || !c->head_dim) refuse(r, "head_dim", "must be even and not 0");
}

levee_status model_config_read(model_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    memset(config, 0, sizeof *config);
    if (!file_join(path, directory, "config.json") || !file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: holds no config.json; --model takes a Hugging Face model directory", directory);
    json_error_t problem;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(object)) {
        json_decref(object);
        return error_set(error, LEVEE_BAD_DATA, "%s: line %d: %s", path, object ? 1 : problem.line,
                         object ? "an object is needed" : problem.text);
    }
    reader r = {.path = path, .object = object, .error = error};
    const char *family = json_string_value(json_object_get(object, "model_type"));
    char unknown[128];
    snprintf(unknown, sizeof unknown, "'%.40s' is not supported; supported: llama", family ? family : "(none)");
    if (!family || strcmp(family, "llama")) refuse(&r, "model_type", unknown);
    if (r.status == LEVEE_OK) read_sizes(&r, config);
    if (r.status == LEVEE_OK) refuse_other_mathematics(&r);
    if (r.status == LEVEE_OK) read_rope(&r, config);
    if (r.status == LEVEE_OK) read_type(&r, config);
    if (r.status == LEVEE_OK) read_end_tokens(&r, config);
    json_decref(object);
    return r.status;
}

levee_status model_config_untie(const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "config.json"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    json_t *object = json_load_file(path, 0, NULL);
    json_object_set_new(object, "tie_word_embeddings", json_false());
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return error_set(error, LEVEE_IO_ERROR, "%s: cannot be read back", path);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, text, strlen(text), error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(text);
    return status;
}

/* Llama 3.1: wavelengths longer than the original context are stretched by the factor, short ones kept, those between
 * blended. In f32 and in this order, since the reference computes it so. */
static float stretch(const model_config *c, float frequency) {
    float wavelength = 2.0f * 3.14159265358979323846f / frequency;
    float low = (float)(c->rope_original_positions / c->rope_low_frequency_factor);
    float high = (float)(c->rope_original_positions / c->rope_high_frequency_factor);
    if (wavelength < high) return frequency;
    if (wavelength > low) return frequency / (float)c->rope_factor;
    float blend = ((float)c->rope_original_positions / wavelength - (float)c->rope_low_frequency_factor) /
                  (float)(c->rope_high_frequency_factor - c->rope_low_frequency_factor);
    return (1 - blend) * frequency / (float)c->rope_factor + blend * frequency;
}

void model_config_rope_frequencies(const model_config *config, float *frequencies) {
    for (uint32_t i = 0; i < config->head_dim / 2; i++) {
        float frequency = 1.0f / powf((float)config->rope_theta, (float)(2 * i) / (float)config->head_dim);
        frequencies[i] = config->rope == ROPE_LLAMA3 ? stretch(config, frequency) : frequency;
    }
}
