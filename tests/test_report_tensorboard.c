/* TensorBoard's event files, read back by a decoder of the test's own: framing, checksums, and every value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "counted_allocations.h"
#include "report/tensorboard.h"
#include "scratch.h"

/* A checksum by another way than ours: long division over bits, highest first, of reflected bytes. */
static uint32_t reflect(uint32_t value, unsigned bits) {
    uint32_t turned = 0;
    for (unsigned i = 0; i < bits; i++) turned |= (value >> i & 1) << (bits - 1 - i);
    return turned;
}

static uint32_t checksum(const unsigned char *data, size_t bytes) {
    uint32_t rest = 0xffffffff;
    for (size_t i = 0; i < bytes; i++) {
        rest ^= reflect(data[i], 8) << 24;
        for (unsigned bit = 0; bit < 8; bit++) rest = rest & 0x80000000 ? rest << 1 ^ 0x1edc6f41 : rest << 1;
    }
    return reflect(~rest, 32);
}

static void knows_the_checksum(void **state) {
    (void)state;
    unsigned char zeros[32] = {0};
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(zeros, 32), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(checksum((const unsigned char *)"123456789", 9), 0xe3069283);
}

static uint64_t little(const unsigned char *at, unsigned bytes) {
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;) value = value << 8 | at[i];
    return value;
}

static uint32_t unmasked(uint32_t sum) {
    sum -= 0xa282ead8u;
    return sum >> 17 | sum << 15;
}

/* A field of a protobuf message. */
typedef struct field {
    unsigned number, type; /* 0: varint, 1: 8 bytes, 2: bytes, 5: 4 bytes */
    uint64_t value;
    const unsigned char *data; /* of type 2, `value` bytes of it */
} field;

static uint64_t varint(const unsigned char **at) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        value |= (uint64_t)(**at & 127) << shift;
        if (!(*(*at)++ & 128)) return value;
    }
}

static bool next_field(const unsigned char **at, const unsigned char *end, field *f) {
    if (*at >= end) return false;
    uint64_t key = varint(at);
    *f = (field){.number = (unsigned)(key >> 3), .type = key & 7};
    unsigned fixed = f->type == 1 ? 8 : f->type == 5 ? 4 : 0;
    if (fixed) {
        f->value = little(*at, fixed);
        *at += fixed;
    } else {
        f->value = varint(at);
    }
    if (f->type == 2) {
        f->data = *at;
        *at += f->value;
    }
    assert_true(*at <= end);
    return true;
}

/* The first field of a number within a message; a path of numbers goes into it. */
static bool find(const unsigned char *data, uint64_t bytes, const unsigned *path, field *f) {
    const unsigned char *at = data, *end = data + bytes;
    while (next_field(&at, end, f))
        if (f->number == *path) return !path[1] || find(f->data, f->value, path + 1, f);
    return false;
}
#define PATH(...) ((const unsigned[]){__VA_ARGS__, 0})

/* A file of events, a record at a time. */
typedef struct event_file {
    char *content;
    size_t bytes, at;
    const unsigned char *event;
    uint64_t event_bytes;
} event_file;

static event_file open_file(const char *path) {
    event_file f = {0};
    f.content = scratch_read(path, &f.bytes);
    return f;
}

static bool next_event(event_file *f) {
    const unsigned char *at = (const unsigned char *)f->content + f->at;
    if (f->at == f->bytes) return false;
    assert_true(f->bytes - f->at > 16);
    f->event_bytes = little(at, 8);
    f->event = at + 12;
    assert_true(f->event_bytes <= f->bytes - f->at - 16);
    assert_int_equal(unmasked((uint32_t)little(at + 8, 4)), checksum(at, 8));
    assert_int_equal(unmasked((uint32_t)little(f->event + f->event_bytes, 4)), checksum(f->event, f->event_bytes));
    f->at += f->event_bytes + 16;
    return true;
}

static uint64_t step_of(const event_file *f) {
    field step;
    return find(f->event, f->event_bytes, PATH(2), &step) ? step.value : 0;
}

