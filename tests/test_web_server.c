/* The page over a socket: what it shows is what metrics.jsonl has, what it refuses, and that nobody can hold it up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_client.h"
#include "memory/ledger.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "report/events.h"
#include "report/metrics.h"
#include "sanitized.h"
#include "scratch.h"
#include "web/web.h"

#define TOKEN  "abcdefghijklmnop-0123"
#define HOST   "Host: localhost\r\n"
#define BEARER "Authorization: Bearer " TOKEN "\r\n"

typedef struct fixture {
    board *shown;
    web *page;
    sink to;
    unsigned port;
    atomic_uint orders[4];
} fixture;

static fixture f;
static http_answer got;

static void take_order(void *context, web_order order) {
    (void)context;
    atomic_fetch_add(&f.orders[order], 1);
}

static void open_page(const char *address, double patience_seconds, bool takes_orders) {
    levee_error error;
    memset(&f, 0, sizeof f);
    scratch_expect("board", LEVEE_OK, "", board_open(&f.shown, &error), &error);
    const web_options options = {.address = address,
                                 .token = TOKEN,
                                 .shown = f.shown,
                                 .order = takes_orders ? take_order : NULL,
                                 .patience_seconds = patience_seconds,
                                 .update_seconds = 0.02};
    scratch_expect("page", LEVEE_OK, "", web_open(&f.page, &options, &error), &error);
    f.to = board_sink(f.shown);
    f.port = (unsigned)strtoul(strrchr(web_url(f.page), ':') + 1, NULL, 10);
}

static void close_page(void) {
    board_set_state(f.shown, BOARD_ENDED);
    web_close(f.page);
    board_close(f.shown);
}

static step_report step(uint64_t n) {
    step_report r = {.time = 1.7e9 + (double)n / 3,
                     .step = n,
                     .steps = 50,
                     .loss = 3.0 / (double)n + 0.1234567891,
                     .learning_rate = 1e-5 * (double)n,
                     .gradient_norm = n == 3 ? INFINITY : 0.7 * (double)n,
                     .tokens_per_second = 1234.5678 / (double)n,
                     .seconds = 0.01 * (double)n,
                     .validation_loss = n % 2 ? NAN : 2.0 / (double)n,
                     .tokens = 100 + n,
                     .trained_tokens = (1ull << 40) + n,
                     .held_bytes = n == 4 ? LEVEE_UNKNOWN_BYTES : (1ull << 33) + n,
                     .peak_bytes = (1ull << 34) + n,
                     .predicted_bytes = 5000 + n,
                     .budget_bytes = (3ull << 33) + n,
                     .passes = 2,
                     .repeated = 1,
                     .plan_level = (uint32_t)(n % 3),
                     .applied = n != 3};
    if (n == 3) r.loss = NAN;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        r.planned_bytes[c] = 1000 * n + c;
        r.booked_bytes[c] = (1ull << 53) / (n + c + 1);
    }
    return r;
}

static sample_report sample(uint64_t n) {
    sample_report s = {.time = 1.7e9 + (double)n,
                       .step = n,
                       .leak_known = n % 2,
                       .leak = {1234.5 * (double)n, 1000, 2000 * (double)n}};
    s.seen.leak = n % 2 ? LEAK_SUSPECTED : LEAK_NONE;
    s.seen.leak_steps = n % 2 ? 1000 * (double)n : INFINITY;
    s.seen.found = (pressure_finding){PRESSURE_YELLOW, SOURCE_MACHINE, 0.87654321, 1e9};
    s.seen.held = PRESSURE_ORANGE;
    s.seen.breaker = BREAKER_OPEN;
    for (unsigned m = 0; m < METER_COUNT; m++)
        s.sample.meters[m] = (reading){m != METER_DEVICE_USED, (1ull << 40) * n + m};
    s.sample.meters[METER_GROUP_LIMIT].value = UINT64_MAX;
    return s;
}

static json_t *ask_json(const char *path) {
    http_ask(f.port, "GET", path, HOST, &got);
    assert_int_equal(got.status, 200);
    json_t *tree = json_loads(got.body, JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(tree);
    return tree;
}

/* The value of a metric in the last answer, by its whole name with labels; false when there is none. */
static bool metric(const char *name, double *value) {
    char line[256];
    snprintf(line, sizeof line, "\nlevee_%s ", name);
    const char *found = strstr(got.body, line);
    if (!found) return false;
    *value = strtod(found + strlen(line), NULL);
    return true;
}

