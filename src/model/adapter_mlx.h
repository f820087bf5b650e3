/* mlx-lm's LoRA and DoRA adapters: adapter_config.json by its options, and adapters.safetensors, whose matrices lie
 * the other way round than PEFT's: lora_a [in, rank] and lora_b [rank, out]; DoRA's magnitude is m [out]. */
#ifndef LEVEE_MODEL_ADAPTER_MLX_H
#define LEVEE_MODEL_ADAPTER_MLX_H

#include "memory/json.h"
#include "model/adapter.h"

/* Reads the configuration from an object that is no PEFT adapter's. */
void adapter_mlx_read(json_reader *r, adapter_config *config);

/* Writes the configuration of an adapter on layers from `first_layer` to the model's last: mlx-lm counts from there.
 */
levee_status adapter_mlx_write(const adapter_config *config, uint32_t first_layer, uint32_t layers,
                               const char *directory, levee_error *error);

/* PEFT's name of a tensor as mlx-lm's: "model.layers.0.self_attn.q_proj.lora_a". */
void adapter_mlx_name(char name[TENSOR_NAME_BYTES], const char *peft_name);

#endif
