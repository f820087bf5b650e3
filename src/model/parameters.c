/* The values of what trains: see parameters.h. */
#include "model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"

static bool ends_with(const char *text, const char *suffix) {
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && !strcmp(text + length - tail, suffix);
}

static void initialise_lora(float *values, const layout_entry *entry, uint64_t seed, uint32_t stream) {
    float bound = 1.0f / sqrtf((float)entry->cols);
    for (uint64_t i = 0; i < entry->rows * entry->cols; i++)
        values[i] = bound * (2 * random_uniform(seed, stream, (uint32_t)i, (uint32_t)(i >> 32), 0) - 1);
}

static levee_status initialise_entry(const model_source *source, const layout_entry *entry, unsigned char *base,
                                     uint64_t seed, uint32_t index, levee_error *error) {
    float *values = (float *)(void *)(base + entry->offset);
    if (entry->role == VALUE_CONSTANT) {
        model_config_rope_frequencies(source->config, values);
    } else if (ends_with(entry->name, ".lora_A")) {
        initialise_lora(values, entry, seed, index);
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

levee_status parameters_initialise(const model_source *source, const layout *lasting, unsigned char *base,
                                   uint64_t seed, levee_error *error) {
    for (uint32_t i = 0; i < lasting->count; i++) {
        const layout_entry *entry = &lasting->entries[i];
        if (entry->role != VALUE_CONSTANT && entry->role != VALUE_PARAMETER) continue;
        levee_status status = initialise_entry(source, entry, base, seed, i, error);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

/* PEFT's name of an adapter's matrix. */
static void peft_name(char name[TENSOR_NAME_BYTES], const char *value_name) {
    snprintf(name, TENSOR_NAME_BYTES, "base_model.model.%s.weight", value_name);
}

levee_status parameters_read_adapter(const layout *lasting, unsigned char *base, const char *path,
                                     levee_error *error) {
    char file[FILE_PATH_BYTES], name[TENSOR_NAME_BYTES];
    snprintf(file, sizeof file, "%s", path);
    if (file_is_directory(path) && !file_join(file, path, "adapter_model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    safetensors *tensors;
    levee_status status = safetensors_open(&tensors, file, error);
    if (status != LEVEE_OK) return status;
    uint32_t read = 0;
    for (uint32_t i = 0; i < lasting->count && status == LEVEE_OK; i++) {
        const layout_entry *entry = &lasting->entries[i];
        if (entry->role != VALUE_PARAMETER) continue;
        peft_name(name, entry->name);
        const tensor_view *view = safetensors_find(tensors, name);
        if (!view || view->rank != 2 || view->shape[0] != entry->rows || view->shape[1] != entry->cols ||
            view->type == DTYPE_I32)
            status =
                error_set(error, LEVEE_BAD_DATA,
                          "%s: tensor %s is missing or not [%llu, %llu]; the adapter is of another shape or model",
                          file, name, (unsigned long long)entry->rows, (unsigned long long)entry->cols);
        else
            dtype_convert(DTYPE_F32, base + entry->offset, view->type, view->data, entry->rows * entry->cols);
        read++;
    }
    if (status == LEVEE_OK && read != safetensors_count(tensors))
        status =
            error_set(error, LEVEE_BAD_DATA, "%s: holds %u tensors, but %u belong to this model and configuration",
                      file, safetensors_count(tensors), read);
    safetensors_close(tensors);
    return status;
}

/* The parameters, which lie one behind the other. */
static const layout_entry *first_parameter(const layout *lasting, uint32_t *count) {
    const layout_entry *first = NULL;
    *count = 0;
    for (uint32_t i = 0; i < lasting->count; i++) {
        if (lasting->entries[i].role != VALUE_PARAMETER) continue;
        if (!first) first = &lasting->entries[i];
        ++*count;
    }
    return first;
}

static void describe_adapter(const void *context, uint32_t index, tensor_declaration *tensor) {
    const layout_entry *entry = (const layout_entry *)context + index;
    *tensor = (tensor_declaration){.type = DTYPE_F32, .rank = 2, .shape = {entry->rows, entry->cols}};
    peft_name(tensor->name, entry->name);
}

levee_status parameters_write_adapter(const layout *lasting, const unsigned char *base, const adapter_config *config,
                                      const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "adapter_model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    uint32_t count;
    const layout_entry *parameters = first_parameter(lasting, &count);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&writer, describe_adapter, parameters, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++)
        status = file_writer_write(&writer, base + parameters[i].offset,
                                   parameters[i].rows * parameters[i].cols * sizeof(float), error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status == LEVEE_OK ? adapter_config_write(config, directory, error) : status;
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

/* A model to write: the source's tensors in the order of its table, then a head that became its own. */
typedef struct model_file {
    const model_source *source;
    const layout *lasting;
    const unsigned char *base;
    uint32_t count;
} model_file;

static const char *tensor_name(const model_file *m, uint32_t index) {
    return index < safetensors_count(m->source->tensors) ? safetensors_at(m->source->tensors, index)->name
                                                         : untied_head;
}

static void describe_model(const void *context, uint32_t index, tensor_declaration *tensor) {
    const model_file *m = context;
    const tensor_view *view = model_find_tensor(m->source, tensor_name(m, index));
    *tensor = (tensor_declaration){.type = view->type, .rank = view->rank};
    snprintf(tensor->name, sizeof tensor->name, "%s", tensor_name(m, index));
    memcpy(tensor->shape, view->shape, sizeof view->shape);
}

static levee_status write_tensors(file_writer *writer, const model_file *m, levee_error *error) {
    levee_status status = safetensors_write_header(writer, describe_model, m, m->count, error);
    for (uint32_t i = 0; i < m->count && status == LEVEE_OK; i++) {
        const tensor_view *view = model_find_tensor(m->source, tensor_name(m, i));
        const layout_entry *trained = layout_find(m->lasting, tensor_name(m, i));
        uint64_t elements = view->bytes / dtype_bytes(view->type, 1);
        if (trained)
            status = write_trained(writer, (const float *)(const void *)(m->base + trained->offset), view->type,
                                   elements, error);
        else
            status = file_writer_write(writer, view->data, view->bytes, error);
    }
    return status;
}

levee_status parameters_write_model(const model_source *source, const layout *lasting, const unsigned char *base,
                                    const char *model_directory, const char *directory, levee_error *error) {
    static const char *const beside[] = {"config.json",           "generation_config.json",  "tokenizer.json",
                                         "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    bool own_head = layout_find(lasting, untied_head) && !safetensors_find(source->tensors, untied_head);
    model_file m = {source, lasting, base, safetensors_count(source->tensors) + own_head};
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = write_tensors(&writer, &m, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    for (unsigned i = 0; i < sizeof beside / sizeof *beside && status == LEVEE_OK; i++) {
        char from[FILE_PATH_BYTES];
        if (file_join(from, model_directory, beside[i]) && file_exists(from) && file_join(path, directory, beside[i]))
            status = file_copy(from, path, error);
    }
    if (status == LEVEE_OK && own_head) status = model_config_untie(directory, error);
    return status;
}
