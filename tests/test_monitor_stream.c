/* The stream from a run to its faces: what a queue that is full drops, in which order records come, what a flush
 * waits for, and what becomes of sinks that fail. Threads push at once, for ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "monitor/stream.h"
#include "scratch.h"

enum { PUSHERS = 4, MOST_TAKEN = 8192, TEXT_ROOM = 4096 };

/* A face that notes what it gets; one that is held waits in its first step until it is let go. */
typedef struct listener {
    unsigned steps, events, samples, lines, syncs, steps_at_sync;
    uint64_t taken[MOST_TAKEN]; /* the numbers of steps, in order */
    char text[TEXT_ROOM];       /* of lines; "\n" ends one, "+" a piece */
    bool held, fails, fails_to_sync;
    sem_t entered, go;
} listener;

static levee_status take_step(void *self, const step_report *report, levee_error *error) {
    listener *l = self;
    if (l->held && !l->steps) {
        sem_post(&l->entered);
        while (sem_wait(&l->go)) {
        }
    }
    if (l->steps < MOST_TAKEN) l->taken[l->steps] = report->step;
    l->steps++;
    if (l->fails) return error_set(error, LEVEE_IO_ERROR, "step %u: is the disk full?", (unsigned)report->step);
    return LEVEE_OK;
}

static levee_status take_event(void *self, const event_report *event, levee_error *error) {
    (void)event, (void)error;
    ((listener *)self)->events++;
    return LEVEE_OK;
}

static levee_status take_sample(void *self, const sample_report *seen, levee_error *error) {
    (void)seen, (void)error;
    ((listener *)self)->samples++;
    return LEVEE_OK;
}

static levee_status take_line(void *self, const line_report *line, levee_error *error) {
    listener *l = self;
    (void)error;
    l->lines++;
    size_t length = strlen(l->text);
    snprintf(l->text + length, sizeof l->text - length, "%s%s", line->text, line->goes_on ? "+" : "\n");
    return LEVEE_OK;
}

static levee_status sync_all(void *self, levee_error *error) {
    listener *l = self;
    l->syncs++;
    l->steps_at_sync = l->steps;
    return l->fails_to_sync ? error_set(error, LEVEE_IO_ERROR, "cannot be synced") : LEVEE_OK;
}

static listener *waiting; /* that has to be let go before a stream can be closed */

static sink face_of(listener *l, const char *name) {
    if (l->held) waiting = l;
    sem_init(&l->entered, 0, 0);
    sem_init(&l->go, 0, 0);
    return (sink){.name = name,
                  .self = l,
                  .step = take_step,
                  .event = take_event,
                  .sample = take_sample,
                  .line = take_line,
                  .sync = sync_all};
}

static run_stream stream;
static levee_error error;

/* Of a test that failed too, so that the next has the stream for itself. */
static int close_stream(void **state) {
    (void)state;
    if (waiting) sem_post(&waiting->go);
    waiting = NULL;
    run_stream_close(&stream);
    return 0;
}

static void open_with(const sink *face) {
    scratch_expect("open", LEVEE_OK, "", run_stream_open(&stream, &error), &error);
    scratch_expect("add", LEVEE_OK, "", run_stream_add(&stream, face, &error), &error);
}

static void push_steps(uint64_t first, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) run_stream_push_step(&stream, &(step_report){.step = first + i});
}

/* A sink that blocks stops nobody: so many places as there are are filled, and what comes then is dropped and counted
 * by its kind; nothing that was taken is lost or comes twice. */
static void a_full_queue_drops_and_counts(void **state) {
    static listener slow = {.held = true};
    const sink face = face_of(&slow, "slow");
    (void)state;
    open_with(&face);
    run_stream_begin(&stream);
    push_steps(1, 1);
    while (sem_wait(&slow.entered)) {
    }
    push_steps(2, STREAM_PLACES - 1);
    assert_int_equal(run_stream_dropped(&stream, RECORD_STEP), 0);
    push_steps(1000000, 7);
    run_stream_push_event(&stream, &(event_report){0});
    run_stream_push_sample(&stream, &(sample_report){0});
    run_stream_push_text(&stream, "a\nb");
    assert_int_equal(run_stream_dropped(&stream, RECORD_STEP), 7);
    assert_int_equal(run_stream_dropped(&stream, RECORD_EVENT), 1);
    assert_int_equal(run_stream_dropped(&stream, RECORD_SAMPLE), 1);
    assert_int_equal(run_stream_dropped(&stream, RECORD_LINE), 2);
    sem_post(&slow.go);
    scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    assert_int_equal(slow.steps, STREAM_PLACES);
    for (unsigned i = 0; i < slow.steps; i++) assert_int_equal(slow.taken[i], i + 1);
    push_steps(5, 1); /* there is room again */
    run_stream_close(&stream);
    assert_int_equal(slow.steps, STREAM_PLACES + 1);
    assert_int_equal(slow.events + slow.samples + slow.lines, 0);
    assert_int_equal(run_stream_dropped(&stream, RECORD_STEP), 7);
}

/* Samples and lines leave a quarter of the places to steps and events. */
static void lines_leave_room_for_steps(void **state) {
    static listener slow;
    const sink face = face_of(&slow, "slow");
    (void)state;
    open_with(&face);
    for (unsigned i = 0; i < STREAM_PLACES; i++) run_stream_push_sample(&stream, &(sample_report){0});
    assert_int_equal(run_stream_dropped(&stream, RECORD_SAMPLE), STREAM_PLACES / 4);
    push_steps(1, STREAM_PLACES / 4);
    assert_int_equal(run_stream_dropped(&stream, RECORD_STEP), 0);
    push_steps(1, 1);
    assert_int_equal(run_stream_dropped(&stream, RECORD_STEP), 1);
    run_stream_close(&stream); /* which never began: nothing is handed over */
    assert_int_equal(slow.steps + slow.samples + slow.syncs, 0);
}

