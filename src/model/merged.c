/* Merging an adapter: see merged.h. */
#include "model/merged.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/family.h"

void merged_close(merged_model *m) {
    safetensors_close(m->matrices);
    for (unsigned part = 0; part < 3; part++) ledger_free(m->parts[part]);
    memset(m, 0, sizeof *m);
}

levee_status merged_open(merged_model *m, const model_source *source, const char *adapter_directory,
                         levee_error *error) {
    *m = (merged_model){.source = source};
    if (!adapter_directory) return LEVEE_OK;
    levee_status status = adapter_open(&m->matrices, &m->adapter, source->config, adapter_directory, error);
    if (status != LEVEE_OK) merged_close(m);
    return status;
}

/* Does the adapter change this tensor, and as which projection of which layer? */
static bool find_projection(const merged_model *m, const char *name, uint32_t *layer, model_projection *projection) {
    const model_config *model = m->source->config;
    char value_name[VALUE_NAME_BYTES], adapted[VALUE_NAME_BYTES];
    size_t prefix = strlen(model->family->names->layers);
    uint32_t first, end;
    adapter_part part;
    if (!m->matrices || strncmp(name, model->family->names->layers, prefix) ||
        sscanf(name + prefix, ".%9u.", layer) != 1)
        return false;
    adapter_layers(&m->adapter, model, &first, &end);
    for (unsigned p = 0; *layer >= first && *layer < end && p < PROJECTION_COUNT; p++) {
        *projection = (model_projection)p;
        model_adapter_name(value_name, model, *layer, *projection, ADAPTER_A);
        model_adapter_part(value_name, &part, adapted);
        if (m->adapter.targets[p] && !strcmp(adapted, name)) return true;
    }
    return false;
}

static levee_status read_part(merged_model *m, uint32_t layer, model_projection projection, adapter_part part,
                              levee_error *error) {
    tensor_declaration wanted;
    adapter_tensor found;
    adapter_describe(&wanted, &m->adapter, m->source->config, layer, projection, part, ADAPTER_PEFT);
    bool there = adapter_find(&found, m->matrices, wanted.name);
    uint64_t rows = part == ADAPTER_A ? m->adapter.rank : part == ADAPTER_B ? m->rows : 1;
    uint64_t cols = part == ADAPTER_A ? m->cols : part == ADAPTER_B ? m->adapter.rank : m->rows;
    if (!there || found.rows != rows || found.cols != cols)
        return error_set(error, LEVEE_BAD_DATA,
                         "tensor %s is [%llu, %llu], which does not fit the adapter's %s; config.json and the "
                         "safetensors files do not belong together",
                         m->view->name, (unsigned long long)m->rows, (unsigned long long)m->cols, wanted.name);
    float *grown = ledger_resize(LEVEE_IO, m->parts[part], rows * cols * sizeof *grown);
    if (!grown) return error_out_of_memory(error, "a matrix of the adapter", rows * cols * sizeof *grown);
    m->parts[part] = grown;
    adapter_decode(&found, grown);
    return LEVEE_OK;
}

levee_status merged_begin(merged_model *m, const tensor_view *view, levee_error *error) {
    uint32_t layer;
    model_projection projection;
    m->view = view;
    m->rows = view->rank == 2 ? view->shape[0] : 1;
    m->cols = view->rank ? view->shape[view->rank - 1] : 1;
    m->adapted = find_projection(m, view->name, &layer, &projection);
    if (!m->adapted) return LEVEE_OK;
    if (view->rank != 2 || !dtype_is_weight(view->type))
        return error_set(error, LEVEE_BAD_DATA, "tensor %s: a matrix of f32, f16 or bf16 is needed", view->name);
    levee_status status = LEVEE_OK;
    for (unsigned part = 0; part < adapter_parts(&m->adapter) && status == LEVEE_OK; part++)
        status = read_part(m, layer, projection, (adapter_part)part, error);
    return status;
}

static void add_product(const merged_model *m, uint64_t row, float *values) {
    float scale = (float)(m->adapter.alpha / m->adapter.rank);
    for (uint32_t r = 0; r < m->adapter.rank; r++) {
        float factor = scale * m->parts[ADAPTER_B][row * m->adapter.rank + r];
        const float *a = m->parts[ADAPTER_A] + r * m->cols;
        for (uint64_t i = 0; i < m->cols; i++) values[i] += factor * a[i];
    }
}

static void set_length(float *values, uint64_t count, float length) {
    double squares = 0;
    for (uint64_t i = 0; i < count; i++) squares += (double)values[i] * (double)values[i];
    float factor = (float)((double)length / sqrt(squares));
    for (uint64_t i = 0; i < count; i++) values[i] *= factor;
}

void merged_row(const merged_model *m, uint64_t row, float *values) {
    const unsigned char *stored = m->view->data;
    dtype_convert(DTYPE_F32, values, m->view->type, stored + row * dtype_bytes(m->view->type, m->cols), m->cols);
    if (!m->adapted) return;
    add_product(m, row, values);
    if (m->adapter.dora) set_length(values, m->cols, m->parts[ADAPTER_MAGNITUDE][row]);
}
