/* Element types: how many elements make a block and how many bytes a block takes. Plain types have blocks of one;
 * quantised types have larger blocks, and their bytes are only defined for whole blocks. */
#ifndef LEVEE_TENSOR_DTYPE_H
#define LEVEE_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum dtype {
    DTYPE_F32, /* weights are read in the first three */
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I32, /* ids of tokens; this one and the rest are only listed and copied where files have them */
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U64,
    DTYPE_U32,
    DTYPE_U16,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_COUNT
} dtype;

typedef struct dtype_info {
    const char *name;             /* as written in our own messages and options: "bf16" */
    const char *safetensors_name; /* as written in a safetensors header: "BF16" */
    uint32_t block_elements;
    uint32_t block_bytes;
} dtype_info;

const dtype_info *dtype_describe(dtype type);

/* Whether weights may be of this type: the types that dtype_convert knows. */
bool dtype_is_weight(dtype type);

/* Finds a type by its name in a safetensors header; false when there is none of that name. */
bool dtype_from_safetensors(const char *name, dtype *type);

/* Bytes of `elements` elements, rounded up to whole blocks. */
uint64_t dtype_bytes(dtype type, uint64_t elements);

/* Converts `elements` elements between two of f32, f16 and bf16, rounding to nearest even. Source and destination do
 * not overlap, or are the same when the types are. */
void dtype_convert(dtype to, void *destination, dtype from, const void *source, uint64_t elements);

#endif
