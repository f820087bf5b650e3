/* The queue and its thread: see stream.h.
 *
 * A place in the queue belongs to whoever has its turn. Record number n goes to place n % STREAM_PLACES; its number
 * is taken by a compare-and-swap on `pushed`, the place says by `turn` == n + 1 that the record is whole, and
 * `handed` passes n when the sinks have had it and the place is free. */
#include "monitor/stream.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

struct stream_place {
    atomic_ullong turn;
    record_kind kind;
    union {
        step_report step;
        event_report event;
        sample_report sample;
        line_report line;
    } record;
};

const char *record_kind_name(record_kind kind) {
    static const char *const names[RECORD_KINDS] = {"steps", "events", "samples", "lines"};
    return (unsigned)kind < RECORD_KINDS ? names[kind] : "unknown";
}

/* Places that a kind may fill. */
static unsigned long long places_for(record_kind kind) {
    bool matters = kind == RECORD_STEP || kind == RECORD_EVENT;
    return matters ? STREAM_PLACES : STREAM_PLACES - STREAM_PLACES / 4;
}

static void push(run_stream *s, record_kind kind, const void *record, size_t bytes) {
    if (!s->places) return;
    unsigned long long number = atomic_load_explicit(&s->pushed, memory_order_relaxed);
    do {
        if (number - atomic_load_explicit(&s->handed, memory_order_acquire) >= places_for(kind)) {
            atomic_fetch_add_explicit(&s->dropped[kind], 1, memory_order_relaxed);
            return;
        }
    } while (!atomic_compare_exchange_weak(&s->pushed, &number, number + 1));
    stream_place *place = &s->places[number % STREAM_PLACES];
    place->kind = kind;
    memcpy(&place->record, record, bytes);
    atomic_store(&place->turn,
                 number + 1); /* seen before `begun` is asked, so that one of the two wakes the thread */
    if (atomic_load(&s->begun)) sem_post(&s->work);
}

void run_stream_push_step(run_stream *s, const step_report *report) { push(s, RECORD_STEP, report, sizeof *report); }

void run_stream_push_event(run_stream *s, const event_report *event) { push(s, RECORD_EVENT, event, sizeof *event); }

void run_stream_push_sample(run_stream *s, const sample_report *seen) { push(s, RECORD_SAMPLE, seen, sizeof *seen); }

void run_stream_push_text(run_stream *s, const char *text) {
    line_report line = {.time = report_time()};
    for (const char *end; *text; text = end + (*end == '\n')) {
        size_t length = strcspn(text, "\n");
        line.goes_on = length >= sizeof line.text;
        if (line.goes_on) length = sizeof line.text - 1;
        end = text + length;
        memcpy(line.text, text, length);
        line.text[length] = 0;
        push(s, RECORD_LINE, &line, sizeof line);
    }
}

/* Keeps the first message of a sink, and counts. */
static void note_failure(stream_sink *to, const levee_error *why) {
    if (!atomic_load_explicit(&to->failures, memory_order_relaxed)) {
        size_t length = strnlen(why->message, sizeof to->first_failure - 1);
        memmove(to->first_failure, why->message, length);
        to->first_failure[length] = 0;
    }
    atomic_fetch_add_explicit(&to->failures, 1, memory_order_release);
}

static levee_status hand_to(const sink *face, const stream_place *place, levee_error *error) {
    switch (place->kind) {
    case RECORD_STEP:
        return face->step ? face->step(face->self, &place->record.step, error) : LEVEE_OK;
    case RECORD_EVENT:
        return face->event ? face->event(face->self, &place->record.event, error) : LEVEE_OK;
    case RECORD_SAMPLE:
        return face->sample ? face->sample(face->self, &place->record.sample, error) : LEVEE_OK;
    default:
        return face->line ? face->line(face->self, &place->record.line, error) : LEVEE_OK;
    }
}

/* Whatever signals come. */
static void await(sem_t *what) {
    while (sem_wait(what)) continue;
}

/* Hands over all records that are there. */
static void drain(run_stream *s) {
    for (;;) {
        unsigned long long number = atomic_load_explicit(&s->handed, memory_order_relaxed);
        const stream_place *place = &s->places[number % STREAM_PLACES];
        if (atomic_load_explicit(&place->turn, memory_order_acquire) != number + 1) return;
        for (unsigned i = 0; i < s->sink_count; i++) {
            levee_error why = {0};
            if (hand_to(&s->sinks[i].face, place, &why) != LEVEE_OK) note_failure(&s->sinks[i], &why);
        }
        atomic_store_explicit(&s->handed, number + 1, memory_order_release);
    }
}

