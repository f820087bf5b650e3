/* A model as GGUF: see model_gguf.h. */
#include "model/model_gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/family.h"
#include "text/tokenizer_gguf.h"

/* A family by llama.cpp's name. Its Llama turns neighbouring elements of a head together, Hugging Face's those of
 * either half, so that the rows of queries and keys change places. */
typedef struct architecture {
    const char *type, *name;
    bool interleaved;
} architecture;

static const architecture architectures[] = {
    {"llama", "llama", true}, {"mistral", "llama", true}, {"qwen2", "qwen2", false}, {"qwen3", "qwen3", false}};

/* Parts of a layer, by model_projection. */
static const char *const projection_parts[PROJECTION_COUNT] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                               "ffn_gate", "ffn_up", "ffn_down"};

static const char embedding_name[] = "token_embd.weight", head_name[] = "output.weight",
                  frequencies_name[] = "rope_freqs.weight";

typedef struct gguf_entry {
    const tensor_view *view; /* NULL: the factors of llama3's frequencies */
    gguf_tensor tensor;
    bool interleaved;
} gguf_entry;

typedef struct gguf_model {
    merged_model *merged;
    const model_config *config;
    const architecture *family;
    gguf_storage storage;
    char label[128]; /* what the model is called */
    tokenizer_gguf tokens;
    gguf_entry *entries; /* [count] */
    uint32_t count;
    uint64_t most_cols;
} gguf_model;

/* The part of a layer's tensor, between its number and ".weight" or ".bias"; NULL: there is no such part. */
static const char *part_name(const tensor_names *names, const char *part, bool *rotated) {
    const char *const others[][2] = {{names->attention_norm, "attn_norm"},
                                     {names->feed_forward_norm, "ffn_norm"},
                                     {names->query_norm, "attn_q_norm"},
                                     {names->key_norm, "attn_k_norm"}};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) {
        *rotated = p == PROJECTION_Q || p == PROJECTION_K;
        if (!strcmp(model_projection_name((model_projection)p), part)) return projection_parts[p];
    }
    *rotated = false;
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i][0] && !strcmp(others[i][0], part)) return others[i][1];
    return NULL;
}

/* Names a tensor; false when the format has no name for it. */
static bool name_tensor(const gguf_model *g, const char *name, gguf_entry *entry) {
    const tensor_names *names = g->config->family->names;
    const char *const outer[][2] = {
        {names->embedding, embedding_name}, {names->final_norm, "output_norm.weight"}, {names->head, head_name}};
    const char *kind = strrchr(name, '.');
    char stem[VALUE_NAME_BYTES];
    unsigned layer;
    int at = 0;
    bool rotated, weight = kind && !strcmp(kind, ".weight"), bias = kind && !strcmp(kind, ".bias");
    if ((!weight && !bias) || snprintf(stem, sizeof stem, "%.*s", (int)(kind - name), name) >= VALUE_NAME_BYTES)
        return false;
    for (unsigned i = 0; weight && i < sizeof outer / sizeof *outer; i++)
        if (!strcmp(stem, outer[i][0]))
            return snprintf(entry->tensor.name, GGUF_NAME_BYTES, "%s", outer[i][1]) < GGUF_NAME_BYTES;
    size_t prefix = strlen(names->layers);
    if (strncmp(stem, names->layers, prefix) || sscanf(stem + prefix, ".%9u.%n", &layer, &at) != 1 || !at ||
        layer >= g->config->layers)
        return false;
    const char *part = part_name(names, stem + prefix + at, &rotated);
    entry->interleaved = rotated && g->family->interleaved;
    return part && snprintf(entry->tensor.name, GGUF_NAME_BYTES, "blk.%u.%s%s", layer, part, kind) < GGUF_NAME_BYTES;
}

static gguf_type choose_type(const gguf_model *g, const gguf_tensor *t) {
    static const gguf_type types[] = {[GGUF_STORE_F16] = GGUF_F16,
                                      [GGUF_STORE_BF16] = GGUF_BF16,
                                      [GGUF_STORE_F32] = GGUF_F32,
                                      [GGUF_STORE_Q8_0] = GGUF_Q8_0,
                                      [GGUF_STORE_Q4_0] = GGUF_Q4_0};
    if (t->dimensions < 2) return GGUF_F32;
    gguf_type type = types[g->storage];
    bool head = !strcmp(t->name, g->config->tied_head ? embedding_name : head_name);
    if (type == GGUF_Q4_0 && head) type = GGUF_Q8_0;
    return t->shape[1] % gguf_block_elements(type) ? GGUF_F16 : type;
}

