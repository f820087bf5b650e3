/* Steps that a program tells in its output: lines that a regular expression (PCRE2) matches.
 *
 * A line ends with a newline or, as progress bars have it, a carriage return; of a longer line the beginning counts.
 * Where the pattern has a group, what it matched is the number of the step, and a number that is not larger than the
 * last one is no new step; otherwise each line that matches is one. */
#ifndef LEVEE_WATCH_STEPS_H
#define LEVEE_WATCH_STEPS_H

#include <stddef.h>

#include "levee.h"

typedef struct step_pattern step_pattern;

/* Memory is booked under runtime. A pattern that cannot be compiled is LEVEE_USAGE, and the message names the place.
 * step_pattern_close accepts NULL. */
levee_status step_pattern_open(step_pattern **result, const char *expression, levee_error *error);
void step_pattern_close(step_pattern *p);

/* By how many steps a line takes the program on: 0 for a line that tells of none. Allocates nothing. */
uint64_t step_pattern_count(step_pattern *p, const char *line, size_t bytes);

/* Lines out of pieces of output. Zeroed: at the start. */
enum { STEP_LINE_BYTES = 4096 };
typedef struct step_lines {
    char text[STEP_LINE_BYTES];
    size_t bytes;
} step_lines;

/* The steps in a piece of output, with what the pieces before left unfinished. */
uint64_t step_lines_take(step_lines *l, step_pattern *p, const char *piece, size_t bytes);

#endif
