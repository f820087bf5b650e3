/* levee_inspect: what is in the files of a model or an adapter, or in a file alone, from their headers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "model/adapter.h"
#include "model/family.h"
#include "report/format.h"
#include "tensor/gguf_file.h"
#include "train/options.h"

typedef enum inspected_kind { INSPECTED_MODEL, INSPECTED_ADAPTER, INSPECTED_GGUF, INSPECTED_FILE } inspected_kind;

/* A tensor of either kind of file. */
typedef struct listed_tensor {
    const char *name, *type;
    uint32_t rank;
    const uint64_t *shape; /* [rank] */
    uint64_t parameters, bytes;
} listed_tensor;

typedef struct inspection {
    const char *path;
    inspected_kind kind;
    safetensors *tensors;
    gguf_file *gguf;
    listed_tensor *listed; /* [count], layer 2 before layer 10 */
    uint32_t count;
    model_config model;
    adapter_config adapter;
    levee_error unread; /* why the configuration could not be used; the tensors are shown all the same */
} inspection;

/* A type, in the order in which types come; `name` NULL behind the last. */
typedef struct tensor_count {
    const char *name;
    uint64_t tensors, parameters, bytes;
} tensor_count;

enum { MOST_TYPES = 64 };

static void count_tensors(const inspection *n, tensor_count of_type[MOST_TYPES], tensor_count *all) {
    for (uint32_t i = 0; i < n->count; i++) {
        const listed_tensor *t = &n->listed[i];
        unsigned type = 0;
        while (of_type[type].name && strcmp(of_type[type].name, t->type) != 0) type++;
        of_type[type].name = t->type;
        tensor_count *counts[] = {&of_type[type], all};
        for (unsigned k = 0; k < 2; k++) {
            counts[k]->tensors++;
            counts[k]->parameters += t->parameters;
            counts[k]->bytes += t->bytes;
        }
    }
}

static int compare_listed(const void *left, const void *right) {
    return strverscmp(((const listed_tensor *)left)->name, ((const listed_tensor *)right)->name);
}

static levee_status make_list(inspection *n, levee_error *error) {
    uint32_t count = n->gguf ? gguf_file_count(n->gguf) : safetensors_count(n->tensors);
    n->listed = ledger_alloc_array(LEVEE_RUNTIME, count + 1ull, sizeof *n->listed);
    if (!n->listed) return error_out_of_memory(error, "the list of tensors", count * sizeof *n->listed);
    for (n->count = 0; n->count < count; n->count++) {
        if (n->gguf) {
            const gguf_view *t = gguf_file_at(n->gguf, n->count);
            n->listed[n->count] = (listed_tensor){t->name, t->type, t->rank, t->shape, t->elements, t->bytes};
            continue;
        }
        const tensor_view *t = safetensors_at(n->tensors, n->count);
        n->listed[n->count] = (listed_tensor){t->name,  dtype_describe(t->type)->name,      t->rank,
                                              t->shape, t->bytes / dtype_bytes(t->type, 1), t->bytes};
    }
    qsort(n->listed, n->count, sizeof *n->listed, compare_listed);
    return LEVEE_OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static levee_status open_file(inspection *n, levee_error *error) {
    n->kind = ends_with(n->path, ".gguf") ? INSPECTED_GGUF : INSPECTED_FILE;
    return n->kind == INSPECTED_GGUF ? gguf_file_open(&n->gguf, n->path, error)
                                     : safetensors_open(&n->tensors, n->path, error);
}

static levee_status open_files(inspection *n, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_exists(n->path))
        return error_set(
            error, LEVEE_MISSING_INPUT,
            "%s: is not there; inspect takes the directory of a model or an adapter, or a .safetensors or "
            ".gguf file",
            n->path);
    if (!file_is_directory(n->path)) return open_file(n, error);
    levee_status status = adapter_tensors_path(path, n->path, error);
    if (status != LEVEE_OK) return status;
    if (file_exists(path)) {
        n->kind = INSPECTED_ADAPTER;
        adapter_config_read(&n->adapter, n->path, &n->unread);
        return safetensors_open(&n->tensors, path, error);
    }
    model_config_read(&n->model, n->path, &n->unread);
    return safetensors_open_model(&n->tensors, n->path, error);
}

