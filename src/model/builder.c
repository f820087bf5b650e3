/* The Llama family as a graph: see builder.h. */
#include "model/builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static const char embedding_name[] = "model.embed_tokens.weight";
static const char final_norm_name[] = "model.norm.weight";
static const char head_name[] = "lm_head.weight";

/* What is at hand while one graph is built. */
typedef struct builder {
    graph *g;
    const model_source *source;
    const trainable_set *trained;
    value_id positions, examples, rope_table;
    value_id starts;     /* training */
    uint32_t cache_rows; /* generation; 0 in training */
} builder;

void model_tensor_name(char name[VALUE_NAME_BYTES], uint32_t layer, model_projection projection) {
    snprintf(name, VALUE_NAME_BYTES, "model.layers.%u.%s.weight", layer, model_projection_name(projection));
}

const tensor_view *model_find_tensor(const model_source *source, const char *name) {
    const tensor_view *found = safetensors_find(source->tensors, name);
    if (!found && source->config->tied_head && !strcmp(name, head_name))
        found = safetensors_find(source->tensors, embedding_name);
    return found;
}

static bool is_adapted_layer(const builder *b, uint32_t layer) {
    uint32_t layers = b->source->config->layers;
    return b->trained->last_layers >= layers || layer >= layers - b->trained->last_layers;
}

/* Does a tensor of this layer (NO_LAYER: outside the layers) train as a whole? */
static bool trains_whole(const builder *b, int32_t layer, const char *name) {
    if (b->trained->type == FINE_TUNE_HEAD) return !strcmp(name, head_name);
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
    bool matches = rows == 1 ? view->rank == 1 && view->shape[0] == cols
                             : view->rank == 2 && view->shape[0] == rows && view->shape[1] == cols;
    if (!matches && g->failure.status == LEVEE_OK)
        error_set(
            &g->failure, LEVEE_BAD_DATA,
            "tensor %s has shape [%llu, %llu], but config.json asks for [%llu, %llu]; they do not belong together",
            name, (unsigned long long)view->shape[0], view->rank > 1 ? (unsigned long long)view->shape[1] : 1ULL,
            (unsigned long long)rows, (unsigned long long)cols);
    if (view->type == DTYPE_I32 && g->failure.status == LEVEE_OK)
        error_set(&g->failure, LEVEE_BAD_DATA, "tensor %s has type %s; only f32, f16 and bf16 weights are read", name,
                  dtype_describe(view->type)->name);
    return view->type;
}

static value_id weight(builder *b, int32_t layer, uint64_t rows, uint64_t cols, const char *name) {
    dtype stored = check_tensor(b, name, rows, cols);
    bool trains = trains_whole(b, layer, name);
    return graph_value(b->g, trains ? VALUE_PARAMETER : VALUE_WEIGHT, trains ? DTYPE_F32 : stored, rows, cols, layer,
                       "%s", name);
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
    n.in[1] = weight(b, NO_LAYER, c->vocabulary_size, c->hidden_size, embedding_name);
    n.out[0] = activation(b, c->hidden_size, NO_LAYER, "embedded");
    graph_node(b->g, &n);
    return n.out[0];
}

static value_id rmsnorm(builder *b, value_id x, int32_t layer, const char *tensor, const char *name) {
    const model_config *c = b->source->config;
    node n = make_node(OPERATOR_RMSNORM, layer);
    n.parameters.epsilon = c->norm_epsilon;
    n.in[0] = x;
    n.in[1] = weight(b, layer, 1, c->hidden_size, tensor);
    n.out[0] = activation(b, c->hidden_size, layer, name);
    n.out[1] = activation(b, 1, layer, "inverse rms");
    graph_node(b->g, &n);
    return n.out[0];
}

/* base + scale * drop(x) A^T B^T */
static value_id adapt(builder *b, value_id base, value_id x, uint32_t layer, model_projection projection, uint64_t in,
                      uint64_t out) {
    char tensor[VALUE_NAME_BYTES];
    model_tensor_name(tensor, layer, projection);
    tensor[strlen(tensor) - strlen(".weight")] = 0;
    node n = make_node(OPERATOR_LORA, (int32_t)layer);
    n.parameters.scale = b->trained->scale;
    n.parameters.dropout = b->trained->dropout;
    n.parameters.site = layer * PROJECTION_COUNT + (uint32_t)projection;
    n.in[0] = x;
    n.in[1] =
        graph_value(b->g, VALUE_PARAMETER, DTYPE_F32, b->trained->rank, in, (int32_t)layer, "%.70s.lora_A", tensor);
    n.in[2] =
        graph_value(b->g, VALUE_PARAMETER, DTYPE_F32, out, b->trained->rank, (int32_t)layer, "%.70s.lora_B", tensor);
    n.in[3] = base;
    if (b->trained->dropout > 0) {
        n.in[4] = b->examples;
        n.in[5] = b->positions;
    }
    n.out[0] = activation(b, out, (int32_t)layer, model_projection_name(projection));
    n.out[1] = activation(b, b->trained->rank, (int32_t)layer, "lora inner");
    graph_node(b->g, &n);
    return n.out[0];
}

