/* A model as a static list of coarse operators over values.
 *
 * Glossary. A value is one tensor of the graph: what it is for (role), where it lies (space), its type and shape. A
 * node is one operator with its inputs and outputs. Nodes run in the order in which they stand; each activation is
 * written by exactly one node. A pass is one run over all nodes, for one micro-batch.
 *
 * Building. The functions that add to a graph never fail on their own: the first failure is kept, later calls do
 * nothing and return NO_VALUE, and graph_status tells at the end. So a model's builder reads like the model.
 *
 * Ownership. A graph owns its arrays (category `runtime`); graph_close frees them and accepts a zeroed graph. */
#ifndef LEVEE_GRAPH_GRAPH_H
#define LEVEE_GRAPH_GRAPH_H

#include "graph/kernel.h"

typedef uint32_t value_id;
enum { NO_VALUE = UINT32_MAX, NO_NODE = UINT32_MAX, NO_LAYER = -1, VALUE_NAME_BYTES = 80 };

/* Where a value's bytes are. Each space but the mapped files has a budget of its own. */
typedef enum value_space { SPACE_MAPPED, SPACE_HOST, SPACE_DEVICE, SPACE_COUNT } value_space;

typedef enum value_role {
    VALUE_INPUT,      /* filled by the trainer before a pass; lives through the pass */
    VALUE_OUTPUT,     /* read by the trainer after a pass; lives to its end */
    VALUE_CONSTANT,   /* computed once by the model's builder; lives as long as the run */
    VALUE_WEIGHT,     /* a frozen parameter, in a mapped file */
    VALUE_PARAMETER,  /* a parameter that trains, f32; lives as long as the run */
    VALUE_GRADIENT,   /* of a parameter, f32, accumulated over passes; lives as long as the run */
    VALUE_CACHE,      /* generation's keys and values; lives as long as the run */
    VALUE_ACTIVATION, /* lives from the node that writes it to the last that reads it */
} value_role;

typedef struct value {
    char name[VALUE_NAME_BYTES];
    value_role role;
    value_space space;
    dtype type;
    bool per_token; /* rows is the plan's capacity, known only when planned */
    uint64_t rows, cols;
    int32_t layer;     /* NO_LAYER outside the layers */
    value_id gradient; /* of a parameter; else NO_VALUE */
    uint32_t producer; /* the node that writes it; NO_NODE for roles that no node writes */
} value;

typedef struct node {
    operator_kind kind;
    operator_parameters parameters;
    value_id in[KERNEL_INPUTS], out[KERNEL_OUTPUTS]; /* NO_VALUE where absent */
    int32_t layer;
    bool backward;
    bool recomputed; /* a forward operator run again in the backward part */
} node;

typedef struct graph {
    value *values;
    uint32_t value_count, value_capacity;
    node *nodes;
    uint32_t node_count, node_capacity;
    value_space compute_space; /* where activations, parameters and gradients are made */
    levee_error failure;       /* the first one; status LEVEE_OK when there is none */
} graph;

/* Starts an empty graph whose operators work in `compute_space`. */
void graph_open(graph *g, value_space compute_space);
void graph_close(graph *g);
levee_status graph_status(const graph *g, levee_error *error);

/* Adds a value of `rows` x `cols` elements; with rows 0 it has a row per token. The name is a printf format. */
value_id graph_value(graph *g, value_role role, dtype type, uint64_t rows, uint64_t cols, int32_t layer,
                     const char *name, ...) __attribute__((format(printf, 7, 8)));

/* The gradient of a parameter, made on the first call. */
value_id graph_gradient_of(graph *g, value_id parameter);

/* Adds a node at the end. `in` and `out` are copied; absent ones are NO_VALUE. Returns its index. */
uint32_t graph_node(graph *g, const node *description);

/* The node that computes head and loss; NO_NODE when there is none. */
uint32_t graph_head(const graph *g);

/* Does the head store logits, and so work on chunks of rows? It must to make a gradient of its weight. */
bool graph_head_stores_logits(const graph *g);

/* Bytes of a value when the plan's capacity is `capacity` tokens. */
uint64_t graph_value_bytes(const value *v, uint32_t capacity);

/* Which input an operator's output shares its buffer with. */
typedef enum sharing { SHARING_NONE, SHARING_ALLOWED, SHARING_REQUIRED } sharing;

/* How output `output` of an operator may or must share the buffer of an input (kernel.h: "add", "may be"), and which.
 */
sharing operator_sharing(operator_kind kind, unsigned output, unsigned *input);

/* y from x and a weight, with LoRA or without. */
static inline bool operator_is_linear(operator_kind kind) { return kind == OPERATOR_LINEAR || kind == OPERATOR_LORA; }

/* True when an output is added to instead of overwritten. */
bool operator_accumulates(operator_kind kind, unsigned output);

/* Stores activations in the type of the products (bf16) where only products would read them, which round them to it
 * anyway: norms and what goes through SwiGLU, in layers whose weights do not train. Call before graph_differentiate;
 * gradients of what goes into SwiGLU are then of that type too. */
levee_status graph_store_operands(graph *g, dtype type, levee_error *error);

/* Appends the backward operators for the parameters that train, and nothing else: the head's loss becomes loss and
 * gradient in one, and every node between it and a parameter gets its gradient, last node first. Call once, on a
 * graph that ends in OPERATOR_HEAD_LOSS. */
levee_status graph_differentiate(graph *g, levee_error *error);

/* Makes `result` (closed by the caller) from a differentiated graph: activations marked in `recompute` (one flag a
 * value) are not kept for the backward part but computed again there, right before their first use. */
levee_status graph_recompute(graph *result, const graph *source, const bool *recompute, levee_error *error);

/* The same into a graph that was made so before, or is zeroed, whose lists are used again. On failure it is closed.
 */
levee_status graph_recompute_again(graph *result, const graph *source, const bool *recompute, levee_error *error);

/* Makes `result` from a graph, with a copy before each use of a value that is not in the compute space, and a copy of
 * each output to the host. On a graph whose values are all within reach (mapped and host, computed on the host) it
 * only copies the graph. */
levee_status graph_insert_copies(graph *result, const graph *source, levee_error *error);

/* Are all values where the operators can use them, so that there is nothing to copy? */
bool graph_is_within_reach(const graph *g);

#endif
