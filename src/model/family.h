/* The families of models: one description each, which the reader of config.json, the builder and init go by.
 *
 * All are decoders of the same build: embedding, layers of attention and a gated feed-forward part with a norm before
 * each, a final norm, a head. A description says what its tensors are called, what config.json leaves out, which
 * options it has beyond those that all have, and sets those fields of the configuration that choose operators
 * (biased, head_norms, window). To add one, see CONTRIBUTING.md. */
#ifndef LEVEE_MODEL_FAMILY_H
#define LEVEE_MODEL_FAMILY_H

#include "memory/json.h"
#include "model/config.h"

/* Each stands for "NAME.weight"; those of a layer for "LAYERS.7.NAME.weight". */
typedef struct tensor_names {
    const char *embedding, *final_norm, *head, *layers;
    const char *attention_norm, *feed_forward_norm;
    const char *query_norm, *key_norm; /* with head_norms */
} tensor_names;

struct model_family {
    const char *type;         /* model_type in config.json */
    const char *architecture; /* for a config.json of our own */
    const tensor_names *names;
    /* Where config.json does not say. */
    uint32_t max_positions;
    uint32_t kv_heads; /* 0: as many as heads */
    uint32_t head_dim; /* 0: hidden_size / heads */
    /* Keys that are refused where they are not listed, because they change the mathematics; ends with NULL. */
    const char *const *options;
    /* Reads them; the sizes have been read. */
    void (*read)(json_reader *r, model_config *c);
    /* Adds them to a config.json of our own. */
    void (*write)(json_t *object, const model_config *c);
};

/* NULL when there is none of that model_type. */
const model_family *family_find(const char *type);

bool family_has_option(const model_family *family, const char *key);

/* "llama, mistral, ..."; returns `names`. */
enum { FAMILY_NAMES_BYTES = 256 };
const char *family_names(char names[FAMILY_NAMES_BYTES]);

/* What several of them share. */

extern const tensor_names family_llama_names;

/* A flag that gives a bias to all projections from `first` to `last`. */
void family_read_bias(json_reader *r, model_config *c, const char *key, model_projection first,
                      model_projection last);

/* sliding_window: 4096 where it is absent, no window where it is null. */
void family_read_window(json_reader *r, model_config *c);

/* The window of Qwen: if use_sliding_window says so, in the layers that layer_types names, and without that in those
 * from max_window_layers on. Writing leaves the layers to layer_types. */
void family_read_qwen_window(json_reader *r, model_config *c);
void family_write_qwen_window(json_t *object, const model_config *c);

#endif
