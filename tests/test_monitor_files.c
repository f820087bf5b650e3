/* The files of a run: their bounds, what a log's lines are, the evidence of decisions, and a training whose files
 * cannot be written. And the view that others get of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "failing.h"
#include "memory/ledger.h"
#include "monitor/run_files.h"
#include "monitor/top_frame.h"
#include "sanitized.h"
#include "scratch.h"

static levee_error error;

static char *content_of(const char *directory, const char *name, size_t *bytes) {
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, name));
    return scratch_read(path, bytes);
}

/* Lines that no two of are alike: what lies in both parts is the end of what was written, without a gap, and neither
 * part is longer than it may be. */
static void a_file_is_rotated_at_its_bound(void **state) {
    enum { BOUND = 1000, LINES = 500 };
    char path[FILE_PATH_BYTES], line[64];
    rotating_file f;
    size_t old_bytes, new_bytes;
    assert_true(file_join(path, *state, "events.jsonl"));
    scratch_text(*state, "events.jsonl", "what was there\n");
    scratch_expect("open", LEVEE_OK, "", rotating_file_open(&f, path, BOUND, &error), &error);
    for (unsigned i = 0; i < LINES; i++) {
        int length = snprintf(line, sizeof line, "line %u%.*s\n", i, (int)(i % 20), "....................");
        scratch_expect("append", LEVEE_OK, "", rotating_file_append(&f, line, (uint64_t)length, &error), &error);
        if (!i) {
            char *first = content_of(*state, "events.jsonl", &new_bytes);
            assert_string_equal(first, "what was there\nline 0\n");
            free(first);
        }
    }
    rotating_file_close(&f);
    char *old = content_of(*state, "events.jsonl.1", &old_bytes),
         *new = content_of(*state, "events.jsonl", &new_bytes);
    assert_true(old_bytes <= BOUND && new_bytes <= BOUND && old_bytes > BOUND - 64);
    unsigned next = 0, number;
    for (unsigned part = 0; part < 2; part++)
        for (char *at = part ? new : old; *at; at = strchr(at, '\n') + 1) {
            assert_int_equal(sscanf(at, "line %u", &number), 1);
            assert_true(!next || number == next);
            next = number + 1;
        }
    assert_int_equal(next, LINES);
    free(old);
    free(new);
}

/* Renaming that fails is told, and the bound holds all the same. */
static void a_bound_holds_where_renaming_fails(void **state) {
    char path[FILE_PATH_BYTES];
    rotating_file f;
    size_t bytes;
    failing no_names = {.first = FAULT_RENAME, .last = FAULT_RENAME, .to = UINT64_MAX, .what = {.failure = EACCES}};
    assert_true(file_join(path, *state, "log.txt"));
    scratch_expect("open", LEVEE_OK, "", rotating_file_open(&f, path, 30, &error), &error);
    scratch_expect("append", LEVEE_OK, "", rotating_file_append(&f, "0123456789012345678\n", 20, &error), &error);
    failing_start(&no_names);
    levee_status status = rotating_file_append(&f, "9876543210987654321\n", 20, &error);
    failing_stop();
    scratch_expect("rotate", LEVEE_IO_ERROR, "log.txt", status, &error);
    rotating_file_close(&f);
    char *content = content_of(*state, "log.txt", &bytes);
    assert_string_equal(content, "9876543210987654321\n");
    free(content);
}

/* A run's files, fed by a stream. */
static run_stream stream;
static run_files files;

static void open_run(const char *directory, uint64_t keep_bytes) {
    scratch_expect("stream", LEVEE_OK, "", run_stream_open(&stream, &error), &error);
    scratch_expect("files", LEVEE_OK, "", run_files_open(&files, directory, RUN_FILE_MOST_BYTES, &error), &error);
    scratch_expect("metrics", LEVEE_OK, "", run_files_open_metrics(&files, directory, keep_bytes, &error), &error);
    scratch_expect("add", LEVEE_OK, "", run_files_add(&files, &stream, &error), &error);
    run_stream_begin(&stream);
}

static void close_run(void) {
    run_stream_close(&stream);
    run_files_close(&files);
}

static step_report step_number(uint64_t step) {
    step_report r = {.step = step,
                     .steps = 3000,
                     .time = 1e9 + (double)step,
                     .loss = 5.0 / (double)step,
                     .learning_rate = 1e-4,
                     .gradient_norm = 0.5,
                     .tokens_per_second = 1000 + (double)step,
                     .seconds = 0.25,
                     .validation_loss = step == 7 ? 4.5 : NAN,
                     .tokens = 250,
                     .held_bytes = 50000000 + step,
                     .peak_bytes = 60000000,
                     .predicted_bytes = 55000000,
                     .budget_bytes = 80000000,
                     .passes = 2,
                     .applied = true};
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        r.planned_bytes[c] = 1000000 + c;
        r.booked_bytes[c] = 900000 + c;
    }
    return r;
}

