/* LoRA and DoRA adapters: see adapter.h. */
#include "model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/json.h"
#include "memory/pool.h"
#include "model/adapter_mlx.h"
#include "model/family.h"

static const char config_name[] = "adapter_config.json";
static const char tensors_name[] = "adapter_model.safetensors";
static const char mlx_tensors_name[] = "adapters.safetensors";

enum { MOST_LAYERS = 4096 };

/* Present with another value than the one that stands for "not used". */
static bool is_set(const json_reader *r, const char *key) {
    const json_t *given = json_find(r, key);
    if (!given || json_is_false(given)) return false;
    if (json_is_object(given)) return json_object_size(given) > 0;
    if (json_is_array(given)) return json_array_size(given) > 0;
    return true;
}

/* Ways to start that take something out of the base weights: such an adapter fits only the changed base. */
static void refuse_changed_base(json_reader *r) {
    static const char *const harmless[] = {"gaussian", "orthogonal", "eva"};
    const json_t *start = json_find(r, "init_lora_weights");
    if (!start || json_is_boolean(start)) return;
    const char *name = json_string_value(start);
    for (unsigned i = 0; i < sizeof harmless / sizeof *harmless && name; i++)
        if (!strcmp(name, harmless[i])) return;
    json_refuse(r, "init_lora_weights",
                "'%.40s' changes the base weights; convert the adapter to plain LoRA with PEFT",
                name ? name : "(no text)");
}

static void refuse_other_adapters(json_reader *r) {
    static const char *const unsupported[] = {"modules_to_save",
                                              "rank_pattern",
                                              "alpha_pattern",
                                              "fan_in_fan_out",
                                              "lora_bias",
                                              "use_qalora",
                                              "target_parameters",
                                              "layer_replication",
                                              "exclude_modules",
                                              "use_bdlora",
                                              "trainable_token_indices",
                                              "arrow_config",
                                              "kasa_config",
                                              "alora_invocation_tokens",
                                              "velora_config",
                                              "monteclora_config",
                                              "megatron_config",
                                              "loftq_config",
                                              "corda_config",
                                              "lora_ga_config"};
    const char *type = json_read_text(r, "peft_type", "");
    if (strcmp(type, "LORA"))
        json_refuse(r, "peft_type", "'%.40s' is not supported; a PEFT adapter of type LORA is read", type);
    if (strcmp(json_read_text(r, "bias", "none"), "none")) json_refuse(r, "bias", "only none is supported");
    for (unsigned i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (is_set(r, unsupported[i]))
            json_refuse(r, unsupported[i], "is not supported; train a plain LoRA or DoRA adapter");
    refuse_changed_base(r);
}

static void read_targets(json_reader *r, adapter_config *c) {
    const json_t *targets = json_find(r, "target_modules");
    if (json_is_string(targets) && !strcmp(json_string_value(targets), "all-linear")) {
        for (unsigned p = 0; p < PROJECTION_COUNT; p++) c->targets[p] = true;
        return;
    }
    if (json_is_string(targets))
        json_refuse(r, "target_modules", "the pattern '%.60s' is not supported; list the projections",
                    json_string_value(targets));
    else if (!json_array_size(targets))
        json_refuse(r, "target_modules", "a list of projections or \"all-linear\" is needed");
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *name = json_string_value(json_array_get(targets, i));
        model_projection projection = model_projection_find(name ? name : "");
        if (projection == PROJECTION_COUNT)
            json_refuse(
                r, "target_modules",
                "'%.60s' is no projection of this family; there are q_proj, k_proj, v_proj, o_proj, gate_proj, "
                "up_proj and down_proj",
                name ? name : "(no text)");
        else
            c->targets[projection] = true;
    }
}