/* A number of a GGUF file's architecture; 0: it is not there. */
static uint64_t gguf_size(const inspection *n, const char *architecture, const char *key) {
    char name[128];
    uint64_t number = 0;
    snprintf(name, sizeof name, "%.60s.%s", architecture, key);
    return gguf_file_number(n->gguf, name, &number) ? number : 0;
}

/* A text of a GGUF file, or what is printable of it. */
static void gguf_text(const inspection *n, const char *key, char text[128]) {
    uint64_t bytes = 0, length = 0;
    const char *found = gguf_file_text(n->gguf, key, &bytes);
    for (uint64_t i = 0; found && i < bytes && length < 127; i++)
        if (found[i] >= ' ' && found[i] <= '~') text[length++] = found[i];
    text[length] = 0;
}

/* --- for people --- */

static void describe_model(formatter *f, const model_config *c) {
    uint32_t windowed = model_config_windowed_layers(c), biased = 0;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) biased += c->biased[p];
    format_add(f, "%s: %u layers of %u, %u in the feed-forward part; %u heads of %u, %u for keys and values\n",
               c->family->type, c->layers, c->hidden_size, c->intermediate_size, c->heads, c->head_dim, c->kv_heads);
    format_add(f, "%u tokens, %u positions, %s head", c->vocabulary_size, c->max_positions,
               c->tied_head ? "tied" : "own");
    if (c->head_norms) format_add(f, ", norms of queries and keys");
    if (biased) format_add(f, ", biases of %u projections", biased);
    if (windowed) format_add(f, ", a window of %u rows in %u of %u layers", c->window, windowed, c->layers);
    format_add(f, "\n");
}

static void list_targets(formatter *f, const adapter_config *c, const char *before, const char *between,
                         const char *after) {
    unsigned listed = 0;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (c->targets[p])
            format_add(f, "%s%s%s%s", listed++ ? between : "", before,
                       strchr(model_projection_name((model_projection)p), '.') + 1, after);
}

static void describe_adapter(formatter *f, const adapter_config *c) {
    format_add(f, "%s of rank %u, alpha %g, dropout %g, on ", c->dora ? "DoRA" : "LoRA", c->rank, c->alpha,
               c->dropout);
    list_targets(f, c, "", ", ", "");
    if (c->layer_count == UINT32_MAX)
        format_add(f, " of all layers\n");
    else if (c->first_layer == ADAPTER_FROM_LAST)
        format_add(f, " of the last %u layers\n", c->layer_count);
    else
        format_add(f, " of layers %u to %u\n", c->first_layer, c->first_layer + c->layer_count - 1);
    if (*c->base_model) format_add(f, "base model %s\n", c->base_model);
}

static void describe_gguf(formatter *f, const inspection *n) {
    static const char *const sizes[][2] = {{"block_count", "layers"},
                                           {"embedding_length", "wide"},
                                           {"feed_forward_length", "in the feed-forward part"},
                                           {"attention.head_count", "heads"},
                                           {"attention.head_count_kv", "for keys and values"},
                                           {"context_length", "positions"},
                                           {"attention.sliding_window", "in the window"}};
    char architecture[128], name[128];
    gguf_text(n, "general.architecture", architecture);
    gguf_text(n, "general.name", name);
    format_add(f, "GGUF of architecture %s, named %s: %" PRIu64 " tokens", *architecture ? architecture : "(none)",
               *name ? name : "(nothing)", gguf_file_length(n->gguf, "tokenizer.ggml.tokens"));
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint64_t number = gguf_size(n, architecture, sizes[i][0]);
        if (number) format_add(f, ", %" PRIu64 " %s", number, sizes[i][1]);
    }
    format_add(f, "\n");
}