static void sync_all(run_stream *s) {
    for (unsigned i = 0; i < s->sink_count; i++) {
        stream_sink *to = &s->sinks[i];
        to->sync_error = (levee_error){0};
        to->synced = to->face.sync ? to->face.sync(to->face.self, &to->sync_error) : LEVEE_OK;
        if (to->synced != LEVEE_OK) note_failure(to, &to->sync_error);
    }
}

/* What was asked before it ends is done, since it looks at `ends` before it does it. */
static void *keep_handing(void *context) {
    run_stream *s = context;
    unsigned flushes_done = 0;
    for (bool ends = false; !ends;) {
        await(&s->work);
        ends = atomic_load(&s->ends);
        unsigned asked = atomic_load(&s->flushes_asked);
        if (!atomic_load(&s->begun)) continue;
        drain(s);
        if (asked == flushes_done && !ends) continue;
        sync_all(s);
        flushes_done = asked;
        sem_post(&s->done);
    }
    return NULL;
}

uint64_t run_stream_booked_bytes(void) { return STREAM_PLACES * sizeof(stream_place) + thread_stack_bytes(); }

levee_status run_stream_open(run_stream *s, levee_error *error) {
    static const uint64_t bytes = STREAM_PLACES * sizeof(stream_place);
    memset(s, 0, sizeof *s);
    s->places = ledger_alloc(LEVEE_RUNTIME, bytes);
    if (!s->places) return error_out_of_memory(error, "the queue of what a run tells", bytes);
    /* Touched, so that held memory counts it from here on: zeros that were never written take no memory. */
    memset(s->places, 0, bytes);
    sem_init(&s->work, 0, 0);
    sem_init(&s->done, 0, 0);
    /* From here to run_stream_begin it sleeps: who measures memory meanwhile is not disturbed. */
    return thread_start(&s->writer, "the thread that writes what a run tells", false, keep_handing, s, error);
}

levee_status run_stream_add(run_stream *s, const sink *face, levee_error *error) {
    if (s->sink_count == STREAM_MOST_SINKS || atomic_load(&s->begun))
        return error_set(error, LEVEE_INTERNAL, "%s: the stream takes no more sinks", face->name);
    s->sinks[s->sink_count++].face = *face;
    return LEVEE_OK;
}

void run_stream_begin(run_stream *s) {
    if (!s->places) return;
    atomic_store(&s->begun, true);
    sem_post(&s->work);
}

void run_stream_close(run_stream *s) {
    if (!s->places) return;
    atomic_store(&s->ends, true);
    sem_post(&s->work);
    thread_join(&s->writer);
    sem_destroy(&s->work);
    sem_destroy(&s->done);
    ledger_free(s->places);
    s->places = NULL;
}

levee_status run_stream_flush(run_stream *s, levee_error *error) {
    if (!s->places || !s->writer.runs || !atomic_load(&s->begun)) return LEVEE_OK;
    atomic_fetch_add(&s->flushes_asked, 1);
    sem_post(&s->work);
    await(&s->done);
    for (unsigned i = 0; i < s->sink_count; i++) {
        const stream_sink *to = &s->sinks[i];
        if (!to->face.checkpointed || to->synced == LEVEE_OK) continue;
        if (error) *error = to->sync_error;
        return to->synced;
    }
    return LEVEE_OK;
}

bool run_stream_next_failure(run_stream *s, const char **name, const char **message) {
    for (unsigned i = 0; i < s->sink_count; i++) {
        stream_sink *to = &s->sinks[i];
        if (to->told || !atomic_load_explicit(&to->failures, memory_order_acquire)) continue;
        to->told = true;
        *name = to->face.name;
        *message = to->first_failure;
        return true;
    }
    return false;
}

uint64_t run_stream_dropped(const run_stream *s, record_kind kind) { return atomic_load(&s->dropped[kind]); }

uint64_t run_stream_failures(const run_stream *s) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->sink_count; i++) sum += atomic_load(&s->sinks[i].failures);
    return sum;
}
