/* A family's model as a graph: see builder.h. */
#include "model/builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "model/family.h"

/* What is at hand while one graph is built. */
typedef struct builder {
    graph *g;
    const model_source *source;
    const trainable_set *trained;
    value_id positions, examples, rope_table;
    value_id starts;     /* training */
    uint32_t cache_rows; /* generation; 0 in training */
} builder;

/* The tensor `part` ("weight" or "bias") of `name`: in a layer, or outside (NO_LAYER). */
static void tensor_name(char text[VALUE_NAME_BYTES], const tensor_names *names, int32_t layer, const char *name,
                        const char *part) {
    if (layer == NO_LAYER)
        snprintf(text, VALUE_NAME_BYTES, "%s.%s", name, part);
    else
        snprintf(text, VALUE_NAME_BYTES, "%s.%d.%s.%s", names->layers, layer, name, part);
}

static const char *const adapter_parts[] = {"lora_A", "lora_B", "lora_magnitude_vector"};

void model_adapter_name(char name[VALUE_NAME_BYTES], const model_config *config, uint32_t layer,
                        model_projection projection, adapter_part part) {
    tensor_name(name, config->family->names, (int32_t)layer, model_projection_name(projection), adapter_parts[part]);
}

bool model_adapter_part(const char *value_name, adapter_part *part, char tensor[VALUE_NAME_BYTES]) {
    const char *end = strrchr(value_name, '.');
    for (unsigned p = 0; end && p < sizeof adapter_parts / sizeof *adapter_parts; p++) {
        if (strcmp(end + 1, adapter_parts[p]) != 0) continue;
        *part = (adapter_part)p;
        if (tensor) snprintf(tensor, VALUE_NAME_BYTES, "%.*s.weight", (int)(end - value_name), value_name);
        return true;
    }
    return false;
}

const tensor_view *model_find_tensor(const model_source *source, const char *name) {
    const tensor_names *names = source->config->family->names;
    char head[VALUE_NAME_BYTES], embedding[VALUE_NAME_BYTES];
    const tensor_view *found = safetensors_find(source->tensors, name);
    if (found || !source->config->tied_head) return found;
    tensor_name(head, names, NO_LAYER, names->head, "weight");
    tensor_name(embedding, names, NO_LAYER, names->embedding, "weight");
    return strcmp(name, head) ? NULL : safetensors_find(source->tensors, embedding);
}

static bool is_adapted_layer(const builder *b, uint32_t layer) {
    uint32_t layers = b->source->config->layers;
    return b->trained->last_layers >= layers || layer >= layers - b->trained->last_layers;
}

static const tensor_names *names_of(const builder *b) { return b->source->config->family->names; }

/* Does a tensor of this layer (NO_LAYER: outside the layers) train as a whole? */
static bool trains_whole(const builder *b, int32_t layer, const char *name) {
    if (b->trained->type == FINE_TUNE_HEAD) return layer == NO_LAYER && !strcmp(name, names_of(b)->head);
    if (b->trained->type != FINE_TUNE_FULL) return false;
    if (layer == NO_LAYER) return b->trained->last_layers >= b->source->config->layers;
    return is_adapted_layer(b, (uint32_t)layer);
}