static double time_of(const event_file *f) {
    field time;
    double value;
    assert_true(find(f->event, f->event_bytes, PATH(1), &time) && time.type == 1);
    memcpy(&value, &time.value, sizeof value);
    return value;
}

/* The value of a tag; false when the event has none. */
static bool value_of(const event_file *f, const char *tag, field *value) {
    field summary, name;
    if (!find(f->event, f->event_bytes, PATH(5), &summary)) return false;
    const unsigned char *at = summary.data, *end = at + summary.value;
    while (next_field(&at, end, value))
        if (value->number == 1 && find(value->data, value->value, PATH(1), &name) && name.value == strlen(tag) &&
            !memcmp(name.data, tag, name.value))
            return true;
    return false;
}

static bool has(const event_file *f, const char *tag) {
    field value;
    return value_of(f, tag, &value);
}

static void assert_number(const event_file *f, const char *tag, double expected) {
    field value, number;
    float found = NAN;
    if (!value_of(f, tag, &value) || !find(value.data, value.value, PATH(2), &number) || number.type != 5)
        fail_msg("%s is missing", tag);
    uint32_t bits = (uint32_t)number.value;
    memcpy(&found, &bits, sizeof found);
    if (found != (float)expected && !(isnan(found) && isnan(expected)))
        fail_msg("%s is %g instead of %g", tag, (double)found, expected);
}

static step_report report_of(uint64_t step) {
    step_report r = {.time = 1.7e9 + 0.25 * (double)step,
                     .step = step,
                     .loss = 2.0 + 1.0 / (double)step,
                     .learning_rate = 1e-4,
                     .gradient_norm = 0.75,
                     .tokens_per_second = 1234.5,
                     .seconds = 0.5,
                     .validation_loss = NAN,
                     .held_bytes = (50ull << 20) + step,
                     .peak_bytes = 51ull << 20,
                     .budget_bytes = UINT64_C(5) << 30,
                     .plan_level = 2};
    r.planned_bytes[LEVEE_ACTIVATIONS] = 40ull << 20;
    r.planned_bytes[LEVEE_RUNTIME] = 9ull << 20;
    r.booked_bytes[LEVEE_ACTIVATIONS] = 39ull << 20;
    r.booked_bytes[LEVEE_DATA] = 1 << 10;
    return r;
}

static void open_board(tensorboard *t, const char *directory, uint64_t next_step) {
    levee_error error = {0};
    scratch_expect("open", LEVEE_OK, "", tensorboard_open(t, directory, next_step, &error), &error);
}

static void write_step(tensorboard *t, const step_report *r) {
    levee_error error = {0};
    scratch_expect("step", LEVEE_OK, "", tensorboard_step(t, r, &error), &error);
}

/* How a file begins: what it is, and that nothing counts that older ones have of this step and later ones. */
static void assert_begins(event_file *f, uint64_t step) {
    field version, status;
    assert_true(next_event(f));
    assert_true(find(f->event, f->event_bytes, PATH(3), &version));
    assert_int_equal(version.value, 13);
    assert_memory_equal(version.data, "brain.Event:2", 13);
    assert_true(next_event(f));
    assert_int_equal(step_of(f), step);
    assert_true(find(f->event, f->event_bytes, PATH(7, 1), &status));
    assert_int_equal(status.value, 1);
}

