/* The stream: all that a run tells of itself, from the thread that trains to the faces that show it.
 *
 * Words. A record is what is told at once (report/records.h); a sink is a face (sink.h). Records wait in a queue of a
 * fixed number of places until the stream's thread, which does nothing else, hands each to every sink, in order.
 *
 * Pushing takes no lock, waits for nobody, calls nothing that could wait, and cannot fail: where the queue is full
 * the record is dropped, and counted by its kind. The last quarter of the places is for steps and events alone, since
 * lines and samples are many and missed the least. What sinks fail in is counted too, and told by who asks
 * (run_stream_next_failure); no failure ends a training.
 *
 * Memory: queue and stack are booked, taken and touched when the stream is opened; nothing is allocated afterwards.
 * Threads: records may be pushed by any thread, also while it is opened or closed by another, which it must not be;
 * all else is for the thread that opened it. */
#ifndef LEVEE_MONITOR_STREAM_H
#define LEVEE_MONITOR_STREAM_H

#include <semaphore.h>
#include <stdatomic.h>

#include "memory/thread.h"
#include "monitor/sink.h"

enum { STREAM_PLACES = 512, STREAM_MOST_SINKS = 8, STREAM_FAILURE_BYTES = 512 };

typedef enum record_kind { RECORD_STEP, RECORD_EVENT, RECORD_SAMPLE, RECORD_LINE, RECORD_KINDS } record_kind;

/* "steps", "events", "samples", "lines". */
const char *record_kind_name(record_kind kind);

typedef struct stream_place stream_place;

/* A sink, and what it failed in. */
typedef struct stream_sink {
    sink face;
    atomic_ullong failures;
    char first_failure[STREAM_FAILURE_BYTES]; /* written before the first is counted, and never again */
    bool told;
    levee_error sync_error; /* of the last sync, when it failed */
    levee_status synced;
} stream_sink;

typedef struct run_stream {
    stream_place *places; /* [STREAM_PLACES]; NULL: not open */
    booked_thread writer;
    sem_t work, done;
    stream_sink sinks[STREAM_MOST_SINKS];
    unsigned sink_count;
    atomic_ullong pushed, handed; /* records so far; between the two lies the queue */
    atomic_ullong dropped[RECORD_KINDS];
    atomic_bool begun, ends;
    atomic_uint flushes_asked;
} run_stream;

/* Opens an empty stream, whose records wait until run_stream_begin. run_stream_close is due in any case, and accepts
 * a zeroed stream. */
levee_status run_stream_open(run_stream *s, levee_error *error);

/* Adds a face, before run_stream_begin; LEVEE_INTERNAL when there are STREAM_MOST_SINKS already. */
levee_status run_stream_add(run_stream *s, const sink *face, levee_error *error);

/* From here on records go to the sinks, those first that were pushed before. Sinks stay as they are. */
void run_stream_begin(run_stream *s);

/* Hands over what still waits, if the stream has begun, syncs all sinks, and ends the thread. Then sinks may be
 * closed. What was counted stays, to be asked for. */
void run_stream_close(run_stream *s);

/* Push a record: it is copied. To a stream that is not open they do nothing. */
void run_stream_push_step(run_stream *s, const step_report *report);
void run_stream_push_event(run_stream *s, const event_report *event);
void run_stream_push_sample(run_stream *s, const sample_report *seen);

/* Pushes a text of one or more lines, each as a record or, when it is long, several. */
void run_stream_push_text(run_stream *s, const char *text);

/* Waits until all that was pushed is handed over, and synced: as long as the disk takes. When a sink that a
 * checkpoint counts on could not sync, returns why. What sinks write may be read until the next record is pushed. */
levee_status run_stream_flush(run_stream *s, levee_error *error);

/* A sink that failed and was not told of yet: once for each. False when there is none. */
bool run_stream_next_failure(run_stream *s, const char **name, const char **message);

/* Records that were dropped so far, and failures of all sinks. */
uint64_t run_stream_dropped(const run_stream *s, record_kind kind);
uint64_t run_stream_failures(const run_stream *s);

/* What an open stream takes. */
uint64_t run_stream_booked_bytes(void);

#endif
