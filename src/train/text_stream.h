/* Tokens as text while they come: pieces that make up what all of them together decode to. A token may end within a
 * character; it is kept until the character is whole. */
#ifndef LEVEE_TRAIN_TEXT_STREAM_H
#define LEVEE_TRAIN_TEXT_STREAM_H

#include "text/tokenizer.h"

typedef struct text_stream {
    tokenizer *tokens; /* the caller's */
    levee_print *print;
    void *context;
    uint64_t begin, told; /* tokens from `begin` on are decoded; those before `told` were printed */
} text_stream;

/* Prints what the tokens that were added since the last call make whole; at the `end`, whatever is left. */
levee_status text_stream_tell(text_stream *s, const token_list *ids, bool end, levee_error *error);

#endif
