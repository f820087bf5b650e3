/* JSON files: places in messages, checked fields, refused memory; values of large files
 * one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "memory/json.h"
#include "memory/json_walk.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"

static void names_the_place(void **state) {
    const struct {
        const char *text, *words;
    } cases[] = {
        {"", "f.json: line 1, column 0"},
        {"{\n  \"a\": 1,\n  \"b\": }\n", "f.json: line 3, column "},
        {"{\"a\": 1, \"a\": 2}", "f.json: line 1|duplicate"},
        {"[1]", "f.json|an object { ... } is needed"},
        {"{\"a\": 1} trailing", "f.json: line 1|end of file"},
        {"{\"a\": \"\xff\"}", "f.json: line 1"},
        {"{\"a\": \"two\nlines\"}", "f.json: line"},
        {"{\"a\": 99999999999999999999}", "f.json: line 1|integer"},
        {"{\"a\": NaN}", "f.json: line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *object;
        levee_error error;
        const char *path = scratch_text(*state, "f.json", cases[i].text);
        scratch_expect(cases[i].text, LEVEE_BAD_DATA, cases[i].words, json_object_read(&object, path, 1000, &error),
                       &error);
        assert_null(object);
    }
}

static void large_numbers_are_reals_where_asked(void **state) {
    json_t *object;
    const char *path = scratch_text(*state, "f.json", "{\"a\": 1000000000000000019884624838656, \"b\": \"text\"}");
    assert_int_equal(json_object_read_reals(&object, path, 1000, NULL), LEVEE_OK);
    assert_true(json_real_value(json_object_get(object, "a")) == 1e30);
    assert_string_equal(json_string_value(json_object_get(object, "b")), "text");
    json_decref(object);
}

static void bounds_depth_and_size(void **state) {
    enum { DEEP = 200000 };
    char *text = malloc(DEEP + 6);
    assert_non_null(text);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEEP);
    text[DEEP + 5] = 0;
    json_t *object;
    levee_error error;
    const char *path = scratch_text(*state, "deep.json", text);
    free(text);
    scratch_expect("deep", LEVEE_BAD_DATA, "deep.json", json_object_read(&object, path, 1 << 20, &error), &error);
    scratch_expect("large", LEVEE_BAD_DATA, "deep.json|at most 1000", json_object_read(&object, path, 1000, &error),
                   &error);
    scratch_expect("missing", LEVEE_MISSING_INPUT, "none.json",
                   json_object_read(&object, "/nowhere/none.json", 1000, &error), &error);
}

static void reads_checked_fields(void **state) {
    (void)state;
    static const char text[] =
        "{\"whole\": 7, \"real\": 2.5, \"negative\": -1, \"zero\": 0, \"text\": \"word\", \"yes\": true,"
        " \"nothing\": null}";
    json_t *object;
    assert_int_equal(json_object_parse(&object, "t.json", text, strlen(text), NULL), LEVEE_OK);
    json_reader r = {.path = "t.json", .object = object};
    assert_int_equal(json_read_whole(&r, "whole", 0, 7, -1), 7);
    assert_int_equal(json_read_whole(&r, "absent", 0, 9, 5), 5);
    assert_int_equal(json_read_whole(&r, "nothing", 0, 9, 5), 5);
    assert_true(json_read_positive(&r, "real", NAN) == 2.5);
    assert_true(json_read_positive(&r, "whole", NAN) == 7);
    assert_true(json_read_positive(&r, "absent", 3) == 3);
    assert_true(json_read_flag(&r, "yes", false));
    assert_true(json_read_flag(&r, "absent", true));
    assert_string_equal(json_read_text(&r, "text", ""), "word");
    assert_null(json_read_text(&r, "absent", NULL));
    assert_int_equal(r.status, LEVEE_OK);

    enum kind { WHOLE, POSITIVE, FLAG, TEXT };
    const struct {
        enum kind kind;
        const char *key, *words;
    } cases[] = {
        {WHOLE, "absent", "t.json: absent: a whole number from 1 to 6"},
        {WHOLE, "whole", "t.json: whole: a whole number from 1 to 6"},
        {WHOLE, "negative", "negative"},
        {WHOLE, "real", "real: a whole number"},
        {WHOLE, "text", "text: a whole number"},
        {POSITIVE, "absent", "absent: a number above 0"},
        {POSITIVE, "zero", "zero: a number above 0"},
        {POSITIVE, "text", "text: a number above 0"},
        {FLAG, "whole", "whole: true or false"},
        {TEXT, "yes", "yes: a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        levee_error error;
        json_reader bad = {.path = "t.json", .object = object, .error = &error};
        if (cases[i].kind == WHOLE) json_read_whole(&bad, cases[i].key, 1, 6, -1);
        if (cases[i].kind == POSITIVE) json_read_positive(&bad, cases[i].key, NAN);
        if (cases[i].kind == FLAG) json_read_flag(&bad, cases[i].key, false);
        if (cases[i].kind == TEXT) json_read_text(&bad, cases[i].key, NULL);
        scratch_expect(cases[i].key, LEVEE_BAD_DATA, cases[i].words, bad.status, &error);
        json_refuse(&bad, "later", "is not heard");
        scratch_expect(cases[i].key, LEVEE_BAD_DATA, cases[i].words, bad.status, &error);
    }
    levee_error error;
    json_reader nested = {.path = "t.json", .section = "part", .object = object, .error = &error};
    json_refuse(&nested, "key", "is %d", 3);
    scratch_expect("nested", LEVEE_BAD_DATA, "t.json: part.key: is 3", nested.status, &error);
    json_decref(object);
}

static void writes_what_it_reads(void **state) {
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "out.json");
    json_t *object = json_pack("{s:i, s:[s]}", "one", 1, "list", "word"), *again;
    assert_int_equal(json_object_write(object, path, NULL), LEVEE_OK);
    assert_int_equal(json_object_read(&again, path, 1000, NULL), LEVEE_OK);
    assert_true(json_equal(object, again));
    json_decref(object);
    json_decref(again);
}

/* The budget is asked before the library, which cannot be refused. */
static void keeps_the_budget(void **state) {
    static const char text[] = "{\"a\": [1, 2, {\"b\": \"text\"}], \"c\": {\"d\": null}, \"e\": 1.5}";
    const char *path = scratch_text(*state, "m.json", text);
    uint64_t needed = json_parse_bytes(text, sizeof text - 1);
    json_t *object;
    levee_error error;
    ledger_set_budget(needed - 1);
    scratch_expect("refused", LEVEE_DOES_NOT_FIT, "m.json", json_object_read(&object, path, 1000, &error), &error);
    assert_null(object);
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    ledger_set_budget(needed);
    scratch_expect("fits", LEVEE_OK, "", json_object_read(&object, path, 1000, &error), &error);
    json_decref(object);
}