/* A metric is the number of a line, or is not there or NaN where the line has null. */
static void assert_metric(const char *name, const json_t *expected, double factor) {
    double value = NAN;
    bool is_there = metric(name, &value);
    if (!json_is_number(expected)) {
        if (is_there && !isnan(value) && !isinf(value)) fail_msg("%s is %g instead of unknown", name, value);
        return;
    }
    /* In seconds what the line has in microseconds, both exact to six places. */
    if (!is_there || fabs(value - factor * json_number_value(expected)) > (factor < 1 ? 1e-9 * value : 0))
        fail_msg("%s is %.17g instead of %.17g", name, value, factor * json_number_value(expected));
}

static void compare_step_metrics(const json_t *line) {
    static const struct {
        const char *key, *name;
    } pairs[] = {{"step", "steps_total"},
                 {"loss", "loss"},
                 {"learning_rate", "learning_rate"},
                 {"grad_norm", "gradient_norm"},
                 {"tokens", "step_tokens"},
                 {"trained_tokens", "trained_tokens_total"},
                 {"tokens_per_second", "tokens_per_second"},
                 {"seconds", "step_duration_seconds"},
                 {"passes", "step_passes"},
                 {"repeated_passes", "step_repeated_passes"},
                 {"plan_level", "plan_level"},
                 {"held_bytes", "memory_held_bytes"},
                 {"peak_bytes", "memory_peak_bytes"},
                 {"predicted_bytes", "memory_predicted_bytes"},
                 {"budget_bytes", "memory_budget_bytes"},
                 {"time", "last_step_time_seconds"}};
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_metric(pairs[i].name, json_object_get(line, pairs[i].key), 1);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        const char *category = levee_category_name((levee_category)c);
        char booked[128], planned[128];
        snprintf(booked, sizeof booked, "memory_bytes{category=\"%s\"}", category);
        snprintf(planned, sizeof planned, "memory_planned_bytes{category=\"%s\"}", category);
        assert_metric(booked, json_object_get(json_object_get(line, "booked_bytes"), category), 1);
        assert_metric(planned, json_object_get(json_object_get(line, "planned_bytes"), category), 1);
    }
}

static void compare_meters(const json_t *line, const sample_report *seen) {
    static const struct {
        const char *key, *name;
        double factor;
    } pairs[] = {{"process_anonymous_bytes", "process_memory_bytes{kind=\"anonymous\"}", 1},
                 {"process_shared_bytes", "process_memory_bytes{kind=\"shared\"}", 1},
                 {"process_file_bytes", "process_memory_bytes{kind=\"file\"}", 1},
                 {"process_swapped_bytes", "process_memory_bytes{kind=\"swapped\"}", 1},
                 {"booked_bytes", "booked_bytes", 1},
                 {"machine_total_bytes", "machine_memory_total_bytes", 1},
                 {"machine_available_bytes", "machine_memory_available_bytes", 1},
                 {"swap_total_bytes", "machine_swap_total_bytes", 1},
                 {"swap_free_bytes", "machine_swap_free_bytes", 1},
                 {"stall_some_microseconds", "memory_stall_seconds_total{scope=\"some\"}", 1e-6},
                 {"stall_full_microseconds", "memory_stall_seconds_total{scope=\"full\"}", 1e-6},
                 {"file_refaults", "file_refaults_total", 1},
                 {"major_faults", "major_faults_total", 1},
                 {"group_headroom_bytes", "group_memory_headroom_bytes", 1},
                 {"group_limit_hits", "group_limit_hits_total", 1},
                 {"group_high_hits", "group_high_hits_total", 1},
                 {"group_kills", "group_kills_total", 1},
                 {"device_total_bytes", "device_memory_total_bytes", 1},
                 {"device_used_bytes", "device_memory_used_bytes", 1},
                 {"device_process_bytes", "device_memory_process_bytes", 1}};
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_metric(pairs[i].name, json_object_get(json_object_get(line, "meters"), pairs[i].key), pairs[i].factor);
    double value;
    assert_true(metric("group_memory_limit_bytes", &value) && isinf(value)); /* no limit */
    assert_metric("pressure_share{source=\"machine\"}", json_object_get(line, "share"), 1);
    assert_metric("leak_steps_left", json_object_get(line, "leak_steps_left"), 1);
    assert_true(metric("pressure_level", &value) && value == PRESSURE_YELLOW);
    assert_true(metric("pressure_held_level", &value) && value == PRESSURE_ORANGE);
    assert_true(metric("breaker_position{position=\"open\"}", &value) && value == 1);
    assert_true(metric("breaker_position{position=\"closed\"}", &value) && value == 0);
    assert_true(metric("leak_verdict", &value) && value == seen->seen.leak);
    assert_int_equal(metric("leak_bytes_per_step", &value), seen->leak_known);
    if (seen->leak_known) assert_true(value == seen->leak.bytes);
}

