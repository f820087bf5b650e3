/* Steps out of lines, and moments of samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "scratch.h"
#include "watch/moments.h"
#include "watch/steps.h"

static uint64_t steps_in(const char *expression, const char *text, size_t piece) {
    static step_lines lines;
    step_pattern *p;
    uint64_t steps = 0;
    lines.bytes = 0;
    assert_int_equal(step_pattern_open(&p, expression, NULL), LEVEE_OK);
    size_t length = strlen(text);
    for (size_t at = 0; at < length; at += piece)
        steps += step_lines_take(&lines, p, text + at, length - at < piece ? length - at : piece);
    step_pattern_close(p);
    return steps;
}

static void lines_that_match_are_steps(void **state) {
    (void)state;
    static const struct {
        const char *expression, *text;
        uint64_t steps;
    } cases[] = {
        {"^step", "step 1\nloss\nstep 2\n", 2},
        {"^step", "", 0},
        {"^step", "step", 0}, /* the line is not finished */
        {"step (\\d+)", "step 1\nstep 2\nstep 2\nstep 5\n", 5},
        {"step (\\d+)", "step 7\nstep 3\n", 7}, /* a second run, or another counter */
        {"step (\\d+)|done", "step 1\ndone\n", 1},
        {"(\\d+)/10", "\r 0%| | 0/10\r 10%|#| 1/10\r 10%|#| 1/10\r 20%|##| 2/10", 1},
        {"step (\\w+)", "step one\nstep 2\n", 2},
        {"step (\\d+)", "step 99999999999999999999\n", 0},
        {"^\xc3\xa9tape$", "\xc3\xa9tape\n\xff\xfe\n\xc3\n\xc3\xa9tape\n", 2},
        {"^(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\nstep\n", 0}, /* and it ends */
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 12; piece += 5) {
            uint64_t steps = steps_in(cases[i].expression, cases[i].text, piece);
            if (steps != cases[i].steps)
                fail_msg("%s in %s: %llu", cases[i].expression, cases[i].text, (unsigned long long)steps);
        }
}

static void long_lines_match_by_their_beginning(void **state) {
    (void)state;
    static char text[3 * STEP_LINE_BYTES];
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "step ", 5);
    text[sizeof text - 2] = '\n';
    assert_int_equal(steps_in("^step", text, 1000), 1);
    assert_int_equal(steps_in("x$", text, 1000), 1);
}

static void wrong_patterns_are_named(void **state) {
    (void)state;
    static const struct {
        const char *expression, *words;
    } cases[] = {
        {"step (\\d+", "--step-pattern|at character 9|missing closing parenthesis"},
        {"[z-a]", "at character 3|range out of order"},
        {"*", "at character 0|before '*'"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        step_pattern *p;
        levee_error error = {0};
        levee_status status = step_pattern_open(&p, cases[i].expression, &error);
        scratch_expect(cases[i].expression, LEVEE_USAGE, cases[i].words, status, &error);
        assert_null(p);
    }
    step_pattern_close(NULL);
}

static void moments_span_any_run(void **state) {
    (void)state;
    static moments m;
    assert_int_equal(moments_find(&m, 5).steps, 0);
    for (uint64_t sample = 0; sample < 100000; sample++)
        moments_add(&m, (moment){.sample = sample, .steps = 2 * sample + 1, .seconds = (double)sample / 10});
    assert_in_range(m.count, MOMENTS_MOST / 2, MOMENTS_MOST);
    for (uint64_t sample = 0; sample < 100000; sample += 777) {
        moment found = moments_find(&m, sample);
        assert_true(found.sample <= sample && sample - found.sample < m.stride);
        assert_int_equal(found.steps, 2 * found.sample + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_match_are_steps),
        cmocka_unit_test(long_lines_match_by_their_beginning),
        cmocka_unit_test(wrong_patterns_are_named),
        cmocka_unit_test(moments_span_any_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
