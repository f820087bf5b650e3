/* LoRA and DoRA adapters, PEFT's and mlx-lm's: adapter_config.json, the names of their tensors, and whether both fit
 * a model.
 *
 * A projection of [out, in] gets two matrices, lora_A [rank, in] and lora_B [out, rank]; their product is scaled by
 * alpha / rank and added to the projection. DoRA's third, lora_magnitude_vector [out], is then the norm of each row
 * of that sum. mlx-lm keeps the matrices transposed (adapter_mlx.h); Levee writes PEFT's format. */
#ifndef LEVEE_MODEL_ADAPTER_H
#define LEVEE_MODEL_ADAPTER_H

#include "base/file.h"
#include "model/builder.h"

typedef enum adapter_format { ADAPTER_PEFT, ADAPTER_MLX } adapter_format;

enum { ADAPTER_MOST_RANK = 4096, ADAPTER_FROM_LAST = UINT32_MAX };

typedef struct adapter_config {
    adapter_format format;
    uint32_t rank;
    double alpha; /* the adapter's product is scaled by alpha / rank; one of rank-stabilised LoRA is read as such */
    double dropout;
    bool dora;
    bool targets[PROJECTION_COUNT];
    uint32_t first_layer, layer_count; /* layer_count UINT32_MAX: all layers; first_layer ADAPTER_FROM_LAST: so many
                                          of the model's last, or all when it has no more */
    char base_model[FILE_PATH_BYTES];  /* empty: not named */
} adapter_config;

/* Reads the one in `directory`; what cannot be computed here (biases, other adapter types, per-layer ranks,
 * layers that are not consecutive, targets given as a pattern) is refused by name. */
levee_status adapter_config_read(adapter_config *config, const char *directory, levee_error *error);

/* Writes it atomically, with every field that PEFT expects. */
levee_status adapter_config_write(const adapter_config *config, const char *directory, levee_error *error);

/* The name in adapter_model.safetensors of a value that model_adapter_name names:
 * "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"; a magnitude's does not end in ".weight". */
void adapter_tensor_name(char name[TENSOR_NAME_BYTES], const char *value_name);

/* How many parts of each projection's adapter there are: A, B and perhaps a magnitude. */
unsigned adapter_parts(const adapter_config *config);

/* A part as it must be declared in a file of `format`, but for its type. */
void adapter_describe(tensor_declaration *t, const adapter_config *config, const model_config *model, uint32_t layer,
                      model_projection projection, adapter_part part, adapter_format format);

/* The layers that are adapted, [*first, *end), on a model which the configuration fits. */
void adapter_layers(const adapter_config *config, const model_config *model, uint32_t *first, uint32_t *end);

/* Whether the configuration fits the model: LEVEE_BAD_DATA when its layers are not there. */
levee_status adapter_check_layers(const adapter_config *config, const model_config *model, const char *place,
                                  levee_error *error);

/* Whether `tensors`, read from `path`, are exactly those that the configuration has on this model, each of its
 * shape; LEVEE_BAD_DATA names the first that is missing, misshapen or too many. */
levee_status adapter_check_tensors(const adapter_config *config, const model_config *model,
                                   const safetensors *tensors, const char *path, levee_error *error);

/* Opens the configuration and the matrices in `directory`, of either format, checked against the model. The caller
 * closes *matrices. */
levee_status adapter_open(safetensors **matrices, adapter_config *config, const model_config *model,
                          const char *directory, levee_error *error);

/* The safetensors file of an adapter: `path` itself, or the one in that directory. */
levee_status adapter_tensors_path(char file[FILE_PATH_BYTES], const char *path, levee_error *error);

/* A matrix or a magnitude (one row) as it lies in a file. */
typedef struct adapter_tensor {
    const tensor_view *view;
    uint64_t rows, cols; /* as PEFT has them */
    bool transposed;     /* in the file */
} adapter_tensor;

/* Finds one by PEFT's name, under that or mlx-lm's; false when there is none, or it is neither, or not of floats. */
bool adapter_find(adapter_tensor *t, const safetensors *tensors, const char *peft_name);

/* Its values, f32 [rows, cols]. */
void adapter_decode(const adapter_tensor *t, float *values);

/* Refuses (LEVEE_USAGE) to go on from the adapter at `path`, a directory or a safetensors file, when it is not there
 * (LEVEE_MISSING_INPUT) or its configuration is not `wanted`, and says which options it asks for: shapes alone tell
 * nothing of its scale. Without a configuration beside the file nothing is known, and nothing refused. */
levee_status adapter_check_start(const char *path, const adapter_config *wanted, const model_config *model,
                                 levee_error *error);

/* Refuses (LEVEE_USAGE) a directory that already holds an adapter of another shape, by its configuration and by its
 * tensors; nothing is written. */
levee_status adapter_directory_check_writable(const char *directory, const adapter_config *config,
                                              const model_config *model, levee_error *error);

#endif