/* Layers come as null (all), one number, or a list in any order; the list must fill a range, each layer once. */
static void read_layers(json_reader *r, adapter_config *c) {
    static const char key[] = "layers_to_transform";
    const json_t *layers = json_find(r, key);
    c->layer_count = UINT32_MAX;
    if (!layers || (json_is_array(layers) && !json_array_size(layers))) return;
    bool seen[MOST_LAYERS] = {false};
    size_t count = json_is_array(layers) ? json_array_size(layers) : 1, first = MOST_LAYERS, last = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *layer = json_is_array(layers) ? json_array_get(layers, i) : layers;
        json_int_t number = json_integer_value(layer);
        if (!json_is_integer(layer) || number < 0 || number >= MOST_LAYERS) {
            json_refuse(r, key, "a list of layer numbers is needed");
            return;
        }
        if (seen[number]) json_refuse(r, key, "layer %lld is there twice", (long long)number);
        seen[number] = true;
        if ((size_t)number < first) first = (size_t)number;
        if ((size_t)number > last) last = (size_t)number;
    }
    if (last - first + 1 != count) json_refuse(r, key, "only consecutive layers are supported");
    c->first_layer = (uint32_t)first;
    c->layer_count = (uint32_t)count;
}

/* "layers" is the only pattern under which the families here keep their layers. */
static void check_layers_pattern(json_reader *r) {
    const json_t *pattern = json_find(r, "layers_pattern");
    if (json_is_array(pattern) && json_array_size(pattern) == 1) pattern = json_array_get(pattern, 0);
    if (!pattern || (json_is_array(pattern) && !json_array_size(pattern))) return;
    const char *name = json_string_value(pattern);
    if (!name || (*name && strcmp(name, "layers"))) json_refuse(r, "layers_pattern", "only layers is supported");
}

static void read_scale(json_reader *r, adapter_config *c) {
    c->rank = (uint32_t)json_read_whole(r, "r", 1, ADAPTER_MOST_RANK, 8);
    c->alpha = json_read_positive(r, "lora_alpha", 8);
    const json_t *dropout = json_find(r, "lora_dropout");
    c->dropout = json_number_value(dropout);
    if ((dropout && !json_is_number(dropout)) || !(c->dropout >= 0 && c->dropout < 1))
        json_refuse(r, "lora_dropout", "a number from 0 to below 1 is needed");
    /* Rank-stabilised LoRA scales by alpha / sqrt(rank): the same as a larger alpha. */
    if (json_read_flag(r, "use_rslora", false)) c->alpha *= sqrt((double)c->rank);
    /* The adapter's product is scaled in 32 bits. */
    if (!isnormal((float)(c->alpha / c->rank)))
        json_refuse(r, "lora_alpha", "gives a scale that is too small or too large");
}

static void read_peft(json_reader *r, adapter_config *config) {
    refuse_other_adapters(r);
    read_targets(r, config);
    read_layers(r, config);
    check_layers_pattern(r);
    read_scale(r, config);
    config->dora = json_read_flag(r, "use_dora", false);
}

levee_status adapter_config_read(adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    memset(config, 0, sizeof *config);
    if (!file_join(path, directory, config_name) || !file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT, "%s: holds no %s; an adapter directory is needed", directory,
                         config_name);
    json_t *object;
    levee_status status = json_object_read(&object, path, JSON_FILE_LIMIT_BYTES, error);
    if (status != LEVEE_OK) return status;
    json_reader r = {.path = path, .object = object, .error = error};
    bool mlx = !json_find(&r, "peft_type") && (json_find(&r, "lora_parameters") || json_find(&r, "fine_tune_type"));
    if (mlx)
        adapter_mlx_read(&r, config);
    else
        read_peft(&r, config);
    const char *base_key = mlx ? "model" : "base_model_name_or_path", *base = json_read_text(&r, base_key, "");
    if (strlen(base) < sizeof config->base_model)
        memcpy(config->base_model, base, strlen(base) + 1);
    else
        json_refuse(&r, base_key, "is too long");
    json_decref(object);
    return r.status;
}

/* Both lists are NULL when memory is refused. */
static json_t *appended(json_t *list, json_t *element) {
    if (!json_array_append_new(list, element)) return list;
    json_decref(list);
    return NULL;
}

static json_t *target_list(const adapter_config *config) {
    json_t *list = json_array();
    for (unsigned p = 0; p < PROJECTION_COUNT && list; p++)
        if (config->targets[p])
            list = appended(list, json_string(strchr(model_projection_name((model_projection)p), '.') + 1));
    return list;
}

