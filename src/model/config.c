/* config.json: see config.h. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "memory/pool.h"
#include "model/family.h"

enum { MOST_HEAD_DIM = 4096 };

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

uint64_t model_projection_width(const model_config *config, model_projection projection, bool output) {
    uint64_t query = (uint64_t)config->heads * config->head_dim, key = (uint64_t)config->kv_heads * config->head_dim;
    switch (projection) {
    case PROJECTION_Q:
        return output ? query : config->hidden_size;
    case PROJECTION_K:
    case PROJECTION_V:
        return output ? key : config->hidden_size;
    case PROJECTION_O:
        return output ? config->hidden_size : query;
    case PROJECTION_GATE:
    case PROJECTION_UP:
        return output ? config->intermediate_size : config->hidden_size;
    case PROJECTION_DOWN:
        return output ? config->hidden_size : config->intermediate_size;
    case PROJECTION_COUNT:
        break;
    }
    return 0;
}

uint32_t model_config_window(const model_config *config, uint32_t layer) {
    return config->windowed[layer] ? config->window : UINT32_MAX;
}

uint32_t model_config_windowed_layers(const model_config *config) {
    uint32_t windowed = 0;
    for (uint32_t layer = 0; layer < config->layers; layer++)
        windowed += model_config_window(config, layer) != UINT32_MAX;
    return windowed;
}

/* Options of other models, or of this family's variants, that change what is computed. Each may be there only with
 * the value that changes nothing, unless the family reads it. */
static void refuse_other_mathematics(json_reader *r, const model_family *family) {
    static const char *const flags[] = {
        "attention_bias",     "mlp_bias", "use_qk_norm",        "qk_norm",
        "use_sliding_window", "use_bias", "is_encoder_decoder", "add_cross_attention",
        "use_mrope",          "alibi",    "parallel_residual",  "use_parallel_residual"};
    static const char *const options[] = {
        "quantization_config",
        "sliding_window",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logits_scaling",
        "residual_multiplier",
        "embedding_multiplier",
        "attention_multiplier",
        "query_pre_attn_scalar",
        "logit_scale",
        "num_local_experts",
        "num_experts",
        "n_routed_experts",
        "no_rope_layers",
        "kv_lora_rank",
        "layer_types",
        "clip_qkv",
        "attention_chunk_size",
        "scale_emb",
        "scale_depth",
    };
    static const char *const ones[] = {"pretraining_tp", "partial_rotary_factor"};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!family_has_option(family, flags[i]) && json_read_flag(r, flags[i], false))
            json_refuse(r, flags[i], "true is not supported for a model of family %s", family->type);
    for (unsigned i = 0; i < sizeof options / sizeof *options; i++)
        if (!family_has_option(family, options[i]) && json_find(r, options[i]))
            json_refuse(r, options[i], "is not supported for a model of family %s", family->type);
    for (unsigned i = 0; i < sizeof ones / sizeof *ones; i++)
        if (json_read_positive(r, ones[i], 1) != 1) json_refuse(r, ones[i], "only 1 is supported");
    const char *activation = json_read_text(r, "hidden_act", "silu");
    if (strcmp(activation, "silu")) json_refuse(r, "hidden_act", "'%.40s' is not supported; silu is", activation);
}

/* The keys of a RoPE object beside its type and base. One of them without a type means that a type was left out. */
static void refuse_missing_rope_type(json_reader *r) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)r->object, key, value) {
        if (strcmp(key, "rope_theta") && strcmp(key, "partial_rotary_factor") && !json_is_absent(value))
            json_refuse(r, key, "comes without a rope_type; default and llama3 are supported");
    }
}

static void read_llama3_rope(json_reader *r, model_config *c, int64_t original_positions) {
    c->rope = ROPE_LLAMA3;
    c->rope_factor = json_read_positive(r, "factor", NAN);
    c->rope_low_frequency_factor = json_read_positive(r, "low_freq_factor", NAN);
    c->rope_high_frequency_factor = json_read_positive(r, "high_freq_factor", NAN);
    c->rope_original_positions =
        (uint32_t)json_read_whole(r, "original_max_position_embeddings", 1, INT32_MAX, original_positions);
    if (c->rope_factor < 1) json_refuse(r, "factor", "a number from 1 upwards is needed");
    if (c->rope_high_frequency_factor <= c->rope_low_frequency_factor)
        json_refuse(r, "high_freq_factor", "must be larger than low_freq_factor");
}

