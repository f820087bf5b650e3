/* A sink: one face of a run, to which the stream (stream.h) hands what the run tells. A file is one, a page another.
 *
 * Contract. All members are called by one thread at a time, the stream's own, in the order in which records were
 * pushed; so a sink needs no lock for what it alone touches, and what others read of it (a page that is asked for) it
 * guards itself. A member takes no memory and may take its time, as a disk does: what comes meanwhile waits in the
 * queue, and is dropped and counted when that is full. Records are valid during the call only.
 *
 * A member that fails says why. The stream counts it, keeps the first message, and goes on: the next record comes all
 * the same, to this sink and to the others, for a disk may be full now and not later. No sink ends a training.
 *
 * Ownership. Who opens a sink adds it (run_stream_add), and closes it when the stream is closed, which has by then
 * handed over all that was pushed. `self` is what the members are called with. */
#ifndef LEVEE_MONITOR_SINK_H
#define LEVEE_MONITOR_SINK_H

#include "report/records.h"

typedef struct sink {
    const char *name; /* for messages: "metrics.jsonl"; lasts as long as the run_stream */
    void *self;
    /* What is NULL is skipped. */
    levee_status (*step)(void *self, const step_report *report, levee_error *error);
    levee_status (*event)(void *self, const event_report *event, levee_error *error);
    levee_status (*sample)(void *self, const sample_report *seen, levee_error *error);
    levee_status (*line)(void *self, const line_report *line, levee_error *error);
    /* Has everything so far reach the disk: before a checkpoint, and at the end. */
    levee_status (*sync)(void *self, levee_error *error);
    /* A checkpoint says how far this one has come, so none is made when its sync fails (run_stream_flush). */
    bool checkpointed;
} sink;

#endif
