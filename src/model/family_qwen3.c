/* Qwen3: built like Llama, with a norm over each head's queries and keys, heads of a width of their own, and a window
 * in some layers. */
#include "model/family.h"

static const char *const options[] = {"attention_bias", "use_sliding_window", "sliding_window", "layer_types", NULL};

static void read_options(json_reader *r, model_config *c) {
    c->head_norms = true;
    family_read_bias(r, c, "attention_bias", PROJECTION_Q, PROJECTION_O);
    family_read_qwen_window(r, c);
}

static void write_options(json_t *object, const model_config *c) {
    json_object_set_new(object, "attention_bias", json_boolean(c->biased[PROJECTION_Q]));
    family_write_qwen_window(object, c);
}

const model_family family_qwen3 = {
    .type = "qwen3",
    .architecture = "Qwen3ForCausalLM",
    .names = &family_llama_names,
    .max_positions = 32768,
    .kv_heads = 32,
    .head_dim = 128,
    .options = options,
    .read = read_options,
    .write = write_options,
};
