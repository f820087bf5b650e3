/* A merged model as a GGUF file that llama.cpp and its kin load: their names for architecture and tensors, the order
 * of rows that they expect, and the tokenizer. */
#ifndef LEVEE_MODEL_MODEL_GGUF_H
#define LEVEE_MODEL_MODEL_GGUF_H

#include "model/merged.h"
#include "text/tokenizer.h"

/* How matrices are stored; vectors are f32 always, and a matrix whose rows are no whole blocks is f16. q4_0 keeps the
 * head (the embedding, where it is tied) in q8_0. */
typedef enum gguf_storage {
    GGUF_STORE_F16,
    GGUF_STORE_BF16,
    GGUF_STORE_F32,
    GGUF_STORE_Q8_0,
    GGUF_STORE_Q4_0
} gguf_storage;

/* Writes `path`, atomically, from the model of `directory`. A tensor that the format has no name for is refused by
 * name. */
levee_status model_gguf_write(merged_model *m, tokenizer *tokens, const char *directory, gguf_storage storage,
                              const char *path, levee_error *error);

#endif
