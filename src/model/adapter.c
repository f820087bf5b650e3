/* adapter_config.json: see adapter.h. */
#include "model/adapter.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

static const char config_name[] = "adapter_config.json";

static bool is_set(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value) || json_is_false(value)) return false;
    if (json_is_object(value)) return json_object_size(value) > 0;
    if (json_is_array(value)) return json_array_size(value) > 0;
    return true;
}

static levee_status refuse(levee_error *error, const char *path, const char *key, const char *problem) {
    return error_set(error, LEVEE_BAD_DATA, "%s: %s: %s", path, key, problem);
}

static levee_status refuse_other_adapters(const json_t *object, const char *path, levee_error *error) {
    static const char *const unsupported[] = {"use_dora",      "modules_to_save", "rank_pattern", "alpha_pattern",
                                              "fan_in_fan_out", "lora_bias",      "use_qalora",   "target_parameters",
                                              "layer_replication", "trainable_token_indices", "use_bdlora", "exclude_modules"};
    const char *type = json_string_value(json_object_get(object, "peft_type"));
    const char *bias = json_string_value(json_object_get(object, "bias"));
    if (!type || strcmp(type, "LORA"))
        return refuse(error, path, "peft_type", "only a PEFT adapter of type LORA is read");
    if (bias && strcmp(bias, "none")) return refuse(error, path, "bias", "only none is supported");
    for (unsigned i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (is_set(object, unsupported[i])) return refuse(error, path, unsupported[i], "is not supported");
    return LEVEE_OK;
}

static levee_status read_targets(adapter_config *c, const json_t *targets, const char *path, levee_error *error) {
    if (json_is_string(targets) && !strcmp(json_string_value(targets), "all-linear")) {
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) c->targets[p] = true;
        return LEVEE_OK;
    }
    if (!json_array_size(targets))
        return refuse(error, path, "target_modules", "a list of projections or \"all-linear\" is needed");
    size_t i;
    json_t *target;
    json_array_foreach(targets, i, target) {
        const char *name = json_is_string(target) ? json_string_value(target) : "";
        model_projection projection = model_projection_find(name);
        if (projection == PROJECTION_COUNT)
            return error_set(error, LEVEE_BAD_DATA,
                             "%s: target_modules: '%.60s' is no projection of this family; there are q_proj, k_proj, "
                             "v_proj, o_proj, gate_proj, up_proj and down_proj",
                             path, name);
        c->targets[projection] = true;
    }
    return LEVEE_OK;
}

static levee_status read_layers(adapter_config *c, const json_t *layers, const char *path, levee_error *error) {
    c->layer_count = UINT32_MAX;
    if (!layers || json_is_null(layers)) return LEVEE_OK;
    size_t count = json_array_size(layers);
    bool consecutive = count > 0;
    for (size_t i = 0; i < count; i++) {
        json_int_t layer = json_integer_value(json_array_get(layers, i));
        if (i == 0) c->first_layer = (uint32_t)layer;
        consecutive = consecutive && layer >= 0 && layer == (json_int_t)(c->first_layer + i);
    }
    c->layer_count = (uint32_t)count;
    return consecutive ? LEVEE_OK : refuse(error, path, "layers_to_transform", "only consecutive layers are supported");
}

levee_status adapter_config_read(adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    memset(config, 0, sizeof *config);
    if (!file_join(path, directory, config_name) || !file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT, "%s: holds no adapter_config.json; an adapter directory is needed",
                         directory);
    json_error_t problem;
    json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (!object) return error_set(error, LEVEE_BAD_DATA, "%s: line %d: %s", path, problem.line, problem.text);
    levee_status status = refuse_other_adapters(object, path, error);
    if (status == LEVEE_OK) status = read_targets(config, json_object_get(object, "target_modules"), path, error);
    if (status == LEVEE_OK) status = read_layers(config, json_object_get(object, "layers_to_transform"), path, error);
    const json_t *rank = json_object_get(object, "r"), *alpha = json_object_get(object, "lora_alpha");
    const json_t *dropout = json_object_get(object, "lora_dropout");
    json_int_t r = rank ? json_integer_value(rank) : 8;
    config->alpha = alpha ? json_number_value(alpha) : 8;
    config->dropout = dropout ? json_number_value(dropout) : 0;
    if (status == LEVEE_OK && (r < 1 || r > 4096)) status = refuse(error, path, "r", "a rank from 1 to 4096 is needed");
    if (status == LEVEE_OK && !isfinite(config->alpha)) status = refuse(error, path, "lora_alpha", "is not a number");
    config->rank = (uint32_t)r;
    if (json_is_true(json_object_get(object, "use_rslora"))) config->alpha *= sqrt((double)r);
    const char *base = json_string_value(json_object_get(object, "base_model_name_or_path"));
    if (base && strlen(base) < sizeof config->base_model) memcpy(config->base_model, base, strlen(base) + 1);
    json_decref(object);
    return status;
}

static json_t *target_list(const adapter_config *config) {
    json_t *list = json_array();
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (config->targets[p])
            json_array_append_new(list, json_string(strchr(model_projection_name((model_projection)p), '.') + 1));
    return list;
}

static json_t *layer_list(const adapter_config *config) {
    if (config->layer_count == UINT32_MAX) return json_null();
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->layer_count; i++)
        json_array_append_new(list, json_integer((json_int_t)(config->first_layer + i)));
    return list;
}

levee_status adapter_config_write(const adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, config_name))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:i, s:f, s:f, s:s, s:o, s:o, s:n, s:b, s:b, s:b, s:b, s:n, s:{}, s:{}, s:n, s:b}",
        "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path", config->base_model, "r",
        (int)config->rank, "lora_alpha", config->alpha, "lora_dropout", config->dropout, "bias", "none",
        "target_modules", target_list(config), "layers_to_transform", layer_list(config), "layers_pattern",
        "inference_mode", 1, "fan_in_fan_out", 0, "use_dora", 0, "use_rslora", 0, "modules_to_save", "rank_pattern",
        "alpha_pattern", "revision", "init_lora_weights", 1);
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return error_out_of_memory(error, path, 4096);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, text, strlen(text), error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, "\n", 1, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    release(text);
    return status;
}

levee_status adapter_check_directory(const adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, config_name) || !file_exists(path)) return LEVEE_OK;
    adapter_config there;
    levee_status status = adapter_config_read(&there, directory, error);
    if (status != LEVEE_OK) return error_context(error, "--adapter-path %s is not empty", directory);
    if (there.rank == config->rank && !memcmp(there.targets, config->targets, sizeof there.targets) &&
        there.layer_count == config->layer_count)
        return LEVEE_OK;
    return error_set(error, LEVEE_USAGE,
                     "%s: holds an adapter of another shape (rank %u, this run's is %u, or other layers or projections); "
                     "give another --adapter-path or remove it",
                     directory, there.rank, config->rank);
}