/* What a file holds besides weights, or twice: angles that follow from the configuration, a head that is tied. */
static bool is_left_out(const gguf_model *g, const gguf_entry *entry) {
    return strstr(entry->view->name, "rotary_emb.inv_freq") ||
           (g->config->tied_head && !strcmp(entry->tensor.name, head_name));
}

static levee_status add_entry(gguf_model *g, const tensor_view *view, levee_error *error) {
    gguf_entry *entry = &g->entries[g->count];
    *entry = (gguf_entry){.view = view};
    bool named = name_tensor(g, view->name, entry);
    if (is_left_out(g, entry)) return LEVEE_OK;
    if (!named)
        return error_set(error, LEVEE_BAD_DATA, "tensor %s: GGUF has no name for it in a %s model", view->name,
                         g->family->name);
    if (view->rank < 1 || view->rank > 2 || !dtype_is_weight(view->type))
        return error_set(error, LEVEE_BAD_DATA, "tensor %s: a vector or a matrix of f32, f16 or bf16 is needed",
                         view->name);
    uint64_t cols = view->shape[view->rank - 1];
    if (entry->interleaved && view->shape[0] % g->config->head_dim)
        return error_set(error, LEVEE_BAD_DATA, "tensor %s: whole heads are needed", view->name);
    entry->tensor.dimensions = view->rank;
    memcpy(entry->tensor.shape, view->shape, view->rank * sizeof *view->shape);
    entry->tensor.type = choose_type(g, &entry->tensor);
    if (cols > g->most_cols) g->most_cols = cols;
    g->count++;
    return LEVEE_OK;
}

static levee_status list_tensors(gguf_model *g, levee_error *error) {
    const safetensors *all = g->merged->source->tensors;
    uint32_t most = safetensors_count(all) + 1;
    g->entries = ledger_alloc_array(LEVEE_IO, most, sizeof *g->entries);
    if (!g->entries) return error_out_of_memory(error, "the table of tensors", most * sizeof *g->entries);
    levee_status status = LEVEE_OK;
    for (uint32_t i = 0; i + 1 < most && status == LEVEE_OK; i++)
        status = add_entry(g, safetensors_at(all, i), error);
    if (status != LEVEE_OK || g->config->rope != ROPE_LLAMA3) return status;
    gguf_entry *factors = &g->entries[g->count++];
    *factors = (gguf_entry){.tensor = {.type = GGUF_F32, .dimensions = 1, .shape = {g->config->head_dim / 2}}};
    memcpy(factors->tensor.name, frequencies_name, sizeof frequencies_name);
    return LEVEE_OK;
}

static void write_sizes(const gguf_model *g, gguf_writer *w) {
    const model_config *c = g->config;
    const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {{"context_length", c->max_positions},
                 {"embedding_length", c->hidden_size},
                 {"block_count", c->layers},
                 {"feed_forward_length", c->intermediate_size},
                 {"attention.head_count", c->heads},
                 {"attention.head_count_kv", c->kv_heads},
                 {"attention.key_length", c->head_dim},
                 {"attention.value_length", c->head_dim},
                 {"rope.dimension_count", c->head_dim},
                 {"vocab_size", c->vocabulary_size}};
    const char *family = g->family->name;
    char key[GGUF_NAME_BYTES];
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "%s.%s", family, sizes[i].key);
        gguf_put_uint(w, key, sizes[i].value);
    }
    /* The key says nothing of layers, so it is true only where all have the window. */
    if (model_config_windowed_layers(c) == c->layers) {
        snprintf(key, sizeof key, "%s.attention.sliding_window", family);
        gguf_put_uint(w, key, c->window);
    }
    snprintf(key, sizeof key, "%s.rope.freq_base", family);
    gguf_put_float(w, key, (float)c->rope_theta);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", family);
    gguf_put_float(w, key, c->norm_epsilon);
}

static void write_metadata(gguf_writer *w, const void *context) {
    static const uint32_t file_types[] = {[GGUF_STORE_F16] = 1,
                                          [GGUF_STORE_BF16] = 32,
                                          [GGUF_STORE_F32] = 0,
                                          [GGUF_STORE_Q8_0] = 7,
                                          [GGUF_STORE_Q4_0] = 2};
    const gguf_model *g = context;
    gguf_put_text(w, "general.architecture", g->family->name);
    gguf_put_text(w, "general.type", "model");
    gguf_put_text(w, "general.name", g->label);
    gguf_put_uint(w, "general.file_type", file_types[g->storage]);
    gguf_put_uint(w, "general.quantization_version", 2);
    write_sizes(g, w);
    tokenizer_gguf_write(&g->tokens, w);
}

