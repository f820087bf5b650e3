/* A pattern of a tokenizer file: a regular expression (PCRE2, Unicode) or a fixed string. */
#ifndef LEVEE_TEXT_PATTERN_H
#define LEVEE_TEXT_PATTERN_H

#include <jansson.h>

#include "text/buffer.h"

typedef struct pattern pattern;

/* Compiles a regular expression. Matching is limited in steps, so that no pattern runs for ever. */
levee_status pattern_open_regex(pattern **result, const char *expression, levee_error *error);

/* From {"Regex": ...} or {"String": ...}; `where` names the place in messages. */
levee_status pattern_open(pattern **result, const json_t *description, const char *where, levee_error *error);
void pattern_close(pattern *p); /* NULL is allowed */

/* Gives back what matching took and keeps for the next text: frames, where the processor's code for the pattern could
 * not be made; up to 64 MiB of them. NULL is allowed. */
void pattern_trim(pattern *p);

/* The next match that begins at `from` or later and is not empty; *found says whether there is one. */
levee_status pattern_next(pattern *p, const char *text, uint64_t bytes, uint64_t from, text_piece *match, bool *found,
                          levee_error *error);

#endif