static json_t *layer_list(const adapter_config *config) {
    if (config->layer_count == UINT32_MAX) return json_null();
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->layer_count && list; i++)
        list = appended(list, json_integer((json_int_t)(config->first_layer + i)));
    return list;
}

levee_status adapter_config_write(const adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, config_name))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    /* Saving takes no memory: the library works in a pool on the stack. */
    unsigned char memory[16384];
    pool library = {.memory = memory, .capacity = sizeof memory};
    pool_enter(&library);
    const json_t *object = json_pack(
        "{s:s, s:s, s:s?, s:i, s:f, s:f, s:s, s:o, s:o, s:n, s:b, s:b, s:b, s:b, s:n, s:{}, s:{}, s:n, s:b}",
        "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path",
        *config->base_model ? config->base_model : NULL, "r", (int)config->rank, "lora_alpha", config->alpha,
        "lora_dropout", config->dropout, "bias", "none", "target_modules", target_list(config), "layers_to_transform",
        layer_list(config), "layers_pattern", "inference_mode", 1, "fan_in_fan_out", 0, "use_dora", config->dora,
        "use_rslora", 0, "modules_to_save", "rank_pattern", "alpha_pattern", "revision", "init_lora_weights", 1);
    levee_status status = json_object_write(object, path, error);
    pool_leave();
    pool_empty(&library);
    return status;
}

void adapter_tensor_name(char name[TENSOR_NAME_BYTES], const char *value_name) {
    adapter_part part;
    bool magnitude = model_adapter_part(value_name, &part, NULL) && part == ADAPTER_MAGNITUDE;
    snprintf(name, TENSOR_NAME_BYTES, "base_model.model.%s%s", value_name, magnitude ? "" : ".weight");
}

void adapter_layers(const adapter_config *config, const model_config *model, uint32_t *first, uint32_t *end) {
    bool all = config->layer_count == UINT32_MAX, from_last = config->first_layer == ADAPTER_FROM_LAST;
    if (from_last && config->layer_count >= model->layers) all = true;
    *first = all ? 0 : from_last ? model->layers - config->layer_count : config->first_layer;
    *end = all ? model->layers : *first + config->layer_count;
}

levee_status adapter_check_layers(const adapter_config *config, const model_config *model, const char *place,
                                  levee_error *error) {
    if (config->layer_count == UINT32_MAX || config->first_layer == ADAPTER_FROM_LAST) return LEVEE_OK;
    uint64_t end = (uint64_t)config->first_layer + config->layer_count;
    if (end <= model->layers) return LEVEE_OK;
    return error_set(error, LEVEE_BAD_DATA,
                     "%s: the adapter is on layers %u to %llu, but the model's last is %u; is it this model's?",
                     place, config->first_layer, (unsigned long long)end - 1, model->layers - 1);
}

void adapter_describe(tensor_declaration *t, const adapter_config *config, const model_config *model, uint32_t layer,
                      model_projection projection, adapter_part part, adapter_format format) {
    char value_name[VALUE_NAME_BYTES], peft[TENSOR_NAME_BYTES];
    uint64_t in = model_projection_width(model, projection, false);
    uint64_t out = model_projection_width(model, projection, true);
    bool turned = format == ADAPTER_MLX, magnitude = part == ADAPTER_MAGNITUDE;
    *t = (tensor_declaration){.rank = magnitude ? 1 : 2};
    t->shape[turned && !magnitude] = part == ADAPTER_A ? config->rank : out;
    if (!magnitude) t->shape[!turned] = part == ADAPTER_A ? in : config->rank;
    model_adapter_name(value_name, model, layer, projection, part);
    adapter_tensor_name(peft, value_name);
    if (turned)
        adapter_mlx_name(t->name, peft);
    else
        memcpy(t->name, peft, sizeof peft);
}

unsigned adapter_parts(const adapter_config *config) { return config->dora ? 3 : 2; }

/* "[4, 16]" */
static const char *format_shape(char text[64], uint32_t rank, const uint64_t *shape) {
    if (rank == 1)
        snprintf(text, 64, "[%llu]", (unsigned long long)shape[0]);
    else
        snprintf(text, 64, "[%llu, %llu]", (unsigned long long)shape[0], (unsigned long long)shape[1]);
    return text;
}

