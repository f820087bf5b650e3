/* The shapes of a row of JSONL, as mlx-lm has them: which of its fields are read, and as what.
 *
 *     {"prompt": "...", "completion": "..."}      a conversation of two turns; "tools" beside them
 *     {"messages": [{"role", "content"}, ...]}    a conversation; "tools" beside it
 *     {"text": "..."}                             a text as it is
 *
 * The first of these whose fields are there is the row's. The fields can have other names (row_fields). */
#ifndef LEVEE_DATA_ROW_SHAPE_H
#define LEVEE_DATA_ROW_SHAPE_H

#include <jansson.h>
#include <stdint.h>

#include "levee.h"

/* What reading a row's shape takes of the JSON library's memory, for the conversation that a prompt becomes. */
enum { ROW_SHAPE_BYTES = 4096 };

typedef struct row_fields {
    const char *text, *prompt, *completion, *chat;
} row_fields;

/* "text", "prompt", "completion" and "messages". */
row_fields row_fields_usual(void);

typedef enum row_kind { ROW_NONE, ROW_TEXT, ROW_CHAT } row_kind;

typedef struct row_content {
    row_kind kind;
    const char *text; /* ROW_TEXT: UTF-8, may hold NUL bytes, not NUL-terminated */
    uint64_t text_bytes;
    const json_t *messages; /* ROW_CHAT: at least one object */
    const json_t *tools;    /* an array, or NULL */
} row_content;

/* Reads a row; what is wrong, and what would do, is written into `wrong` [wrong_bytes], which stays as it is
 * otherwise. The content points into `row`, or lies beside it in the JSON library's memory, which nobody frees: call
 * it within a pool. */
void row_content_read(row_content *content, const json_t *row, const row_fields *fields, char *wrong,
                      size_t wrong_bytes);

#endif
