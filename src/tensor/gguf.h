/* GGUF files (version 3), written in one go: metadata, the table of tensors, then their bytes.
 *
 * A writer keeps its first failure, so that many entries can be written and the status looked at once. It writes
 * through a buffer of its own and takes no memory. */
#ifndef LEVEE_TENSOR_GGUF_H
#define LEVEE_TENSOR_GGUF_H

#include "base/file.h"

/* Types of tensors, by the format's numbers. q8_0: 32 elements share an f16 scale, a byte each; q4_0: four bits. */
typedef enum gguf_type { GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q8_0 = 8, GGUF_BF16 = 30 } gguf_type;

/* Types of metadata. */
typedef enum gguf_value { GGUF_INT32 = 5, GGUF_FLOAT32 = 6, GGUF_TEXT = 8 } gguf_value;

enum { GGUF_NAME_BYTES = 64, GGUF_DIMENSIONS = 4 };

/* How many elements make a block: a row must be made of whole ones. */
uint32_t gguf_block_elements(gguf_type type);

/* Bytes of a row of `elements` elements. */
uint64_t gguf_row_bytes(gguf_type type, uint64_t elements);

/* Encodes a row, to the byte as the format's reference does. */
void gguf_encode(gguf_type type, void *to, const float *values, uint64_t elements);

typedef struct gguf_writer {
    file_writer *file; /* NULL: entries are counted, and not written */
    uint64_t entries;  /* of metadata, so far */
    uint64_t bytes;    /* so far, buffered ones too */
    uint32_t buffered;
    levee_status status; /* the first failure */
    levee_error *error;
    unsigned char buffer[8192];
} gguf_writer;

/* One entry of metadata. */
void gguf_put_text(gguf_writer *w, const char *key, const char *text);
void gguf_put_uint(gguf_writer *w, const char *key, uint32_t value);
void gguf_put_float(gguf_writer *w, const char *key, float value);
void gguf_put_flag(gguf_writer *w, const char *key, bool value);

/* An entry that is a list: `count` items of its type follow. */
void gguf_begin_list(gguf_writer *w, const char *key, gguf_value type, uint64_t count);
void gguf_item_text(gguf_writer *w, const char *text, uint64_t bytes);
void gguf_item_int(gguf_writer *w, int32_t value);
void gguf_item_float(gguf_writer *w, float value);

/* Records a failure unless there was one before. */
void gguf_fail(gguf_writer *w, levee_status status);

typedef struct gguf_tensor {
    char name[GGUF_NAME_BYTES];
    gguf_type type;
    uint32_t dimensions;
    uint64_t shape[GGUF_DIMENSIONS]; /* the slowest first, as in safetensors */
} gguf_tensor;

/* What a file holds. Both functions are called more than once, and must say the same each time. */
typedef struct gguf_content {
    void (*metadata)(gguf_writer *w, const void *context);
    void (*tensor)(const void *context, uint32_t index, gguf_tensor *tensor); /* over zeros */
    const void *context;
    uint32_t tensor_count;
} gguf_content;

/* Writes all that comes before the first tensor, and says how long the file will be. Then the tensors' rows follow in
 * order, by gguf_write, each tensor ended by gguf_end_tensor, and gguf_flush ends them all; the file is committed by
 * its owner. */
levee_status gguf_write_header(gguf_writer *w, file_writer *file, const gguf_content *content, levee_error *error);
void gguf_write(gguf_writer *w, const void *data, uint64_t bytes);
void gguf_end_tensor(gguf_writer *w);
levee_status gguf_flush(gguf_writer *w);

#endif
