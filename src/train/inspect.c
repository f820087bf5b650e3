/* levee_inspect: what is in a model's or an adapter's files, from their headers. */
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
#include "train/options.h"

typedef enum inspected_kind { INSPECTED_MODEL, INSPECTED_ADAPTER } inspected_kind;

typedef struct inspection {
    const char *path;
    inspected_kind kind;
    safetensors *tensors;
    const tensor_view **listed; /* [safetensors_count], layer 2 before layer 10 */
    uint32_t count;
    model_config model;
    adapter_config adapter;
    levee_error unread; /* why the configuration could not be used; the tensors are shown all the same */
} inspection;

typedef struct tensor_count {
    uint64_t tensors, parameters, bytes;
} tensor_count;

static uint64_t elements_of(const tensor_view *view) { return view->bytes / dtype_bytes(view->type, 1); }

static void count_tensors(const inspection *n, tensor_count of_type[DTYPE_COUNT], tensor_count *all) {
    for (uint32_t i = 0; i < n->count; i++) {
        const tensor_view *view = n->listed[i];
        tensor_count *counts[] = {&of_type[view->type], all};
        for (unsigned k = 0; k < 2; k++) {
            counts[k]->tensors++;
            counts[k]->parameters += elements_of(view);
            counts[k]->bytes += view->bytes;
        }
    }
}

static int compare_listed(const void *left, const void *right) {
    return strverscmp((*(const tensor_view *const *)left)->name, (*(const tensor_view *const *)right)->name);
}

static levee_status make_list(inspection *n, levee_error *error) {
    n->count = safetensors_count(n->tensors);
    n->listed = ledger_alloc_array(LEVEE_RUNTIME, n->count + 1, sizeof *n->listed);
    if (!n->listed) return error_out_of_memory(error, "the list of tensors", n->count * sizeof *n->listed);
    for (uint32_t i = 0; i < n->count; i++) n->listed[i] = safetensors_at(n->tensors, i);
    qsort(n->listed, n->count, sizeof *n->listed, compare_listed);
    return LEVEE_OK;
}

static levee_status open_files(inspection *n, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, n->path, "adapter_model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", n->path);
    if (file_exists(path)) {
        n->kind = INSPECTED_ADAPTER;
        adapter_config_read(&n->adapter, n->path, &n->unread);
        return safetensors_open(&n->tensors, path, error);
    }
    model_config_read(&n->model, n->path, &n->unread);
    return safetensors_open_model(&n->tensors, n->path, error);
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
    else
        format_add(f, " of layers %u to %u\n", c->first_layer, c->first_layer + c->layer_count - 1);
    if (*c->base_model) format_add(f, "base model %s\n", c->base_model);
}

static const char *shape_text(char text[TENSOR_RANK * 24], const tensor_view *view) {
    size_t length = (size_t)snprintf(text, 24, "[");
    for (uint32_t i = 0; i < view->rank; i++)
        length += (size_t)snprintf(text + length, 24, "%s%" PRIu64, i ? ", " : "", view->shape[i]);
    snprintf(text + length, 2, "]");
    return text;
}

static void list_tensors(formatter *f, const inspection *n) {
    char shape[TENSOR_RANK * 24], bytes[BYTES_TEXT];
    int widest = (int)sizeof "tensor" - 1, widest_type = (int)sizeof "type" - 1;
    for (uint32_t i = 0; i < n->count; i++) {
        int width = (int)strlen(n->listed[i]->name);
        int type_width = (int)strlen(dtype_describe(n->listed[i]->type)->name);
        if (width > widest) widest = width;
        if (type_width > widest_type) widest_type = type_width;
    }
    format_add(f, "\n%-*s  %-*s  %-18s %12s %12s\n", widest, "tensor", widest_type, "type", "shape", "parameters",
               "bytes");
    for (uint32_t i = 0; i < n->count; i++) {
        const tensor_view *view = n->listed[i];
        format_add(f, "%-*s  %-*s  %-18s %12" PRIu64 " %12s\n", widest, view->name, widest_type,
                   dtype_describe(view->type)->name, shape_text(shape, view), elements_of(view),
                   bytes_format(bytes, view->bytes));
    }
}

static void write_text(formatter *f, const inspection *n) {
    char bytes[BYTES_TEXT];
    tensor_count of_type[DTYPE_COUNT] = {{0}}, all = {0};
    count_tensors(n, of_type, &all);
    if (n->unread.status != LEVEE_OK)
        format_add(f, "%s\n", n->unread.message);
    else if (n->kind == INSPECTED_MODEL)
        describe_model(f, &n->model);
    else
        describe_adapter(f, &n->adapter);
    list_tensors(f, n);
    format_add(f, "\n%" PRIu64 " tensors, %" PRIu64 " parameters, %s", all.tensors, all.parameters,
               bytes_format(bytes, all.bytes));
    for (unsigned type = 0; type < DTYPE_COUNT; type++)
        if (of_type[type].tensors && of_type[type].tensors < all.tensors)
            format_add(f, "; %s: %" PRIu64 " in %" PRIu64, dtype_describe((dtype)type)->name,
                       of_type[type].parameters, of_type[type].tensors);
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
    format_add(f, "],\"layers\":");
    if (c->layer_count == UINT32_MAX)
        format_add(f, "null");
    else
        format_add(f, "[%u,%u]", c->first_layer, c->first_layer + c->layer_count - 1);
    format_add(f, ",\"base_model\":");
    if (*c->base_model)
        format_json_text(f, c->base_model);
    else
        format_add(f, "null");
}

static void json_tensors(formatter *f, const inspection *n) {
    format_add(f, ",\"tensors\":[");
    for (uint32_t i = 0; i < n->count; i++) {
        const tensor_view *view = n->listed[i];
        char shape[TENSOR_RANK * 24];
        format_add(f, "%s{\"name\":", i ? "," : "");
        format_json_text(f, view->name);
        format_add(f, ",\"dtype\":\"%s\",\"shape\":%s,\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
                   dtype_describe(view->type)->name, shape_text(shape, view), elements_of(view), view->bytes);
    }
    format_add(f, "]");
}

static void write_json(formatter *f, const inspection *n) {
    tensor_count of_type[DTYPE_COUNT] = {{0}}, all = {0};
    count_tensors(n, of_type, &all);
    format_add(f, "{\"path\":");
    format_json_text(f, n->path);
    format_add(f, ",\"kind\":\"%s\"", n->kind == INSPECTED_MODEL ? "model" : "adapter");
    if (n->unread.status != LEVEE_OK) {
        format_add(f, ",\"unread\":");
        format_json_text(f, n->unread.message);
    } else if (n->kind == INSPECTED_MODEL) {
        json_model(f, &n->model);
    } else {
        json_adapter(f, &n->adapter);
    }
    json_tensors(f, n);
    format_add(f, ",\"parameters\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dtypes\":{", all.parameters, all.bytes);
    for (unsigned type = 0, listed = 0; type < DTYPE_COUNT; type++)
        if (of_type[type].tensors)
            format_add(f, "%s\"%s\":%" PRIu64, listed++ ? "," : "", dtype_describe((dtype)type)->name,
                       of_type[type].parameters);
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
    return status;
}
