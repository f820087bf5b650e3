/* What a run tells of itself while it goes on. Records have a fixed size and point nowhere, so they can wait in a
 * queue and be read by another thread; each face (a line, a file, a page) makes of them what it shows, and so all
 * show the same.
 *
 * Bytes are bytes, times are seconds. `time` is wall-clock time since 1970. */
#ifndef LEVEE_REPORT_RECORDS_H
#define LEVEE_REPORT_RECORDS_H

#include "guard/controller.h"
#include "levee.h"

/* A finished step. */
typedef struct step_report {
    double time;
    uint64_t step; /* from 1 */
    double loss, learning_rate, gradient_norm, tokens_per_second, seconds;
    double validation_loss; /* NaN when there was no validation */
    uint64_t tokens, trained_tokens;
    uint64_t held_bytes; /* or LEVEE_UNKNOWN_BYTES: null in files */
    uint64_t peak_bytes, predicted_bytes, budget_bytes;
    uint64_t planned_bytes[LEVEE_CATEGORY_COUNT]; /* of the largest plan */
    uint64_t booked_bytes[LEVEE_CATEGORY_COUNT];  /* now */
    uint64_t steps;                               /* of the whole run */
    uint32_t passes, repeated;                    /* passes of the step; those cut short and done again */
    uint32_t plan_level;                          /* 0: the largest plan */
    bool applied; /* false: loss or gradient was not finite, and the step changed nothing */
} step_report;

/* A decision of the guard, with the sample that it was made of. */
typedef struct event_report {
    double time;
    uint64_t step; /* finished before it */
    guard_decision decision;
    guard_sample sample;
    bool carried_out;    /* it was not only a warning; then: */
    int64_t moved_bytes; /* by which held memory fell, or (negative) rose */
    double seconds;      /* since pressure was noticed */
} event_report;

/* What the guard sees when it decides nothing: one a step, or one now and then. */
typedef struct sample_report {
    double time;
    uint64_t step;
    guard_decision seen;
    guard_sample sample;
    bool leak_known; /* how fast the meter grows that leaks most, bytes a step: */
    leak_slope leak;
} sample_report;

/* A line that the run prints, or a piece of one that is longer than fits: then others follow it. */
enum { LINE_REPORT_BYTES = 480 };
typedef struct line_report {
    double time;
    bool goes_on;                 /* in the next one */
    char text[LINE_REPORT_BYTES]; /* without a newline at its end */
} line_report;

/* The wall clock, for `time`. */
double report_time(void);

#endif
