/* levee_init: a new model of random weights, with a tokenizer of bytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/builder.h"
#include "model/family.h"
#include "text/bpe.h"
#include "text/buffer.h"

enum { BYTE_TOKENS = 256, END_ID = 256, BEGIN_ID = 257, TOKENS = 258, MOST_TOKENS = 1 << 20, POSITIONS = 2048 };

static levee_status write_json(const char *directory, const char *name, json_t *object, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = file_join(path, directory, name) ? json_object_write(object, path, error)
                                                           : error_set(error, LEVEE_USAGE, "the path is too long");
    json_decref(object);
    return status;
}

/* With all the fields that Hugging Face's tokenizers ask for. */
static json_t *added_token(const char *content, int id) {
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", content, "special", 1, "normalized",
                     0, "single_word", 0, "lstrip", 0, "rstrip", 0);
}

static json_t *byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
                     "use_regex", 1);
}

static levee_status write_tokenizer(const char *directory, levee_error *error) {
    json_t *vocabulary = json_object();
    for (unsigned byte = 0; byte < BYTE_TOKENS; byte++) {
        char text[5] = {0};
        utf8_write(bpe_byte_character((unsigned char)byte), text);
        json_object_set_new(vocabulary, text, json_integer(byte));
    }
    json_t *added = json_array();
    json_array_append_new(added, added_token("<|end|>", END_ID));
    json_array_append_new(added, added_token("<|begin|>", BEGIN_ID));
    json_t *file = json_pack("{s:s, s:o, s:n, s:o, s:n, s:o, s:{s:s, s:o, s:[]}}", "version", "1.0", "added_tokens",
                             added, "normalizer", "pre_tokenizer", byte_level(), "post_processor", "decoder",
                             byte_level(), "model", "type", "BPE", "vocab", vocabulary, "merges");
    levee_status status = write_json(directory, "tokenizer.json", file, error);
    if (status != LEVEE_OK) return status;
    return write_json(directory, "tokenizer_config.json",
                      json_pack("{s:s, s:s, s:s}", "eos_token", "<|end|>", "bos_token", "<|begin|>",
                                "tokenizer_class", "PreTrainedTokenizerFast"),
                      error);
}

static const model_family *family_of(const levee_shape *s) { return family_find(s->family ? s->family : "llama"); }

/* The config.json of the shape; NULL when memory is refused. */
static json_t *describe_shape(const levee_shape *s) {
    const model_family *family = family_of(s);
    model_config options = {.layers = s->layers, .window = s->window ? s->window : UINT32_MAX};
    for (uint32_t layer = s->layers / 2; layer < s->layers; layer++) options.windowed[layer] = s->window != 0;
    json_t *object = json_pack(
        "{s:[s], s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:i, s:i}", "architectures",
        family->architecture, "model_type", family->type, "torch_dtype", "float32", "hidden_act", "silu",
        "hidden_size", (int)s->hidden_size, "intermediate_size", (int)s->intermediate_size, "num_hidden_layers",
        (int)s->layers, "num_attention_heads", (int)s->heads, "num_key_value_heads", (int)s->kv_heads, "head_dim",
        (int)(s->head_dim ? s->head_dim : s->hidden_size / s->heads), "max_position_embeddings", POSITIONS,
        "vocab_size", (int)(s->vocabulary_size ? s->vocabulary_size : TOKENS), "rms_norm_eps", 1e-5, "rope_theta",
        10000.0, "tie_word_embeddings", 1, "bos_token_id", BEGIN_ID, "eos_token_id", END_ID);
    if (object) family->write(object, &options);
    return object;
}

/* Norms start at one; biases are small; matrices are normal with a deviation of 1/sqrt(columns), those that end a
 * residual branch smaller by the depth, so that the sum over the layers starts at about the size of one. */
static double deviation_of(const tensor_declaration *t, uint32_t layers) {
    if (strstr(t->name, "embed")) return 0.05;
    if (strstr(t->name, ".bias")) return 0.02;
    if (t->rank < 2) return 0;
    double deviation = 1 / sqrt((double)t->shape[1]);
    bool ends_branch = strstr(t->name, "o_proj") || strstr(t->name, "down_proj");
    return ends_branch ? deviation / sqrt(2.0 * layers) : deviation;
}

static levee_status write_values(file_writer *w, const tensor_declaration *t, uint32_t index, uint32_t layers,
                                 uint64_t seed, levee_error *error) {
    enum { SLICE = 4096 };
    float slice[SLICE];
    uint64_t elements = t->shape[0] * (t->rank > 1 ? t->shape[1] : 1);
    float deviation = (float)deviation_of(t, layers);
    levee_status status = LEVEE_OK;
    for (uint64_t done = 0; done < elements && status == LEVEE_OK; done += SLICE) {
        uint64_t count = elements - done < SLICE ? elements - done : SLICE;
        for (uint64_t i = 0; i < count; i++)
            slice[i] = deviation > 0 ? deviation * random_normal(seed, index, (uint32_t)(done + i),
                                                                 (uint32_t)((done + i) >> 32), 1)
                                     : 1.0f;
        status = file_writer_write(w, slice, count * sizeof *slice, error);
    }
    return status;
}

