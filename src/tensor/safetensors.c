/* safetensors files: see safetensors.h. Layout: 8 bytes little-endian header length, a JSON header that maps each
 * name to dtype, shape and data_offsets, then the data. */
#include "tensor/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "memory/pool.h"

enum { HEADER_LIMIT_BYTES = 100 * 1024 * 1024, INDEX_LIMIT_BYTES = 100 * 1024 * 1024, HEADER_ALIGNMENT = 64 };

static const char index_name[] = "model.safetensors.index.json";

typedef struct shard {
    char *path;
    file_mapping mapping;
} shard;

struct safetensors {
    shard *shards;
    uint32_t shard_count, shard_capacity;
    tensor_view *tensors; /* sorted by name */
    uint32_t count, capacity;
};

void safetensors_close(safetensors *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        file_unmap(&s->shards[i].mapping);
        ledger_free(s->shards[i].path);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        union {
            const char *name;
            void *block;
        } owned = {.name = s->tensors[i].name};
        ledger_free(owned.block);
    }
    ledger_free(s->shards);
    ledger_free(s->tensors);
    ledger_free(s);
}

static levee_status bad(levee_error *error, const char *path, const char *tensor, const char *problem) {
    return error_set(error, LEVEE_BAD_DATA, "%s: tensor %s: %s; the file is damaged, fetch or save it again", path,
                     tensor, problem);
}

/* Reads shape and type of one header entry; *bytes is what the data must take. */
static levee_status read_entry(tensor_view *view, const char *path, const char *name, const json_t *entry,
                               uint64_t *bytes, levee_error *error) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    if (!type || !json_is_array(shape)) return bad(error, path, name, "its header entry lacks dtype or shape");
    if (!dtype_from_safetensors(type, &view->type))
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: tensor %s: type %.20s is not known; convert it to F32, F16 or BF16", path, name, type);
    if (json_array_size(shape) > TENSOR_RANK) return bad(error, path, name, "it has more than 8 dimensions");
    view->rank = (uint32_t)json_array_size(shape);
    uint64_t elements = 1;
    for (uint32_t i = 0; i < view->rank; i++) {
        const json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return bad(error, path, name, "its shape is not made of natural numbers");
        view->shape[i] = (uint64_t)json_integer_value(size);
        if (__builtin_mul_overflow(elements, view->shape[i], &elements) || elements > (UINT64_MAX >> 4))
            return bad(error, path, name, "its shape overflows");
    }
    *bytes = dtype_bytes(view->type, elements);
    return LEVEE_OK;
}

/* Makes room for one more tensor. */
static levee_status reserve_tensor(safetensors *s, const shard *file, levee_error *error) {
    if (s->count < s->capacity) return LEVEE_OK;
    uint64_t larger = s->capacity ? (uint64_t)s->capacity * 2 : 64;
    void *grown = larger > UINT32_MAX ? NULL : ledger_resize(LEVEE_RUNTIME, s->tensors, larger * sizeof *s->tensors);
    if (!grown) return error_out_of_memory(error, file->path, larger * sizeof *s->tensors);
    s->tensors = grown;
    s->capacity = (uint32_t)larger;
    return LEVEE_OK;
}

static levee_status add_tensor(safetensors *s, const shard *file, uint64_t data_start, const char *name,
                               const json_t *entry, levee_error *error) {
    tensor_view view = {0};
    uint64_t expected = 0;
    if (strlen(name) >= TENSOR_NAME_BYTES)
        return error_set(error, LEVEE_BAD_DATA, "%s: tensor %.60s...: its name has more than %d bytes", file->path,
                         name, TENSOR_NAME_BYTES - 1);
    levee_status status = read_entry(&view, file->path, name, entry, &expected, error);
    if (status != LEVEE_OK) return status;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return bad(error, file->path, name, "its data_offsets are not a range");
    uint64_t from = (uint64_t)json_integer_value(begin), to = (uint64_t)json_integer_value(end);
    if (to > file->mapping.bytes - data_start)
        return bad(error, file->path, name, "its data lie past the end of the file");
    if (to - from != expected) return bad(error, file->path, name, "its data do not have the size of its shape");
    status = reserve_tensor(s, file, error);
    if (status != LEVEE_OK) return status;
    view.data = file->mapping.data + data_start + from;
    view.bytes = expected;
    view.file = (uint32_t)(file - s->shards);
    view.name = ledger_text(LEVEE_RUNTIME, name);
    if (!view.name) return error_out_of_memory(error, file->path, strlen(name));
    s->tensors[s->count++] = view;
    return LEVEE_OK;
}