/* The last point of the history is one step, so each of its values is the line's. */
static void compare_point(const json_t *history, const json_t *line) {
    static const char *const keys[] = {"loss",      "val_loss",          "learning_rate",
                                       "grad_norm", "tokens_per_second", "held_bytes"};
    const json_t *columns = json_object_get(history, "columns"), *points = json_object_get(history, "points");
    const json_t *point = json_array_get(points, json_array_size(points) - 1);
    assert_int_equal(json_array_size(columns), json_array_size(point));
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *column = json_string_value(json_array_get(columns, i));
        const json_t *value = json_array_get(point, i);
        for (unsigned k = 0; k < sizeof keys / sizeof *keys; k++) {
            size_t length = strlen(keys[k]);
            if (strncmp(column, keys[k], length) ||
                (column[length] && strcmp(column + length, "_least") && strcmp(column + length, "_largest")))
                continue;
            const json_t *expected = json_object_get(line, keys[k]);
            if (json_is_null(expected) ? !json_is_null(value)
                                       : json_number_value(value) != json_number_value(expected))
                fail_msg("%s", column);
        }
        if (!strncmp(column, "booked_", 7))
            assert_int_equal(json_number_value(value),
                             json_number_value(json_object_get(json_object_get(line, "booked_bytes"), column + 7)));
    }
}

static void shows_what_metrics_jsonl_has(void **state) {
    char path[FILE_PATH_BYTES], text[EVENT_LINE_BYTES];
    levee_error error;
    metrics log = {.descriptor = -1};
    assert_true(file_join(path, *state, "metrics.jsonl"));
    scratch_expect("metrics", LEVEE_OK, "", metrics_open(&log, path, 0, &error), &error);
    open_page("127.0.0.1:0", 0, true);
    uint64_t begin = 0;
    for (uint64_t n = 1; n <= 6; n++) {
        step_report r = step(n);
        sample_report s = sample(n);
        assert_int_equal(f.to.step(f.to.self, &r, NULL), LEVEE_OK);
        assert_int_equal(f.to.sample(f.to.self, &s, NULL), LEVEE_OK);
        scratch_expect("metrics", LEVEE_OK, "", metrics_write(&log, &r, &error), &error);
        size_t bytes;
        char *content = scratch_read(path, &bytes);
        json_t *line = json_loads(content + begin, JSON_DECODE_INT_AS_REAL, NULL);
        begin = bytes;
        free(content);
        sample_line(text, &s);
        json_t *seen = json_loads(text, JSON_DECODE_INT_AS_REAL, NULL), *shown = ask_json("/state.json"),
               *history = ask_json("/history.json");
        assert_true(line && json_equal(json_object_get(shown, "step"), line));
        assert_true(seen && json_equal(json_object_get(shown, "sample"), seen));
        compare_point(history, line);
        http_ask(f.port, "GET", "/metrics", HOST, &got);
        assert_int_equal(got.status, 200);
        compare_step_metrics(line);
        compare_meters(seen, &s);
        json_decref(line), json_decref(seen), json_decref(shown), json_decref(history);
    }
    metrics_close(&log);
    close_page();
}

