/* metrics.jsonl: one JSON object a step, appended and readable at once. Formats into a fixed buffer, allocates
 * nothing. */
#ifndef LEVEE_REPORT_METRICS_H
#define LEVEE_REPORT_METRICS_H

#include "report/records.h"

/* No line is longer. */
enum { METRICS_LINE_BYTES = 4096 };

typedef struct metrics {
    int descriptor; /* -1 when closed */
    uint64_t bytes; /* written so far: whole lines */
} metrics;

/* Opens a file for appending, cut back to its first `keep_bytes` bytes; 0 starts anew. metrics_close accepts a closed
 * one. */
levee_status metrics_open(metrics *m, const char *path, uint64_t keep_bytes, levee_error *error);
void metrics_close(metrics *m);

/* Writes the line of a step, with its newline; returns its length. */
int metrics_line(char line[METRICS_LINE_BYTES], const step_report *report);

/* Appends a line; when that fails half-way the half is taken back. */
levee_status metrics_write(metrics *m, const step_report *report, levee_error *error);

/* Has all lines so far reach the disk. */
levee_status metrics_sync(metrics *m, levee_error *error);

enum { PROGRESS_BYTES = 256 };

/* One readable line about a step. */
void metrics_progress(char line[PROGRESS_BYTES], const step_report *report);

#endif
