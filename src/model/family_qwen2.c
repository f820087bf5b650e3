/* Qwen2 and Qwen2.5: built like Llama, with biases of queries, keys and values, and a window in some layers. */
#include "model/family.h"

static const char *const options[] = {"use_sliding_window", "sliding_window", "layer_types", NULL};

static void read_options(json_reader *r, model_config *c) {
    for (unsigned p = PROJECTION_Q; p <= PROJECTION_V; p++) c->biased[p] = true;
    family_read_qwen_window(r, c);
}

const model_family family_qwen2 = {
    .type = "qwen2",
    .architecture = "Qwen2ForCausalLM",
    .names = &family_llama_names,
    .max_positions = 32768,
    .kv_heads = 32,
    .options = options,
    .read = read_options,
    .write = family_write_qwen_window,
};
