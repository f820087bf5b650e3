/* Llama 2 and 3.x, and what is built like them (SmolLM2, TinyLlama). */
#include "model/family.h"

const tensor_names family_llama_names = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .head = "lm_head",
    .layers = "model.layers",
    .attention_norm = "input_layernorm",
    .feed_forward_norm = "post_attention_layernorm",
    .query_norm = "self_attn.q_norm",
    .key_norm = "self_attn.k_norm",
};

static const char *const options[] = {"attention_bias", "mlp_bias", NULL};

static void read_options(json_reader *r, model_config *c) {
    family_read_bias(r, c, "attention_bias", PROJECTION_Q, PROJECTION_O);
    family_read_bias(r, c, "mlp_bias", PROJECTION_GATE, PROJECTION_DOWN);
}

static void write_options(json_t *object, const model_config *c) {
    json_object_set_new(object, "attention_bias", json_boolean(c->biased[PROJECTION_Q]));
    json_object_set_new(object, "mlp_bias", json_boolean(c->biased[PROJECTION_GATE]));
}

const model_family family_llama = {
    .type = "llama",
    .architecture = "LlamaForCausalLM",
    .names = &family_llama_names,
    .max_positions = 2048,
    .options = options,
    .read = read_options,
    .write = write_options,
};