/* The older spelling keeps the base beside the object, and wins where both are there: transformers reads it so. */
static void read_rope(json_reader *r, model_config *c) {
    const json_t *older = json_find(r, "rope_scaling"), *newer = json_find(r, "rope_parameters");
    c->rope_theta = json_read_positive(r, "rope_theta", 10000.0);
    json_reader scaling = *r;
    bool is_older = older && !(json_is_object(older) && !json_object_size(older));
    scaling.object = is_older ? older : newer;
    scaling.section = is_older ? "rope_scaling" : "rope_parameters";
    if (!scaling.object) return;
    if (!json_is_object(scaling.object)) {
        json_refuse(r, scaling.section, "an object or null is needed");
        return;
    }
    c->rope_theta = json_read_positive(&scaling, "rope_theta", c->rope_theta);
    if (json_read_positive(&scaling, "partial_rotary_factor", 1) != 1)
        json_refuse(&scaling, "partial_rotary_factor", "only 1 is supported");
    const char *type = json_read_text(&scaling, "rope_type", json_read_text(&scaling, "type", NULL));
    if (!type)
        refuse_missing_rope_type(&scaling);
    else if (!strcmp(type, "llama3"))
        /* Where the object has no original length, one beside it counts, and else the length of the model itself. */
        read_llama3_rope(&scaling, c,
                         json_read_whole(r, "original_max_position_embeddings", 1, INT32_MAX, c->max_positions));
    else if (strcmp(type, "default"))
        json_refuse(&scaling, "rope_type", "'%.40s' is not supported; default and llama3 are", type);
    if (r->status == LEVEE_OK) r->status = scaling.status;
}

static void read_special_tokens(json_reader *r, model_config *c) {
    c->bos_id = json_find(r, "bos_token_id") ? json_read_whole(r, "bos_token_id", 0, c->vocabulary_size - 1, 0) : -1;
    const json_t *value = json_find(r, "eos_token_id");
    size_t count = json_is_array(value) ? json_array_size(value) : value != NULL;
    if (count > CONFIG_EOS_IDS) json_refuse(r, "eos_token_id", "has more than %d tokens", CONFIG_EOS_IDS);
    for (size_t i = 0; i < count && i < CONFIG_EOS_IDS; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= c->vocabulary_size)
            json_refuse(r, "eos_token_id", "is no token of the vocabulary; a number from 0 to %u is needed",
                        c->vocabulary_size - 1);
        else
            c->eos_ids[c->eos_count++] = (uint32_t)json_integer_value(id);
    }
}

/* Each field may be sound and what follows from them not: a base of 1e-300 is 0 in 32 bits. */
static void check_rope(json_reader *r, model_config *c) {
    float frequencies[MOST_HEAD_DIM / 2];
    model_config_rope_frequencies(c, frequencies);
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        if (!isfinite(frequencies[i])) {
            json_refuse(r, "rope_theta", "gives frequencies that are too large for a 32-bit number");
            return;
        }
}

static void read_type(json_reader *r, model_config *c) {
    const char *key = json_find(r, "dtype") ? "dtype" : "torch_dtype";
    const char *name = json_read_text(r, key, "float32");
    if (!strcmp(name, "bfloat16"))
        c->stored_type = DTYPE_BF16;
    else if (!strcmp(name, "float16"))
        c->stored_type = DTYPE_F16;
    else if (!strcmp(name, "float32") || !strcmp(name, "auto"))
        c->stored_type = DTYPE_F32;
    else
        json_refuse(r, key, "'%.40s' is not supported; float32, float16 and bfloat16 are", name);
}

/* What a key that is absent stands for: the family's own value, if it has one. null always asks for the derived one.
 */
static uint32_t usual_size(const json_reader *r, const char *key, uint32_t of_family, uint32_t derived) {
    return of_family && !json_object_get(r->object, key) ? of_family : derived;
}

