/* safetensors files: mapped read-only when read, streamed in slices when written. */
#ifndef LEVEE_TENSOR_SAFETENSORS_H
#define LEVEE_TENSOR_SAFETENSORS_H

#include "base/file.h"
#include "tensor/dtype.h"

enum { TENSOR_RANK = 8, TENSOR_NAME_BYTES = 256 };

typedef struct tensor_view {
    const char *name; /* belongs to the safetensors */
    dtype type;
    uint32_t rank;
    uint64_t shape[TENSOR_RANK];
    const void *data; /* in the mapping, aligned to nothing */
    uint64_t bytes;
    uint32_t file; /* the number of the file that holds it */
} tensor_view;

typedef struct safetensors safetensors;

/* Opens one file, or a model directory: model.safetensors, or the shards that model.safetensors.index.json names.
 * Every header is checked: types, shapes against bytes, no overlap, no hole, nothing past the end, and that every
 * tensor of the index is there. A shard that is missing is LEVEE_MISSING_INPUT, damage LEVEE_BAD_DATA; both name file
 * and tensor. The tables are booked under runtime; the mapped bytes are nobody's, since the kernel may drop them. */
levee_status safetensors_open(safetensors **result, const char *path, levee_error *error);
levee_status safetensors_open_model(safetensors **result, const char *directory, levee_error *error);
void safetensors_close(safetensors *s); /* NULL is allowed */

/* The tensor of that name, or NULL. */
const tensor_view *safetensors_find(const safetensors *s, const char *name);
uint32_t safetensors_count(const safetensors *s);
const tensor_view *safetensors_at(const safetensors *s, uint32_t index); /* sorted by name */
uint64_t safetensors_mapped_bytes(const safetensors *s);

/* The files that it was opened from. */
uint32_t safetensors_file_count(const safetensors *s);
const char *safetensors_file_path(const safetensors *s, uint32_t file);

typedef struct tensor_declaration {
    char name[TENSOR_NAME_BYTES];
    dtype type;
    uint32_t rank;
    uint64_t shape[TENSOR_RANK];
} tensor_declaration;

/* Fills in, over zeros, what tensor number `index` of a file is. */
typedef void tensor_describe(const void *context, uint32_t index, tensor_declaration *tensor);

/* Writes the header for `count` tensors (metadata: format pt), asking for each of them twice; then their bytes are
 * written to `writer` in the same order with file_writer_write, and the file is committed by file_writer_commit,
 * which refuses any other number of bytes than was declared. The data start at a multiple of 64. Takes no memory.
 * Names must differ; one that is not UTF-8 is LEVEE_INTERNAL. */
levee_status safetensors_write_header(file_writer *writer, tensor_describe *describe, const void *context,
                                      uint32_t count, levee_error *error);

#endif
