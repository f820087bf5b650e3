/* levee_init: a new Llama model of random weights, with a tokenizer of bytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "model/builder.h"
#include "text/bpe.h"

enum { BYTE_TOKENS = 256, END_ID = 256, BEGIN_ID = 257, VOCABULARY = 258, POSITIONS = 2048 };

static levee_status write_json(const char *directory, const char *name, json_t *object, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = file_join(path, directory, name) ? json_object_write(object, path, error)
                                                           : error_set(error, LEVEE_USAGE, "the path is too long");
    json_decref(object);
    return status;
}

static levee_status write_tokenizer(const char *directory, levee_error *error) {
    json_t *vocabulary = json_object();
    for (unsigned byte = 0; byte < BYTE_TOKENS; byte++) {
        char text[5] = {0};
        utf8_write(bpe_byte_character((unsigned char)byte), text);
        json_object_set_new(vocabulary, text, json_integer(byte));
    }
    json_t *added =
        json_pack("[{s:i, s:s, s:b, s:b}, {s:i, s:s, s:b, s:b}]", "id", END_ID, "content", "<|end|>", "special", 1,
                  "normalized", 0, "id", BEGIN_ID, "content", "<|begin|>", "special", 1, "normalized", 0);
    json_t *file = json_pack("{s:s, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s}, s:{s:s, s:o, s:[]}}", "version",
                             "1.0", "added_tokens", added, "normalizer", "pre_tokenizer", "type", "ByteLevel",
                             "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "post_processor", "decoder",
                             "type", "ByteLevel", "model", "type", "BPE", "vocab", vocabulary, "merges");
    levee_status status = write_json(directory, "tokenizer.json", file, error);
    if (status != LEVEE_OK) return status;
    return write_json(directory, "tokenizer_config.json",
                      json_pack("{s:s, s:s, s:s}", "eos_token", "<|end|>", "bos_token", "<|begin|>",
                                "tokenizer_class", "PreTrainedTokenizerFast"),
                      error);
}

static levee_status write_config(const char *directory, const levee_shape *s, levee_error *error) {
    return write_json(directory, "config.json",
                      json_pack("{s:[s], s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:i, s:i}",
                                "architectures", "LlamaForCausalLM", "model_type", "llama", "torch_dtype", "float32",
                                "hidden_act", "silu", "hidden_size", (int)s->hidden_size, "intermediate_size",
                                (int)s->intermediate_size, "num_hidden_layers", (int)s->layers, "num_attention_heads",
                                (int)s->heads, "num_key_value_heads", (int)s->kv_heads, "max_position_embeddings",
                                POSITIONS, "vocab_size", VOCABULARY, "rms_norm_eps", 1e-5, "rope_theta", 10000.0,
                                "tie_word_embeddings", 1, "bos_token_id", BEGIN_ID, "eos_token_id", END_ID),
                      error);
}

/* Norms start at one; matrices are normal with a deviation of 1/sqrt(columns), those that end a residual branch
 * smaller by the depth, so that the sum over the layers starts at about the size of one. */
static levee_status write_values(file_writer *w, const tensor_declaration *t, uint32_t index, const levee_shape *s,
                                 uint64_t seed, levee_error *error) {
    enum { SLICE = 4096 };
    float slice[SLICE];
    uint64_t elements = t->shape[0] * (t->rank > 1 ? t->shape[1] : 1);
    bool ends_branch = strstr(t->name, "o_proj") || strstr(t->name, "down_proj");
    double deviation = t->rank > 1 ? 1 / sqrt((double)t->shape[1]) : 0;
    if (ends_branch) deviation /= sqrt(2.0 * s->layers);
    if (strstr(t->name, "embed")) deviation = 0.05;
    levee_status status = LEVEE_OK;
    for (uint64_t done = 0; done < elements && status == LEVEE_OK; done += SLICE) {
        uint64_t count = elements - done < SLICE ? elements - done : SLICE;
        for (uint64_t i = 0; i < count; i++)
            slice[i] = t->rank > 1 ? (float)deviation * random_normal(seed, index, (uint32_t)(done + i),
                                                                      (uint32_t)((done + i) >> 32), 1)
                                   : 1.0f;
        status = file_writer_write(w, slice, count * sizeof *slice, error);
    }
    return status;
}

static void declare(tensor_declaration *t, const char *name, uint64_t rows, uint64_t cols) {
    *t =
        (tensor_declaration){.type = DTYPE_F32, .rank = rows ? 2 : 1, .shape = {rows ? rows : cols, rows ? cols : 0}};
    snprintf(t->name, sizeof t->name, "%s", name);
}

static uint32_t declare_all(tensor_declaration *t, const levee_shape *s) {
    uint64_t head_dim = s->hidden_size / s->heads, kv = head_dim * s->kv_heads, h = s->hidden_size,
             m = s->intermediate_size;
    uint64_t rows[PROJECTION_COUNT] = {h, kv, kv, h, m, m, h}, cols[PROJECTION_COUNT] = {h, h, h, h, h, h, m};
    uint32_t count = 0;
    char name[VALUE_NAME_BYTES];
    declare(&t[count++], "model.embed_tokens.weight", VOCABULARY, h);
    for (unsigned layer = 0; layer < s->layers; layer++) {
        snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", layer);
        declare(&t[count++], name, 0, h);
        snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", layer);
        declare(&t[count++], name, 0, h);
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) {
            model_tensor_name(name, layer, (model_projection)p);
            declare(&t[count++], name, rows[p], cols[p]);
        }
    }
    declare(&t[count++], "model.norm.weight", 0, h);
    return count;
}

static void describe_declared(const void *context, uint32_t index, tensor_declaration *tensor) {
    *tensor = ((const tensor_declaration *)context)[index];
}

static levee_status write_weights(const char *directory, const levee_shape *s, uint64_t seed, levee_error *error) {
    char path[FILE_PATH_BYTES];
    uint64_t most = (uint64_t)s->layers * (PROJECTION_COUNT + 2) + 2;
    tensor_declaration *tensors = ledger_alloc_array(LEVEE_IO, most, sizeof *tensors);
    if (!tensors || !file_join(path, directory, "model.safetensors")) {
        ledger_free(tensors);
        return error_out_of_memory(error, "the table of tensors", most * sizeof *tensors);
    }
    uint32_t count = declare_all(tensors, s);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&writer, describe_declared, tensors, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++)
        status = write_values(&writer, &tensors[i], i, s, seed, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    ledger_free(tensors);
    return status;
}

levee_status levee_init(const char *directory, const levee_shape *shape, uint64_t seed, levee_error *error) {
    char path[FILE_PATH_BYTES];
    const levee_shape *s = shape;
    if (!s->hidden_size || !s->intermediate_size || !s->layers || !s->heads || !s->kv_heads ||
        s->hidden_size % (2 * s->heads) || s->heads % s->kv_heads || s->hidden_size > 65536 || s->layers > 1024)
        return error_set(
            error, LEVEE_USAGE,
            "init: hidden size %u, %u heads, %u kv heads: the hidden size must be an even multiple of the heads, "
            "and the kv heads must divide the heads",
            s->hidden_size, s->heads, s->kv_heads);
    if (file_join(path, directory, "config.json") && file_exists(path))
        return error_set(error, LEVEE_USAGE, "%s: holds a model already; give another directory", directory);
    levee_status status = file_make_directory(directory, error);
    if (status == LEVEE_OK) status = write_tokenizer(directory, error);
    if (status == LEVEE_OK) status = write_weights(directory, s, seed, error);
    return status == LEVEE_OK ? write_config(directory, s, error) : status;
}