static void *push_many(void *context) {
    const uint64_t *first = context;
    for (unsigned i = 0; i < 500; i++) {
        push_steps(*first + i, 1);
        if (i % 64 == 63) usleep(100);
    }
    return NULL;
}

/* Pushed by several threads: each one's records come in its order, all of them before the sync of a flush that was
 * asked for after them. Nothing is allocated meanwhile. */
static void a_flush_comes_behind_all_that_was_pushed(void **state) {
    static listener all;
    const sink face = face_of(&all, "all");
    pthread_t threads[PUSHERS];
    uint64_t firsts[PUSHERS], next[PUSHERS];
    (void)state;
    open_with(&face);
    run_stream_begin(&stream);
    uint64_t allocations = ledger_allocation_count();
    for (unsigned i = 0; i < PUSHERS; i++) {
        firsts[i] = next[i] = (i + 1) * 10000;
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, &firsts[i]), 0);
    }
    for (unsigned i = 0; i < PUSHERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    assert_int_equal(ledger_allocation_count(), allocations);
    assert_int_equal(all.steps + run_stream_dropped(&stream, RECORD_STEP), PUSHERS * 500);
    assert_true(all.steps >= STREAM_PLACES);
    assert_int_equal(all.steps_at_sync, all.steps);
    assert_int_equal(all.syncs, 1);
    for (unsigned i = 0; i < all.steps; i++) {
        unsigned thread = (unsigned)(all.taken[i] / 10000) - 1;
        assert_true(thread < PUSHERS && all.taken[i] >= next[thread]);
        next[thread] = all.taken[i] + 1;
    }
    for (unsigned i = 0; i < 50; i++) {
        push_steps(i, 3);
        scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
        assert_int_equal(all.steps_at_sync, all.steps);
        assert_int_equal(all.taken[all.steps - 1], i + 2);
    }
    run_stream_close(&stream);
}

/* A sink that fails is counted and told of once, with its first message; it and the others get what comes. */
static void sinks_that_fail_stop_nobody(void **state) {
    static listener broken = {.fails = true, .fails_to_sync = true}, sound;
    sink faces[] = {face_of(&broken, "broken"), face_of(&sound, "sound")};
    const char *name = NULL, *message = NULL;
    (void)state;
    open_with(&faces[0]);
    scratch_expect("add", LEVEE_OK, "", run_stream_add(&stream, &faces[1], &error), &error);
    run_stream_begin(&stream);
    scratch_expect("too late", LEVEE_INTERNAL, "sound", run_stream_add(&stream, &faces[1], &error), &error);
    assert_false(run_stream_next_failure(&stream, &name, &message));
    push_steps(1, 3);
    scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    assert_int_equal(broken.steps, 3);
    assert_int_equal(sound.steps, 3);
    assert_int_equal(run_stream_failures(&stream), 4);
    assert_true(run_stream_next_failure(&stream, &name, &message));
    assert_string_equal(name, "broken");
    assert_string_equal(message, "step 1: is the disk full?");
    assert_false(run_stream_next_failure(&stream, &name, &message));
    run_stream_close(&stream);

    /* One that a checkpoint counts on: then a flush says so. */
    broken = (listener){.fails_to_sync = true};
    faces[0] = face_of(&broken, "broken");
    faces[0].checkpointed = true;
    open_with(&faces[0]);
    run_stream_begin(&stream);
    scratch_expect("flush", LEVEE_IO_ERROR, "cannot be synced", run_stream_flush(&stream, &error), &error);
    run_stream_close(&stream);
}

/* What was pushed before the sinks were there comes first; texts come as lines, long ones in pieces. */
static void early_records_come_first(void **state) {
    static listener all;
    const sink face = face_of(&all, "all");
    char text[1200];
    (void)state;
    open_with(&face);
    push_steps(1, 2);
    run_stream_push_text(&stream, "one\ntwo\n\nfour");
    scratch_expect("not begun", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    assert_int_equal(all.steps + all.lines, 0);
    run_stream_begin(&stream);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    run_stream_push_text(&stream, text);
    scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    assert_int_equal(all.steps, 2);
    assert_int_equal(strncmp(all.text, "one\ntwo\n\nfour\nxxx", 17), 0);
    assert_int_equal(all.lines, 4 + 3);
    unsigned pieces = 0, letters = 0;
    for (const char *c = all.text; *c; c++) {
        pieces += *c == '+';
        letters += *c == 'x';
    }
    assert_int_equal(pieces, 2);
    assert_int_equal(letters, sizeof text - 1);
    run_stream_close(&stream);
    push_steps(1, 1); /* to one that is closed: nothing */
    assert_int_equal(all.steps, 2);
}

/* What it takes is what it says, and goes back. */
static void memory_is_booked(void **state) {
    static listener all;
    const sink face = face_of(&all, "all");
    (void)state;
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    open_with(&face);
    uint64_t taken = ledger_booked(LEVEE_CATEGORY_COUNT) - before;
    assert_true(taken >= run_stream_booked_bytes() && taken < run_stream_booked_bytes() + 4096);
    run_stream_close(&stream);
    run_stream_close(&stream);
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_full_queue_drops_and_counts, close_stream),
        cmocka_unit_test_teardown(lines_leave_room_for_steps, close_stream),
        cmocka_unit_test_teardown(a_flush_comes_behind_all_that_was_pushed, close_stream),
        cmocka_unit_test_teardown(sinks_that_fail_stop_nobody, close_stream),
        cmocka_unit_test_teardown(early_records_come_first, close_stream),
        cmocka_unit_test_teardown(memory_is_booked, close_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