static int compare_data(const void *left, const void *right) {
    const tensor_view *a = left, *b = right;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static int compare_names(const void *left, const void *right) {
    return strcmp(((const tensor_view *)left)->name, ((const tensor_view *)right)->name);
}

/* The tensors of a file must tile its data without overlap and without holes. */
static levee_status check_tiling(safetensors *s, uint32_t first, const shard *file, uint64_t data_start,
                                 levee_error *error) {
    if (s->count > first) qsort(s->tensors + first, s->count - first, sizeof *s->tensors, compare_data);
    const unsigned char *expected = file->mapping.data + data_start;
    for (uint32_t i = first; i < s->count; i++) {
        const tensor_view *view = &s->tensors[i];
        if ((const unsigned char *)view->data < expected)
            return bad(error, file->path, view->name, "its data overlap another tensor's");
        if ((const unsigned char *)view->data > expected)
            return bad(error, file->path, view->name, "bytes before its data belong to no tensor");
        expected += view->bytes;
    }
    if (expected != file->mapping.data + file->mapping.bytes)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: bytes after the last tensor; the file is damaged, fetch it again", file->path);
    return LEVEE_OK;
}

static levee_status read_shard(safetensors *s, shard *file, levee_error *error) {
    levee_status status = file_map(&file->mapping, file->path, error);
    if (status != LEVEE_OK) return status;
    uint64_t length = 0, bytes = file->mapping.bytes;
    if (bytes >= 8)
        for (int i = 7; i >= 0; i--) length = length << 8 | file->mapping.data[i];
    if (bytes < 8 || length > bytes - 8)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: is cut off (%llu bytes) or no safetensors file; fetch or save it again", file->path,
                         (unsigned long long)bytes);
    if (length > HEADER_LIMIT_BYTES)
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: its header has %llu bytes, more than the format's 100 MB; fetch or "
                         "save it again",
                         file->path, (unsigned long long)length);
    json_t *header;
    status = json_object_parse(&header, file->path, (const char *)file->mapping.data + 8, length, error);
    if (status == LEVEE_BAD_DATA) error_context(error, "damaged safetensors header, fetch or save the file again");
    if (status != LEVEE_OK) return status;
    uint32_t first = s->count;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        bool metadata = !strcmp(name, "__metadata__");
        if (metadata && !json_is_object(entry) && !json_is_null(entry)) /* null is what mlx writes for none */
            status = error_set(error, LEVEE_BAD_DATA, "%s: __metadata__: an object is needed", file->path);
        if (!metadata) status = add_tensor(s, file, 8 + length, name, entry, error);
        if (status != LEVEE_OK) break;
    }
    json_decref(header);
    return status == LEVEE_OK ? check_tiling(s, first, file, 8 + length, error) : status;
}

static levee_status finish_open(safetensors *s, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (uint32_t i = 0; i < s->shard_count && status == LEVEE_OK; i++) status = read_shard(s, &s->shards[i], error);
    if (status != LEVEE_OK) return status;
    if (s->count) qsort(s->tensors, s->count, sizeof *s->tensors, compare_names);
    for (uint32_t i = 1; i < s->count; i++)
        if (!strcmp(s->tensors[i - 1].name, s->tensors[i].name))
            return error_set(error, LEVEE_BAD_DATA, "%s: tensor %s is in two shards", s->shards[0].path,
                             s->tensors[i].name);
    return LEVEE_OK;
}

static levee_status start_open(safetensors **result, levee_error *error) {
    *result = ledger_alloc(LEVEE_RUNTIME, sizeof **result);
    return *result ? LEVEE_OK : error_out_of_memory(error, "the table of tensors", sizeof **result);
}

