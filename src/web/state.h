/* What the page shows, as JSON: the newest state, a point of the history, an event. Numbers are written as in
 * metrics.jsonl and events.jsonl, whose lines are parts of it. Nothing is allocated. */
#ifndef LEVEE_WEB_STATE_H
#define LEVEE_WEB_STATE_H

#include "monitor/board.h"
#include "platform/consumers.h"
#include "web/text.h"

/* {"version", "time", "state", "run", "step", "validation", "sample", "breaker", "leak", "history", "events",
 * "actions", "skipped_steps", "consumers"}, without a newline. `consumers` NULL: nobody looked. */
void state_put(web_text *t, const board_view *view, const consumers *others);

/* {"stride", "columns": [...], "points": [ : what the history begins with; then come its points. */
void state_put_columns(web_text *t, const board_view *view);

/* A point: a list in the order of the columns. */
void state_put_point(web_text *t, const board_point *point);

/* An event as events.jsonl has it, with its number before. */
void state_put_event(web_text *t, uint64_t number, const event_report *event);

#endif
