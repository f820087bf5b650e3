/* Converting adapters: see adapter_convert.h. */
#include "model/adapter_convert.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/adapter_mlx.h"

/* Number `index` of an adapter's tensors: by layer, projection and part. */
typedef struct conversion {
    const adapter_config *config;
    const model_config *model;
    const safetensors *tensors;
    adapter_format to;
    uint32_t first, targets; /* the first layer, and how many projections of each */
} conversion;

/* Finds it as it is, and declares it as it will be. */
static void find_tensor(const conversion *c, uint32_t index, adapter_tensor *from, tensor_declaration *to) {
    unsigned parts = adapter_parts(c->config);
    uint32_t layer = c->first + index / (parts * c->targets), place = index / parts % c->targets;
    adapter_part part = (adapter_part)(index % parts);
    model_projection projection = PROJECTION_Q;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (c->config->targets[p] && place-- == 0) projection = (model_projection)p;
    adapter_describe(to, c->config, c->model, layer, projection, part, ADAPTER_PEFT);
    adapter_find(from, c->tensors, to->name); /* adapter_open saw that all are there */
    adapter_describe(to, c->config, c->model, layer, projection, part, c->to);
    to->type = from->view->type;
}

static void describe(const void *context, uint32_t index, tensor_declaration *tensor) {
    adapter_tensor from;
    find_tensor(context, index, &from, tensor);
}

/* `values` [rows, cols], then room for as much again. */
static levee_status write_values(file_writer *to, const adapter_tensor *m, float *values, bool turned,
                                 levee_error *error) {
    uint64_t count = m->rows * m->cols;
    float *other = values + count;
    adapter_decode(m, values);
    for (uint64_t i = 0; turned && i < count; i++) other[i % m->cols * m->rows + i / m->cols] = values[i];
    float *from = turned ? other : values, *into = turned ? values : other;
    dtype_convert(m->view->type, into, DTYPE_F32, from, count);
    return file_writer_write(to, into, m->view->bytes, error);
}

static levee_status write_tensor(file_writer *to, const conversion *c, uint32_t index, levee_error *error) {
    tensor_declaration declared;
    adapter_tensor from;
    find_tensor(c, index, &from, &declared);
    float *values = ledger_alloc_array(LEVEE_IO, 2 * from.rows * from.cols, sizeof *values);
    if (!values) return error_out_of_memory(error, declared.name, 2 * from.rows * from.cols * sizeof *values);
    levee_status status = write_values(to, &from, values, c->to == ADAPTER_MLX, error);
    ledger_free(values);
    return status;
}

levee_status adapter_convert(const adapter_config *config, const safetensors *matrices, const model_config *model,
                             adapter_format to, const char *directory, levee_error *error) {
    static const char *const names[] = {
        [ADAPTER_PEFT] = "adapter_model.safetensors", [ADAPTER_MLX] = "adapters.safetensors"};
    conversion c = {.config = config, .model = model, .tensors = matrices, .to = to};
    uint32_t end;
    char path[FILE_PATH_BYTES];
    adapter_layers(config, model, &c.first, &end);
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) c.targets += config->targets[p];
    if (!file_join(path, directory, names[to]))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    uint32_t count = (end - c.first) * c.targets * adapter_parts(config);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&writer, describe, &c, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++) status = write_tensor(&writer, &c, i, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    if (status != LEVEE_OK) return status;
    if (to == ADAPTER_MLX) return adapter_mlx_write(config, c.first, model->layers, directory, error);
    adapter_config peft = *config;
    bool all = end - c.first == model->layers;
    peft.format = ADAPTER_PEFT;
    peft.first_layer = c.first;
    peft.layer_count = all ? UINT32_MAX : end - c.first;
    return adapter_config_write(&peft, directory, error);
}
