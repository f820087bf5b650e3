/* Mistral: built like Llama, with a window of attention in every layer. */
#include "model/family.h"

static const char *const options[] = {"sliding_window", NULL};

static void write_options(json_t *object, const model_config *c) {
    json_object_set_new(object, "sliding_window", c->window == UINT32_MAX ? json_null() : json_integer(c->window));
}

const model_family family_mistral = {
    .type = "mistral",
    .architecture = "MistralForCausalLM",
    .names = &family_llama_names,
    .max_positions = 131072,
    .kv_heads = 8,
    .options = options,
    .read = family_read_window,
    .write = write_options,
};