/* Refuses a tensor that is missing or of another shape; gives the type in which it is stored. */
static dtype check_tensor(builder *b, const char *name, uint64_t rows, uint64_t cols) {
    graph *g = b->g;
    if (!b->source->tensors) return b->source->config->stored_type;
    const tensor_view *view = model_find_tensor(b->source, name);
    if (!view) {
        if (g->failure.status == LEVEE_OK)
            error_set(
                &g->failure, LEVEE_BAD_DATA,
                "the model's files hold no tensor %s; config.json and the safetensors files do not belong together",
                name);
        return DTYPE_F32;
    }
    /* Its type first: a quantised tensor has another shape too. */
    if (!dtype_is_weight(view->type)) {
        if (g->failure.status == LEVEE_OK)
            error_set(&g->failure, LEVEE_BAD_DATA, "tensor %s has type %s; only f32, f16 and bf16 weights are read",
                      name, dtype_describe(view->type)->name);
        return DTYPE_F32;
    }
    bool matches = rows == 1 ? view->rank == 1 && view->shape[0] == cols
                             : view->rank == 2 && view->shape[0] == rows && view->shape[1] == cols;
    if (!matches && g->failure.status == LEVEE_OK)
        error_set(
            &g->failure, LEVEE_BAD_DATA,
            "tensor %s has shape [%llu, %llu], but config.json asks for [%llu, %llu]; they do not belong together",
            name, (unsigned long long)view->shape[0], view->rank > 1 ? (unsigned long long)view->shape[1] : 1ULL,
            (unsigned long long)rows, (unsigned long long)cols);
    return view->type;
}

/* A tensor of the model. */
static value_id tensor(builder *b, int32_t layer, uint64_t rows, uint64_t cols, const char *name, const char *part) {
    char full_name[VALUE_NAME_BYTES];
    tensor_name(full_name, names_of(b), layer, name, part);
    dtype stored = check_tensor(b, full_name, rows, cols);
    bool trains = trains_whole(b, layer, name);
    return graph_value(b->g, trains ? VALUE_PARAMETER : VALUE_WEIGHT, trains ? DTYPE_F32 : stored, rows, cols, layer,
                       "%s", full_name);
}

static value_id weight(builder *b, int32_t layer, uint64_t rows, uint64_t cols, const char *name) {
    return tensor(b, layer, rows, cols, name, "weight");
}

static node make_node(operator_kind kind, int32_t layer) {
    node n = {.kind = kind, .layer = layer};
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) n.in[i] = NO_VALUE;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) n.out[i] = NO_VALUE;
    return n;
}

static value_id activation(builder *b, uint64_t cols, int32_t layer, const char *name) {
    return layer == NO_LAYER
               ? graph_value(b->g, VALUE_ACTIVATION, DTYPE_F32, 0, cols, layer, "%s", name)
               : graph_value(b->g, VALUE_ACTIVATION, DTYPE_F32, 0, cols, layer, "layer %d %s", layer, name);
}

static value_id input(builder *b, const char *name) {
    return graph_value(b->g, VALUE_INPUT, DTYPE_I32, 0, 1, NO_LAYER, "%s", name);
}

static value_id embed(builder *b, value_id ids) {
    const model_config *c = b->source->config;
    node n = make_node(OPERATOR_EMBEDDING, NO_LAYER);
    n.in[0] = ids;
    n.in[1] = weight(b, NO_LAYER, c->vocabulary_size, c->hidden_size, names_of(b)->embedding);
    n.out[0] = activation(b, c->hidden_size, NO_LAYER, "embedded");
    graph_node(b->g, &n);
    return n.out[0];
}

/* Normalises each of `groups` groups of `cols` features. */
static value_id rmsnorm(builder *b, value_id x, uint64_t groups, uint64_t cols, int32_t layer, const char *tensor,
                        const char *name) {
    node n = make_node(OPERATOR_RMSNORM, layer);
    n.parameters.epsilon = b->source->config->norm_epsilon;
    n.in[0] = x;
    n.in[1] = weight(b, layer, 1, cols, tensor);
    n.out[0] = activation(b, groups * cols, layer, name);
    n.out[1] = activation(b, groups, layer, "inverse rms");
    graph_node(b->g, &n);
    return n.out[0];
}

static value_id hidden_norm(builder *b, value_id x, int32_t layer, const char *tensor, const char *name) {
    return rmsnorm(b, x, 1, b->source->config->hidden_size, layer, tensor, name);
}

static value_id adapter_value(builder *b, uint32_t layer, model_projection projection, adapter_part part,
                              uint64_t rows, uint64_t cols) {
    char name[VALUE_NAME_BYTES];
    model_adapter_name(name, b->source->config, layer, projection, part);
    return graph_value(b->g, VALUE_PARAMETER, DTYPE_F32, rows, cols, (int32_t)layer, "%s", name);
}

