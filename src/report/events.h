/* events.jsonl: what the guard did and why, one JSON object a decision, appended and readable at once; where somebody
 * asks for it, one a sample too, which has no "action". Formats into a fixed buffer, allocates nothing. */
#ifndef LEVEE_REPORT_EVENTS_H
#define LEVEE_REPORT_EVENTS_H

#include "report/records.h"

typedef struct event_log {
    int descriptor; /* -1 when closed */
    uint64_t bytes; /* written so far: whole lines */
} event_log;

/* Opens a file for appending: what a run that is gone on with had to tell stays. events_close accepts a closed one.
 */
levee_status events_open(event_log *log, const char *path, levee_error *error);
void events_close(event_log *log);

/* Writes the line of a decision, or of a sample without one, with its newline; returns its length. */
enum { EVENT_LINE_BYTES = 4096 };
struct event_evidence;
unsigned event_line(char line[EVENT_LINE_BYTES], const event_report *event, const struct event_evidence *before);
unsigned sample_line(char line[EVENT_LINE_BYTES], const sample_report *seen);

/* Writes a decision. What cannot be written is dropped, and counted by the return value: a full disk must not end a
 * training. */
bool events_write(event_log *log, const event_report *event);

/* Writes a sample without a decision: {"time", "step", "held_bytes", "level", "share", "leak", ..., "meters"}. */
bool events_write_sample(event_log *log, const sample_report *seen);

#endif
