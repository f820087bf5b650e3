/* GGUF files as they are found (versions 2 and 3): what their headers say. Nothing is computed with them here. */
#ifndef LEVEE_TENSOR_GGUF_FILE_H
#define LEVEE_TENSOR_GGUF_FILE_H

#include "base/file.h"
#include "tensor/gguf.h"

typedef struct gguf_view {
    char name[GGUF_NAME_BYTES]; /* printable ASCII */
    const char *type;           /* "q8_0" */
    uint32_t rank;
    uint64_t shape[GGUF_DIMENSIONS]; /* the outermost first, as in a safetensors file */
    uint64_t elements, offset, bytes;
} gguf_view;

typedef struct gguf_file gguf_file;

/* Opens a file and checks its whole header: every length against the file, types, shapes against bytes, that no two
 * tensors share a name or a byte and that none lies past the end. LEVEE_BAD_DATA names file and place. The tables are
 * booked under runtime. */
levee_status gguf_file_open(gguf_file **result, const char *path, levee_error *error);
void gguf_file_close(gguf_file *g); /* NULL is allowed */

uint32_t gguf_file_count(const gguf_file *g);
const gguf_view *gguf_file_at(const gguf_file *g, uint32_t index); /* in the order of the data */

/* A text of the metadata, which may hold anything but is bounded by *bytes; NULL when there is none of that key. */
const char *gguf_file_text(const gguf_file *g, const char *key, uint64_t *bytes);

/* A whole number that is not negative; false when there is none of that key. */
bool gguf_file_number(const gguf_file *g, const char *key, uint64_t *number);

/* How many elements a list of the metadata has; 0 when there is none of that key. */
uint64_t gguf_file_length(const gguf_file *g, const char *key);

#endif
