/* Writing model directories: see model_files.h. */
#include "model/model_files.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

static levee_status copy_if_there(const char *from_directory, const char *to_directory, const char *name,
                                  levee_error *error) {
    char from[FILE_PATH_BYTES], to[FILE_PATH_BYTES];
    if (!file_join(from, from_directory, name) || !file_join(to, to_directory, name))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", to_directory);
    return file_exists(from) ? file_copy(from, to, error) : LEVEE_OK;
}

levee_status model_files_copy(const char *from_directory, const char *to_directory, config_change change,
                              levee_error *error) {
    static const char *const names[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "chat_template.jinja",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "added_tokens.json"};
    levee_status status = model_config_copy(from_directory, to_directory, change, error);
    for (unsigned i = 0; i < sizeof names / sizeof *names && status == LEVEE_OK; i++)
        status = copy_if_there(from_directory, to_directory, names[i], error);
    return status;
}

/* The tensors of one file, by their numbers in the table. */
typedef struct file_tensors {
    const safetensors *all;
    const uint32_t *numbers;
} file_tensors;

static void describe(const void *context, uint32_t index, tensor_declaration *tensor) {
    const file_tensors *f = context;
    const tensor_view *view = safetensors_at(f->all, f->numbers[index]);
    *tensor = (tensor_declaration){.type = view->type, .rank = view->rank};
    snprintf(tensor->name, sizeof tensor->name, "%s", view->name);
    memcpy(tensor->shape, view->shape, sizeof view->shape);
}

static levee_status write_rows(file_writer *to, merged_model *m, const tensor_view *view, levee_error *error) {
    uint64_t row_bytes = dtype_bytes(view->type, m->cols);
    float *row = ledger_alloc(LEVEE_IO, m->cols * sizeof *row + row_bytes);
    if (!row) return error_out_of_memory(error, view->name, m->cols * sizeof *row + row_bytes);
    levee_status status = LEVEE_OK;
    for (uint64_t i = 0; i < m->rows && status == LEVEE_OK; i++) {
        merged_row(m, i, row);
        dtype_convert(view->type, row + m->cols, DTYPE_F32, row, m->cols);
        status = file_writer_write(to, row + m->cols, row_bytes, error);
    }
    ledger_free(row);
    return status;
}

static levee_status write_tensor(file_writer *to, merged_model *m, const tensor_view *view, levee_error *error) {
    levee_status status = merged_begin(m, view, error);
    if (status != LEVEE_OK) return status;
    return m->adapted ? write_rows(to, m, view, error) : file_writer_write(to, view->data, view->bytes, error);
}

static levee_status write_file(merged_model *m, uint32_t file, uint32_t *numbers, const char *directory,
                               levee_error *error) {
    char path[FILE_PATH_BYTES];
    const safetensors *all = m->source->tensors;
    const char *from = safetensors_file_path(all, file), *slash = strrchr(from, '/');
    uint32_t count = 0;
    for (uint32_t i = 0; i < safetensors_count(all); i++)
        if (safetensors_at(all, i)->file == file) numbers[count++] = i;
    if (!file_join(path, directory, slash ? slash + 1 : from))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    file_tensors context = {all, numbers};
    file_writer to;
    levee_status status = file_writer_open(&to, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&to, describe, &context, count, error);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++)
        status = write_tensor(&to, m, safetensors_at(all, numbers[i]), error);
    if (status == LEVEE_OK) status = file_writer_commit(&to, error);
    file_writer_abandon(&to);
    return status;
}

levee_status model_files_write_merged(merged_model *m, const char *from_directory, const char *to_directory,
                                      levee_error *error) {
    const safetensors *all = m->source->tensors;
    uint32_t *numbers = ledger_alloc_array(LEVEE_IO, safetensors_count(all), sizeof *numbers);
    if (!numbers) return error_out_of_memory(error, "the table of tensors", safetensors_count(all) * sizeof *numbers);
    levee_status status = LEVEE_OK;
    for (uint32_t file = 0; file < safetensors_file_count(all) && status == LEVEE_OK; file++)
        status = write_file(m, file, numbers, to_directory, error);
    ledger_free(numbers);
    bool single = safetensors_file_count(all) == 1 && strstr(safetensors_file_path(all, 0), "/model.safetensors");
    if (status == LEVEE_OK && !single)
        status = copy_if_there(from_directory, to_directory, "model.safetensors.index.json", error);
    return status;
}