static void read_sizes(json_reader *r, model_config *c) {
    enum { MOST = 1 << 24, MOST_HEADS = 65536 };
    _Static_assert((uint64_t)MOST_HEADS * MOST_HEAD_DIM <= UINT32_MAX / 4,
                   "a row of all heads is counted in 32 bits");
    c->hidden_size = (uint32_t)json_read_whole(r, "hidden_size", 2, MOST, -1);
    c->intermediate_size = (uint32_t)json_read_whole(r, "intermediate_size", 1, MOST, -1);
    c->layers = (uint32_t)json_read_whole(r, "num_hidden_layers", 1, CONFIG_MOST_LAYERS, -1);
    c->heads = (uint32_t)json_read_whole(r, "num_attention_heads", 1, MOST_HEADS, -1);
    const model_family *family = c->family;
    c->kv_heads = (uint32_t)json_read_whole(r, "num_key_value_heads", 1, MOST_HEADS,
                                            usual_size(r, "num_key_value_heads", family->kv_heads, c->heads));
    uint32_t head_dim = usual_size(r, "head_dim", family->head_dim, c->hidden_size / c->heads);
    if (!json_find(r, "head_dim") && head_dim != family->head_dim && c->hidden_size % c->heads)
        json_refuse(r, "num_attention_heads", "must divide hidden_size where head_dim is not given");
    c->head_dim = (uint32_t)json_read_whole(r, "head_dim", 2, MOST_HEAD_DIM, head_dim);
    c->vocabulary_size = (uint32_t)json_read_whole(r, "vocab_size", 1, MOST, -1);
    c->max_positions = (uint32_t)json_read_whole(r, "max_position_embeddings", 1, INT32_MAX, family->max_positions);
    c->norm_epsilon = (float)json_read_positive(r, "rms_norm_eps", 1e-6);
    if (!isnormal(c->norm_epsilon)) json_refuse(r, "rms_norm_eps", "is too small or too large for a 32-bit number");
    c->tied_head = json_read_flag(r, "tie_word_embeddings", false);
    if (c->heads % c->kv_heads) json_refuse(r, "num_key_value_heads", "must divide num_attention_heads");
    if (c->head_dim % 2 || !c->head_dim || c->head_dim > MOST_HEAD_DIM)
        json_refuse(r, "head_dim", "is %u; an even number from 2 to %d is needed", c->head_dim, MOST_HEAD_DIM);
}

static void read_family(json_reader *r, model_config *c) {
    const char *type = json_read_text(r, "model_type", "");
    char names[FAMILY_NAMES_BYTES];
    c->family = family_find(type);
    if (c->family)
        refuse_other_mathematics(r, c->family);
    else
        json_refuse(r, "model_type", "'%.40s' is not supported; supported: %s", *type ? type : "(none)",
                    family_names(names));
}

static void read_family_options(json_reader *r, model_config *c) { c->family->read(r, c); }

levee_status model_config_parse(model_config *config, const json_t *object, const char *path, levee_error *error) {
    memset(config, 0, sizeof *config);
    json_reader r = {.path = path, .object = object, .error = error};
    /* In this order: fields are checked against those of the parts before. */
    static void (*const parts[])(json_reader *, model_config *) = {
        read_family, read_sizes, read_family_options, read_rope, check_rope, read_type, read_special_tokens};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts && r.status == LEVEE_OK; i++) parts[i](&r, config);
    return r.status;
}

levee_status model_config_read(model_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    memset(config, 0, sizeof *config);
    if (!file_join(path, directory, "config.json") || !file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: holds no config.json; --model takes a Hugging Face model directory", directory);
    json_t *object;
    levee_status status = json_object_read(&object, path, JSON_FILE_LIMIT_BYTES, error);
    if (status != LEVEE_OK) return status;
    status = model_config_parse(config, object, path, error);
    json_decref(object);
    return status;
}

/* 0 when it was done, as Jansson says it. */
static int add_older_rope(json_t *object) {
    json_t *newer = json_object_get(object, "rope_parameters"), *theta = json_object_get(newer, "rope_theta");
    const char *type = json_string_value(json_object_get(newer, "rope_type"));
    if (json_object_get(object, "rope_theta") || !theta) return 0;
    if (json_object_set(object, "rope_theta", theta)) return -1;
    if (!type || !strcmp(type, "default")) return 0;
    json_t *older = json_copy(newer);
    json_object_del(older, "rope_theta");
    return json_object_set_new(object, "rope_scaling", older);
}

levee_status model_config_copy(const char *from_directory, const char *to_directory, config_change change,
                               levee_error *error) {
    char from[FILE_PATH_BYTES], to[FILE_PATH_BYTES];
    if (!file_join(from, from_directory, "config.json") || !file_join(to, to_directory, "config.json"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", to_directory);
    if (change == CONFIG_SAME) return file_copy(from, to, error);
    /* Saving takes no memory: the library works in a pool on the stack. */
    unsigned char memory[65536];
    pool library = {.memory = memory, .capacity = sizeof memory};
    json_t *object;
    pool_enter(&library);
    levee_status status = json_object_read(&object, from, JSON_FILE_LIMIT_BYTES, error);
    bool failed = status == LEVEE_OK &&
                  (change == CONFIG_UNTIED ? json_object_set_new(object, "tie_word_embeddings", json_false())
                                           : add_older_rope(object));
    if (failed) status = error_out_of_memory(error, to, sizeof(json_t));
    if (status == LEVEE_OK) status = json_object_write(object, to, error);
    pool_leave();
    pool_empty(&library);
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