static sample_report sample_number(uint64_t step) {
    sample_report r = {.time = 1e9 + (double)step, .step = step};
    r.sample.meters[METER_PROCESS_ANONYMOUS] = r.sample.meters[METER_PROCESS_SHARED] =
        (reading){.known = true, .value = 1000 * step};
    r.sample.meters[METER_MACHINE_TOTAL] = (reading){.known = true, .value = 64000000000};
    r.sample.meters[METER_MACHINE_AVAILABLE] = (reading){.known = true, .value = 16000000000 - step};
    r.sample.meters[METER_GROUP_LIMIT] = (reading){.known = true, .value = UINT64_MAX};
    r.seen.found = (pressure_finding){.level = PRESSURE_ORANGE, .source = SOURCE_MACHINE, .share = 0.9};
    return r;
}

static event_report event_number(uint64_t step) {
    event_report e = {.time = 1e9 + (double)step, .step = step, .carried_out = true, .moved_bytes = 4096};
    e.decision.action = GUARD_SHRINK;
    e.decision.rule = RULE_ORANGE_SHRINK;
    e.decision.found.level = PRESSURE_ORANGE;
    return e;
}

/* A decision holds the last samples before it, the oldest first, and none that came behind it. */
static void decisions_have_their_evidence(void **state) {
    size_t bytes;
    open_run(*state, 0);
    run_stream_push_event(&stream, &(event_report){.step = 1});
    for (uint64_t step = 1; step <= 11; step++) {
        const sample_report seen = sample_number(step);
        run_stream_push_sample(&stream, &seen);
        const event_report event = event_number(step);
        if (step == 11) run_stream_push_event(&stream, &event);
    }
    const sample_report later = sample_number(12);
    run_stream_push_sample(&stream, &later);
    close_run();
    char *lines = content_of(*state, "events.jsonl", &bytes), *second = strchr(lines, '\n') + 1;
    assert_non_null(strstr(lines, "\"before\":[],"));
    assert_non_null(strstr(second, "\"action\":\"shrink\""));
    const char *at = strstr(second, "\"before\":[");
    assert_non_null(at);
    for (unsigned step = 11 - EVIDENCE_SAMPLES + 1; step <= 11; step++) {
        char expected[256];
        snprintf(expected, sizeof expected,
                 "{\"time\":%.3f,\"step\":%u,\"held_bytes\":%u,\"machine_available_bytes\":%llu,"
                 "\"stall_some_microseconds\":null,\"level\":\"orange\",\"share\":0.9}",
                 1e9 + step, step, 2000 * step, 16000000000ull - step);
        at = strstr(at, expected);
        if (!at) fail_msg("no %s", expected);
    }
    assert_null(strstr(second, "\"step\":3,"));
    assert_null(strstr(second, "\"step\":12,"));
    char *samples = content_of(*state, "samples.jsonl", &bytes);
    assert_non_null(strstr(samples, "\"step\":12,"));
    free(samples);
    free(lines);
}

/* Each line with the time that the C library gives for it; a line in pieces has one. */
static void the_log_has_every_line_and_its_time(void **state) {
    char text[1200], expected[64];
    size_t bytes;
    time_t before = time(NULL);
    open_run(*state, 0);
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = 0;
    run_stream_push_text(&stream, "one\ntwo");
    run_stream_push_text(&stream, text);
    close_run();
    time_t after = time(NULL);
    char *lines = content_of(*state, "log.txt", &bytes), *at = lines;
    for (unsigned i = 0; i < 3; i++, at = strchr(at, '\n') + 1) {
        bool right = false;
        for (time_t moment = before; moment <= after && !right; moment++) {
            struct tm parts;
            gmtime_r(&moment, &parts);
            strftime(expected, sizeof expected, "%Y-%m-%d %H:%M:%SZ ", &parts);
            right = !strncmp(at, expected, strlen(expected));
        }
        assert_true(right);
        const char *said = at + strlen(expected);
        assert_int_equal(strncmp(said, i == 0 ? "one\n" : i == 1 ? "two\n" : text, i < 2 ? 4 : sizeof text - 1), 0);
    }
    assert_int_equal(*at, 0);
    free(lines);
}

