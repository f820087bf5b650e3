/* PEFT's LoRA adapters: adapter_config.json, the names of their tensors, and whether both fit a model.
 *
 * A projection of [out, in] gets two matrices, lora_A [rank, in] and lora_B [out, rank]; their product is scaled by
 * alpha / rank and added to the projection. */
#ifndef LEVEE_MODEL_ADAPTER_H
#define LEVEE_MODEL_ADAPTER_H

#include "base/file.h"
#include "model/config.h"
#include "tensor/safetensors.h"

typedef struct adapter_config {
    uint32_t rank;
    double alpha; /* the adapter's product is scaled by alpha / rank; one of rank-stabilised LoRA is read as such */
    double dropout;
    bool targets[PROJECTION_COUNT];
    uint32_t first_layer, layer_count; /* layer_count UINT32_MAX: all layers */
    char base_model[FILE_PATH_BYTES];  /* empty: not named */
} adapter_config;

/* Reads the one in `directory`; what cannot be computed here (DoRA, biases, other adapter types, per-layer ranks,
 * layers that are not consecutive, targets given as a pattern) is refused by name. */
levee_status adapter_config_read(adapter_config *config, const char *directory, levee_error *error);

/* Writes it atomically, with every field that PEFT expects. */
levee_status adapter_config_write(const adapter_config *config, const char *directory, levee_error *error);

/* The name of a matrix in adapter_model.safetensors:
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight". */
void adapter_tensor_name(char name[TENSOR_NAME_BYTES], uint32_t layer, model_projection projection, bool is_b);

/* Whether the configuration fits the model: LEVEE_BAD_DATA when its layers are not there. */
levee_status adapter_check_layers(const adapter_config *config, const model_config *model, const char *place,
                                  levee_error *error);

/* Whether `tensors`, read from `path`, are exactly the matrices that the configuration has on this model, each of its
 * shape; LEVEE_BAD_DATA names the first that is missing, misshapen or too many. */
levee_status adapter_check_tensors(const adapter_config *config, const model_config *model,
                                   const safetensors *tensors, const char *path, levee_error *error);

/* Refuses (LEVEE_USAGE) a directory that already holds an adapter of another shape, by its configuration and by its
 * tensors; nothing is written. */
levee_status adapter_directory_check_writable(const char *directory, const adapter_config *config,
                                              const model_config *model, levee_error *error);

#endif
