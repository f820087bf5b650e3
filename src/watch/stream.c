/* Output passed through: see stream.h. */
#include "watch/stream.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/call.h"

void stream_open(stream *s, int from, int to) {
    s->from = from;
    s->to = to;
    s->start = s->end = s->lines.bytes = 0;
}

void stream_close(stream *s) {
    if (s->from >= 0) close(s->from);
    s->from = -1;
    s->start = s->end = 0;
}

static bool holds(const stream *s) { return s->end > s->start; }

struct pollfd stream_poll(const stream *s) {
    if (holds(s)) return (struct pollfd){.fd = s->to, .events = POLLOUT};
    return (struct pollfd){.fd = s->from, .events = POLLIN};
}

/* What is said to be writable takes PIPE_BUF bytes without blocking. */
static void pass_on(stream *s) {
    size_t bytes = s->end - s->start;
    ssize_t wrote = call_write(s->to, s->buffer + s->start, bytes < PIPE_BUF ? bytes : PIPE_BUF);
    if (wrote < 0 && errno != EAGAIN) stream_close(s);
    if (wrote > 0) s->start += (size_t)wrote;
}

static uint64_t read_more(stream *s, step_pattern *p) {
    ssize_t got = call_read(s->from, s->buffer, sizeof s->buffer);
    if (got <= 0) {
        uint64_t last = s->lines.bytes ? step_pattern_count(p, s->lines.text, s->lines.bytes) : 0;
        s->lines.bytes = 0;
        stream_close(s);
        return last;
    }
    s->start = 0;
    s->end = (size_t)got;
    return step_lines_take(&s->lines, p, s->buffer, s->end);
}

uint64_t stream_serve(stream *s, step_pattern *p, short events) {
    if (s->from < 0 || !events) return 0;
    if (!holds(s)) return read_more(s, p);
    if (events & POLLOUT)
        pass_on(s);
    else
        stream_close(s); /* the reader is gone */
    return 0;
}

void stream_drain(stream *s, step_pattern *p, int descriptor, bool (*gives_up)(void *context), void *context) {
    while (s->from >= 0) {
        struct pollfd waits[2] = {stream_poll(s), {.fd = descriptor, .events = POLLIN}};
        /* Of the command only what is there: whoever else holds the other end may do so for ever. */
        int ready = poll(waits, 2, holds(s) ? -1 : 0);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0 || (waits[1].revents && gives_up(context)) || (!holds(s) && !waits[0].revents)) break;
        stream_serve(s, p, waits[0].revents);
    }
}
