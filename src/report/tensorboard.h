/* TensorBoard's event files: what a run tells, as scalars by step, and what the guard did, as texts.
 *
 * A file is a row of records: length, its checksum, an event (tensorboard.proto), its checksum. Each process that
 * trains begins a new file, and says which step is its first: TensorBoard drops what older files have from there on.
 * TensorBoard reads files in the order of their names, which begin with the time.
 *
 * How large a file gets: a step takes at most TENSORBOARD_STEP_BYTES. Of the first TENSORBOARD_EVERY steps each is
 * written, then every second until as many more are, then every fourth, and so on: TensorBoard shows a thousand
 * points of a curve anyway. Validations, which are rare, are all written.
 *
 * tensorboard_step, _event, _sample and _sync are members of a sink (monitor/sink.h): `self` is a tensorboard. They
 * take no memory. Not thread-safe. */
#ifndef LEVEE_REPORT_TENSORBOARD_H
#define LEVEE_REPORT_TENSORBOARD_H

#include "base/file.h"
#include "report/records.h"

enum { TENSORBOARD_EVERY = 16384, TENSORBOARD_STEP_BYTES = 1024 };

typedef struct tensorboard {
    bool open;
    int descriptor;
    char path[FILE_PATH_BYTES];
    uint64_t bytes;   /* written so far: whole records */
    bool by_samples;  /* nobody tells of steps, as watch does not: then a sample is one, and says what was held */
    uint64_t seen;    /* steps so far */
    uint64_t stride;  /* of those that are written */
    uint64_t written; /* since the stride changed */
    bool due;         /* the last one was written */
} tensorboard;

/* Begins a file in `directory`, which is made where it is not there, for a run whose next step is `next_step` (from
 * 1; larger where it goes on). tensorboard_close accepts a
 * zeroed one. */
levee_status tensorboard_open(tensorboard *t, const char *directory, uint64_t next_step, levee_error *error);
void tensorboard_close(tensorboard *t);

levee_status tensorboard_step(void *self, const step_report *report, levee_error *error);
levee_status tensorboard_event(void *self, const event_report *event, levee_error *error);

/* Writes the growth of the meter that leaks most, where that is known; and memory, where nobody tells of steps. */
levee_status tensorboard_sample(void *self, const sample_report *seen, levee_error *error);

/* Has all events so far reach the disk. */
levee_status tensorboard_sync(void *self, levee_error *error);

#endif