/* What a parse takes out of a pool, all that it frees included, stays below the bound, for texts made to take much.
 */
static void bounds_what_parsing_takes(void **state) {
    (void)state;
    static const char *const units[] = {
        "{},",
        "[],",
        "0,",
        "\"\",",
        "{\"\":{\"\":[]}},",
        "\"\\u00e9\",",
        "1.5e300,",
        "\"a long string that has to be collected, copied and kept, again and again\","};
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        enum { COUNT = 3000 };
        size_t length = strlen(units[u]);
        char *text = malloc(length * COUNT + 2);
        assert_non_null(text);
        text[0] = '[';
        for (size_t i = 0; i < COUNT; i++) memcpy(text + 1 + i * length, units[u], length);
        text[length * COUNT] = ']'; /* in place of the last comma */
        json_span span = {text, length * COUNT + 1};
        uint64_t bound = json_parse_bytes(span.text, span.bytes);
        pool p = {0};
        assert_int_equal(pool_reserve(&p, bound, NULL), LEVEE_OK);
        uint64_t allocations = ledger_allocation_count();
        bool refused;
        const json_t *parsed = json_span_parse(span, &p, &refused);
        assert_int_equal(json_array_size(parsed), COUNT);
        assert_true(p.used > length * COUNT && p.used <= bound);
        assert_int_equal(ledger_allocation_count(), allocations);
        pool_close(&p);
        free(text);
    }
}

/* The library drops what it has no memory for, without a word; if that is a closing quote, it writes past its buffer,
 * which for a text of 14 bytes is the case. */
static void a_refused_library_is_not_believed(void **state) {
    (void)state;
    enum { LONGEST = 70 };
    levee_error error;
    for (int length = 1; length <= LONGEST; length++) {
        char text[2 * LONGEST + 64];
        int bytes = snprintf(text, sizeof text, "{\"%.*s\": [1, null, \"%0*d\"]}", length / 2 + 1,
                             "a key of many characters that the buffer grows for", length, 0);
        json_t *whole, *parsed;
        failing f = {.first = FAULT_LIBRARY, .last = FAULT_LIBRARY};
        failing_start(&f);
        assert_int_equal(json_object_parse(&whole, "text", text, (uint64_t)bytes, &error), LEVEE_OK);
        failing_stop();
        uint64_t calls = f.calls;
        assert_true(calls > 8);
        f.what.failure = ENOMEM;
        for (int persistent = 0; persistent < 2; persistent++)
            for (f.from = 0; f.from < calls; f.from++) {
                f.to = persistent ? UINT64_MAX : f.from + 1;
                failing_start(&f);
                levee_status status = json_object_parse(&parsed, "text", text, (uint64_t)bytes, &error);
                failing_stop();
                scratch_expect("refused", LEVEE_DOES_NOT_FIT, "text", status, &error);
                assert_null(parsed);
            }
        /* The spare memory may be refused too. */
        failing spare = {.first = FAULT_RESERVE, .last = FAULT_COMMIT, .what = {.failure = ENOMEM}};
        for (spare.from = 0; spare.from < 2; spare.from++) {
            spare.to = spare.from + 1;
            failing_start(&spare);
            levee_status status = json_object_parse(&parsed, "text", text, (uint64_t)bytes, &error);
            failing_stop();
            scratch_expect("no spare", LEVEE_DOES_NOT_FIT, "text", status, &error);
        }
        assert_int_equal(json_object_parse(&parsed, "text", text, (uint64_t)bytes, &error), LEVEE_OK);
        assert_true(json_equal(parsed, whole));
        json_decref(parsed);
        json_decref(whole);
    }
}

