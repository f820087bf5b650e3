/* config.json of a Hugging Face model directory, checked field by field. */
#ifndef LEVEE_MODEL_CONFIG_H
#define LEVEE_MODEL_CONFIG_H

#include "levee.h"
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

typedef enum model_family { MODEL_LLAMA } model_family;

typedef enum rope_type { ROPE_DEFAULT, ROPE_LLAMA3 } rope_type;

enum { CONFIG_EOS_IDS = 8 };

typedef struct model_config {
    model_family family;
    uint32_t hidden_size, intermediate_size, layers, heads, kv_heads, head_dim, vocabulary_size, max_positions;
    float norm_epsilon;
    double rope_theta;
    rope_type rope;
    double rope_factor, rope_low_frequency_factor, rope_high_frequency_factor; /* llama3 */
    uint32_t rope_original_positions;                                          /* llama3 */
    bool tied_head;
    dtype stored_type;
    int64_t bos_id; /* -1: none is named */
    uint32_t eos_ids[CONFIG_EOS_IDS], eos_count;
} model_config;

/* Reads config.json of a model directory, in the older spelling (rope_theta, rope_scaling, torch_dtype) or the newer
 * (rope_parameters, dtype). A family that is not known is refused by name. An option that is known to change the
 * mathematics, in this family or another, is refused by name unless it has the value that changes nothing; every
 * other key is skipped, since most of them are notes of the training that made the model. Sizes are capped so that no
 * product of two of them, times an element's bytes, passes 64 bits. */
levee_status model_config_read(model_config *config, const char *directory, levee_error *error);

/* Sets tie_word_embeddings to false in the config.json of a directory that we wrote. */
levee_status model_config_untie(const char *directory, levee_error *error);

/* The angle by which each pair of a head's elements turns per position: `frequencies` [head_dim / 2]. For type llama3
 * the slow ones are slowed further, as Llama 3.1 does it. */
void model_config_rope_frequencies(const model_config *config, float *frequencies);

#endif