static value_id project(builder *b, value_id x, uint32_t layer, model_projection projection, uint64_t in,
                        uint64_t out) {
    char tensor[VALUE_NAME_BYTES];
    model_tensor_name(tensor, layer, projection);
    node n = make_node(OPERATOR_LINEAR, (int32_t)layer);
    n.in[0] = x;
    n.in[1] = weight(b, (int32_t)layer, out, in, tensor);
    n.out[0] = activation(b, out, (int32_t)layer, model_projection_name(projection));
    graph_node(b->g, &n);
    bool adapted =
        b->trained->type == FINE_TUNE_LORA && b->trained->projections[projection] && is_adapted_layer(b, layer);
    return adapted ? adapt(b, n.out[0], x, layer, projection, in, out) : n.out[0];
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
    n.parameters.window = UINT32_MAX;
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

static value_id transformer_layer(builder *b, value_id x, uint32_t layer) {
    const model_config *c = b->source->config;
    int32_t l = (int32_t)layer;
    uint64_t q_cols = (uint64_t)c->heads * c->head_dim, kv_cols = (uint64_t)c->kv_heads * c->head_dim;
    char tensor[VALUE_NAME_BYTES];

    snprintf(tensor, sizeof tensor, "model.layers.%u.input_layernorm.weight", layer);
    value_id normed = rmsnorm(b, x, l, tensor, "attention norm");
    value_id q = project(b, normed, layer, PROJECTION_Q, c->hidden_size, q_cols);
    value_id k = project(b, normed, layer, PROJECTION_K, c->hidden_size, kv_cols);
    value_id v = project(b, normed, layer, PROJECTION_V, c->hidden_size, kv_cols);
    q = rotate(b, q, c->heads, l, "queries");
    k = rotate(b, k, c->kv_heads, l, "keys");
    value_id attended = attend(b, q, k, v, l);
    attended = project(b, attended, layer, PROJECTION_O, q_cols, c->hidden_size);
    x = binary(b, OPERATOR_ADD, x, attended, c->hidden_size, l, "after attention");

    snprintf(tensor, sizeof tensor, "model.layers.%u.post_attention_layernorm.weight", layer);
    normed = rmsnorm(b, x, l, tensor, "feed-forward norm");
    value_id gate = project(b, normed, layer, PROJECTION_GATE, c->hidden_size, c->intermediate_size);
    value_id up = project(b, normed, layer, PROJECTION_UP, c->hidden_size, c->intermediate_size);
    value_id product = binary(b, OPERATOR_SWIGLU, gate, up, c->intermediate_size, l, "swiglu");
    value_id down = project(b, product, layer, PROJECTION_DOWN, c->intermediate_size, c->hidden_size);
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
    return rmsnorm(b, x, NO_LAYER, final_norm_name, "final norm");
}

/* A head that is tied trains through the embedding, except when it alone trains: then it becomes a matrix of its own.
 */
static value_id head_weight(builder *b) {
    const model_config *c = b->source->config;
    bool shared = c->tied_head && b->trained->type != FINE_TUNE_HEAD;
    if (shared)
        for (value_id v = 0; v < b->g->value_count; v++)
            if (!strcmp(b->g->values[v].name, embedding_name)) return v;
    return weight(b, NO_LAYER, c->vocabulary_size, c->hidden_size, shared ? embedding_name : head_name);
}

levee_status model_build_loss(graph *g, const model_source *source, const trainable_set *trained,
                              levee_error *error) {
    builder b = {.g = g, .source = source, .trained = trained};
    value_id ids = input(&b, VALUE_IDS), labels = input(&b, VALUE_LABELS);
    b.positions = input(&b, VALUE_POSITIONS);
    b.starts = input(&b, VALUE_STARTS);
    b.examples = trained->type == FINE_TUNE_LORA && trained->dropout > 0 ? input(&b, VALUE_EXAMPLES) : NO_VALUE;
    node head = make_node(OPERATOR_HEAD_LOSS, NO_LAYER);
    head.parameters.chunk_tokens = 128;
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