/* An event's line is what events.jsonl has of it, and comes once. */
static void shows_events(void **state) {
    (void)state;
    open_page("127.0.0.1:0", 0, true);
    event_report e = {.time = 1.7e9,
                      .step = 5,
                      .sample = sample(5).sample,
                      .carried_out = true,
                      .moved_bytes = -77,
                      .seconds = 0.5};
    e.decision = sample(5).seen;
    e.decision.action = GUARD_SHRINK;
    e.decision.rule = RULE_RED_SHRINK;
    f.to.event(f.to.self, &e, NULL);
    e.decision.action = GUARD_GROW;
    f.to.event(f.to.self, &e, NULL);
    char text[EVENT_LINE_BYTES];
    event_line(text, &e, NULL);
    json_t *expected = json_loads(text, JSON_DECODE_INT_AS_REAL, NULL), *all = ask_json("/history.json"),
           *rest = ask_json("/history.json?event=1&after=3");
    json_t *events = json_object_get(all, "events"), *late = json_object_get(rest, "events");
    assert_int_equal(json_array_size(events), 2);
    assert_int_equal(json_array_size(late), 1);
    json_t *last = json_array_get(events, 1);
    assert_true(json_equal(last, json_array_get(late, 0)));
    assert_int_equal(json_number_value(json_object_get(last, "number")), 1);
    json_object_del(last, "number");
    assert_true(json_equal(last, expected));
    json_decref(expected), json_decref(all), json_decref(rest);
    http_ask(f.port, "GET", "/metrics", HOST, &got);
    double value;
    assert_true(metric("guard_events_total{action=\"shrink\"}", &value) && value == 1);
    close_page();
}

/* 10,000 steps: what is asked for in pieces is what is asked for at once, each step is in it, and it stays short. */
static void tells_a_long_history_in_pieces(void **state) {
    (void)state;
    open_page("127.0.0.1:0", 0, true);
    for (uint64_t n = 1; n <= 10000; n++) {
        step_report r = step(n);
        f.to.step(f.to.self, &r, NULL);
    }
    json_t *all = ask_json("/history.json"), *points = json_object_get(all, "points");
    size_t count = json_array_size(points);
    assert_true(count <= BOARD_POINTS && count >= BOARD_POINTS / 2 && got.bytes < 600000);
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        json_t *point = json_array_get(points, i);
        assert_int_equal(json_number_value(json_array_get(point, 0)), at + 1);
        at = (uint64_t)json_number_value(json_array_get(point, 1));
    }
    assert_int_equal(at, 10000);
    json_t *late = ask_json("/history.json?after=9000"), *few = json_object_get(late, "points");
    size_t offset = count - json_array_size(few);
    assert_true(offset > 0 && json_array_size(few) > 0);
    for (size_t i = 0; i < json_array_size(few); i++)
        assert_true(json_equal(json_array_get(few, i), json_array_get(points, offset + i)));
    json_decref(all), json_decref(late);
    close_page();
}

/* Over the wire: (raw request, status; 0: closed without an answer, or refused as the library does). */
static void refuses_what_is_not_for_it(void **state) {
    (void)state;
    static char long_header[40000], long_body[40000];
    snprintf(long_header, sizeof long_header, "GET / HTTP/1.1\r\n" HOST "X: %030000d\r\n\r\n", 0);
    snprintf(long_body, sizeof long_body,
             "POST /pause HTTP/1.1\r\n" HOST BEARER "Content-Length: 30000\r\n\r\n%030000d", 0);
    const struct {
        const char *request;
        unsigned expected;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST "\r\n", 200},
        {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421},
        {"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 421},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET /../../../../etc/passwd HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /state.json%00.html HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET /src/web/page.html HTTP/1.1\r\n" HOST "\r\n", 404},
        {"GET http://evil.example/ HTTP/1.1\r\n" HOST "\r\n", 404},
        {"OPTIONS /pause HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", 403},
        {"OPTIONS /pause HTTP/1.1\r\n" HOST "\r\n", 405},
        {"GET /pause HTTP/1.1\r\n" HOST BEARER "\r\n", 405},
        {"PUT / HTTP/1.1\r\n" HOST BEARER "\r\n", 405},
        {"POST /metrics HTTP/1.1\r\n" HOST BEARER "\r\n", 405},
        {"POST /pause HTTP/1.1\r\n" HOST "\r\n", 401},
        {"POST /pause?token=" TOKEN " HTTP/1.1\r\n" HOST "\r\n", 401},
        {"POST /pause HTTP/1.1\r\n" HOST "Authorization: Bearer wrong-wrong-wrong-w\r\n\r\n", 401},
        {"POST /pause HTTP/1.1\r\n" HOST BEARER "Origin: http://evil.example\r\n\r\n", 403},
        {"POST /pause HTTP/1.1\r\n" HOST BEARER "Origin: null\r\n\r\n", 403},
        {"POST /pause HTTP/1.1\r\n" HOST BEARER "Sec-Fetch-Site: cross-site\r\n\r\n", 403},
        {"POST /pause HTTP/1.1\r\n" HOST BEARER "Content-Length: 99999999999999999999\r\n\r\n", 0},
        {"POST /pause HTTP/1.1\r\n" HOST BEARER "Content-Length: 1000000\r\n\r\n", 413},
        {long_body, 413},
        {long_header, 0},
        {"\x16\x03\x01\x02garbage\r\n\r\n", 0},
        {"GET / HTTP/9.9\r\n" HOST "\r\n", 0},
    };
    open_page("127.0.0.1:0", 0, true);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        int connection = http_connect(f.port);
        assert_true(connection >= 0);
        http_send(connection, cases[i].request, strlen(cases[i].request));
        http_receive(connection, &got, 20);
        close(connection);
        bool is_expected = cases[i].expected ? got.status == cases[i].expected : !got.status || got.status >= 400;
        if (!is_expected || strstr(got.body, "root:")) fail_msg("%.60s: %u", cases[i].request, got.status);
    }
    for (unsigned o = 0; o < 4; o++) assert_int_equal(atomic_load(&f.orders[o]), 0);
    close_page();
}

