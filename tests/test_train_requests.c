/* Requests: what stays asked, what takes back what, and from when on an answer is timed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/machine.h"
#include "train/requests.h"

static int clear(void **state) {
    (void)state;
    requests_clear();
    return 0;
}

/* A pause lasts from when it is asked until somebody asks to resume, whatever is taken meanwhile. */
static void a_pause_lasts_until_a_resume(void **state) {
    (void)state;
    assert_false(requests_pausing());
    levee_request(LEVEE_REQUEST_PAUSE);
    levee_request(LEVEE_REQUEST_SHRINK);
    assert_true(requests_take().shrink);
    assert_true(requests_pausing());
    assert_true(requests_pausing());
    levee_request(LEVEE_REQUEST_RESUME);
    assert_false(requests_pausing());
    /* A resume that comes when nothing is paused does not wait for a pause. */
    levee_request(LEVEE_REQUEST_RESUME);
    levee_request(LEVEE_REQUEST_PAUSE);
    assert_true(requests_pausing());
    requests_clear();
    assert_false(requests_pausing());
}

static void a_checkpoint_is_taken_once(void **state) {
    (void)state;
    assert_false(requests_take_checkpoint());
    levee_request(LEVEE_REQUEST_CHECKPOINT);
    levee_request(LEVEE_REQUEST_CHECKPOINT);
    requests_take();
    assert_true(requests_take_checkpoint());
    assert_false(requests_take_checkpoint());
}

/* They wait for the end of the step: they cut nothing short, and a stop does nevertheless. */
static void neither_is_urgent(void **state) {
    (void)state;
    levee_request(LEVEE_REQUEST_PAUSE);
    levee_request(LEVEE_REQUEST_CHECKPOINT);
    assert_false(requests_urgent(true));
    requests taken = requests_take();
    assert_false(taken.shrink || taken.grow || taken.stop || taken.attend);
    levee_request(LEVEE_REQUEST_STOP);
    assert_true(requests_urgent(false) && requests_stopping());
    assert_true(requests_pausing());
}

/* A shrink behind a pause is timed by itself, and not by what it was before. */
static void a_shrink_is_timed_by_itself(void **state) {
    (void)state;
    levee_request(LEVEE_REQUEST_GROW);
    double first = requests_take().asked_seconds;
    levee_request(LEVEE_REQUEST_PAUSE);
    machine_sleep(0.01);
    double before = machine_seconds();
    levee_request(LEVEE_REQUEST_SHRINK);
    requests taken = requests_take();
    assert_true(taken.shrink && taken.asked_seconds >= before && taken.asked_seconds > first);
}

static void strange_requests_are_ignored(void **state) {
    (void)state;
    levee_request((levee_request_kind)77);
    levee_request((levee_request_kind)-1);
    requests taken = requests_take();
    assert_false(taken.shrink || taken.grow || taken.stop || taken.attend || requests_pausing() ||
                 requests_take_checkpoint());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pause_lasts_until_a_resume, clear),
        cmocka_unit_test_setup(a_checkpoint_is_taken_once, clear),
        cmocka_unit_test_setup(neither_is_urgent, clear),
        cmocka_unit_test_setup(a_shrink_is_timed_by_itself, clear),
        cmocka_unit_test_setup(strange_requests_are_ignored, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