/* Nor is a file written that lacks something. */
static void a_refused_library_writes_nothing(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    assert_true(file_join(path, *state, "written.json"));
    failing f = {.first = FAULT_LIBRARY, .last = FAULT_LIBRARY};
    uint64_t calls = 1;
    for (f.from = 0; f.from < calls; f.from++) {
        f.to = f.from + 1;
        f.what.failure = f.from ? ENOMEM : 0;
        failing_start(&f);
        json_t *object = json_object();
        json_object_set_new(object, "first", json_string("a"));
        json_object_set_new(object, "second", json_pack("[i, s]", 1, "b"));
        levee_status status = json_object_write(object, path, &error);
        failing_stop();
        json_decref(object);
        if (!f.from) calls = f.calls;
        scratch_expect("write", f.from ? LEVEE_DOES_NOT_FIT : LEVEE_OK, f.from ? "written.json" : "", status, &error);
    }
    assert_true(calls > 8);
    size_t bytes;
    char *content = scratch_read(path, &bytes);
    assert_non_null(strstr(content, "\"first\": \"a\""));
    assert_non_null(strstr(content, "\"b\""));
    free(content);
}

/* What does not fit a pool comes from the heap, and goes back with it. */
static void pool_overflows_to_the_heap(void **state) {
    (void)state;
    unsigned char memory[64];
    pool p = {.memory = memory, .capacity = sizeof memory};
    json_span span = {"{\"key\": [1, 2, 3]}", 18};
    for (unsigned round = 0; round < 2; round++) {
        bool refused;
        const json_t *parsed = json_span_parse(span, &p, &refused);
        assert_false(refused);
        assert_int_equal(json_integer_value(json_array_get(json_object_get(parsed, "key"), 2)), 3);
        assert_true(ledger_booked(LEVEE_RUNTIME) > 0);
    }
    pool_empty(&p);
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
}

static void assert_span(json_span span, const char *expected) {
    assert_int_equal(span.bytes, strlen(expected));
    if (span.bytes) assert_memory_equal(span.text, expected, span.bytes);
}

static json_walk walk_of(const char *text) {
    json_walk walk;
    assert_true(json_walk_open(&walk, (json_span){text, strlen(text)}));
    return walk;
}

static void walks_over_values(void **state) {
    (void)state;
    json_span key, value;
    json_walk walk = walk_of(" { \"a\" : 1 ,\"b\\\"}\":[{\"x\":\"]\"}, 2] , \"c\":\"\\\\\"}tail");
    static const char *const members[][2] = {
        {"\"a\"", "1"}, {"\"b\\\"}\"", "[{\"x\":\"]\"}, 2]"}, {"\"c\"", "\"\\\\\""}};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(json_walk_next(&walk, &key, &value));
        assert_span(key, members[i][0]);
        assert_span(value, members[i][1]);
    }
    assert_false(json_walk_next(&walk, &key, &value) || walk.failed);
    assert_string_equal(walk.all.text + walk.at, "}tail");
    walk = walk_of("[1,true,[],\"s\"]");
    for (unsigned i = 0; i < 4; i++) assert_true(json_walk_next(&walk, &key, &value) && !key.text);
    assert_false(json_walk_next(&walk, &key, &value) || walk.failed);
    assert_false(json_walk_open(&walk, (json_span){"7", 1}));
    assert_false(json_walk_open(&walk, (json_span){"", 0}));
}

static void walk_stops_at_what_is_not_json(void **state) {
    (void)state;
    static const char *const texts[] = {"[1",
                                        "[1,",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "{\"a\":}",
                                        "{\"a\" 1}",
                                        "{a:1}",
                                        "{\"a\":1,}",
                                        "{\"a\":1 \"b\":2}",
                                        "[\"open]",
                                        "[\"\\",
                                        "[[1]",
                                        "{\"a\":1]",
                                        "[1}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_span key, value;
        json_walk walk = walk_of(texts[i]);
        while (json_walk_next(&walk, &key, &value)) {
        }
        if (!walk.failed) fail_msg("%s was taken for JSON", texts[i]);
        assert_false(json_walk_next(&walk, &key, &value));
        assert_true(walk.at <= walk.all.bytes);
    }
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(names_the_place),
        SCRATCH_TEST(large_numbers_are_reals_where_asked),
        SCRATCH_TEST(bounds_depth_and_size),
        SCRATCH_TEST(reads_checked_fields),
        SCRATCH_TEST(writes_what_it_reads),
        SCRATCH_TEST(keeps_the_budget),
        SCRATCH_TEST(bounds_what_parsing_takes),
        SCRATCH_TEST(a_refused_library_is_not_believed),
        SCRATCH_TEST(a_refused_library_writes_nothing),
        SCRATCH_TEST(pool_overflows_to_the_heap),
        SCRATCH_TEST(walks_over_values),
        SCRATCH_TEST(walk_stops_at_what_is_not_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