static void gives_orders_to_who_may(void **state) {
    (void)state;
    static const char *const paths[] = {"/pause", "/resume", "/checkpoint", "/stop"};
    open_page("127.0.0.1:0", 0, true);
    for (unsigned o = 0; o < 4; o++) {
        http_ask(f.port, "POST", paths[o],
                 HOST BEARER "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n",
                 &got);
        assert_int_equal(got.status, 202);
        for (unsigned other = 0; other < 4; other++) assert_int_equal(atomic_load(&f.orders[other]), other <= o);
    }
    close_page();
    open_page("127.0.0.1:0", 0, false);
    http_ask(f.port, "POST", "/stop", HOST BEARER "Content-Length: 0\r\n", &got);
    assert_int_equal(got.status, 409);
    close_page();
}

/* Where others can reach it, nothing is told without the token. */
static void tells_others_nothing_without_the_token(void **state) {
    (void)state;
    static const char *const paths[] = {"/", "/state.json", "/history.json", "/events", "/metrics", "/nothing"};
    open_page("0.0.0.0:0", 0, true);
    assert_true(web_is_open_to_others(f.page));
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        http_ask(f.port, "GET", paths[i], HOST, &got);
        assert_int_equal(got.status, 401);
        assert_null(strstr(got.body, "{"));
        http_ask(f.port, "GET", paths[i], HOST "Authorization: Bearer abcdefghijklmnop-0124\r\n", &got);
        assert_int_equal(got.status, 401);
    }
    http_ask(f.port, "GET", "/?token=" TOKEN, HOST, &got);
    assert_int_equal(got.status, 200);
    http_ask(f.port, "GET", "/metrics", HOST BEARER, &got);
    assert_int_equal(got.status, 200);
    close_page();
}

static void every_answer_has_the_headers(void **state) {
    (void)state;
    static const char *const paths[] = {"/", "/state.json", "/history.json", "/metrics", "/nothing"};
    open_page("127.0.0.1:0", 0, true);
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        http_ask(f.port, "GET", paths[i], HOST, &got);
        const char *kept = http_header(&got, "Cache-Control"), *type = http_header(&got, "X-Content-Type-Options");
        assert_true(kept && !strncmp(kept, "no-store", 8) && type && !strncmp(type, "nosniff", 7));
        assert_non_null(http_header(&got, "X-Frame-Options"));
        assert_non_null(http_header(&got, "Referrer-Policy"));
        assert_null(http_header(&got, "Access-Control-Allow-Origin"));
        assert_int_equal(http_header(&got, "Content-Security-Policy") != NULL, !i);
    }
    close_page();
}

/* Reads the stream until a text has come; false after some seconds. */
static bool await_text(int connection, const char *text) {
    static char all[1 << 20];
    size_t length = 0;
    *all = 0;
    double until = machine_seconds() + 20;
    while (!strstr(all, text) && machine_seconds() < until && length + 1 < sizeof all) {
        ssize_t part = recv(connection, all + length, sizeof all - 1 - length, 0);
        if (part <= 0) break;
        length += (size_t)part;
        all[length] = 0;
    }
    return strstr(all, text) != NULL;
}

