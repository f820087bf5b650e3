/* The values of what trains: see parameters.h. */
#include "model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "model/family.h"
#include "model/model_files.h"

static void initialise_lora(float *values, const layout_entry *entry, uint64_t seed, uint32_t stream) {
    float bound = 1.0f / sqrtf((float)entry->cols);
    for (uint64_t i = 0; i < entry->rows * entry->cols; i++)
        values[i] = bound * (2 * random_uniform(seed, stream, (uint32_t)i, (uint32_t)(i >> 32), 0) - 1);
}

/* The norm of each row of a weight, which is decoded piece by piece. */
static void measure_rows(float *norms, const tensor_view *weight) {
    enum { PIECE = 1024 };
    float piece[PIECE];
    uint64_t cols = weight->shape[1];
    for (uint64_t row = 0; row < weight->shape[0]; row++) {
        double squares = 0;
        for (uint64_t from = 0; from < cols; from += PIECE) {
            uint64_t count = cols - from < PIECE ? cols - from : PIECE;
            dtype_convert(DTYPE_F32, piece, weight->type,
                          (const unsigned char *)weight->data + dtype_bytes(weight->type, row * cols + from), count);
            for (uint64_t i = 0; i < count; i++) squares += (double)piece[i] * (double)piece[i];
        }
        norms[row] = (float)sqrt(squares);
    }
}

static levee_status initialise_adapter(const model_source *source, const layout_entry *entry, adapter_part part,
                                       const char *adapted, float *values, uint64_t seed, uint32_t index,
                                       levee_error *error) {
    const tensor_view *weight = part == ADAPTER_MAGNITUDE ? model_find_tensor(source, adapted) : NULL;
    if (part == ADAPTER_A)
        initialise_lora(values, entry, seed, index);
    else if (part == ADAPTER_B)
        memset(values, 0, entry->bytes);
    else if (weight)
        measure_rows(values, weight);
    else
        return error_set(error, LEVEE_INTERNAL, "no tensor to start %s from", entry->name);
    return LEVEE_OK;
}

static levee_status initialise_entry(const model_source *source, const layout_entry *entry, unsigned char *base,
                                     uint64_t seed, uint32_t index, levee_error *error) {
    float *values = (float *)(void *)(base + entry->offset);
    char adapted[VALUE_NAME_BYTES];
    adapter_part part;
    if (entry->role == VALUE_CONSTANT) {
        model_config_rope_frequencies(source->config, values);
    } else if (model_adapter_part(entry->name, &part, adapted)) {
        return initialise_adapter(source, entry, part, adapted, values, seed, index, error);
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

/* How an adapter's parameter is declared in a file: a magnitude has one dimension, a matrix two. */
static void describe_parameter(const layout_entry *entry, tensor_declaration *tensor) {
    adapter_part part;
    bool magnitude = model_adapter_part(entry->name, &part, NULL) && part == ADAPTER_MAGNITUDE;
    *tensor = (tensor_declaration){.type = DTYPE_F32, .rank = magnitude ? 1 : 2};
    tensor->shape[0] = magnitude ? entry->cols : entry->rows;
    tensor->shape[1] = magnitude ? 0 : entry->cols;
    adapter_tensor_name(tensor->name, entry->name);
}

levee_status parameters_read_adapter(const layout *lasting, unsigned char *base, const char *path,
                                     levee_error *error) {
    char file[FILE_PATH_BYTES];
    levee_status status = adapter_tensors_path(file, path, error);
    if (status != LEVEE_OK) return status;
    safetensors *tensors;
    status = safetensors_open(&tensors, file, error);
    if (status != LEVEE_OK) return status;
    uint32_t read = 0;
    for (uint32_t i = 0; i < lasting->count && status == LEVEE_OK; i++) {
        const layout_entry *entry = &lasting->entries[i];
        if (entry->role != VALUE_PARAMETER) continue;
        tensor_declaration wanted;
        adapter_tensor found;
        describe_parameter(entry, &wanted);
        if (!adapter_find(&found, tensors, wanted.name) || found.view->rank != wanted.rank ||
            found.rows != entry->rows || found.cols != entry->cols)
            status =
                error_set(error, LEVEE_BAD_DATA,
                          "%s: tensor %s is missing or not [%llu, %llu]; the adapter is of another shape or model",
                          file, wanted.name, (unsigned long long)entry->rows, (unsigned long long)entry->cols);
        else
            adapter_decode(&found, (float *)(void *)(base + entry->offset));
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
    describe_parameter((const layout_entry *)context + index, tensor);
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

/* A model to write: the source's tensors in the order of its table, then a head that became its own. */
typedef struct model_file {
    const model_source *source;
    const layout *lasting;
    const unsigned char *base;
    char head[VALUE_NAME_BYTES];
    uint32_t count;
} model_file;

static const char *tensor_name(const model_file *m, uint32_t index) {
    return index < safetensors_count(m->source->tensors) ? safetensors_at(m->source->tensors, index)->name : m->head;
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
    char path[FILE_PATH_BYTES];
    if (!file_join(path, directory, "model.safetensors"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    model_file m = {.source = source, .lasting = lasting, .base = base};
    snprintf(m.head, sizeof m.head, "%s.weight", source->config->family->names->head);
    bool own_head = layout_find(lasting, m.head) && !safetensors_find(source->tensors, m.head);
    m.count = safetensors_count(source->tensors) + own_head;
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = write_tensors(&writer, &m, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    config_change change = own_head ? CONFIG_UNTIED : CONFIG_SAME;
    return status == LEVEE_OK ? model_files_copy(model_directory, directory, change, error) : status;
}