static levee_status check_tensor(const safetensors *tensors, const char *path, const tensor_declaration *wanted,
                                 levee_error *error) {
    char is[64], should[64];
    const tensor_view *view = safetensors_find(tensors, wanted->name);
    if (!view)
        return error_set(error, LEVEE_BAD_DATA, "%s: tensor %s is missing; was the adapter saved whole?", path,
                         wanted->name);
    if (view->rank != wanted->rank || memcmp(view->shape, wanted->shape, wanted->rank * sizeof *wanted->shape) != 0)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: tensor %s is %s, but %s is needed; the adapter belongs to another model", path,
                         wanted->name, format_shape(is, view->rank, view->shape),
                         format_shape(should, wanted->rank, wanted->shape));
    if (!dtype_is_weight(view->type))
        return error_set(error, LEVEE_BAD_DATA, "%s: tensor %s: F32, F16 or BF16 is needed", path, wanted->name);
    return LEVEE_OK;
}

/* Is it the name of a tensor that the configuration asks for? */
static bool is_wanted(const adapter_config *config, const model_config *model, uint32_t first, uint32_t end,
                      const char *name) {
    char prefix[VALUE_NAME_BYTES];
    tensor_declaration wanted;
    unsigned layer;
    snprintf(prefix, sizeof prefix, "%s%s.", config->format == ADAPTER_MLX ? "" : "base_model.model.",
             model->family->names->layers);
    if (strncmp(name, prefix, strlen(prefix)) || sscanf(name + strlen(prefix), "%9u.", &layer) != 1) return false;
    if (layer < first || layer >= end) return false;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        for (unsigned part = 0; config->targets[p] && part < adapter_parts(config); part++) {
            adapter_describe(&wanted, config, model, layer, (model_projection)p, (adapter_part)part, config->format);
            if (!strcmp(name, wanted.name)) return true;
        }
    return false;
}

levee_status adapter_check_tensors(const adapter_config *config, const model_config *model,
                                   const safetensors *tensors, const char *path, levee_error *error) {
    levee_status status = adapter_check_layers(config, model, path, error);
    uint32_t first, end;
    adapter_layers(config, model, &first, &end);
    for (uint32_t layer = first; layer < end; layer++)
        for (unsigned p = 0; p < PROJECTION_COUNT; p++)
            for (unsigned part = 0; config->targets[p] && part < adapter_parts(config) && status == LEVEE_OK;
                 part++) {
                tensor_declaration wanted;
                adapter_describe(&wanted, config, model, layer, (model_projection)p, (adapter_part)part,
                                 config->format);
                status = check_tensor(tensors, path, &wanted, error);
            }
    for (uint32_t i = 0; status == LEVEE_OK && i < safetensors_count(tensors); i++) {
        const char *name = safetensors_at(tensors, i)->name;
        if (!is_wanted(config, model, first, end, name))
            status = error_set(error, LEVEE_BAD_DATA, "%s: tensor %s belongs to no projection that %s names", path,
                               name, config_name);
    }
    return status;
}

levee_status adapter_tensors_path(char file[FILE_PATH_BYTES], const char *path, levee_error *error) {
    bool fits = snprintf(file, FILE_PATH_BYTES, "%s", path) < FILE_PATH_BYTES;
    if (fits && file_is_directory(path)) {
        bool mlx = file_join(file, path, mlx_tensors_name) && file_exists(file);
        fits = file_join(file, path, tensors_name);
        if (mlx && fits && !file_exists(file)) fits = file_join(file, path, mlx_tensors_name);
    }
    return fits ? LEVEE_OK : error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
}

static bool has_layer(const adapter_config *config, const model_config *model, const safetensors *tensors,
                      uint32_t layer) {
    tensor_declaration wanted;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        for (unsigned part = 0; config->targets[p] && part < adapter_parts(config); part++) {
            adapter_describe(&wanted, config, model, layer, (model_projection)p, (adapter_part)part, config->format);
            if (safetensors_find(tensors, wanted.name)) return true;
        }
    return false;
}

