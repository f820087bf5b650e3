/* The values of what trains: see parameters.h. */
#include "model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "memory/ledger.h"

static bool ends_with(const char *text, const char *suffix) {
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && !strcmp(text + length - tail, suffix);
}

/* A value's elements lie at the start of its entry; `bytes` there includes padding, so sizes come from the graph's shapes
 * through the tensors that fill them. */
static void initialise_lora(float *values, uint64_t rows, uint64_t cols, uint64_t seed, uint32_t entry) {
    float bound = 1.0f / sqrtf((float)cols);
    for (uint64_t i = 0; i < rows * cols; i++)
        values[i] = bound * (2 * random_uniform(seed, entry, (uint32_t)i, (uint32_t)(i >> 32), 0) - 1);
}

static levee_status initialise_entry(const model_source *source, const layout_entry *entry, const value *shape,
                                     unsigned char *base, uint64_t seed, uint32_t index, levee_error *error) {
    float *values = (float *)(void *)(base + entry->offset);
    if (entry->role == VALUE_CONSTANT) {
        model_config_rope_frequencies(source->config, values);
    } else if (ends_with(entry->name, ".lora_A")) {
        initialise_lora(values, shape->rows, shape->cols, seed, index);
    } else if (ends_with(entry->name, ".lora_B")) {
        memset(values, 0, entry->bytes);
    } else {
        const tensor_view *view = model_find_tensor(source, entry->name);
        if (!view) return error_set(error, LEVEE_INTERNAL, "no tensor to start %s from", entry->name);
        uint64_t elements = view->bytes / dtype_bytes(view->type, 1);
        dtype_convert(DTYPE_F32, values, view->type, view->data, elements);
    }
    return LEVEE_OK;
}

static const value *find_shape(const graph *g, const char *name) {
    for (uint32_t v = 0; v < g->value_count; v++)
        if (!strcmp(g->values[v].name, name)) return &g->values[v];
    return NULL;
}