static int begin_stream(void) {
    static const char request[] = "GET /events HTTP/1.1\r\n" HOST "\r\n";
    int connection = http_connect(f.port);
    struct timeval patience = {.tv_sec = 20};
    assert_true(connection >= 0);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_true(http_send(connection, request, sizeof request - 1));
    return connection;
}

static void keeps_pages_up_to_date(void **state) {
    (void)state;
    open_page("127.0.0.1:0", 0, true);
    int first = begin_stream(), second = begin_stream();
    assert_true(await_text(first, "text/event-stream") && await_text(second, "\"step\":null"));
    for (uint64_t n = 1; n <= 3; n++) {
        char expected[64];
        step_report r = step(n);
        f.to.step(f.to.self, &r, NULL);
        snprintf(expected, sizeof expected, "\"step\":{\"step\":%u,", (unsigned)n);
        assert_true(await_text(first, expected) && await_text(second, expected));
    }
    /* The end is told before the connection is closed. */
    close_page();
    assert_true(await_text(first, "\"state\":\"ended\""));
    close(first);
    close(second);
}

/* True when the server closes a connection within some seconds. */
static bool is_closed(int connection) {
    char text[4096];
    struct timeval patience = {.tv_sec = 20};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (;;) {
        ssize_t part = recv(connection, text, sizeof text, 0);
        if (!part) return true;
        if (part < 0) return errno != EAGAIN;
    }
}

static void closes_slow_requests(void **state) {
    (void)state;
    static const char *const begun[] = {"", "GET / HT", "GET / HTTP/1.1\r\nHost: loc",
                                        "POST /pause HTTP/1.1\r\n" HOST BEARER "Content-Length: 5\r\n\r\nab"};
    enum { COUNT = sizeof begun / sizeof *begun };
    int connections[COUNT + 1];
    open_page("127.0.0.1:0", 1, true);
    for (unsigned i = 0; i < COUNT; i++) {
        connections[i] = http_connect(f.port);
        http_send(connections[i], begun[i], strlen(begun[i]));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (!is_closed(connections[i])) fail_msg("'%s' is waited for", begun[i]);
        close(connections[i]);
    }
    /* One that trickles is never silent, and is closed all the same. */
    int trickle = http_connect(f.port);
    http_send(trickle, "GET / HTTP/1.1\r\n", 16);
    double began = machine_seconds();
    bool open = true;
    while (open && machine_seconds() - began < 20) {
        open = http_send(trickle, "X: y\r\n", 6);
        machine_sleep(0.1);
    }
    assert_false(open);
    close(trickle);
    assert_int_equal(atomic_load(&f.orders[ORDER_PAUSE]), 0);
    close_page();
}

/* Clients that ask and never read are dropped, and others are served meanwhile. */
static void drops_who_never_reads(void **state) {
    (void)state;
    static const char stream[] = "GET /events HTTP/1.1\r\n" HOST "\r\n",
                      history[] = "GET /history.json HTTP/1.1\r\n" HOST "\r\n";
    enum { NEVER = 20 };
    int connections[NEVER];
    open_page("127.0.0.1:0", 1, true);
    uint64_t n = 1;
    for (; n <= 3000; n++) {
        step_report r = step(n);
        f.to.step(f.to.self, &r, NULL);
    }
    for (unsigned i = 0; i < NEVER; i++) {
        int room = 2048;
        const char *request = i % 2 ? stream : history;
        connections[i] = http_connect(f.port);
        setsockopt(connections[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        for (unsigned k = 0; k < (i % 2 ? 1 : 8); k++) http_send(connections[i], request, strlen(request));
    }
    double value = NEVER, until = machine_seconds() + 60;
    while (machine_seconds() < until) {
        step_report r = step(n++);
        f.to.step(f.to.self, &r, NULL);
        http_ask(f.port, "GET", "/metrics", HOST, &got);
        assert_int_equal(got.status, 200);
        assert_true(metric("web_connections", &value));
        if (value <= 1) break; /* our own */
        machine_sleep(0.02);
    }
    assert_true(value <= 1);
    for (unsigned i = 0; i < NEVER; i++) close(connections[i]);
    close_page();
}

static uint64_t held(void) {
    process_memory now;
    assert_true(process_memory_read(&now));
    return now.held_bytes;
}

/* As many clients as there may be, each kind among them: all are served, and the library takes no more than what was
 * booked for it. */
static void serves_many_in_bounded_memory(void **state) {
    (void)state;
    static int connections[WEB_CONNECTIONS];
    open_page("127.0.0.1:0", 60, true);
    for (uint64_t n = 1; n <= 2000; n++) {
        step_report r = step(n);
        f.to.step(f.to.self, &r, NULL);
    }
    http_ask(f.port, "GET", "/metrics", HOST, &got);
    uint64_t before = held(), most = 0;
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++) {
        char request[3000];
        const char *path = i % 2 ? "/events" : i % 4 ? "/history.json" : "/metrics";
        /* Long headers, so that each uses what it may. */
        int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "X: %02000d\r\n\r\n", path, 0);
        connections[i] = http_connect(f.port);
        assert_true(connections[i] >= 0 && http_send(connections[i], request, (size_t)length));
        if (held() > most) most = held();
    }
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++) {
        if (i % 2)
            assert_true(await_text(connections[i], "data: "));
        else
            http_receive(connections[i], &got, 20);
        if (i % 4 == 0) assert_int_equal(got.status, 200);
        if (i % 4 == 2) assert_true(got.status == 200 || got.status == 503);
        if (held() > most) most = held();
    }
    for (unsigned i = 0; i < WEB_CONNECTIONS; i++) close(connections[i]);
    print_message("%llu KiB of %llu KiB\n", (unsigned long long)(most - before) / 1024,
                  (unsigned long long)web_library_bytes() / 1024);
    if (!SANITIZED) assert_true(most - before <= web_library_bytes());
    /* They are gone as soon as the server has seen that, and the next one is served. */
    http_ask(f.port, "GET", "/metrics", HOST, &got);
    assert_int_equal(got.status, 200);
    close_page();
}