static void assert_step(const event_file *f, const step_report *r) {
    assert_int_equal(step_of(f), r->step);
    assert_true(time_of(f) == r->time);
    const struct {
        const char *tag;
        double expected;
    } numbers[] = {{"loss/train", r->loss},
                   {"training/learning_rate", r->learning_rate},
                   {"training/gradient_norm", r->gradient_norm},
                   {"training/plan_level", r->plan_level},
                   {"speed/tokens_per_second", r->tokens_per_second},
                   {"speed/seconds_per_step", r->seconds},
                   {"memory_MiB/peak", 51},
                   {"memory_MiB/planned", 49},
                   {"memory_MiB/budget", 5120},
                   {"memory_booked_MiB/activations", 39},
                   {"memory_booked_MiB/runtime", 0},
                   {"memory_booked_MiB/data", 0x1p-10}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_number(f, numbers[i].tag, numbers[i].expected);
    assert_false(has(f, "memory_booked_MiB/optimizer")); /* nothing is planned for it */
}

static void writes_what_the_report_says(void **state) {
    tensorboard t;
    char directory[FILE_PATH_BYTES];
    assert_true(file_join(directory, *state, "run/tensorboard"));
    open_board(&t, directory, 1);
    step_report first = report_of(1), second = report_of(2);
    second.validation_loss = 2.25;
    second.loss = NAN;
    second.held_bytes = LEVEE_UNKNOWN_BYTES;
    unsigned long long before = atomic_load(&allocations);
    write_step(&t, &first);
    write_step(&t, &second);
    unsigned long long taken = atomic_load(&allocations) - before;
    assert_int_equal(tensorboard_sync(&t, NULL), LEVEE_OK);
    if (!SANITIZED) assert_int_equal(taken, 0);
    tensorboard_close(&t);
    tensorboard_close(&t);
    event_file f = open_file(t.path);
    assert_int_equal(f.bytes, t.bytes);
    assert_begins(&f, 1);
    assert_true(next_event(&f));
    assert_step(&f, &first);
    assert_number(&f, "memory_MiB/held", (double)first.held_bytes / 0x1p20);
    assert_false(has(&f, "loss/validation"));
    assert_true(next_event(&f));
    assert_step(&f, &second);
    assert_number(&f, "loss/validation", 2.25);
    assert_false(has(&f, "memory_MiB/held")); /* what is unknown is not zero */
    assert_false(next_event(&f));
    free(f.content);
}

/* A run that goes on begins a file behind the one that is there, and says from which step on. */
static void purges_what_comes_again(void **state) {
    tensorboard first, second;
    open_board(&first, *state, 1);
    open_board(&second, *state, 7);
    assert_string_not_equal(first.path, second.path);
    assert_true(strcmp(first.path, second.path) < 0);
    event_file f = open_file(second.path);
    assert_begins(&f, 7);
    assert_false(next_event(&f));
    free(f.content);
    tensorboard_close(&first);
    tensorboard_close(&second);
}

static void tells_what_the_guard_did(void **state) {
    tensorboard t;
    levee_error error = {0};
    char line[GUARD_LINE_BYTES];
    event_report e = {.time = 1.7e9, .step = 9, .carried_out = true};
    e.decision = (guard_decision){.action = GUARD_SHRINK, .rule = RULE_RED_SHRINK};
    sample_report seen = {.time = 1.7e9, .step = 9, .leak_known = true, .leak = {.bytes = 4096}};
    guard_decision_line(line, &e.decision);
    open_board(&t, *state, 1);
    t.due = true; /* the step before was written */
    assert_int_equal(tensorboard_event(&t, &e, &error), LEVEE_OK);
    assert_int_equal(tensorboard_sample(&t, &seen, &error), LEVEE_OK);
    seen.leak_known = false;
    assert_int_equal(tensorboard_sample(&t, &seen, &error), LEVEE_OK); /* says nothing */
    tensorboard_close(&t);
    event_file f = open_file(t.path);
    field value, part;
    assert_begins(&f, 1);
    assert_true(next_event(&f));
    assert_int_equal(step_of(&f), 9);
    assert_true(value_of(&f, "guard/done", &value));
    assert_true(find(value.data, value.value, PATH(8, 1), &part));
    assert_int_equal(part.value, 7);
    assert_true(find(value.data, value.value, PATH(8, 8), &part));
    assert_int_equal(part.value, strlen(line));
    assert_memory_equal(part.data, line, strlen(line));
    assert_true(find(value.data, value.value, PATH(9, 1, 1), &part));
    assert_memory_equal(part.data, "text", 4);
    assert_true(next_event(&f));
    assert_number(&f, "guard/growth_bytes_per_step", 4096);
    assert_false(next_event(&f));
    free(f.content);
}

/* A program that is watched tells of no steps. */
static void shows_memory_by_samples(void **state) {
    tensorboard t;
    sample_report seen = {.time = 1.7e9, .step = 3};
    seen.seen.found.share = 0.5;
    seen.sample.meters[METER_PROCESS_ANONYMOUS] = seen.sample.meters[METER_PROCESS_SHARED] =
        (reading){.known = true, .value = 5 << 20};
    open_board(&t, *state, 0);
    t.by_samples = true;
    assert_int_equal(tensorboard_sample(&t, &seen, NULL), LEVEE_OK);
    for (unsigned i = 1; i <= TENSORBOARD_EVERY; i++) assert_int_equal(tensorboard_sample(&t, &seen, NULL), LEVEE_OK);
    assert_int_equal(t.stride, 2);
    tensorboard_close(&t);
    event_file f = open_file(t.path);
    assert_begins(&f, 0);
    assert_true(next_event(&f));
    assert_int_equal(step_of(&f), 3);
    assert_number(&f, "memory_MiB/held", 10);
    assert_number(&f, "guard/pressure_share", 0.5);
    assert_false(has(&f, "machine_MiB/available")); /* it is not known */
    free(f.content);
}

/* Each of the first steps, then ever fewer; but no validation is left out. */
static void thins_out_a_long_run(void **state) {
    enum { STEPS = 5 * TENSORBOARD_EVERY };
    tensorboard t;
    open_board(&t, *state, 1);
    for (uint64_t step = 1; step <= STEPS; step++) {
        step_report r = report_of(step);
        if (step % 10001 == 0) r.validation_loss = 1;
        write_step(&t, &r);
    }
    tensorboard_close(&t);
    event_file f = open_file(t.path);
    uint64_t steps = 0, validations = 0, last = 0;
    assert_begins(&f, 1);
    while (next_event(&f)) {
        uint64_t step = step_of(&f), stride = step <= TENSORBOARD_EVERY ? 1 : step <= 3 * TENSORBOARD_EVERY ? 2 : 4;
        assert_true(f.event_bytes + 16 <= TENSORBOARD_STEP_BYTES);
        validations += has(&f, "loss/validation");
        if (!has(&f, "loss/train")) continue;
        assert_int_equal(step, last + stride);
        last = step;
        steps++;
    }
    free(f.content);
    assert_int_equal(steps, TENSORBOARD_EVERY * 5 / 2);
    assert_int_equal(validations, STEPS / 10001);
}

/* All categories, and every number as long as it gets. */
static void stays_within_what_it_promises(void **state) {
    tensorboard t;
    step_report r = report_of(INT64_MAX);
    r.validation_loss = 1e-300;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) r.booked_bytes[c] = r.planned_bytes[c] = UINT64_MAX - 1;
    open_board(&t, *state, 1);
    uint64_t before = t.bytes;
    write_step(&t, &r);
    assert_in_range(t.bytes - before, 300, TENSORBOARD_STEP_BYTES);
    tensorboard_close(&t);
}

static void says_where_it_cannot_write(void **state) {
    tensorboard t;
    levee_error error = {0};
    const char *file = scratch_text(*state, "a_file", "");
    scratch_expect("a file", LEVEE_IO_ERROR, "a_file", tensorboard_open(&t, file, 1, &error), &error);
    assert_false(t.open);
    scratch_expect("no directory", LEVEE_IO_ERROR, "/proc/nowhere", tensorboard_open(&t, "/proc/nowhere", 1, &error),
                   &error);
    step_report r = report_of(1);
    open_board(&t, *state, 1);
    tensorboard_close(&t); /* as a disk that is gone */
    uint64_t bytes = t.bytes;
    scratch_expect("gone", LEVEE_IO_ERROR, "tfevents", tensorboard_step(&t, &r, &error), &error);
    assert_int_equal(t.bytes, bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_checksum),
        cmocka_unit_test_setup_teardown(writes_what_the_report_says, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(purges_what_comes_again, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(tells_what_the_guard_did, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(shows_memory_by_samples, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(thins_out_a_long_run, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(stays_within_what_it_promises, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(says_where_it_cannot_write, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
