/* One stream of the command's output, passed through unchanged and at once while its lines are looked at.
 *
 * Nothing blocks: a reader that does not read must not keep the guard from looking. A buffer full is all that is read
 * ahead of it, so a command that writes too fast waits, as it would without watch. When the reader is gone the
 * stream is closed, and the command gets what a write to a closed pipe gives. */
#ifndef LEVEE_WATCH_STREAM_H
#define LEVEE_WATCH_STREAM_H

#include <poll.h>

#include "watch/steps.h"

enum { STREAM_BYTES = 16384 };

typedef struct stream {
    int from, to; /* from -1: closed */
    size_t start, end;
    char buffer[STREAM_BYTES];
    step_lines lines;
} stream;

/* `from` belongs to the stream from now on; -1 is a closed one. */
void stream_open(stream *s, int from, int to);
void stream_close(stream *s);

/* What to wait for. */
struct pollfd stream_poll(const stream *s);

/* Does what can be done after that; returns the steps in what was read. */
uint64_t stream_serve(stream *s, step_pattern *p, short events);

/* Passes on what is there still, when the command has ended, and waits for a reader that is slow as long as it is
 * there, and `gives_up` does not say so when there is something to read at `descriptor`. */
void stream_drain(stream *s, step_pattern *p, int descriptor, bool (*gives_up)(void *context), void *context);

#endif
