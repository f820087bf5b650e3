/* The history and the events as one JSON text, made piece by piece while it is sent: it is long, and whoever reads it
 * slowly must not have it all held for him.
 *
 * It begins with {"stride", "columns", "points": [...]}, and ends with "events": [...]. Points may be merged while it
 * is sent; each says which steps it stands for, and none is left out. Nothing is allocated. */
#ifndef LEVEE_WEB_TELLING_H
#define LEVEE_WEB_TELLING_H

#include "report/events.h"
#include "web/state.h"

typedef enum telling_part { TELL_BEGIN, TELL_POINTS, TELL_EVENTS, TELL_END, TELL_NOTHING } telling_part;

typedef struct telling {
    bool used;
    board *shown;
    telling_part part;
    bool follows;   /* not the first of its list */
    uint64_t step;  /* points up to there are told */
    uint64_t event; /* the number of the next */
    size_t length, offset;
    char text[EVENT_LINE_BYTES + 64];
} telling;

/* Starts with the points beyond a step, and the events from a number on. */
void telling_begin(telling *t, board *shown, uint64_t after_step, uint64_t first_event);

/* Writes up to `room` bytes; 0 at the end. */
size_t telling_read(telling *t, char *text, size_t room);

#endif