/* mlx-lm counts layers from the last, and leaves those of which the file has nothing as they are: so an adapter that
 * ends earlier, PEFT's once, has names for no layers behind it. */
static void leave_out_last_layers(adapter_config *config, const model_config *model, const safetensors *tensors) {
    uint32_t first, end;
    adapter_layers(config, model, &first, &end);
    uint32_t last = end;
    while (last > first + 1 && !has_layer(config, model, tensors, last - 1)) last--;
    if (last == end) return;
    config->first_layer = first;
    config->layer_count = last - first;
}

levee_status adapter_open(safetensors **matrices, adapter_config *config, const model_config *model,
                          const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *matrices = NULL;
    levee_status status = adapter_config_read(config, directory, error);
    if (status == LEVEE_OK && !file_join(path, directory, config->format ? mlx_tensors_name : tensors_name))
        status = error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    if (status == LEVEE_OK) status = safetensors_open(matrices, path, error);
    if (status == LEVEE_OK && config->format == ADAPTER_MLX) leave_out_last_layers(config, model, *matrices);
    if (status == LEVEE_OK) status = adapter_check_tensors(config, model, *matrices, path, error);
    if (status == LEVEE_OK) return status;
    safetensors_close(*matrices);
    *matrices = NULL;
    return status;
}

bool adapter_find(adapter_tensor *t, const safetensors *tensors, const char *peft_name) {
    char name[TENSOR_NAME_BYTES];
    *t = (adapter_tensor){.view = safetensors_find(tensors, peft_name)};
    if (!t->view) {
        adapter_mlx_name(name, peft_name);
        t->view = safetensors_find(tensors, name);
        t->transposed = t->view && t->view->rank == 2;
    }
    if (!t->view || t->view->rank < 1 || t->view->rank > 2 || !dtype_is_weight(t->view->type)) return false;
    bool magnitude = t->view->rank == 1;
    t->rows = magnitude ? 1 : t->view->shape[t->transposed];
    t->cols = t->view->shape[!magnitude && !t->transposed];
    return true;
}

void adapter_decode(const adapter_tensor *t, float *values) {
    enum { SLICE = 1024 };
    float slice[SLICE];
    const unsigned char *stored = t->view->data;
    dtype type = t->view->type;
    if (!t->transposed) {
        dtype_convert(DTYPE_F32, values, type, stored, t->rows * t->cols);
        return;
    }
    for (uint64_t done = 0; done < t->rows * t->cols; done += SLICE) {
        uint64_t count = t->rows * t->cols - done < SLICE ? t->rows * t->cols - done : SLICE;
        dtype_convert(DTYPE_F32, slice, type, stored + dtype_bytes(type, done), count);
        /* Element `done + i` of [cols, rows] belongs into column (done + i) / rows. */
        for (uint64_t i = 0; i < count; i++) values[(done + i) % t->rows * t->cols + (done + i) / t->rows] = slice[i];
    }
}

static const char *kind_of(const adapter_config *config) { return config->dora ? "DoRA" : "LoRA"; }

static double scale_of(const adapter_config *config) { return config->alpha / config->rank; }

/* In what a training of one is none of the other; NULL: in nothing. */
static const char *difference_of(const adapter_config *a, const adapter_config *b, const model_config *model) {
    uint32_t first[2], end[2];
    adapter_layers(a, model, &first[0], &end[0]);
    adapter_layers(b, model, &first[1], &end[1]);
    if (a->dora != b->dora) return "type";
    if (a->rank != b->rank) return "rank";
    if (fabs(scale_of(a) - scale_of(b)) > 1e-6 * scale_of(a)) return "scale"; /* a run computes with it in f32 */
    if (first[0] != first[1] || end[0] != end[1]) return "layers";
    return memcmp(a->targets, b->targets, sizeof a->targets) ? "projections" : NULL;
}

