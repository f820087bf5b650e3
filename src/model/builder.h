/* From a model's configuration to its graph: the Llama family's forward pass, with whatever trains marked as such.
 *
 * Adapters are part of the graph (a LoRA operator after each adapted projection), and so is the choice of what
 * trains: a parameter that trains is a VALUE_PARAMETER in f32, all others are VALUE_WEIGHT in the type of the file.
 * Values are named after the tensors of the file; adapter matrices after the projection plus ".lora_A" or ".lora_B".
 */
#ifndef LEVEE_MODEL_BUILDER_H
#define LEVEE_MODEL_BUILDER_H

#include "graph/graph.h"
#include "model/config.h"
#include "tensor/safetensors.h"

typedef enum fine_tune_type { FINE_TUNE_NONE, FINE_TUNE_LORA, FINE_TUNE_FULL, FINE_TUNE_HEAD } fine_tune_type;

typedef struct trainable_set {
    fine_tune_type type;
    uint32_t last_layers;               /* LORA, FULL: how many layers, counted from the last; at least the model's
                                           number means all, and for FULL embeddings, norm and head too */
    uint32_t rank;                      /* LORA */
    float scale;                        /* LORA: multiplies the adapter's product; alpha / rank */
    float dropout;                      /* LORA */
    bool projections[PROJECTION_COUNT]; /* LORA: which */
} trainable_set;

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

/* The name of the tensor in which a projection of a layer lies in the model's files. */
void model_tensor_name(char name[VALUE_NAME_BYTES], uint32_t layer, model_projection projection);

/* The tensor in the files that a frozen weight or a fully trained parameter starts from: its own name, or the
 * embedding's where the head is tied to it. */
const tensor_view *model_find_tensor(const model_source *source, const char *name);

#endif