/* y * magnitude / |rows of weight + scale * B A| + bias, where y is what LoRA's node gives. */
static value_id set_magnitude(builder *b, const node *lora, value_id bias, uint32_t layer,
                              model_projection projection, uint64_t out) {
    node norm = make_node(OPERATOR_ADAPTED_NORM, (int32_t)layer), n = make_node(OPERATOR_MAGNITUDE, (int32_t)layer);
    norm.parameters.scale = lora->parameters.scale;
    norm.in[0] = lora->in[1];
    norm.in[1] = lora->in[3];
    norm.in[2] = lora->in[4];
    norm.out[0] = graph_value(b->g, VALUE_ACTIVATION, DTYPE_F32, 1, out, (int32_t)layer, "layer %u %s inverse norm",
                              layer, model_projection_name(projection));
    graph_node(b->g, &norm);
    n.in[0] = lora->out[0];
    n.in[1] = adapter_value(b, layer, projection, ADAPTER_MAGNITUDE, 1, out);
    n.in[2] = norm.out[0];
    n.in[3] = bias;
    n.out[0] = activation(b, out, (int32_t)layer, model_projection_name(projection));
    graph_node(b->g, &n);
    return n.out[0];
}

/* Adds scale * drop(x) A^T B^T to what a linear operator gives. */
static void adapt(builder *b, node *linear, uint32_t layer, model_projection projection, uint64_t in, uint64_t out) {
    linear->kind = OPERATOR_LORA;
    linear->parameters.scale = b->trained->scale;
    linear->parameters.dropout = b->trained->dropout;
    linear->parameters.site = layer * PROJECTION_COUNT + (uint32_t)projection;
    linear->in[3] = adapter_value(b, layer, projection, ADAPTER_A, b->trained->rank, in);
    linear->in[4] = adapter_value(b, layer, projection, ADAPTER_B, out, b->trained->rank);
    if (b->trained->dropout > 0) {
        linear->in[5] = b->examples;
        linear->in[6] = b->positions;
    }
    linear->out[1] = activation(b, b->trained->rank, (int32_t)layer, "lora inner");
}

static value_id project(builder *b, value_id x, uint32_t layer, model_projection projection) {
    const model_config *c = b->source->config;
    uint64_t in = model_projection_width(c, projection, false), out = model_projection_width(c, projection, true);
    const char *name = model_projection_name(projection);
    bool adapted =
        fine_tune_is_adapter(b->trained->type) && b->trained->projections[projection] && is_adapted_layer(b, layer);
    bool has_magnitude = adapted && b->trained->type == FINE_TUNE_DORA;
    node n = make_node(OPERATOR_LINEAR, (int32_t)layer);
    n.in[0] = x;
    n.in[1] = weight(b, (int32_t)layer, out, in, name);
    value_id bias = c->biased[projection] ? tensor(b, (int32_t)layer, 1, out, name, "bias") : NO_VALUE;
    if (!has_magnitude) n.in[2] = bias; /* else it comes after the magnitude */
    n.out[0] = activation(b, out, (int32_t)layer, name);
    if (adapted) adapt(b, &n, layer, projection, in, out);
    graph_node(b->g, &n);
    return has_magnitude ? set_magnitude(b, &n, bias, layer, projection, out) : n.out[0];
}

static value_id rotate(builder *b, value_id x, uint32_t heads, int32_t layer, const char *name) {
    node n = make_node(OPERATOR_ROPE, layer);
    n.parameters.heads = heads;
    n.parameters.head_dim = b->source->config->head_dim;
    n.in[0] = x;
    n.in[1] = b->rope_table;
    n.out[0] = activation(b, (uint64_t)heads * b->source->config->head_dim, layer, name);
    graph_node(b->g, &n);
    return n.out[0];
}

