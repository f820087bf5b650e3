/* The board: a history of any length at a fixed size, and what is newest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "memory/ledger.h"
#include "monitor/board.h"
#include "scratch.h"

static board *open_board(void) {
    board *b;
    levee_error error;
    scratch_expect("open", LEVEE_OK, "", board_open(&b, &error), &error);
    return b;
}

static double loss_of(uint64_t n) { return 3.0 + (double)(n * 7919 % 1000) / 500 - (double)n * 1e-5; }

static void push(board *b, uint64_t n, double loss) {
    const sink to = board_sink(b);
    step_report r = {.time = 1e9 + (double)n,
                     .step = n,
                     .loss = loss,
                     .validation_loss = n % 100 ? NAN : loss + 1,
                     .learning_rate = 1e-4,
                     .gradient_norm = 1,
                     .tokens_per_second = 100,
                     .held_bytes = 1000 + n % 77,
                     .applied = isfinite(loss)};
    r.booked_bytes[LEVEE_ACTIVATIONS] = n % 501;
    assert_int_equal(to.step(to.self, &r, NULL), LEVEE_OK);
}

/* Goes through the history and compares each point with the steps that it stands for. */
static uint64_t check_history(board *b, uint64_t last) {
    uint64_t at = 0, points = 0;
    board_point p;
    while (board_next_point(b, at, &p)) {
        assert_int_equal(p.first, at + 1);
        double least = INFINITY, largest = -INFINITY, sum = 0;
        uint64_t activations = 0, validations = 0;
        for (uint64_t n = p.first; n <= p.last; n++) {
            least = fmin(least, loss_of(n));
            largest = fmax(largest, loss_of(n));
            sum += loss_of(n);
            validations += n % 100 == 0;
            if (n % 501 > activations) activations = n % 501;
        }
        uint64_t steps = p.last - p.first + 1;
        assert_true(p.ranges[SERIES_LOSS].least == least && p.ranges[SERIES_LOSS].largest == largest);
        assert_true(fabs(p.ranges[SERIES_LOSS].mean - sum / (double)steps) < 1e-9);
        assert_int_equal(p.ranges[SERIES_LOSS].count, steps);
        assert_int_equal(p.ranges[SERIES_VALIDATION_LOSS].count, validations);
        assert_int_equal(p.booked_bytes[LEVEE_ACTIVATIONS], activations);
        assert_true(p.time == 1e9 + (double)p.last);
        at = p.last;
        points++;
    }
    assert_int_equal(at, last);
    return points;
}

/* Whatever the length, each step is in one point, and there are between half of all places and all of them. */
static void keeps_a_history_of_any_length(void **state) {
    (void)state;
    static const uint64_t lengths[] = {1, 2, 1023, 1024, 1025, 1026, 2047, 2048, 2049, 10000, 100001};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        board *b = open_board();
        uint64_t blocks = ledger_allocation_count();
        for (uint64_t n = 1; n <= lengths[i]; n++) push(b, n, loss_of(n));
        uint64_t points = check_history(b, lengths[i]);
        assert_true(points <= BOARD_POINTS && (lengths[i] < BOARD_POINTS || points >= BOARD_POINTS / 2));
        board_view v;
        board_view_copy(b, &v);
        assert_int_equal(v.points, points);
        assert_int_equal(v.step.step, lengths[i]);
        assert_int_equal(ledger_allocation_count(), blocks);
        board_close(b);
    }
}

/* A reader that is in the middle when points are merged gets every step nevertheless. */
static void loses_no_step_to_a_slow_reader(void **state) {
    (void)state;
    board *b = open_board();
    uint64_t n = 1, at = 0;
    for (; n <= BOARD_POINTS; n++) push(b, n, loss_of(n));
    board_point p;
    while (board_next_point(b, at, &p)) {
        assert_true(p.first <= at + 1 && p.last > at);
        at = p.last;
        if (n < 5000) push(b, n, loss_of(n)), n++;
        if (n < 5000) push(b, n, loss_of(n)), n++;
    }
    assert_int_equal(at, n - 1);
    board_close(b);
}

static void leaves_out_what_is_not_finite(void **state) {
    (void)state;
    board *b = open_board();
    board_point p;
    board_view v;
    push(b, 1, NAN);
    assert_true(board_next_point(b, 0, &p));
    assert_int_equal(p.ranges[SERIES_LOSS].count, 0);
    push(b, 2, INFINITY);
    board_view_copy(b, &v);
    assert_int_equal(v.skipped_steps, 2);
    board_close(b);
}

static void keeps_the_last_events(void **state) {
    (void)state;
    board *b = open_board();
    const sink to = board_sink(b);
    event_report e = {.decision.action = GUARD_SHRINK, .carried_out = true}, got;
    uint64_t number = 0;
    assert_false(board_event(b, &number, &got));
    for (uint64_t n = 0; n < 100; n++) {
        e.step = n;
        to.event(to.self, &e, NULL);
    }
    for (uint64_t n = 100 - BOARD_EVENTS; n < 100; n++) {
        assert_true(board_event(b, &number, &got));
        assert_int_equal(number, n);
        assert_int_equal(got.step, n);
        number++;
    }
    assert_false(board_event(b, &number, &got));
    board_view v;
    board_view_copy(b, &v);
    assert_int_equal(v.events, 100);
    assert_int_equal(v.by_action[GUARD_SHRINK], 100);
    e.decision.action = GUARD_PAUSE;
    to.event(to.self, &e, NULL);
    board_view_copy(b, &v);
    assert_int_equal(v.state, BOARD_WAITING);
    board_close(b);
}

static void changes_state_only_from_the_one_named(void **state) {
    (void)state;
    board *b = open_board();
    board_view v;
    uint64_t version = board_version(b);
    board_change_state(b, BOARD_RUNNING, BOARD_PAUSING);
    board_view_copy(b, &v);
    assert_int_equal(v.state, BOARD_STARTING);
    board_change_state(b, BOARD_STARTING, BOARD_PAUSING);
    board_view_copy(b, &v);
    assert_int_equal(v.state, BOARD_PAUSING);
    assert_true(board_version(b) > version);
    board_close(b);
}

static void is_refused_without_memory(void **state) {
    (void)state;
    board *b;
    levee_error error;
    ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + 1000);
    scratch_expect("open", LEVEE_DOES_NOT_FIT, "board", board_open(&b, &error), &error);
    ledger_set_budget(UINT64_MAX);
    board_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_a_history_of_any_length, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(loses_no_step_to_a_slow_reader, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(leaves_out_what_is_not_finite, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(keeps_the_last_events, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(changes_state_only_from_the_one_named, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(is_refused_without_memory, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
