/* Where generation blocks lie in the rendered text. */
#ifndef LEVEE_TEXT_JINJA_GENERATED_H
#define LEVEE_TEXT_JINJA_GENERATED_H

#include "text/jinja_run.h"

typedef struct jinja_ranges {
    text_piece *pieces; /* in the order in which the blocks ended */
    uint64_t count, capacity;
} jinja_ranges;

void jinja_note_generated(jinja_run *run, uint64_t offset, uint64_t bytes);

#endif
