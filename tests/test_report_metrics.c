/* metrics.jsonl as a JSON parser reads it, the progress line, and the memory tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/pool.h"
#include "report/metrics.h"
#include "report/table.h"
#include "scratch.h"

static step_report sample(void) {
    step_report r = {.step = 3,
                     .steps = 9,
                     .loss = 2.5,
                     .learning_rate = 1e-4,
                     .gradient_norm = 0.75,
                     .tokens_per_second = 1234.5,
                     .seconds = 0.5,
                     .validation_loss = NAN,
                     .tokens = 617,
                     .trained_tokens = 1851,
                     .held_bytes = 50ull << 20,
                     .peak_bytes = 51ull << 20,
                     .predicted_bytes = 52ull << 20,
                     .budget_bytes = UINT64_C(5) << 30,
                     .passes = 2};
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        r.planned_bytes[c] = 1000 + c;
        r.booked_bytes[c] = c == LEVEE_DATA ? 777 : 0;
    }
    return r;
}

static void assert_number(const json_t *line, const char *key, double expected) {
    const json_t *value = json_object_get(line, key);
    if (!json_is_number(value) || fabs(json_number_value(value) - expected) > 1e-9 * fabs(expected))
        fail_msg("%s is %g instead of %g", key, json_number_value(value), expected);
}

/* Two lines, and each of them is an object that says what the report says. */
static void writes_json_lines(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    metrics m = {.descriptor = -1};
    assert_true(file_join(path, *state, "metrics.jsonl"));
    scratch_file(*state, "metrics.jsonl", "of an older run\n", 16);
    scratch_expect("open", LEVEE_OK, "", metrics_open(&m, path, 0, &error), &error);
    step_report report = sample();
    scratch_expect("write", LEVEE_OK, "", metrics_write(&m, &report, &error), &error);
    report.step = 4;
    report.loss = INFINITY;
    report.validation_loss = 2.25;
    report.held_bytes = LEVEE_UNKNOWN_BYTES;
    scratch_expect("write", LEVEE_OK, "", metrics_write(&m, &report, &error), &error);
    metrics_close(&m);
    metrics_close(&m);
    size_t bytes;
    char *text = scratch_read(path, &bytes), *second = strchr(text, '\n') + 1;
    json_t *line = json_loads(text, JSON_DISABLE_EOF_CHECK, NULL), *next = json_loads(second, 0, NULL);
    assert_non_null(line);
    assert_non_null(next);
    assert_ptr_equal(strchr(second, '\n'), text + bytes - 1);
    const struct {
        const char *key;
        double expected;
    } numbers[] = {{"step", 3},
                   {"loss", 2.5},
                   {"learning_rate", 1e-4},
                   {"grad_norm", 0.75},
                   {"tokens", 617},
                   {"trained_tokens", 1851},
                   {"tokens_per_second", 1234.5},
                   {"seconds", 0.5},
                   {"passes", 2},
                   {"held_bytes", 50 << 20},
                   {"peak_bytes", 51 << 20},
                   {"predicted_bytes", 52 << 20},
                   {"budget_bytes", 5.0 * (1 << 30)}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_number(line, numbers[i].key, numbers[i].expected);
    assert_true(json_is_null(json_object_get(line, "val_loss")));
    assert_true(json_is_null(json_object_get(next, "loss")));
    assert_number(next, "val_loss", 2.25);
    assert_true(json_is_null(json_object_get(next, "held_bytes"))); /* a meter that is unknown is not zero */
    const json_t *plan = json_object_get(line, "planned_bytes"), *booked = json_object_get(line, "booked_bytes");
    assert_int_equal(json_object_size(plan), LEVEE_CATEGORY_COUNT);
    assert_int_equal(json_object_size(booked), LEVEE_CATEGORY_COUNT);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        assert_number(plan, levee_category_name((levee_category)c), 1000 + c);
    assert_number(booked, "data", 777);
    json_decref(line);
    json_decref(next);
    free(text);
}

static void reports_a_full_disk(void **state) {
    (void)state;
    levee_error error;
    metrics m = {.descriptor = -1};
    step_report report = sample();
    scratch_expect("no directory", LEVEE_IO_ERROR, "/nowhere/m", metrics_open(&m, "/nowhere/m", 0, &error), &error);
    scratch_expect("open", LEVEE_OK, "", metrics_open(&m, "/dev/full", 0, &error), &error);
    scratch_expect("full", LEVEE_IO_ERROR, "metrics.jsonl|disk full", metrics_write(&m, &report, &error), &error);
    metrics_close(&m);
}

static void writes_a_progress_line(void **state) {
    (void)state;
    char line[PROGRESS_BYTES];
    step_report report = sample();
    metrics_progress(line, &report);
    assert_string_equal(line,
                        "step 3/9  loss 2.5000  1234 tokens/s  rate 0.0001  memory 50.0 MiB of 5.0 GiB  left 3 s");
    report.held_bytes = LEVEE_UNKNOWN_BYTES;
    metrics_progress(line, &report);
    assert_non_null(strstr(line, "memory unknown of 5.0 GiB"));
    report.step = report.steps = report.tokens = UINT64_MAX; /* as long as it gets: still whole, still ended */
    report.loss = report.tokens_per_second = 1e300;
    metrics_progress(line, &report);
    assert_true(strlen(line) < PROGRESS_BYTES);
}

static void writes_tables(void **state) {
    (void)state;
    char text[TABLE_BYTES];
    uint64_t bytes[LEVEE_CATEGORY_COUNT] = {[LEVEE_ACTIVATIONS] = 3 << 20, [LEVEE_RUNTIME] = 512};
    table_of_plan(text, bytes, 10 << 20);
    assert_string_equal(text, "  memory            planned\n"
                              "  activations       3.0 MiB\n"
                              "  runtime             512 B\n"
                              "  total             3.0 MiB\n"
                              "  budget           10.0 MiB");
    table_of_result(text, 100 << 20, 101 << 20, 101 << 20);
    assert_string_equal(text, "peak memory: predicted 100.0 MiB, measured 101.0 MiB (+1.0 MiB, +1.00 %), budget "
                              "101.0 MiB: held");
    table_of_result(text, UINT64_C(4) << 30, (UINT64_C(4) << 30) - (2 << 20), UINT64_C(3) << 30);
    assert_string_equal(text, "peak memory: predicted 4.0 GiB, measured 4.0 GiB (-2.0 MiB, -0.05 %), budget 3.0 GiB: "
                              "NOT HELD");
}

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_json_lines, scratch_setup, scratch_teardown),
        cmocka_unit_test(reports_a_full_disk),
        cmocka_unit_test(writes_a_progress_line),
        cmocka_unit_test(writes_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
