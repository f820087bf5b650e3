/* From a model's configuration to its graph: the forward pass of any family, with whatever trains marked as such.
 *
 * Adapters are part of the graph (a LoRA operator after each adapted projection, and for DoRA the norm and the
 * magnitude beside it), and so is the choice of what trains: a parameter that trains is a VALUE_PARAMETER in f32, all
 * others are VALUE_WEIGHT in the type of the file. Values are named after the tensors of the file; an adapter's after
 * the projection plus ".lora_A", ".lora_B" or ".lora_magnitude_vector". */
#ifndef LEVEE_MODEL_BUILDER_H
#define LEVEE_MODEL_BUILDER_H

#include "graph/graph.h"
#include "model/config.h"
#include "tensor/safetensors.h"

/* A new one comes last: checkpoints hold its number. */
typedef enum fine_tune_type {
    FINE_TUNE_NONE,
    FINE_TUNE_LORA,
    FINE_TUNE_FULL,
    FINE_TUNE_HEAD,
    FINE_TUNE_DORA
} fine_tune_type;

typedef struct trainable_set {
    fine_tune_type type;
    uint32_t last_layers;               /* all but HEAD: how many layers, counted from the last; at least the model's
                                           number means all, and for FULL embeddings, norm and head too */
    uint32_t rank;                      /* LORA, DORA */
    float scale;                        /* LORA, DORA: multiplies the adapter's product; alpha / rank */
    float dropout;                      /* LORA, DORA: of what the adapter's product sees */
    bool projections[PROJECTION_COUNT]; /* LORA, DORA: which */
} trainable_set;

/* Does an adapter train, beside a model that stays as it is? */
static inline bool fine_tune_is_adapter(fine_tune_type type) {
    return type == FINE_TUNE_LORA || type == FINE_TUNE_DORA;
}

typedef struct model_source {
    const model_config *config;
    const safetensors *tensors; /* NULL: no weights at hand, all of the configuration's type */
} model_source;

/* The named inputs and outputs of the graphs, one row a token. */
#define VALUE_IDS         "ids"              /* i32 */
#define VALUE_LABELS      "labels"           /* i32, negative where there is no target */
#define VALUE_POSITIONS   "positions"        /* i32 */
#define VALUE_STARTS      "starts"           /* i32, first row of the token's sequence */
#define VALUE_EXAMPLES    "examples"         /* i32, only with dropout: the example's number in the step */
#define VALUE_LOSSES      "losses"           /* f32 out */
#define VALUE_HIDDEN      "hidden"           /* f32 [T, hidden]: out of generation's body, into its head */
#define VALUE_LOGITS      "logits"           /* f32 [T, vocabulary] out */
#define VALUE_FREQUENCIES "rope frequencies" /* constant, f32 [1, head_dim / 2] */

/* Adds the forward pass with the head's loss to an empty graph: inputs ids, labels, positions, starts (examples),
 * output losses. Checks that every tensor is there in the right shape. */
levee_status model_build_loss(graph *g, const model_source *source, const trainable_set *trained, levee_error *error);

/* Generation: the layers with caches of `cache_rows` positions (inputs ids, positions; output hidden), and apart from
 * it the head (input hidden, output logits). */
levee_status model_build_body(graph *g, const model_source *source, const trainable_set *adapted, uint32_t cache_rows,
                              levee_error *error);
levee_status model_build_head(graph *g, const model_source *source, levee_error *error);

/* The parts of an adapter of one projection. */
typedef enum adapter_part { ADAPTER_A, ADAPTER_B, ADAPTER_MAGNITUDE } adapter_part;

/* The name of the value that holds one: "model.layers.0.self_attn.q_proj.lora_A". */
void model_adapter_name(char name[VALUE_NAME_BYTES], const model_config *config, uint32_t layer,
                        model_projection projection, adapter_part part);

/* Which part a value of that name is, and (unless NULL) the tensor of the projection that it adapts; false when it
 * is none. */
bool model_adapter_part(const char *value_name, adapter_part *part, char tensor[VALUE_NAME_BYTES]);

/* The tensor in the files that a frozen weight or a fully trained parameter starts from: its own name, or the
 * embedding's where the head is tied to it. */
const tensor_view *model_find_tensor(const model_source *source, const char *name);

#endif
