/* The values of what trains: where they come from, and where they go.
 *
 * Parameters lie in memory at `base` at the offsets of the layout, f32. */
#ifndef LEVEE_MODEL_PARAMETERS_H
#define LEVEE_MODEL_PARAMETERS_H

#include "graph/layout.h"
#include "model/adapter.h"
#include "model/builder.h"

/* Gives every parameter and constant its first value: a tensor of the model is decoded from its file; of an adapter,
 * A is uniform in +-1/sqrt(in) from `seed`, B is zero, and a magnitude the norm of its row of the weight, so that the
 * adapted model starts as the model. */
levee_status parameters_initialise(const model_source *source, const layout *lasting, unsigned char *base,
                                   uint64_t seed, levee_error *error);

/* Reads the tensors of an adapter, PEFT's or mlx-lm's: `path` is its directory or its safetensors file. Its shapes
 * must be those of the layout. */
levee_status parameters_read_adapter(const layout *lasting, unsigned char *base, const char *path,
                                     levee_error *error);

/* Writes adapter_model.safetensors and adapter_config.json into `directory`, each atomically. */
levee_status parameters_write_adapter(const layout *lasting, const unsigned char *base, const adapter_config *config,
                                      const char *directory, levee_error *error);

/* Writes a whole Hugging Face model directory: the trained parameters in the type that the file had, everything else
 * copied. A head that was tied and trained alone is written as a tensor of its own. */
levee_status parameters_write_model(const model_source *source, const layout *lasting, const unsigned char *base,
                                    const char *model_directory, const char *directory, levee_error *error);

#endif