static void made_times(void **state) {
    static const double times[] = {0, 951782399, 951782400, 1709164800, 1709251199, 4102444800.0, 68169600, 1e9};
    open_run(*state, 0);
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
        assert_int_equal(stream.sinks[3].face.line(stream.sinks[3].face.self,
                                                   &(line_report){.time = times[i], .text = "x"}, &error),
                         0);
    close_run();
    size_t bytes;
    char *lines = content_of(*state, "log.txt", &bytes), *at = lines;
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++, at = strchr(at, '\n') + 1) {
        char expected[64];
        struct tm parts;
        const time_t moment = (time_t)times[i];
        gmtime_r(&moment, &parts);
        strftime(expected, sizeof expected, "%Y-%m-%d %H:%M:%SZ x\n", &parts);
        if (strncmp(at, expected, strlen(expected)) != 0) fail_msg("%.24s instead of %s", at, expected);
    }
    free(lines);
}

/* The view: what the last lines say, all losses, also when the file is cut back and grows again, and half a line is
 * none. */
static void a_view_is_what_the_files_say(void **state) {
    run_view *v = ledger_alloc(LEVEE_RUNTIME, sizeof *v);
    const char *directory = *state;
    assert_non_null(v);
    scratch_expect("no run", LEVEE_MISSING_INPUT, "no run has written", run_view_open(v, directory, &error), &error);
    directory_lock lock;
    scratch_expect("lock", LEVEE_OK, "", directory_lock_take(&lock, directory, &error), &error);
    run_directory_sign(&lock);
    open_run(directory, 0);
    for (uint64_t step = 1; step <= 2000; step++) {
        const step_report r = step_number(step);
        run_stream_push_step(&stream, &r);
        if (step % 100 == 0) scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    }
    uint64_t cut_bytes = files.steps.bytes;
    for (uint64_t step = 1; step <= 40; step++) {
        const sample_report seen = sample_number(step);
        const event_report event = event_number(step);
        run_stream_push_sample(&stream, &seen);
        run_stream_push_event(&stream, &event);
    }
    const step_report more = step_number(2001);
    run_stream_push_step(&stream, &more);
    run_stream_push_text(&stream, "said \033[31mred");
    scratch_expect("flush", LEVEE_OK, "", run_stream_flush(&stream, &error), &error);
    scratch_expect("open", LEVEE_OK, "", run_view_open(v, directory, &error), &error);
    scratch_expect("look", LEVEE_OK, "", run_view_look(v, &error), &error);
    assert_true(v->goes_on && v->pid == (int)getpid());
    assert_int_equal(v->last.step, 2001);
    assert_true(v->last.validation_loss == 4.5 && fabs(v->last.loss - 5.0 / 2001) < 1e-9);
    assert_int_equal(v->last.held_bytes, 50002001);
    assert_int_equal(v->last.booked_bytes[LEVEE_IO], 900000 + LEVEE_IO);
    uint64_t counted = 0;
    double sum = 0, expected = 0;
    for (uint32_t i = 0; i < v->losses.used; i++) {
        counted += v->losses.counts[i];
        sum += v->losses.sums[i];
    }
    for (unsigned step = 1; step <= 2001; step++) expected += 5.0 / step;
    assert_int_equal(counted, 2001);
    assert_true(fabs(sum - expected) < 1e-5);
    assert_int_equal(v->event_count, 40);
    assert_string_equal(v->events[39 % VIEW_EVENTS].action, "shrink");
    assert_int_equal(v->events[39 % VIEW_EVENTS].step, 40);
    assert_string_equal(v->sample.level, "orange");
    assert_int_equal(v->sample.held_bytes, 80000);
    assert_null(strchr(v->log[VIEW_LOG_LINES - 1], '\033'));
    assert_non_null(strstr(v->log[VIEW_LOG_LINES - 1], "said"));
    close_run();
    directory_lock_release(&lock);
    open_run(directory, cut_bytes); /* the run is gone on with, from step 2000 */
    const step_report other = step_number(2900);
    run_stream_push_step(&stream, &other);
    close_run();
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, "metrics.jsonl"));
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("{\"step\":2901,\"loss\":1", file);
    fclose(file);
    scratch_expect("look", LEVEE_OK, "", run_view_look(v, &error), &error);
    assert_false(v->goes_on);
    assert_int_equal(v->last.step, 2900);
    ledger_free(v);
}

/* The columns of a line of text without colours. */
static unsigned columns_of(const char *line) {
    unsigned columns = 0;
    for (; *line && *line != '\n'; line++) columns += ((unsigned char)*line & 0xC0) != 0x80;
    return columns;
}