static const char *shape_text(char text[TENSOR_RANK * 24], const listed_tensor *t) {
    size_t length = (size_t)snprintf(text, 24, "[");
    for (uint32_t i = 0; i < t->rank; i++)
        length += (size_t)snprintf(text + length, 24, "%s%" PRIu64, i ? ", " : "", t->shape[i]);
    snprintf(text + length, 2, "]");
    return text;
}

static void list_tensors(formatter *f, const inspection *n) {
    char shape[TENSOR_RANK * 24], bytes[BYTES_TEXT];
    int widest = (int)sizeof "tensor" - 1, widest_type = (int)sizeof "type" - 1;
    for (uint32_t i = 0; i < n->count; i++) {
        int width = (int)strlen(n->listed[i].name), type_width = (int)strlen(n->listed[i].type);
        if (width > widest) widest = width;
        if (type_width > widest_type) widest_type = type_width;
    }
    format_add(f, "\n%-*s  %-*s  %-18s %12s %12s\n", widest, "tensor", widest_type, "type", "shape", "parameters",
               "bytes");
    for (uint32_t i = 0; i < n->count; i++) {
        const listed_tensor *t = &n->listed[i];
        format_add(f, "%-*s  %-*s  %-18s %12" PRIu64 " %12s\n", widest, t->name, widest_type, t->type,
                   shape_text(shape, t), t->parameters, bytes_format(bytes, t->bytes));
    }
}

static void write_text(formatter *f, const inspection *n) {
    char bytes[BYTES_TEXT];
    tensor_count of_type[MOST_TYPES] = {{0}}, all = {0};
    count_tensors(n, of_type, &all);
    if (n->unread.status != LEVEE_OK)
        format_add(f, "%s\n", n->unread.message);
    else if (n->kind == INSPECTED_MODEL)
        describe_model(f, &n->model);
    else if (n->kind == INSPECTED_ADAPTER)
        describe_adapter(f, &n->adapter);
    else if (n->kind == INSPECTED_GGUF)
        describe_gguf(f, n);
    list_tensors(f, n);
    format_add(f, "\n%" PRIu64 " tensors, %" PRIu64 " parameters, %s", all.tensors, all.parameters,
               bytes_format(bytes, all.bytes));
    for (unsigned type = 0; of_type[type].name; type++)
        if (of_type[type].tensors < all.tensors)
            format_add(f, "; %s: %" PRIu64 " in %" PRIu64, of_type[type].name, of_type[type].parameters,
                       of_type[type].tensors);
}

/* --- for programs --- */

static void json_model(formatter *f, const model_config *c) {
    format_add(f,
               ",\"family\":\"%s\",\"layers\":%u,\"hidden_size\":%u,\"intermediate_size\":%u,\"heads\":%u,"
               "\"kv_heads\":%u,\"head_dim\":%u,\"vocabulary_size\":%u,\"positions\":%u,\"tied_head\":%s,"
               "\"head_norms\":%s,\"biased\":[",
               c->family->type, c->layers, c->hidden_size, c->intermediate_size, c->heads, c->kv_heads, c->head_dim,
               c->vocabulary_size, c->max_positions, c->tied_head ? "true" : "false",
               c->head_norms ? "true" : "false");
    for (unsigned p = 0, listed = 0; p < PROJECTION_COUNT; p++)
        if (c->biased[p])
            format_add(f, "%s\"%s\"", listed++ ? "," : "",
                       strchr(model_projection_name((model_projection)p), '.') + 1);
    format_add(f, "],\"windows\":[");
    for (uint32_t layer = 0; layer < c->layers; layer++) {
        uint32_t window = model_config_window(c, layer);
        if (window == UINT32_MAX)
            format_add(f, "%snull", layer ? "," : "");
        else
            format_add(f, "%s%u", layer ? "," : "", window);
    }
    format_add(f, "]");
}

