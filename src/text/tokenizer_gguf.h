/* A tokenizer as GGUF's metadata, so that llama.cpp and its kin tokenise by it.
 *
 * GGUF has names for pre-tokenizers, not patterns; a pre-tokenizer without one is refused, because a reader would
 * split otherwise and say nothing. */
#ifndef LEVEE_TEXT_TOKENIZER_GGUF_H
#define LEVEE_TEXT_TOKENIZER_GGUF_H

#include "tensor/gguf.h"
#include "text/buffer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

typedef struct tokenizer_gguf {
    tokenizer *tokens; /* the caller's */
    uint32_t size;     /* rows of the embedding: ids without a token get a name nevertheless */
    int64_t bos, eos, unknown;
    bool adds_bos, adds_eos, space_prefix;
    const char *split; /* the pre-tokenizer's name; NULL: SentencePiece, with scores instead of merges */
    float *scores;     /* [size], SentencePiece */
    text_buffer chat_template;
    tokenizer_file file;
} tokenizer_gguf;

/* Reads what the metadata need of a model directory whose tokenizer is open. `bos` and `eos` (-1: none) are
 * config.json's, for a tokenizer that names none. tokenizer_gguf_close frees, and accepts a zeroed one. */
levee_status tokenizer_gguf_open(tokenizer_gguf *g, tokenizer *tokens, const char *directory, uint32_t size,
                                 int64_t bos, int64_t eos, levee_error *error);
void tokenizer_gguf_close(tokenizer_gguf *g);

/* Writes the entries. */
void tokenizer_gguf_write(const tokenizer_gguf *g, gguf_writer *w);

#endif
