/* Growing text and lists of pieces of it: the tokenizer's scratch, kept between calls. Also UTF-8, read safely. */
#ifndef LEVEE_TEXT_BUFFER_H
#define LEVEE_TEXT_BUFFER_H

#include "levee.h"

typedef struct text_buffer {
    char *data; /* NUL-terminated once anything was appended */
    uint64_t bytes, capacity;
} text_buffer;

/* Makes room for `bytes` bytes in all. */
levee_status text_reserve(text_buffer *b, uint64_t bytes, levee_error *error);

levee_status text_append(text_buffer *b, const char *text, uint64_t bytes, levee_error *error);
void text_free(text_buffer *b);

/* A range of a text. */
typedef struct text_piece {
    uint64_t offset, bytes;
} text_piece;

typedef struct piece_list {
    text_piece *pieces;
    uint64_t count, capacity;
} piece_list;

/* Makes room for `count` pieces in all. */
levee_status pieces_reserve(piece_list *list, uint64_t count, levee_error *error);
levee_status pieces_append(piece_list *list, uint64_t offset, uint64_t bytes, levee_error *error);
void pieces_free(piece_list *list);

/* The code point at the start of `bytes` (> 0) bytes and, in *length, how many bytes it takes. For bytes that are not
 * UTF-8 the result is -1 and *length covers the longest prefix that could have begun a character. */
int32_t utf8_read(const char *text, uint64_t bytes, uint64_t *length);

/* Writes a code point; returns its 1 to 4 bytes. */
unsigned utf8_write(uint32_t code_point, char text[4]);

/* True when all bytes are UTF-8; otherwise *offset is where they are not. */
bool utf8_is_valid(const char *text, uint64_t bytes, uint64_t *offset);

#endif
