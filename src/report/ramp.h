/* What a ramp over micro-batches found: a table for people, a row at a time, and a picture. */
#ifndef LEVEE_REPORT_RAMP_H
#define LEVEE_REPORT_RAMP_H

#include "levee.h"
#include "text/buffer.h"

enum { RAMP_ROWS = 64, RAMP_LINE_BYTES = 256 };

/* One size. */
typedef struct ramp_row {
    uint32_t sequences;                     /* of the longest that a pass holds */
    uint32_t tokens;                        /* of a pass */
    uint32_t recomputed, candidates;        /* groups of activations */
    uint64_t predicted_bytes, peak_bytes;   /* that the process holds, libraries included */
    double growth, growth_low, growth_high; /* bytes a step, with the 95 % interval; NAN: too few steps for it */
    double tokens_second;                   /* that count in the loss, the median of steps; 0: not measured */
    uint64_t headroom_bytes;                /* that could still be had beside the reserve while it ran */
    bool safe;                              /* all its steps were done, and nothing spoke against it */
} ramp_row;

typedef struct ramp {
    const char *title, *subtitle;
    ramp_row rows[RAMP_ROWS]; /* in the order in which they were tried */
    uint32_t count;
    const ramp_row *chosen; /* NULL: none */
    uint64_t budget_bytes;
} ramp;

/* Two lines above the rows, and the line of a row. */
void ramp_heading(char text[RAMP_LINE_BYTES]);
void ramp_line(char text[RAMP_LINE_BYTES], const ramp_row *row);

/* Appends an SVG picture: peak memory and tokens a second by size. */
levee_status ramp_draw(text_buffer *text, const ramp *r, levee_error *error);

#endif