/* Appends a file that finish_open then maps. */
static levee_status append_shard(safetensors *s, const char *path, levee_error *error) {
    if (s->shard_count == s->shard_capacity) {
        uint32_t larger = s->shard_capacity ? s->shard_capacity * 2 : 4;
        void *grown = ledger_resize(LEVEE_RUNTIME, s->shards, larger * sizeof *s->shards);
        if (!grown) return error_out_of_memory(error, path, larger * sizeof *s->shards);
        s->shards = grown;
        s->shard_capacity = larger;
    }
    char *copy = ledger_text(LEVEE_RUNTIME, path);
    if (!copy) return error_out_of_memory(error, path, strlen(path) + 1);
    s->shards[s->shard_count++] = (shard){.path = copy};
    return LEVEE_OK;
}

/* Hands the opened one over, or gives back what was opened so far. */
static levee_status hand_over(safetensors **result, safetensors *s, levee_status status) {
    if (status == LEVEE_OK)
        *result = s;
    else
        safetensors_close(s);
    return status;
}

levee_status safetensors_open(safetensors **result, const char *path, levee_error *error) {
    safetensors *s = NULL;
    *result = NULL;
    levee_status status = start_open(&s, error);
    if (status == LEVEE_OK) status = append_shard(s, path, error);
    if (status == LEVEE_OK) status = finish_open(s, error);
    return hand_over(result, s, status);
}

/* Adds the shard `file` unless it is there; a name with a slash would reach outside the directory. */
static levee_status add_shard(safetensors *s, const char *directory, const char *file, levee_error *error) {
    enum { MOST_SHARDS = 4096 };
    char path[FILE_PATH_BYTES];
    if (!*file || strchr(file, '/') || !file_join(path, directory, file))
        return error_set(error, LEVEE_BAD_DATA, "%s: %s: '%.100s' is no file name", directory, index_name, file);
    for (uint32_t i = 0; i < s->shard_count; i++)
        if (!strcmp(s->shards[i].path, path)) return LEVEE_OK;
    if (s->shard_count == MOST_SHARDS)
        return error_set(error, LEVEE_BAD_DATA, "%s: %s: names more than %d files", directory, index_name,
                         MOST_SHARDS);
    if (!file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT, "%s: this shard is named in %s but missing; fetch it", path,
                         index_name);
    return append_shard(s, path, error);
}

/* The index and its shards must be of one model: a shard of another may have the right name. */
static levee_status check_index(const safetensors *s, const json_t *map, const char *path, levee_error *error) {
    const char *name;
    json_t *file;
    json_object_foreach((json_t *)(uintptr_t)map, name, file) {
        if (!safetensors_find(s, name))
            return error_set(error, LEVEE_BAD_DATA,
                             "%s: weight_map: %.200s is not in %.200s nor any other shard; fetch the "
                             "model again",
                             path, name, json_string_value(file));
    }
    return LEVEE_OK;
}

static levee_status open_sharded(safetensors **result, const char *directory, const char *index_path,
                                 levee_error *error) {
    json_t *index;
    safetensors *s = NULL;
    levee_status status = json_object_read(&index, index_path, INDEX_LIMIT_BYTES, error);
    if (status != LEVEE_OK) return status;
    json_t *map = json_object_get(index, "weight_map");
    if (!json_object_size(map))
        status =
            error_set(error, LEVEE_BAD_DATA, "%s: weight_map: an object from tensors to files is needed", index_path);
    if (status == LEVEE_OK) status = start_open(&s, error);
    const char *name;
    json_t *file;
    if (status == LEVEE_OK) json_object_foreach(map, name, file) {
            if (!json_is_string(file))
                status = error_set(error, LEVEE_BAD_DATA, "%s: weight_map: %.200s: a file name is needed", index_path,
                                   name);
            else
                status = add_shard(s, directory, json_string_value(file), error);
            if (status != LEVEE_OK) break;
        }
    if (status == LEVEE_OK) status = finish_open(s, error);
    if (status == LEVEE_OK) status = check_index(s, map, index_path, error);
    json_decref(index);
    return hand_over(result, s, status);
}

levee_status safetensors_open_model(safetensors **result, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *result = NULL;
    if (file_join(path, directory, "model.safetensors") && file_exists(path))
        return safetensors_open(result, path, error);
    if (file_join(path, directory, index_name) && file_exists(path))
        return open_sharded(result, directory, path, error);
    return error_set(error, LEVEE_MISSING_INPUT,
                     "%s: holds neither model.safetensors nor %s; --model takes a Hugging Face model directory",
                     directory, index_name);
}

