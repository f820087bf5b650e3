/* mlx-lm's adapters: see adapter_mlx.h. */
#include "model/adapter_mlx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/pool.h"

static const char wanted_keys[] =
    "'%.60s' is no projection of this family; there are self_attn.q_proj, k_proj, v_proj, o_proj, mlp.gate_proj, "
    "up_proj and down_proj";

static void read_keys(json_reader *r, adapter_config *c) {
    const json_t *keys = json_find(r, "keys");
    for (unsigned p = 0; p < PROJECTION_COUNT && !keys; p++) c->targets[p] = true;
    if (keys && !json_array_size(keys)) json_refuse(r, "keys", "a list of projections is needed");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *name = json_string_value(json_array_get(keys, i));
        model_projection projection = model_projection_find(name ? name : "");
        if (projection == PROJECTION_COUNT)
            json_refuse(r, "keys", wanted_keys, name ? name : "(no text)");
        else
            c->targets[projection] = true;
    }
}

void adapter_mlx_read(json_reader *r, adapter_config *c) {
    c->format = ADAPTER_MLX;
    const char *type = json_read_text(r, "fine_tune_type", "lora");
    c->dora = !strcmp(type, "dora");
    if (!c->dora && strcmp(type, "lora"))
        json_refuse(r, "fine_tune_type", "'%.40s' is not supported; lora and dora are", type);
    const json_t *layers = json_find(r, "num_layers");
    if (!json_is_integer(layers) || json_integer_value(layers) > INT32_MAX)
        json_refuse(r, "num_layers", "a number of layers is needed");
    bool all = json_integer_value(layers) <= 0;
    c->first_layer = all ? 0 : ADAPTER_FROM_LAST;
    c->layer_count = all ? UINT32_MAX : (uint32_t)json_integer_value(layers);
    json_reader inner = *r;
    inner.object = json_find(r, "lora_parameters");
    inner.section = "lora_parameters";
    if (!json_is_object(inner.object)) {
        json_refuse(r, "lora_parameters", "an object is needed");
        return;
    }
    c->rank = (uint32_t)json_read_whole(&inner, "rank", 1, ADAPTER_MOST_RANK, 8);
    c->alpha = json_read_positive(&inner, "scale", NAN) * c->rank;
    const json_t *dropout = json_find(&inner, "dropout");
    c->dropout = json_number_value(dropout);
    if ((dropout && !json_is_number(dropout)) || !(c->dropout >= 0 && c->dropout < 1))
        json_refuse(&inner, "dropout", "a number from 0 to below 1 is needed");
    if (!isnormal((float)(c->alpha / c->rank))) json_refuse(&inner, "scale", "is too small or too large");
    read_keys(&inner, c);
    r->status = inner.status;
}

levee_status adapter_mlx_write(const adapter_config *config, uint32_t first_layer, uint32_t layers,
                               const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "adapter_config.json"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    json_t *keys = json_array();
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (config->targets[p]) json_array_append_new(keys, json_string(model_projection_name((model_projection)p)));
    json_t *object = json_pack(
        "{s:s, s:s?, s:i, s:{s:i, s:f, s:f, s:o}}", "fine_tune_type", config->dora ? "dora" : "lora", "model",
        *config->base_model ? config->base_model : NULL, "num_layers", (int)(layers - first_layer), "lora_parameters",
        "rank", (int)config->rank, "scale", config->alpha / config->rank, "dropout", config->dropout, "keys", keys);
    levee_status status = json_object_write(object, path, error);
    json_decref(object);
    return status;
}

void adapter_mlx_name(char name[TENSOR_NAME_BYTES], const char *peft_name) {
    static const char *const ends[][2] = {
        {".lora_A.weight", ".lora_a"}, {".lora_B.weight", ".lora_b"}, {".lora_magnitude_vector", ".m"}};
    static const char before[] = "base_model.model.";
    size_t skipped = strncmp(peft_name, before, sizeof before - 1) ? 0 : sizeof before - 1;
    snprintf(name, TENSOR_NAME_BYTES, "%s", peft_name + skipped);
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t length = strlen(name), tail = strlen(ends[i][0]);
        if (length > tail && !strcmp(name + length - tail, ends[i][0]))
            memcpy(name + length - tail, ends[i][1], strlen(ends[i][1]) + 1);
    }
}
