/* What parsing and rendering share: memory, limits, the place in the template, and the first failure.
 *
 * A failure sticks: whoever notices one records it here and goes on with any value; whoever loops asks jinja_step,
 * which is false from then on, so that everything unwinds. */
#ifndef LEVEE_TEXT_JINJA_RUN_H
#define LEVEE_TEXT_JINJA_RUN_H

#include <stdbool.h>
#include <time.h>

#include "text/buffer.h"
#include "text/jinja_arena.h"
#include "text/jinja_limits.h"

/* A template's text: valid UTF-8, line ends already "\n". */
typedef struct jinja_source {
    const char *name; /* for messages: a file */
    const char *text;
    uint64_t bytes;
} jinja_source;

/* Text that grows in the arena. */
typedef struct jinja_builder {
    char *data;
    uint64_t bytes, capacity;
} jinja_builder;

/* What a statement tells the loop around it. */
typedef enum jinja_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } jinja_flow;

typedef struct jinja_run {
    jinja_arena *arena;
    const jinja_limits *limits;
    const jinja_source *source;
    levee_error *error;
    levee_status status; /* of the first failure */
    uint32_t place;      /* where in the source it is now */
    uint32_t depth;
    uint64_t steps;

    bool has_generation; /* the template has generation blocks: known when it is parsed */

    /* Of a rendering. */
    struct jinja_scope *scope;
    jinja_builder *output;          /* what statements write to */
    jinja_builder *whole;           /* the rendered text; other outputs are captured */
    struct jinja_ranges *generated; /* where generation blocks lie in it */
    uint64_t captured_generations;  /* blocks that were written into captured text */
    jinja_flow flow;
    void (*clock)(void *context, struct tm *now);
    void *clock_context;
} jinja_run;

static inline bool jinja_failed(const jinja_run *run) { return run->status != LEVEE_OK; }

/* Records "name: line, column: message" as LEVEE_BAD_DATA, unless something failed before. */
void jinja_fail(jinja_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Counts `steps` steps; false when something failed, this too. */
bool jinja_step(jinja_run *run, uint64_t steps);

/* Every recursion stands between these two; after a false jinja_enter there is no jinja_leave. */
bool jinja_enter(jinja_run *run);
void jinja_leave(jinja_run *run);

/* Zeroed memory that lasts as long as the arena is not cut; NULL after a failure, which is recorded. */
void *jinja_take(jinja_run *run, uint64_t count, uint64_t size);

/* Appends text; nothing after a failure. */
void jinja_put(jinja_run *run, jinja_builder *b, const char *text, uint64_t bytes);
void jinja_put_literal(jinja_run *run, jinja_builder *b, const char *text);
void jinja_put_character(jinja_run *run, jinja_builder *b, uint32_t code_point);

#endif
