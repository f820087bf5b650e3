/* JSON text too large to be held as a tree: its members or elements one after the other, each as a piece of the text.
 *
 * A walk finds where values begin and end, by brackets and quotes alone; what is between them is checked by the
 * library when a piece is parsed. Nothing is allocated. Spans point into the text, which must stay. */
#ifndef LEVEE_MEMORY_JSON_WALK_H
#define LEVEE_MEMORY_JSON_WALK_H

#include "memory/json.h"
#include "memory/pool.h"

/* A value as text; `text` NULL: none. */
typedef struct json_span {
    const char *text;
    uint64_t bytes;
} json_span;

typedef struct json_walk {
    json_span all; /* an object or an array */
    uint64_t at;
    bool object, started;
    bool failed; /* kept: a walk that failed stays at its end */
} json_walk;

/* Starts at the first member of an object or element of an array; false when `text` is neither. */
bool json_walk_open(json_walk *w, json_span text);

/* The next value, and in an object its key (with its quotes). False at the end, and at text that is not JSON; then
 * w->failed tells which, and w->at where. */
bool json_walk_next(json_walk *w, json_span *key, json_span *value);

/* Parses a span with the library's memory in `memory`, which is emptied first; NULL when it is not JSON, and
 * when memory was refused, which *refused tells. The value lasts until the pool is emptied, and needs no json_decref.
 * Without a pool (NULL) it is the caller's. */
json_t *json_span_parse(json_span span, pool *memory, bool *refused);

#endif