/* The tensors of a model are the weights of its graph. */
static void declare_weights(tensor_declaration *tensors, uint32_t *count, const graph *g) {
    for (value_id v = 0; v < g->value_count; v++) {
        const value *weight = &g->values[v];
        if (weight->role != VALUE_WEIGHT) continue;
        bool vector = weight->rows == 1;
        tensor_declaration *t = &tensors[(*count)++];
        *t = (tensor_declaration){.type = DTYPE_F32, .rank = vector ? 1 : 2};
        t->shape[0] = vector ? weight->cols : weight->rows;
        t->shape[1] = vector ? 0 : weight->cols;
        snprintf(t->name, sizeof t->name, "%s", weight->name);
    }
}

static void describe_declared(const void *context, uint32_t index, tensor_declaration *tensor) {
    *tensor = ((const tensor_declaration *)context)[index];
}

static levee_status write_tensors(const char *path, const tensor_declaration *tensors, uint32_t count,
                                  uint32_t layers, uint64_t seed, levee_error *error) {
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&writer, describe_declared, tensors, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++)
        status = write_values(&writer, &tensors[i], i, layers, seed, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

static levee_status write_weights(const char *directory, const model_config *c, uint64_t seed, levee_error *error) {
    const model_source source = {.config = c};
    const trainable_set frozen = {.type = FINE_TUNE_NONE};
    char path[FILE_PATH_BYTES];
    uint32_t count = 0;
    graph g;
    graph_open(&g, SPACE_HOST);
    levee_status status = model_build_loss(&g, &source, &frozen, error);
    uint64_t most = g.value_count ? g.value_count : 1;
    tensor_declaration *tensors = ledger_alloc_array(LEVEE_IO, most, sizeof *tensors);
    if (status == LEVEE_OK && !tensors)
        status = error_out_of_memory(error, "the table of tensors", most * sizeof *tensors);
    if (status == LEVEE_OK && !file_join(path, directory, "model.safetensors"))
        status = error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    if (status == LEVEE_OK) declare_weights(tensors, &count, &g);
    graph_close(&g);
    if (status == LEVEE_OK) status = write_tensors(path, tensors, count, c->layers, seed, error);
    ledger_free(tensors);
    return status;
}

static levee_status check_shape(const levee_shape *s, levee_error *error) {
    const model_family *family = family_of(s);
    char names[FAMILY_NAMES_BYTES];
    if (!family)
        return error_set(error, LEVEE_USAGE, "init: family '%.40s' is none of %s", s->family, family_names(names));
    bool own_width = s->head_dim != 0;
    if (!s->hidden_size || !s->intermediate_size || !s->layers || !s->heads || !s->kv_heads ||
        (own_width ? s->head_dim % 2 : s->hidden_size % (2 * s->heads)) || s->heads % s->kv_heads ||
        s->hidden_size > 65536 || s->intermediate_size > 1 << 20 || s->layers > 1024 || s->heads > 65536 ||
        s->head_dim > 4096)
        return error_set(
            error, LEVEE_USAGE,
            "init: hidden size %u, %u heads, %u kv heads: the hidden size must be an even multiple of the heads (or "
            "a head dimension be given, and be even), and the kv heads must divide the heads",
            s->hidden_size, s->heads, s->kv_heads);
    if (s->vocabulary_size && (s->vocabulary_size < TOKENS || s->vocabulary_size > MOST_TOKENS))
        return error_set(error, LEVEE_USAGE,
                         "init: a vocabulary of %u: the tokenizer has %d tokens, and %d are the most",
                         s->vocabulary_size, TOKENS, MOST_TOKENS);
    if (s->window && !family_has_option(family, "sliding_window"))
        return error_set(error, LEVEE_USAGE, "init: family %s has no window of attention", family->type);
    return LEVEE_OK;
}

levee_status levee_init(const char *directory, const levee_shape *shape, uint64_t seed, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = check_shape(shape, error);
    if (status != LEVEE_OK) return status;
    if (file_join(path, directory, "config.json") && file_exists(path))
        return error_set(error, LEVEE_USAGE, "%s: holds a model already; give another directory", directory);
    status = file_make_directory(directory, error);
    if (status == LEVEE_OK) status = write_tokenizer(directory, error);
    json_t *object = status == LEVEE_OK ? describe_shape(shape) : NULL;
    model_config config;
    if (status == LEVEE_OK && (pool_was_refused() || !object)) /* something may be missing in it */
        status = error_out_of_memory(error, "config.json", sizeof config);
    if (status == LEVEE_OK) status = model_config_parse(&config, object, "config.json", error);
    if (status == LEVEE_OK) status = write_weights(directory, &config, seed, error);
    if (status == LEVEE_OK) return write_json(directory, "config.json", object, error); /* last: now it is a model */
    json_decref(object);
    return status;
}
