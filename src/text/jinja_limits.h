/* How much a template may ask for. A hostile or broken one ends with an error that names the limit and the place. */
#ifndef LEVEE_TEXT_JINJA_LIMITS_H
#define LEVEE_TEXT_JINJA_LIMITS_H

#include <stdint.h>

/* A deeper nesting would need more stack than a thread may have. */
enum { JINJA_DEEPEST = 400 };

typedef struct jinja_limits {
    uint32_t depth;        /* of what is nested: brackets, statements, calls, values; at most JINJA_DEEPEST */
    uint64_t steps;        /* of one rendering: a step is a part of the template, an item, or 64 bytes of text */
    uint64_t output_bytes; /* of one rendered text */
    uint64_t memory_bytes; /* of the template and one rendering together */
} jinja_limits;

#endif