levee_status parameters_initialise(const model_source *source, const graph *g, const layout *lasting,
                                   unsigned char *base, uint64_t seed, levee_error *error) {
    for (uint32_t i = 0; i < lasting->count; i++) {
        const layout_entry *entry = &lasting->entries[i];
        const value *shape = find_shape(g, entry->name);
        if (!shape || (entry->role != VALUE_CONSTANT && entry->role != VALUE_PARAMETER)) continue;
        levee_status status = initialise_entry(source, entry, shape, base, seed, i, error);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

/* PEFT's name of an adapter's matrix. */
static void peft_name(char name[TENSOR_NAME_BYTES], const char *value_name) {
    snprintf(name, TENSOR_NAME_BYTES, "base_model.model.%s.weight", value_name);
}

levee_status parameters_read_adapter(const graph *g, const layout *lasting, unsigned char *base, const char *path,
                                     levee_error *error) {
    char file[FILE_PATH_BYTES], name[TENSOR_NAME_BYTES];
    snprintf(file, sizeof file, "%s", path);
    if (file_is_directory(path) && !file_join(file, path, "adapter_model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    safetensors *tensors;
    levee_status status = safetensors_open(&tensors, file, error);
    if (status != LEVEE_OK) return status;
    uint32_t read = 0;
    for (uint32_t v = 0; v < g->value_count && status == LEVEE_OK; v++) {
        const value *parameter = &g->values[v];
        if (parameter->role != VALUE_PARAMETER) continue;
        peft_name(name, parameter->name);
        const tensor_view *view = safetensors_find(tensors, name);
        if (!view || view->rank != 2 || view->shape[0] != parameter->rows || view->shape[1] != parameter->cols ||
            view->type == DTYPE_I32)
            status = error_set(error, LEVEE_BAD_DATA,
                               "%s: tensor %s is missing or not [%llu, %llu]; the adapter is of another shape or model",
                               file, name, (unsigned long long)parameter->rows, (unsigned long long)parameter->cols);
        else
            dtype_convert(DTYPE_F32, base + layout_find(lasting, parameter->name)->offset, view->type, view->data,
                          parameter->rows * parameter->cols);
        read++;
    }
    if (status == LEVEE_OK && read != safetensors_count(tensors))
        status = error_set(error, LEVEE_BAD_DATA, "%s: holds %u tensors, but %u belong to this model and configuration",
                           file, safetensors_count(tensors), read);
    safetensors_close(tensors);
    return status;
}

levee_status parameters_write_adapter(const graph *g, const layout *lasting, const unsigned char *base,
                                      const adapter_config *config, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "adapter_model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    uint32_t parameters = 0, count = 0;
    for (uint32_t v = 0; v < g->value_count; v++) parameters += g->values[v].role == VALUE_PARAMETER;
    tensor_declaration *tensors = ledger_alloc_array(LEVEE_IO, parameters, sizeof *tensors);
    if (!tensors) return error_out_of_memory(error, path, parameters * sizeof *tensors);
    for (uint32_t v = 0; v < g->value_count; v++) {
        const value *parameter = &g->values[v];
        if (parameter->role != VALUE_PARAMETER) continue;
        tensor_declaration *tensor = &tensors[count++];
        *tensor = (tensor_declaration){.type = DTYPE_F32, .rank = 2, .shape = {parameter->rows, parameter->cols}};
        peft_name(tensor->name, parameter->name);
    }
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&writer, tensors, count, error);
    for (uint32_t v = 0; v < g->value_count && status == LEVEE_OK; v++) {
        const value *parameter = &g->values[v];
        if (parameter->role != VALUE_PARAMETER) continue;
        status = file_writer_write(&writer, base + layout_find(lasting, parameter->name)->offset,
                                   parameter->rows * parameter->cols * sizeof(float), error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    ledger_free(tensors);
    return status == LEVEE_OK ? adapter_config_write(config, directory, error) : status;
}

/* Copies a small file beside the weights; one that is absent is skipped. */
static levee_status copy_file(const char *from_directory, const char *to_directory, const char *name,
                              levee_error *error) {
    char from[FILE_PATH_BYTES], to[FILE_PATH_BYTES];
    if (!file_join(from, from_directory, name) || !file_join(to, to_directory, name) || !file_exists(from))
        return LEVEE_OK;
    file_mapping source;
    file_writer writer;
    levee_status status = file_map(&source, from, error);
    if (status != LEVEE_OK) return status;
    status = file_writer_open(&writer, to, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, source.data, source.bytes, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    file_unmap(&source);
    return status;
}

/* Writes a trained parameter in the type of the file, through a small buffer. */
static levee_status write_trained(file_writer *writer, const float *values, dtype type, uint64_t elements,
                                  levee_error *error) {
    enum { SLICE = 4096 };
    unsigned char slice[SLICE * sizeof(float)];
    levee_status status = LEVEE_OK;
    for (uint64_t done = 0; done < elements && status == LEVEE_OK; done += SLICE) {
        uint64_t count = elements - done < SLICE ? elements - done : SLICE;
        dtype_convert(type, slice, DTYPE_F32, values + done, count);
        status = file_writer_write(writer, slice, dtype_bytes(type, count), error);
    }
    return status;
}

static const char untied_head[] = "lm_head.weight";

/* All tensors of the source in the order of its table, then a head that became its own. */
static levee_status write_tensors(file_writer *writer, const model_source *source, const layout *lasting,
                                  const unsigned char *base, const tensor_declaration *tensors, uint32_t count,
                                  levee_error *error) {
    levee_status status = safetensors_write_header(writer, tensors, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++) {
        const tensor_view *view = model_find_tensor(source, tensors[i].name);
        const layout_entry *trained = layout_find(lasting, tensors[i].name);
        uint64_t elements = view->bytes / dtype_bytes(view->type, 1);
        if (trained)
            status = write_trained(writer, (const float *)(const void *)(base + trained->offset), view->type, elements,
                                   error);
        else
            status = file_writer_write(writer, view->data, view->bytes, error);
    }
    return status;
}

levee_status parameters_write_model(const model_source *source, const layout *lasting, const unsigned char *base,
                                    const char *model_directory, const char *directory, levee_error *error) {
    static const char *const beside[] = {"config.json", "generation_config.json", "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    uint32_t count = safetensors_count(source->tensors);
    tensor_declaration *tensors = ledger_alloc_array(LEVEE_IO, (uint64_t)count + 1, sizeof *tensors);
    if (!tensors) return error_out_of_memory(error, path, count * sizeof *tensors);
    bool own_head = layout_find(lasting, untied_head) && !safetensors_find(source->tensors, untied_head);
    for (uint32_t i = 0; i < count + own_head; i++) {
        const tensor_view *view = i < count ? safetensors_at(source->tensors, i) : model_find_tensor(source, untied_head);
        tensors[i] = (tensor_declaration){.type = view->type, .rank = view->rank};
        snprintf(tensors[i].name, sizeof tensors[i].name, "%s", i < count ? view->name : untied_head);
        memcpy(tensors[i].shape, view->shape, sizeof view->shape);
    }
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK)
        status = write_tensors(&writer, source, lasting, base, tensors, count + own_head, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    ledger_free(tensors);
    for (unsigned i = 0; i < sizeof beside / sizeof *beside && status == LEVEE_OK; i++)
        status = copy_file(model_directory, directory, beside[i], error);
    if (status == LEVEE_OK && own_head) status = model_config_untie(directory, error);
    return status;
}
