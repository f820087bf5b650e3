/* An adapter written in PEFT's or mlx-lm's format, whichever it came in. */
#ifndef LEVEE_MODEL_ADAPTER_CONVERT_H
#define LEVEE_MODEL_ADAPTER_CONVERT_H

#include "model/adapter.h"

/* Writes configuration and matrices into `directory`, each atomically, the matrices in the types that they have.
 * mlx-lm counts layers from the last: where the last ones have no adapter, the configuration names them, and mlx-lm
 * leaves them as they are. Takes memory for one matrix. */
levee_status adapter_convert(const adapter_config *config, const safetensors *matrices, const model_config *model,
                             adapter_format to, const char *directory, levee_error *error);

#endif
