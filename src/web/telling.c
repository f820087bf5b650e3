/* The history and the events, piece by piece: see telling.h. */
#include "web/telling.h"

#include <string.h>

void telling_begin(telling *t, board *shown, uint64_t after_step, uint64_t first_event) {
    t->used = true;
    t->shown = shown;
    t->part = TELL_BEGIN;
    t->follows = false;
    t->step = after_step;
    t->event = first_event;
    t->length = t->offset = 0;
}

static void put_columns(telling *t, web_text *out) {
    board_view view;
    board_view_copy(t->shown, &view);
    state_put_columns(out, &view);
}

/* Puts the next piece; goes on to the next part when this one has none left. */
static void put_piece(telling *t, web_text *out) {
    board_point point;
    event_report event;
    switch (t->part) {
    case TELL_BEGIN:
        put_columns(t, out);
        t->part = TELL_POINTS;
        break;
    case TELL_POINTS:
        if (board_next_point(t->shown, t->step, &point)) {
            web_put(out, t->follows ? "," : "");
            state_put_point(out, &point);
            t->step = point.last;
            t->follows = true;
        } else {
            web_put(out, "],\"events\":[");
            t->follows = false;
            t->part = TELL_EVENTS;
        }
        break;
    case TELL_EVENTS:
        if (board_event(t->shown, &t->event, &event)) {
            web_put(out, t->follows ? "," : "");
            state_put_event(out, t->event++, &event);
            t->follows = true;
        } else
            t->part = TELL_END;
        break;
    case TELL_END:
        web_put(out, "]}\n");
        t->part = TELL_NOTHING;
        break;
    case TELL_NOTHING:
        break;
    }
}

static void refill(telling *t) {
    web_text out = {.text = t->text, .room = sizeof t->text};
    while (!out.length && t->part != TELL_NOTHING) put_piece(t, &out);
    t->length = out.length;
    t->offset = 0;
}

size_t telling_read(telling *t, char *text, size_t room) {
    size_t wrote = 0;
    while (wrote < room) {
        if (t->offset == t->length) refill(t);
        size_t left = t->length - t->offset, taken = left < room - wrote ? left : room - wrote;
        if (!left) break;
        memcpy(text + wrote, t->text + t->offset, taken);
        t->offset += taken;
        wrote += taken;
    }
    return wrote;
}
