/* The files of a run's directory that grow while it goes on, as sinks of the stream: metrics.jsonl, events.jsonl,
 * samples.jsonl and log.txt (run_directory.h).
 *
 * Bounds. Events, samples and log are rotating files. metrics.jsonl is not rotated, since a checkpoint says how long
 * it is and a run that goes on cuts it back to there: a step takes about 1.1 KiB of it, and never more than
 * METRICS_LINE_BYTES.
 *
 * The struct is the caller's, and no memory is taken. In the order of calls: opened, added to the stream, and, when
 * the stream is closed, closed. Between run_stream_flush and the next record the caller may read it. */
#ifndef LEVEE_MONITOR_RUN_FILES_H
#define LEVEE_MONITOR_RUN_FILES_H

#include "monitor/rotating_file.h"
#include "monitor/run_directory.h"
#include "monitor/stream.h"
#include "report/events.h"
#include "report/metrics.h"

enum { RUN_FILE_MOST_BYTES = 8 << 20 };

typedef struct run_files {
    bool open;
    metrics steps;             /* not open where nobody tells of steps */
    levee_error steps_failure; /* of the last line of metrics, LEVEE_OK when it was written */
    rotating_file events, samples, log;
    event_evidence before;
    bool in_line; /* the log's last line goes on */
} run_files;

/* Opens events, samples and log behind what is there; each may become `most_bytes` long before it is rotated. After a
 * failure nothing is open. run_files_close accepts a zeroed one. */
levee_status run_files_open(run_files *f, const char *directory, uint64_t most_bytes, levee_error *error);
void run_files_close(run_files *f);

/* Opens metrics.jsonl, cut back to its first bytes. */
levee_status run_files_open_metrics(run_files *f, const char *directory, uint64_t keep_bytes, levee_error *error);

/* Adds what is open as sinks. */
levee_status run_files_add(run_files *f, run_stream *to, levee_error *error);

#endif