/* No line is wider, and no frame higher, than was asked for, whatever the width. */
static void a_frame_fits_the_screen(void **state) {
    run_view *v = ledger_alloc(LEVEE_RUNTIME, sizeof *v);
    static char text[FRAME_BYTES];
    assert_non_null(v);
    directory_lock lock;
    scratch_expect("lock", LEVEE_OK, "", directory_lock_take(&lock, *state, &error), &error);
    directory_lock_release(&lock);
    open_run(*state, 0);
    for (uint64_t step = 1; step <= 30; step++) {
        const sample_report seen = sample_number(step);
        const event_report event = event_number(step);
        const step_report r = step_number(step);
        run_stream_push_step(&stream, &r);
        run_stream_push_sample(&stream, &seen);
        run_stream_push_event(&stream, &event);
    }
    close_run();
    scratch_expect("open", LEVEE_OK, "", run_view_open(v, *state, &error), &error);
    scratch_expect("look", LEVEE_OK, "", run_view_look(v, &error), &error);
    for (unsigned columns = FRAME_LEAST_COLUMNS; columns <= 250; columns += 7)
        for (unsigned rows = 0; rows <= 40; rows += 5) {
            const frame_look look = {.columns = columns, .rows = rows, .unicode = columns % 2};
            top_frame(text, v, NULL, &look);
            unsigned lines = 0;
            for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
                lines++;
                if (columns_of(line) > columns) fail_msg("%u columns: %s", columns, line);
            }
            assert_true(lines > 0 && (!rows || lines <= rows));
        }
    const frame_look whole = {.columns = 100};
    assert_int_equal(top_frame(text, v, NULL, &whole), 0);
    assert_non_null(strstr(text, "loss 0.1667"));
    assert_non_null(strstr(text, "machine 44.7 GiB of 59.6 GiB used"));
    assert_non_null(strstr(text, "guard orange (machine at 90 %)"));
    assert_non_null(strstr(text, "30 decisions"));
    const frame_look colours = {.columns = 100, .colour = true};
    top_frame(text, v, NULL, &colours);
    assert_non_null(strstr(text, "\033[31morange\033[0m"));
    ledger_free(v);
}

/* Only the thread that writes meets a full disk: a training goes on without its metrics, tells of it once, and a step
 * is not saved that has no line there. */
static fault fill_for_others(void *context, fault_point point) {
    (void)context;
    return point == FAULT_WRITE && !failing_is_counted() ? (fault){.failure = ENOSPC} : (fault){0};
}

typedef struct told {
    unsigned incomplete, not_saved, steps;
} told;

static void listen(void *context, const char *text) {
    told *heard = context;
    heard->incomplete += !strncmp(text, "metrics.jsonl is not complete, and training goes on: ", 53);
    heard->not_saved += strstr(text, " is not saved, and training goes on: metrics.jsonl") != NULL;
    heard->steps += !strncmp(text, "step ", 5) && strstr(text, "tokens/s");
}

static void files_that_cannot_be_written_end_no_training(void **state) {
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 2, .kv_heads = 1};
    char model[FILE_PATH_BYTES], result[FILE_PATH_BYTES];
    told heard = {0};
    assert_true(file_join(model, *state, "model") && file_join(result, *state, "run"));
    scratch_expect("init", LEVEE_OK, "", levee_init(model, &shape, 3, &error), &error);
    const char *data = scratch_text(*state, "train.jsonl", "{\"text\": \"one row\"}\n{\"text\": \"another row\"}\n");
    const char *const given[][2] = {{"model", model},          {"data", data},
                                    {"adapter_path", result},  {"iters", "6"},
                                    {"batch_size", "1"},       {"save_every", "2"},
                                    {"steps_per_report", "1"}, {"threads", "1"},
                                    {"dtype", "f32"},          {"memory", SANITIZED ? "1GiB" : "40MiB"}};
    levee_options *options = levee_options_create();
    for (unsigned i = 0; i < sizeof given / sizeof *given; i++)
        scratch_expect(given[i][0], LEVEE_OK, "", levee_options_set(options, given[i][0], given[i][1], &error),
                       &error);
    failing_count_here();
    fault_install(fill_for_others, NULL);
    levee_status status = levee_train(options, listen, &heard, &error);
    fault_install(NULL, NULL);
    levee_options_free(options);
    /* The last step has to be saved, and says why it is not. */
    scratch_expect("train", LEVEE_IO_ERROR, "metrics.jsonl|disk full", status, &error);
    assert_int_equal(heard.steps, 6);
    assert_int_equal(heard.incomplete, 1);
    assert_int_equal(heard.not_saved, 2);
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, result, "adapter_model.safetensors"));
    assert_false(file_exists(path));
}

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_rotated_at_its_bound, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_bound_holds_where_renaming_fails, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(decisions_have_their_evidence, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_log_has_every_line_and_its_time, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(made_times, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_view_is_what_the_files_say, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_frame_fits_the_screen, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(files_that_cannot_be_written_end_no_training, scratch_setup,
                                        scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
