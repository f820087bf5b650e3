/* config.json of a Hugging Face model directory, checked field by field. */
#ifndef LEVEE_MODEL_CONFIG_H
#define LEVEE_MODEL_CONFIG_H

#include "memory/json.h"
#include "tensor/dtype.h"

/* The linear projections of a layer, in the order of the forward pass. */
typedef enum model_projection {
    PROJECTION_Q,
    PROJECTION_K,
    PROJECTION_V,
    PROJECTION_O,
    PROJECTION_GATE,
    PROJECTION_UP,
    PROJECTION_DOWN,
    PROJECTION_COUNT
} model_projection;

/* "self_attn.q_proj", as in the names of tensors. */
const char *model_projection_name(model_projection projection);

/* Finds a projection by "q_proj" or "self_attn.q_proj"; PROJECTION_COUNT when there is none. */
model_projection model_projection_find(const char *name);

typedef struct model_family model_family; /* family.h */

typedef enum rope_type { ROPE_DEFAULT, ROPE_LLAMA3 } rope_type;

enum { CONFIG_EOS_IDS = 8, CONFIG_MOST_LAYERS = 4096 };

typedef struct model_config {
    const model_family *family;
    uint32_t hidden_size, intermediate_size, layers, heads, kv_heads, head_dim, vocabulary_size, max_positions;
    float norm_epsilon;
    double rope_theta;
    rope_type rope;
    double rope_factor, rope_low_frequency_factor, rope_high_frequency_factor; /* llama3 */
    uint32_t rope_original_positions;                                          /* llama3 */
    bool tied_head;
    bool biased[PROJECTION_COUNT];     /* projections that add a bias */
    bool head_norms;                   /* queries and keys are normalised head by head before they are rotated */
    uint32_t window;                   /* rows that a windowed layer sees back, its own included */
    bool windowed[CONFIG_MOST_LAYERS]; /* layers that have the window */
    dtype stored_type;
    int64_t bos_id; /* -1: none is named */
    uint32_t eos_ids[CONFIG_EOS_IDS], eos_count;
} model_config;

/* Width of a projection's input, or of its output. */
uint64_t model_projection_width(const model_config *config, model_projection projection, bool output);

/* How many rows a layer sees back, its own included; UINT32_MAX: all. */
uint32_t model_config_window(const model_config *config, uint32_t layer);

/* How many layers have a window. */
uint32_t model_config_windowed_layers(const model_config *config);

/* Reads config.json of a model directory, in the older spelling (rope_theta, rope_scaling, torch_dtype) or the newer
 * (rope_parameters, dtype). A family that is not known is refused by name. An option that is known to change the
 * mathematics, in this family or another, is refused by name unless the family has it (family.h), or it has the value
 * that changes nothing; every other key is skipped, since most of them are notes of the training that made the model.
 * Sizes are capped so that no product of two of them, times an element's bytes, passes 64 bits. */
levee_status model_config_read(model_config *config, const char *directory, levee_error *error);

/* The same from the object of such a file; messages name `path`. */
levee_status model_config_parse(model_config *config, const json_t *object, const char *path, levee_error *error);

/* What the copy of a config.json says otherwise: that the head is a tensor of its own; or rope_theta and rope_scaling
 * beside rope_parameters, of which mlx-lm (0.32) reads nothing in some families. */
typedef enum config_change { CONFIG_SAME, CONFIG_UNTIED, CONFIG_OLDER_ROPE } config_change;

/* Writes the config.json of a model into another directory. */
levee_status model_config_copy(const char *from_directory, const char *to_directory, config_change change,
                               levee_error *error);

/* The angle by which each pair of a head's elements turns per position: `frequencies` [head_dim / 2]. For type llama3
 * the slow ones are slowed further, as Llama 3.1 does it. */
void model_config_rope_frequencies(const model_config *config, float *frequencies);

#endif