static void describe(const void *context, uint32_t index, gguf_tensor *tensor) {
    *tensor = ((const gguf_model *)context)->entries[index].tensor;
}

/* By how much llama3's frequencies are slowed. */
static void write_factors(const gguf_model *g, gguf_writer *w, float *row) {
    model_config plain = *g->config;
    uint32_t count = plain.head_dim / 2;
    plain.rope = ROPE_DEFAULT;
    model_config_rope_frequencies(&plain, row);
    model_config_rope_frequencies(g->config, row + count);
    for (uint32_t i = 0; i < count; i++) row[i] /= row[count + i];
    gguf_write(w, row, count * sizeof *row);
}

/* Where row `row` (of a bias: element) of what is interleaved comes from: within a head, element 2 i + half was i of
 * that half. */
static uint64_t source_row(const gguf_model *g, const gguf_entry *entry, uint64_t row) {
    uint64_t in_head = row % g->config->head_dim;
    if (!entry->interleaved) return row;
    return row - in_head + in_head % 2 * (g->config->head_dim / 2) + in_head / 2;
}

static levee_status write_entry(const gguf_model *g, const gguf_entry *entry, gguf_writer *w, float *row,
                                levee_error *error) {
    merged_model *m = g->merged;
    unsigned char *encoded = (unsigned char *)(row + g->most_cols);
    if (!entry->view) {
        write_factors(g, w, row);
        gguf_end_tensor(w);
        return w->status;
    }
    levee_status status = merged_begin(m, entry->view, error);
    if (status == LEVEE_OK && entry->interleaved && entry->tensor.dimensions == 1) {
        float *turned = row + g->most_cols;
        merged_row(m, 0, row);
        for (uint64_t i = 0; i < m->cols; i++) turned[i] = row[source_row(g, entry, i)];
        gguf_write(w, turned, m->cols * sizeof *turned);
        gguf_end_tensor(w);
        return w->status;
    }
    for (uint64_t i = 0; status == LEVEE_OK && i < m->rows; i++) {
        merged_row(m, source_row(g, entry, i), row);
        gguf_encode(entry->tensor.type, encoded, row, m->cols);
        gguf_write(w, encoded, gguf_row_bytes(entry->tensor.type, m->cols));
        status = w->status;
    }
    gguf_end_tensor(w);
    return status == LEVEE_OK ? w->status : status;
}

static levee_status write_file(gguf_model *g, const char *path, levee_error *error) {
    const gguf_content content = {
        .metadata = write_metadata, .tensor = describe, .context = g, .tensor_count = g->count};
    gguf_writer w;
    file_writer to;
    if (g->config->head_dim > g->most_cols) g->most_cols = g->config->head_dim;
    float *row = ledger_alloc_array(LEVEE_IO, 2 * g->most_cols, sizeof *row); /* as it is, and encoded */
    if (!row) return error_out_of_memory(error, "a row of a tensor", 2 * g->most_cols * sizeof *row);
    levee_status status = file_writer_open(&to, path, error);
    if (status == LEVEE_OK) status = gguf_write_header(&w, &to, &content, error);
    for (uint32_t i = 0; i < g->count && status == LEVEE_OK; i++)
        status = write_entry(g, &g->entries[i], &w, row, error);
    if (status == LEVEE_OK) status = gguf_flush(&w);
    if (status == LEVEE_OK) status = file_writer_commit(&to, error);
    file_writer_abandon(&to);
    ledger_free(row);
    return status;
}

levee_status model_gguf_write(merged_model *m, tokenizer *tokens, const char *directory, gguf_storage storage,
                              const char *path, levee_error *error) {
    const model_config *c = m->source->config;
    gguf_model g = {.merged = m, .config = c, .storage = storage};
    for (unsigned i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(architectures[i].type, c->family->type)) g.family = &architectures[i];
    if (!g.family)
        return error_set(error, LEVEE_USAGE, "--format gguf: %s models are not written; --format hf writes them",
                         c->family->type);
    size_t length = strlen(directory);
    while (length && directory[length - 1] == '/') length--;
    size_t begin = length;
    while (begin && directory[begin - 1] != '/') begin--;
    snprintf(g.label, sizeof g.label, "%.*s", length - begin < 100 ? (int)(length - begin) : 100, directory + begin);
    levee_status status = tokenizer_gguf_open(&g.tokens, tokens, directory, c->vocabulary_size, c->bos_id,
                                              c->eos_count ? (int64_t)c->eos_ids[0] : -1, error);
    if (status == LEVEE_OK) status = list_tensors(&g, error);
    if (status == LEVEE_OK) status = write_file(&g, path, error);
    tokenizer_gguf_close(&g.tokens);
    ledger_free(g.entries);
    return status;
}
