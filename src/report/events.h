/* What the guard did and why, as lines of JSON: one object a decision, or a sample, which has no "action". Format
 * into the caller's buffer, allocate nothing.
 *
 * A decision comes with its evidence: "before" holds the samples of the steps before it, the oldest first, and
 * "meters" the sample that it was made of. */
#ifndef LEVEE_REPORT_EVENTS_H
#define LEVEE_REPORT_EVENTS_H

#include "report/records.h"

enum { EVENT_LINE_BYTES = 8192, EVIDENCE_SAMPLES = 8 };

/* The last samples: number n is at n % EVIDENCE_SAMPLES. Zeroed: none. */
typedef struct event_evidence {
    uint64_t count; /* seen so far */
    sample_report samples[EVIDENCE_SAMPLES];
} event_evidence;

void evidence_add(event_evidence *before, const sample_report *seen);

/* Writes a decision, with a newline at its end; returns its length. `before` NULL: nothing is known of that. */
unsigned event_line(char line[EVENT_LINE_BYTES], const event_report *event, const event_evidence *before);

/* Writes a sample: {"time", "step", "held_bytes", "level", "share", "leak", ..., "meters"}. */
unsigned sample_line(char line[EVENT_LINE_BYTES], const sample_report *seen);

#endif