static void json_adapter(formatter *f, const adapter_config *c) {
    format_add(f, ",\"type\":\"%s\",\"rank\":%u,\"alpha\":%.17g,\"dropout\":%.17g,\"projections\":[",
               c->dora ? "dora" : "lora", c->rank, c->alpha, c->dropout);
    list_targets(f, c, "\"", ",", "\"");
    format_add(f, "],\"format\":\"%s\",\"layers\":", c->format == ADAPTER_MLX ? "mlx" : "peft");
    if (c->layer_count == UINT32_MAX)
        format_add(f, "null");
    else if (c->first_layer == ADAPTER_FROM_LAST)
        format_add(f, "null,\"last_layers\":%u", c->layer_count);
    else
        format_add(f, "[%u,%u]", c->first_layer, c->first_layer + c->layer_count - 1);
    format_add(f, ",\"base_model\":");
    if (*c->base_model)
        format_json_text(f, c->base_model);
    else
        format_add(f, "null");
}

static void json_gguf(formatter *f, const inspection *n) {
    char architecture[128], name[128];
    gguf_text(n, "general.architecture", architecture);
    gguf_text(n, "general.name", name);
    format_add(f, ",\"architecture\":");
    format_json_text(f, architecture);
    format_add(f, ",\"name\":");
    format_json_text(f, name);
    format_add(f, ",\"layers\":%" PRIu64 ",\"hidden_size\":%" PRIu64 ",\"tokens\":%" PRIu64,
               gguf_size(n, architecture, "block_count"), gguf_size(n, architecture, "embedding_length"),
               gguf_file_length(n->gguf, "tokenizer.ggml.tokens"));
}

static void json_tensors(formatter *f, const inspection *n) {
    format_add(f, ",\"tensors\":[");
    for (uint32_t i = 0; i < n->count; i++) {
        const listed_tensor *t = &n->listed[i];
        char shape[TENSOR_RANK * 24];
        format_add(f, "%s{\"name\":", i ? "," : "");
        format_json_text(f, t->name);
        format_add(f, ",\"dtype\":\"%s\",\"shape\":%s,\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", t->type,
                   shape_text(shape, t), t->parameters, t->bytes);
    }
    format_add(f, "]");
}

static void write_json(formatter *f, const inspection *n) {
    static const char *const kinds[] = {[INSPECTED_MODEL] = "model",
                                        [INSPECTED_ADAPTER] = "adapter",
                                        [INSPECTED_GGUF] = "gguf",
                                        [INSPECTED_FILE] = "file"};
    tensor_count of_type[MOST_TYPES] = {{0}}, all = {0};
    count_tensors(n, of_type, &all);
    format_add(f, "{\"path\":");
    format_json_text(f, n->path);
    format_add(f, ",\"kind\":\"%s\"", kinds[n->kind]);
    if (n->unread.status != LEVEE_OK) {
        format_add(f, ",\"unread\":");
        format_json_text(f, n->unread.message);
    } else if (n->kind == INSPECTED_MODEL) {
        json_model(f, &n->model);
    } else if (n->kind == INSPECTED_ADAPTER) {
        json_adapter(f, &n->adapter);
    } else if (n->kind == INSPECTED_GGUF) {
        json_gguf(f, n);
    }
    json_tensors(f, n);
    format_add(f, ",\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dtypes\":{", all.parameters, all.bytes);
    for (unsigned type = 0; of_type[type].name; type++)
        format_add(f, "%s\"%s\":%" PRIu64, type ? "," : "", of_type[type].name, of_type[type].parameters);
    format_add(f, "}}");
}

levee_status levee_inspect(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    inspection n = {.path = options->model};
    text_buffer text = {0};
    levee_status status = options_check_verb(options, "inspect", error);
    if (status == LEVEE_OK && !*options->model)
        status = error_set(error, LEVEE_USAGE, "inspect needs the directory of a model or an adapter");
    if (status == LEVEE_OK) status = open_files(&n, error);
    if (status == LEVEE_OK) status = make_list(&n, error);
    if (status == LEVEE_OK) {
        formatter f = {.text = &text, .error = error};
        (options->analysis.json ? write_json : write_text)(&f, &n);
        status = f.status;
    }
    if (status == LEVEE_OK && print) print(context, text.data);
    text_free(&text);
    ledger_free(n.listed);
    safetensors_close(n.tensors);
    gguf_file_close(n.gguf);
    return status;
}