/* The directory of a file, or the directory itself. */
static bool directory_of(char directory[FILE_PATH_BYTES], const char *path) {
    const char *slash = file_is_directory(path) ? NULL : strrchr(path, '/');
    if (file_is_directory(path) || slash)
        return snprintf(directory, FILE_PATH_BYTES, "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path) <
               FILE_PATH_BYTES;
    return snprintf(directory, FILE_PATH_BYTES, ".") > 0;
}

levee_status adapter_check_start(const char *path, const adapter_config *wanted, const model_config *model,
                                 levee_error *error) {
    char directory[FILE_PATH_BYTES], file[FILE_PATH_BYTES], keys[PROJECTION_COUNT * 16] = "";
    levee_status status = adapter_tensors_path(file, path, error);
    if (status == LEVEE_OK && !file_exists(file))
        status = error_set(error, LEVEE_MISSING_INPUT,
                           file_is_directory(path) ? "%s: holds neither %s nor %s" : "%s: is not there", path,
                           tensors_name, mlx_tensors_name);
    if (status != LEVEE_OK) return error_context(error, "--resume-adapter-file");
    if (!directory_of(directory, path) || !file_join(file, directory, config_name) || !file_exists(file))
        return LEVEE_OK;
    adapter_config there;
    status = adapter_config_read(&there, directory, error);
    if (status == LEVEE_OK) status = adapter_check_layers(&there, model, path, error);
    if (status != LEVEE_OK) return error_context(error, "--resume-adapter-file");
    const char *difference = difference_of(&there, wanted, model);
    if (!difference) return LEVEE_OK;
    uint32_t first, end;
    adapter_layers(&there, model, &first, &end);
    if (end != model->layers)
        return error_set(error, LEVEE_USAGE,
                         "--resume-adapter-file %s: the adapter is on layers %u to %u of %u, but only the last ones "
                         "train here; merge it by levee export, and train on that model",
                         path, first, end - 1, model->layers);
    for (unsigned p = 0, length = 0; p < PROJECTION_COUNT; p++)
        if (there.targets[p])
            length += (unsigned)snprintf(keys + length, sizeof keys - length, "%s%s", length ? "," : "",
                                         strchr(model_projection_name((model_projection)p), '.') + 1);
    return error_set(error, LEVEE_USAGE,
                     "--resume-adapter-file %s: the adapter differs from this run's in its %s; it goes on with "
                     "--fine-tune-type %s --rank %u --scale %g --num-layers %lld --keys %s",
                     path, difference, there.dora ? "dora" : "lora", there.rank, scale_of(&there),
                     first ? (long long)(end - first) : -1LL, keys);
}

static levee_status check_directory(const adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, config_name) || !file_exists(path)) return LEVEE_OK;
    adapter_config there;
    levee_status status = adapter_config_read(&there, directory, error);
    if (status != LEVEE_OK) return error_context(error, "--adapter-path %s is not empty", directory);
    if (there.format != ADAPTER_PEFT)
        return error_set(error, LEVEE_USAGE, "%s: holds an mlx-lm adapter; give another --adapter-path", directory);
    bool same_layers = there.layer_count == config->layer_count && there.first_layer == config->first_layer;
    if (there.rank == config->rank && there.dora == config->dora &&
        !memcmp(there.targets, config->targets, sizeof there.targets) && same_layers)
        return LEVEE_OK;
    return error_set(error, LEVEE_USAGE,
                     "%s: holds an adapter of another shape (%s of rank %u, this run's is %s of %u, or other layers "
                     "or projections); "
                     "give another --adapter-path or remove it",
                     directory, kind_of(&there), there.rank, kind_of(config), config->rank);
}

levee_status adapter_directory_check_writable(const char *directory, const adapter_config *config,
                                              const model_config *model, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = check_directory(config, directory, error);
    if (status != LEVEE_OK) return status;
    if (!file_join(path, directory, tensors_name) || !file_exists(path)) return LEVEE_OK;
    safetensors *tensors;
    status = safetensors_open(&tensors, path, error);
    if (status == LEVEE_OK) status = adapter_check_tensors(config, model, tensors, path, error);
    safetensors_close(tensors);
    if (status != LEVEE_BAD_DATA) return status;
    error_context(error, "--adapter-path %s holds another adapter; give another directory or remove it", directory);
    if (error) error->status = LEVEE_USAGE;
    return LEVEE_USAGE;
}
