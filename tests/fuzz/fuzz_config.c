/* config.json: what is accepted has sizes that can be computed with, and a usable position encoding. */
#include <math.h>

#include "harness.h"
#include "model/config.h"

enum { MOST_HEAD_DIM = 4096 };

void fuzz_prepare(void) {}

static void check_config(const model_config *c) {
    static float frequencies[MOST_HEAD_DIM / 2];
    harness_require(c->hidden_size && c->intermediate_size && c->layers && c->vocabulary_size && c->max_positions,
                    "a size is 0");
    harness_require(c->heads && c->kv_heads && c->heads % c->kv_heads == 0, "heads do not share keys evenly");
    harness_require(c->head_dim && c->head_dim % 2 == 0 && c->head_dim <= MOST_HEAD_DIM, "an odd or large head");
    harness_require(isnormal(c->norm_epsilon) && c->norm_epsilon > 0, "the norm's epsilon is not usable");
    harness_require(c->family != NULL, "there is no family");
    for (uint32_t layer = 0; layer < c->layers; layer++)
        harness_require(model_config_window(c, layer) > 0, "a layer sees nothing");
    harness_require(c->stored_type < DTYPE_COUNT, "the type is none");
    harness_require(c->bos_id >= -1 && c->bos_id < (int64_t)c->vocabulary_size, "BOS is no token");
    harness_require(c->eos_count <= CONFIG_EOS_IDS, "too many ends");
    for (uint32_t i = 0; i < c->eos_count; i++)
        harness_require(c->eos_ids[i] < c->vocabulary_size, "EOS is no token");
    model_config_rope_frequencies(c, frequencies);
    for (uint32_t i = 0; i < c->head_dim / 2; i++)
        harness_require(isfinite(frequencies[i]), "a frequency is not usable");
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    model_config config;
    levee_error error;
    const char *path = harness_write("config.json", data, bytes);
    if (harness_succeeded(model_config_read(&config, harness_directory(), &error), &error, path))
        check_config(&config);
}