static value_id attend(builder *b, value_id q, value_id k, value_id v, int32_t layer) {
    const model_config *c = b->source->config;
    uint64_t kv_cols = (uint64_t)c->kv_heads * c->head_dim;
    node n = make_node(b->cache_rows ? OPERATOR_ATTENTION_CACHED : OPERATOR_ATTENTION, layer);
    n.parameters.heads = c->heads;
    n.parameters.kv_heads = c->kv_heads;
    n.parameters.head_dim = c->head_dim;
    n.parameters.scale = 1.0f / sqrtf((float)c->head_dim);
    n.parameters.window = model_config_window(c, (uint32_t)layer);
    n.in[0] = q, n.in[1] = k, n.in[2] = v;
    n.out[0] = activation(b, (uint64_t)c->heads * c->head_dim, layer, "attention");
    if (b->cache_rows) {
        n.in[3] = b->positions;
        n.in[4] = n.out[1] =
            graph_value(b->g, VALUE_CACHE, DTYPE_F32, b->cache_rows, kv_cols, layer, "layer %d cached keys", layer);
        n.in[5] = n.out[2] =
            graph_value(b->g, VALUE_CACHE, DTYPE_F32, b->cache_rows, kv_cols, layer, "layer %d cached values", layer);
    } else {
        n.in[3] = b->starts;
        n.out[1] = activation(b, c->heads, layer, "log-sum-exp");
    }
    graph_node(b->g, &n);
    return n.out[0];
}

static value_id binary(builder *b, operator_kind kind, value_id left, value_id right, uint64_t cols, int32_t layer,
                       const char *name) {
    node n = make_node(kind, layer);
    n.in[0] = left, n.in[1] = right;
    n.out[0] = activation(b, cols, layer, name);
    graph_node(b->g, &n);
    return n.out[0];
}

/* The queries or keys of one projection, normalised where the family does so, and rotated. */
static value_id place_heads(builder *b, value_id x, uint32_t heads, int32_t layer, const char *norm,
                            const char *name) {
    const model_config *c = b->source->config;
    if (c->head_norms) x = rmsnorm(b, x, heads, c->head_dim, layer, norm, name);
    return rotate(b, x, heads, layer, name);
}

static value_id transformer_layer(builder *b, value_id x, uint32_t layer) {
    const model_config *c = b->source->config;
    const tensor_names *names = names_of(b);
    int32_t l = (int32_t)layer;

    value_id normed = hidden_norm(b, x, l, names->attention_norm, "attention norm");
    value_id q = project(b, normed, layer, PROJECTION_Q);
    value_id k = project(b, normed, layer, PROJECTION_K);
    value_id v = project(b, normed, layer, PROJECTION_V);
    q = place_heads(b, q, c->heads, l, names->query_norm, "queries");
    k = place_heads(b, k, c->kv_heads, l, names->key_norm, "keys");
    value_id attended = attend(b, q, k, v, l);
    attended = project(b, attended, layer, PROJECTION_O);
    x = binary(b, OPERATOR_ADD, x, attended, c->hidden_size, l, "after attention");

    normed = hidden_norm(b, x, l, names->feed_forward_norm, "feed-forward norm");
    value_id gate = project(b, normed, layer, PROJECTION_GATE);
    value_id up = project(b, normed, layer, PROJECTION_UP);
    value_id product = binary(b, OPERATOR_SWIGLU, gate, up, c->intermediate_size, l, "swiglu");
    value_id down = project(b, product, layer, PROJECTION_DOWN);
    return binary(b, OPERATOR_ADD, x, down, c->hidden_size, l, "after feed-forward");
}

static void rope_table(builder *b) {
    uint32_t head_dim = b->source->config->head_dim;
    node n = make_node(OPERATOR_ROPE_TABLE, NO_LAYER);
    n.parameters.head_dim = head_dim;
    n.in[0] = b->positions;
    n.in[1] = graph_value(b->g, VALUE_CONSTANT, DTYPE_F32, 1, head_dim / 2, NO_LAYER, VALUE_FREQUENCIES);
    n.out[0] = b->rope_table = activation(b, head_dim, NO_LAYER, "rope table");
    graph_node(b->g, &n);
}

