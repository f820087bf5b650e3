/* GGUF files: see gguf.h. Numbers are little-endian, as is every machine that this is built for. */
#include "tensor/gguf.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "tensor/dtype.h"

enum { VERSION = 3, ALIGNMENT = 32, BLOCK = 32, UINT32_VALUE = 4, FLAG_VALUE = 7, LIST_VALUE = 9 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");

typedef struct q8_0_block {
    uint16_t scale; /* f16 */
    int8_t values[BLOCK];
} q8_0_block;

typedef struct q4_0_block {
    uint16_t scale;                  /* f16 */
    unsigned char values[BLOCK / 2]; /* element i in the lower half of byte i, element i + 16 in the upper; less 8 */
} q4_0_block;

_Static_assert(sizeof(q8_0_block) == 34 && sizeof(q4_0_block) == 18, "blocks are written as they lie in memory");

uint32_t gguf_block_elements(gguf_type type) { return type == GGUF_Q8_0 || type == GGUF_Q4_0 ? BLOCK : 1; }

uint64_t gguf_row_bytes(gguf_type type, uint64_t elements) {
    if (type == GGUF_Q8_0) return elements / BLOCK * sizeof(q8_0_block);
    if (type == GGUF_Q4_0) return elements / BLOCK * sizeof(q4_0_block);
    return elements * (type == GGUF_F32 ? 4 : 2);
}

/* The largest value by magnitude, with its sign. */
static float extreme(const float *values) {
    float most = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        if (fabsf(values[i]) > fabsf(most)) most = values[i];
    return most;
}

static void encode_q8_0(q8_0_block *to, const float *values) {
    float scale = fabsf(extreme(values)) / 127, inverse = scale != 0 ? 1 / scale : 0;
    dtype_convert(DTYPE_F16, &to->scale, DTYPE_F32, &scale, 1);
    for (unsigned i = 0; i < BLOCK; i++) to->values[i] = (int8_t)roundf(values[i] * inverse);
}

/* The extreme becomes -8, so that the side it lies on has the finer steps to its end. */
static unsigned quarter(float value, float inverse) {
    float shifted = value * inverse + 8.5f;
    return shifted < 15 ? (unsigned)shifted : 15;
}

static void encode_q4_0(q4_0_block *to, const float *values) {
    float scale = extreme(values) / -8, inverse = scale != 0 ? 1 / scale : 0;
    dtype_convert(DTYPE_F16, &to->scale, DTYPE_F32, &scale, 1);
    for (unsigned i = 0; i < BLOCK / 2; i++)
        to->values[i] = (unsigned char)(quarter(values[i], inverse) | quarter(values[i + BLOCK / 2], inverse) << 4);
}

void gguf_encode(gguf_type type, void *to, const float *values, uint64_t elements) {
    switch (type) {
    case GGUF_F32:
        memcpy(to, values, elements * sizeof *values);
        break;
    case GGUF_F16:
        dtype_convert(DTYPE_F16, to, DTYPE_F32, values, elements);
        break;
    case GGUF_BF16:
        dtype_convert(DTYPE_BF16, to, DTYPE_F32, values, elements);
        break;
    case GGUF_Q8_0:
        for (uint64_t i = 0; i < elements / BLOCK; i++) encode_q8_0((q8_0_block *)to + i, values + i * BLOCK);
        break;
    case GGUF_Q4_0:
        for (uint64_t i = 0; i < elements / BLOCK; i++) encode_q4_0((q4_0_block *)to + i, values + i * BLOCK);
        break;
    }
}

void gguf_fail(gguf_writer *w, levee_status status) {
    if (w->status == LEVEE_OK) w->status = status;
}

levee_status gguf_flush(gguf_writer *w) {
    if (w->file && w->status == LEVEE_OK) w->status = file_writer_write(w->file, w->buffer, w->buffered, w->error);
    w->buffered = 0;
    return w->status;
}

void gguf_write(gguf_writer *w, const void *data, uint64_t bytes) {
    const unsigned char *next = data;
    if (!w->file || w->status != LEVEE_OK) return;
    w->bytes += bytes;
    while (bytes) {
        uint64_t room = sizeof w->buffer - w->buffered, part = bytes < room ? bytes : room;
        memcpy(w->buffer + w->buffered, next, part);
        w->buffered += (uint32_t)part;
        next += part;
        bytes -= part;
        if (w->buffered == sizeof w->buffer && gguf_flush(w) != LEVEE_OK) return;
    }
}

static void write_u32(gguf_writer *w, uint32_t value) { gguf_write(w, &value, sizeof value); }
static void write_u64(gguf_writer *w, uint64_t value) { gguf_write(w, &value, sizeof value); }

void gguf_item_text(gguf_writer *w, const char *text, uint64_t bytes) {
    write_u64(w, bytes);
    gguf_write(w, text, bytes);
}

void gguf_item_int(gguf_writer *w, int32_t value) { gguf_write(w, &value, sizeof value); }
void gguf_item_float(gguf_writer *w, float value) { gguf_write(w, &value, sizeof value); }

static void begin_entry(gguf_writer *w, const char *key, uint32_t type) {
    w->entries++;
    gguf_item_text(w, key, strlen(key));
    write_u32(w, type);
}

void gguf_put_text(gguf_writer *w, const char *key, const char *text) {
    begin_entry(w, key, GGUF_TEXT);
    gguf_item_text(w, text, strlen(text));
}

void gguf_put_uint(gguf_writer *w, const char *key, uint32_t value) {
    begin_entry(w, key, UINT32_VALUE);
    write_u32(w, value);
}

void gguf_put_float(gguf_writer *w, const char *key, float value) {
    begin_entry(w, key, GGUF_FLOAT32);
    gguf_item_float(w, value);
}

void gguf_put_flag(gguf_writer *w, const char *key, bool value) {
    unsigned char byte = value;
    begin_entry(w, key, FLAG_VALUE);
    gguf_write(w, &byte, 1);
}

void gguf_begin_list(gguf_writer *w, const char *key, gguf_value type, uint64_t count) {
    begin_entry(w, key, LIST_VALUE);
    write_u32(w, type);
    write_u64(w, count);
}

static uint64_t aligned(uint64_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

void gguf_end_tensor(gguf_writer *w) {
    static const unsigned char zeros[ALIGNMENT];
    gguf_write(w, zeros, aligned(w->bytes) - w->bytes);
}

static uint64_t tensor_bytes(const gguf_tensor *t) {
    uint64_t rows = 1;
    for (uint32_t i = 0; i + 1 < t->dimensions; i++) rows *= t->shape[i];
    return rows * gguf_row_bytes(t->type, t->shape[t->dimensions - 1]);
}

/* The table of tensors; returns how many bytes they take. */
static uint64_t write_table(gguf_writer *w, const gguf_content *content) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < content->tensor_count; i++) {
        gguf_tensor t = {0};
        content->tensor(content->context, i, &t);
        gguf_item_text(w, t.name, strlen(t.name));
        write_u32(w, t.dimensions);
        for (uint32_t d = t.dimensions; d-- > 0;) write_u64(w, t.shape[d]); /* the fastest first */
        write_u32(w, t.type);
        write_u64(w, offset);
        offset += aligned(tensor_bytes(&t));
    }
    return offset;
}

levee_status gguf_write_header(gguf_writer *w, file_writer *file, const gguf_content *content, levee_error *error) {
    *w = (gguf_writer){.error = error};
    content->metadata(w, content->context); /* counts */
    uint64_t entries = w->entries;
    w->file = file;
    gguf_write(w, "GGUF", 4);
    write_u32(w, VERSION);
    write_u64(w, content->tensor_count);
    write_u64(w, entries);
    content->metadata(w, content->context);
    uint64_t data_bytes = write_table(w, content);
    gguf_end_tensor(w); /* the data begin at a multiple of the alignment */
    file_writer_promise(file, w->bytes + data_bytes);
    return w->status;
}
