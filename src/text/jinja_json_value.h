/* JSON as values of the template language. Texts stay where they are, so the JSON must stay too. */
#ifndef LEVEE_TEXT_JINJA_JSON_VALUE_H
#define LEVEE_TEXT_JINJA_JSON_VALUE_H

#include <jansson.h>

#include "text/jinja_value.h"

jinja_value jinja_from_json(jinja_run *run, const json_t *json);

/* The first `count` messages, prepared as transformers does: see chat_template.h. */
jinja_value jinja_messages_from_json(jinja_run *run, const json_t *messages, uint64_t count);

#endif