/* Embedding, layers and the final norm. */
static value_id body(builder *b, value_id ids) {
    rope_table(b);
    value_id x = embed(b, ids);
    for (uint32_t layer = 0; layer < b->source->config->layers; layer++) x = transformer_layer(b, x, layer);
    return hidden_norm(b, x, NO_LAYER, names_of(b)->final_norm, "final norm");
}

/* A head that is tied trains through the embedding, except when it alone trains: then it becomes a matrix of its own.
 */
static value_id head_weight(builder *b) {
    const model_config *c = b->source->config;
    const tensor_names *names = names_of(b);
    char embedding[VALUE_NAME_BYTES];
    bool shared = c->tied_head && b->trained->type != FINE_TUNE_HEAD;
    tensor_name(embedding, names, NO_LAYER, names->embedding, "weight");
    if (shared)
        for (value_id v = 0; v < b->g->value_count; v++)
            if (!strcmp(b->g->values[v].name, embedding)) return v;
    return weight(b, NO_LAYER, c->vocabulary_size, c->hidden_size, shared ? names->embedding : names->head);
}

levee_status model_build_loss(graph *g, const model_source *source, const trainable_set *trained,
                              levee_error *error) {
    builder b = {.g = g, .source = source, .trained = trained};
    value_id ids = input(&b, VALUE_IDS), labels = input(&b, VALUE_LABELS);
    b.positions = input(&b, VALUE_POSITIONS);
    b.starts = input(&b, VALUE_STARTS);
    b.examples = fine_tune_is_adapter(trained->type) && trained->dropout > 0 ? input(&b, VALUE_EXAMPLES) : NO_VALUE;
    node head = make_node(OPERATOR_HEAD_LOSS, NO_LAYER);
    head.in[0] = body(&b, ids);
    head.in[1] = head_weight(&b);
    head.in[2] = labels;
    head.out[0] = graph_value(g, VALUE_OUTPUT, DTYPE_F32, 0, 1, NO_LAYER, VALUE_LOSSES);
    graph_node(g, &head);
    return graph_status(g, error);
}

levee_status model_build_body(graph *g, const model_source *source, const trainable_set *adapted, uint32_t cache_rows,
                              levee_error *error) {
    trainable_set without_dropout = *adapted;
    without_dropout.dropout = 0;
    builder b = {.g = g, .source = source, .trained = &without_dropout, .cache_rows = cache_rows};
    value_id ids = input(&b, VALUE_IDS);
    b.positions = input(&b, VALUE_POSITIONS);
    b.starts = b.examples = NO_VALUE;
    value_id hidden = body(&b, ids);
    if (g->failure.status == LEVEE_OK) {
        g->values[hidden].role = VALUE_OUTPUT;
        snprintf(g->values[hidden].name, VALUE_NAME_BYTES, "%s", VALUE_HIDDEN);
    }
    return graph_status(g, error);
}

levee_status model_build_head(graph *g, const model_source *source, levee_error *error) {
    const model_config *c = source->config;
    trainable_set frozen = {.type = FINE_TUNE_NONE};
    builder b = {.g = g, .source = source, .trained = &frozen};
    node n = make_node(OPERATOR_LINEAR, NO_LAYER);
    n.in[0] = graph_value(g, VALUE_INPUT, DTYPE_F32, 0, c->hidden_size, NO_LAYER, VALUE_HIDDEN);
    n.in[1] = head_weight(&b);
    n.out[0] = graph_value(g, VALUE_OUTPUT, DTYPE_F32, 0, c->vocabulary_size, NO_LAYER, VALUE_LOGITS);
    graph_node(g, &n);
    return graph_status(g, error);
}