const tensor_view *safetensors_find(const safetensors *s, const char *name) {
    tensor_view key = {.name = name};
    return s->count ? bsearch(&key, s->tensors, s->count, sizeof key, compare_names) : NULL;
}

uint32_t safetensors_count(const safetensors *s) { return s->count; }
const tensor_view *safetensors_at(const safetensors *s, uint32_t index) { return &s->tensors[index]; }

uint32_t safetensors_file_count(const safetensors *s) { return s->shard_count; }
const char *safetensors_file_path(const safetensors *s, uint32_t file) { return s->shards[file].path; }

uint64_t safetensors_mapped_bytes(const safetensors *s) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->shard_count; i++) bytes += s->shards[i].mapping.bytes;
    return bytes;
}

/* One entry of the header as JSON text, without the braces around it; its length, or 0 when its name is not UTF-8
 * or the library was refused memory. The library works in a pool on the stack, so that saving takes no memory. */
static size_t format_entry(char *text, size_t room, const tensor_declaration *tensor, uint64_t *offset) {
    unsigned char memory[8192];
    pool library = {.memory = memory, .capacity = sizeof memory};
    uint64_t elements = 1, begin = *offset;
    pool_enter(&library);
    json_t *shape = json_array();
    for (uint32_t i = 0; i < tensor->rank; i++) {
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
        elements *= tensor->shape[i];
    }
    *offset += dtype_bytes(tensor->type, elements);
    json_t *entry =
        json_pack("{s:{s:s, s:o, s:[I, I]}}", tensor->name, "dtype", dtype_describe(tensor->type)->safetensors_name,
                  "shape", shape, "data_offsets", (json_int_t)begin, (json_int_t)*offset);
    size_t length = entry ? json_dumpb(entry, text, room, JSON_COMPACT) : 0;
    pool_leave();
    pool_empty(&library);
    if (length < 2 || length > room) return 0;
    memmove(text, text + 1, length - 2);
    return length - 2;
}

/* Goes through the header's text: measures it when there is no writer, else writes it. */
static levee_status pass_header(file_writer *writer, const char *path, tensor_describe *describe, const void *context,
                                uint32_t count, uint64_t *text_bytes, uint64_t *data_bytes, levee_error *error) {
    static const char first[] = "{\"__metadata__\":{\"format\":\"pt\"}", last[] = "}";
    levee_status status = writer ? file_writer_write(writer, first, sizeof first - 1, error) : LEVEE_OK;
    *text_bytes = sizeof first - 1 + sizeof last - 1;
    *data_bytes = 0;
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++) {
        /* A byte of a name may take six: \u0000. */
        char text[6 * TENSOR_NAME_BYTES + TENSOR_RANK * 24 + 256] = ",";
        tensor_declaration tensor = {0};
        describe(context, i, &tensor);
        size_t length = format_entry(text + 1, sizeof text - 1, &tensor, data_bytes);
        if (pool_was_refused()) return error_out_of_memory(error, path, sizeof text);
        if (!length)
            return error_set(error, LEVEE_INTERNAL, "%s: tensor %.200s: its name is not UTF-8", path, tensor.name);
        *text_bytes += length + 1;
        if (writer) status = file_writer_write(writer, text, length + 1, error);
    }
    return writer && status == LEVEE_OK ? file_writer_write(writer, last, sizeof last - 1, error) : status;
}

levee_status safetensors_write_header(file_writer *writer, tensor_describe *describe, const void *context,
                                      uint32_t count, levee_error *error) {
    static const char spaces[] = "                                                                ";
    _Static_assert(sizeof spaces == HEADER_ALIGNMENT + 1, "the padding is shorter than one alignment");
    uint64_t length, data_bytes;
    levee_status status = pass_header(NULL, writer->path, describe, context, count, &length, &data_bytes, error);
    if (status != LEVEE_OK) return status;
    uint64_t start = (8 + length + HEADER_ALIGNMENT - 1) / HEADER_ALIGNMENT * HEADER_ALIGNMENT;
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)((start - 8) >> 8 * i);
    file_writer_promise(writer, start + data_bytes);
    status = file_writer_write(writer, prefix, sizeof prefix, error);
    if (status == LEVEE_OK)
        status = pass_header(writer, writer->path, describe, context, count, &length, &data_bytes, error);
    return status == LEVEE_OK ? file_writer_write(writer, spaces, start - 8 - length, error) : status;
}