static unsigned descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

/* Opened and closed, with connections of each kind open, nothing is left. */
static void leaves_nothing_behind(void **state) {
    (void)state;
    unsigned before = descriptors();
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    for (unsigned i = 0; i < 3; i++) {
        open_page("127.0.0.1:0", 0, true);
        assert_true(ledger_booked(LEVEE_RUNTIME) >= booked + web_library_bytes());
        int stream = begin_stream(), idle = http_connect(f.port);
        assert_true(await_text(stream, "data: "));
        close_page();
        close(stream);
        close(idle);
        assert_int_equal(descriptors(), before);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), booked);
    }
}

static void says_why_it_cannot_open(void **state) {
    (void)state;
    levee_error error;
    web *page;
    open_page("127.0.0.1:0", 0, true);
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", f.port);
    web_options options = {.address = taken, .shown = f.shown};
    scratch_expect("taken", LEVEE_USAGE, "--web 127.0.0.1|use", web_open(&page, &options, &error), &error);
    options.address = "somewhere";
    scratch_expect("address", LEVEE_USAGE, "--web somewhere", web_open(&page, &options, &error), &error);
    options.address = "127.0.0.1:0";
    options.token = "too-short";
    scratch_expect("token", LEVEE_USAGE, "LEVEE_WEB_TOKEN|16", web_open(&page, &options, &error), &error);
    options.token = NULL;
    ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + (2 << 20));
    scratch_expect("memory", LEVEE_DOES_NOT_FIT, "page", web_open(&page, &options, &error), &error);
    ledger_set_budget(UINT64_MAX);
    /* Without a token of ours it makes one, another each time. */
    char first[WEB_URL_BYTES];
    scratch_expect("open", LEVEE_OK, "", web_open(&page, &options, &error), &error);
    snprintf(first, sizeof first, "%s", strstr(web_url(page), "token="));
    web_close(page);
    scratch_expect("open", LEVEE_OK, "", web_open(&page, &options, &error), &error);
    assert_int_equal(strlen(first), 6 + 32);
    assert_string_not_equal(first, strstr(web_url(page), "token="));
    web_close(page);
    close_page();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        TEST(shows_what_metrics_jsonl_has),   TEST(shows_events),
        TEST(tells_a_long_history_in_pieces), TEST(refuses_what_is_not_for_it),
        TEST(gives_orders_to_who_may),        TEST(tells_others_nothing_without_the_token),
        TEST(every_answer_has_the_headers),   TEST(keeps_pages_up_to_date),
        TEST(closes_slow_requests),           TEST(drops_who_never_reads),
        TEST(serves_many_in_bounded_memory),  TEST(leaves_nothing_behind),
        TEST(says_why_it_cannot_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
