/* What `levee top` shows, as text: a frame of a run's view, as wide and as high as a terminal is. Pure: depends on
 * its arguments alone, and writes into the caller's buffer. */
#ifndef LEVEE_MONITOR_TOP_FRAME_H
#define LEVEE_MONITOR_TOP_FRAME_H

#include "monitor/run_view.h"

enum { FRAME_BYTES = 64 * 1024, FRAME_LEAST_COLUMNS = 40, FRAME_MOST_COLUMNS = 400 };

typedef struct frame_look {
    unsigned columns;     /* FRAME_LEAST_COLUMNS at least, FRAME_MOST_COLUMNS at most; others are taken for these */
    unsigned rows;        /* 0: as many as it takes */
    bool colour, unicode; /* else blocks are drawn in ASCII */
    unsigned older;       /* show events up to so many before the last */
} frame_look;

/* Writes the lines, each ended by a newline but the last; `now` is what a sampler says at the moment (NULL: nobody
 * asked), of the run's process as far as it is known. Returns the number of events that are older than those shown.
 */
unsigned top_frame(char text[FRAME_BYTES], const run_view *v, const guard_sample *now, const frame_look *look);

#endif
