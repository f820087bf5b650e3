/* levee_report: what the page says is what the run's files say; what cannot be read is counted; nothing in them
 * becomes markup; memory does not grow with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "report/events.h"
#include "report/history.h"
#include "report/jsonl.h"
#include "report/metrics.h"
#include "scratch.h"

static const char *made_directory(const char *parent, const char *name) {
    static char path[FILE_PATH_BYTES];
    assert_true(file_join(path, parent, name));
    assert_int_equal(file_make_directory(path, NULL), LEVEE_OK);
    return path;
}

static void printed(void *context, const char *line) { snprintf(context, 256, "%s", line); }

/* The page about these directories; the caller frees it. */
static char *page_of(const char *output, const char *const *directories, unsigned count) {
    levee_error error = {0};
    char line[256] = "";
    size_t bytes;
    scratch_expect("report", LEVEE_OK, "", levee_report(directories, count, output, printed, line, &error), &error);
    assert_non_null(strstr(line, "a report of "));
    return scratch_read(output, &bytes);
}

static char *page_of_one(const char *directory) {
    char output[FILE_PATH_BYTES];
    assert_true(file_join(output, directory, "page.html"));
    return page_of(output, &directory, 1);
}

static void assert_says(const char *page, const char *words) {
    if (!strstr(page, words)) fail_msg("the page does not say: %s", words);
}

static void assert_silent(const char *page, const char *words) {
    if (strstr(page, words)) fail_msg("the page says: %s", words);
}

/* A tag that fetches or runs nothing. */
static void assert_harmless(const char *tag, size_t bytes) {
    const char *link = memmem(tag, bytes, " href=", 6);
    assert_false(memmem(tag, bytes, " src=", 5) || memmem(tag, bytes, " on", 3));
    assert_false(link && strncmp(link, " href=\"#", 8) != 0);
}

/* Each element is closed by its own name, in order; '<' begins nothing else. */
static void assert_balanced(const char *page) {
    enum { DEPTH = 32, NAME = 16 };
    char open[DEPTH][NAME];
    unsigned depth = 0;
    for (const char *at = strchr(page, '<'); at; at = strchr(at + 1, '<')) {
        const char *name = at + 1 + (at[1] == '/'), *end = strchr(at, '>');
        size_t length = strcspn(name, " \n/>");
        assert_non_null(end);
        assert_harmless(at, (size_t)(end - at));
        if (at[1] == '!' || !strncmp(name, "meta", 4)) continue;
        assert_true(islower((unsigned char)*name) && length < NAME);
        if (at[1] != '/' && end[-1] == '/') continue;
        if (at[1] != '/') {
            assert_true(depth < DEPTH);
            snprintf(open[depth++], NAME, "%.*s", (int)length, name);
        } else if (!depth-- || strncmp(open[depth], name, length) != 0 || open[depth][length]) {
            fail_msg("</%.*s> closes what it did not open", (int)length, name);
        }
    }
    assert_int_equal(depth, 0);
}

/* A page that can be opened anywhere, at any time, and runs nothing. */
static void assert_alone(const char *page) {
    static const char *const needs[] = {"<script", "<link", "<img", "<iframe", "url(", "@import"};
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) assert_silent(page, needs[i]);
    for (const char *at = strstr(page, "://"); at; at = strstr(at + 1, "://"))
        assert_memory_equal(at - 4, "http://www.w3.org/2000/svg", 26);
    assert_says(page, "default-src 'none'");
    assert_balanced(page);
}

static step_report report_of(uint64_t step) {
    step_report r = {.time = 1.7e9 + 0.25 * (double)step,
                     .step = step,
                     .loss = 2.0 + 1.0 / (double)step,
                     .learning_rate = 1e-4 * (double)step,
                     .gradient_norm = 0.75 + (double)step,
                     .tokens_per_second = 1000.5 + (double)step,
                     .seconds = 0.5,
                     .validation_loss = step % 5 ? NAN : 3.0 - 0.01 * (double)step,
                     .tokens = 100,
                     .held_bytes = (50ull << 20) + (step << 18),
                     .peak_bytes = (51ull << 20) + (step << 18),
                     .predicted_bytes = 60ull << 20,
                     .budget_bytes = 64ull << 20,
                     .applied = true};
    r.planned_bytes[LEVEE_ACTIVATIONS] = 40ull << 20;
    r.planned_bytes[LEVEE_RUNTIME] = 9ull << 20;
    r.booked_bytes[LEVEE_ACTIVATIONS] = (38ull << 20) + (step << 18);
    r.booked_bytes[LEVEE_DATA] = 3 << 10;
    return r;
}

static void write_run(const char *directory, uint64_t steps) {
    char path[FILE_PATH_BYTES];
    metrics m = {.descriptor = -1};
    assert_true(file_join(path, directory, "metrics.jsonl"));
    assert_int_equal(metrics_open(&m, path, 0, NULL), LEVEE_OK);
    for (uint64_t step = 1; step <= steps; step++) {
        step_report r = report_of(step);
        assert_int_equal(metrics_write(&m, &r, NULL), LEVEE_OK);
    }
    metrics_close(&m);
}

/* Shrinks after one step, and only warns of another. Its meters have a limit of UINT64_MAX, as those of a machine
 * without containers. */
static void write_events(const char *directory, uint64_t step, unsigned count) {
    char path[FILE_PATH_BYTES];
    int file;
    uint64_t bytes;
    static event_evidence before; /* as long as a line of it gets */
    sample_report seen = {.time = 1.7e9, .step = UINT64_MAX};
    for (unsigned i = 0; i < EVIDENCE_SAMPLES; i++) evidence_add(&before, &seen);
    assert_true(file_join(path, directory, "events.jsonl"));
    assert_int_equal(file_append_open(&file, path, UINT64_MAX, &bytes, NULL), LEVEE_OK);
    for (unsigned i = 0; i < count; i++) {
        event_report e = {
            .time = 1.7e9 + 10, .step = step + i, .carried_out = !i, .moved_bytes = 3 << 20, .seconds = 0.0125};
        e.decision = (guard_decision){.action = i ? GUARD_PAUSE : GUARD_SHRINK,
                                      .rule = i ? RULE_RED_PAUSE : RULE_ORANGE_SHRINK,
                                      .found = {.level = PRESSURE_ORANGE, .share = 0.94},
                                      .need_bytes = 5 << 20,
                                      .expected_bytes = 4 << 20,
                                      .leak_steps = INFINITY,
                                      .plan = 1};
        e.sample.meters[METER_GROUP_LIMIT] = (reading){.known = true, .value = UINT64_MAX};
        char line[EVENT_LINE_BYTES];
        unsigned length = event_line(line, &e, &before);
        assert_int_equal(file_append(file, path, line, length, bytes, NULL), LEVEE_OK);
        bytes += length;
    }
    file_close(file);
}

static void says_what_the_files_say(void **state) {
    enum { STEPS = 20 };
    const char *directory = made_directory(*state, "a run");
    write_run(directory, STEPS);
    write_events(directory, 7, 2);
    scratch_text(directory, "config.yaml", "model: \"m\"\nlr_schedule:\n  name: cosine\n# a comment\n\niters: 20\n");
    scratch_text(
        directory, "plan.json",
        "{\"fits\":true,\"plan\":{\"planned_bytes\":{\"activations\":1048576},\"tokens_pass\":123},\"x\":null}");
    char *page = page_of_one(directory), words[256];
    assert_alone(page);
    for (uint64_t step = 1; step <= STEPS; step++) {
        step_report r = report_of(step);
        snprintf(words, sizeof words, "<title>step %d\nloss %.9g", (int)step, r.loss);
        assert_says(page, words);
        snprintf(words, sizeof words, "<title>step %d\n%.9g</title>", (int)step, r.learning_rate);
        assert_says(page, words);
        snprintf(words, sizeof words, "<title>step %d\n%.9g</title>", (int)step, r.tokens_per_second);
        assert_says(page, words);
        snprintf(words, sizeof words, "<title>step %d\n%.9g</title>", (int)step, r.gradient_norm);
        assert_says(page, words);
        snprintf(words, sizeof words, "<title>step %d\nheld %.1f MiB", (int)step, 50 + 0.25 * (double)step);
        assert_says(page, words);
        snprintf(words, sizeof words, "\nactivations %.1f MiB\ndata 3.0 KiB", 38 + 0.25 * (double)step);
        assert_says(page, words);
        snprintf(words, sizeof words, "\nvalidation loss %.9g", r.validation_loss);
        if (step % 5 == 0) assert_says(page, words);
    }
    static const char *const others[] = {
        "<h1>levee: a run</h1>",
        "20 steps; loss from 3 to 2.05. Memory: 56.0 MiB at most of a budget of 64.0 MiB: held.",
        "<dt>validation loss, last</dt><dd>2.8 at step 20</dd>",
        "<dt>tokens a second</dt><dd>200</dd>", /* 2000 tokens in 10 seconds */
        "activations</th><td class=\"number\">40.0 MiB</td><td class=\"number\">43.0 MiB</td>",
        "peak, held</th><td class=\"number\">60.0 MiB</td><td class=\"number\">56.0 MiB</td>",
        "budget 64.0 MiB",
        "Measured less predicted: -4.0 MiB (-6.67 %).",
        "It decided 2 times, and 1 of these was carried out: a smaller plan 1, a pause 1.",
        "<strong>After step 7, at 9.8 s: it went on with a smaller plan</strong>",
        "at 94 % (orange); 5.0 MiB were needed. 3.0 MiB were given back, 4.0 MiB expected, in 12.5 ms. Plan 1",
        "<strong>After step 8, at 9.8 s: pause</strong>",
        "Only a warning: nothing was done.",
        "guard, after step 7: shrink",
        "guard (a warning only), after step 8: pause",
        "<code>lr_schedule.name</code></th><td class=\"value\">cosine</td>",
        "<code>iters</code></th><td class=\"value\">20</td>",
        "<code>plan.planned_bytes.activations</code></th><td class=\"value\">1.0 MiB</td>",
        "<code>plan.tokens_pass</code></th><td class=\"value\">123</td>"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_says(page, others[i]);
    assert_silent(page, "could not be read");
    assert_silent(page, "left out");
    assert_silent(page, "a comment");
    free(page);
}

/* What a hostile model, file name or log could have put there. */
static void makes_no_markup_of_texts(void **state) {
    static const char bad[] = "</td></title><script>alert('1')</script><img src=x onerror=\\\"go()\\\">&amp;";
    char text[1024];
    const char *directory = made_directory(*state, "<b onload=\"go()\">&'");
    write_run(directory, 3);
    snprintf(text, sizeof text, "model: %s\n%s: 1\n", bad, "<svg/onload=go()>");
    scratch_text(directory, "config.yaml", text);
    snprintf(text, sizeof text,
             "{\"step\":2,\"time\":1,\"action\":\"%s\",\"rule\":\"%s\",\"level\":\"<i>\",\"source\":\"<u>\","
             "\"breaker\":\"<s>\","
             "\"leak\":\"<q>\",\"carried_out\":true,\"meters\":{}}\n",
             bad, bad);
    scratch_text(directory, "events.jsonl", text);
    snprintf(text, sizeof text, "{\"<script>\":\"%s\",\"\xc3\xa9\":{\"a\\u0001b\":\"\xe2\x80\xa8\"}}", bad);
    scratch_text(directory, "plan.json", text);
    char *page = page_of_one(directory);
    assert_alone(page);
    static const char *const markup[] = {"<script", "<img", "<b ", "<svg/", "<i>", "<u>", "<s>", "<q>", "=\"go()\""};
    for (size_t i = 0; i < sizeof markup / sizeof *markup; i++) assert_silent(page, markup[i]);
    assert_says(page, "&#60;script&#62;alert");
    assert_says(page, "levee: &#60;b onload=&#34;go()&#34;&#62;&#38;'");
    free(page);
    const char *twice[] = {directory, directory};
    char output[FILE_PATH_BYTES];
    assert_true(file_join(output, *state, "twice.html"));
    page = page_of(output, twice, 2);
    assert_alone(page);
    free(page);
}

static void counts_what_it_cannot_read(void **state) {
    const char *directory = made_directory(*state, "run");
    static char long_line[2 * JSONL_LINE_BYTES + 64];
    memset(long_line, 'x', 2 * JSONL_LINE_BYTES); /* twice what a line may have, and then what would be a step */
    strcpy(long_line + 2 * JSONL_LINE_BYTES, "{\"step\":3,\"loss\":0}");
    char *text = malloc(sizeof long_line + 1000);
    int length =
        sprintf(text,
                "{\"step\":1,\"loss\":2,\"held_bytes\":null}\nnonsense\n%s\n[1,2]\n{\"loss\":3}\n"
                "{\"step\":-4,\"loss\":3}\n{\"step\":1.5}\n\n{\"step\":2,\"step\":3}\n{\"step\":5,\"loss\":\"9\"}\n"
                "{\"step\":4,\"loss\":1}\n{\"step\":6,\"loss\":null,\"applied\":false}\n",
                long_line);
    memcpy(text + length, "{\"step\":7,\0\"loss\":1}\n", 21);
    length += 21;
    length += sprintf(text + length, "{\"step\":8,\"loss\":1.25}\r\n{\"step\":9,\"lo");
    scratch_file(directory, "metrics.jsonl", text, (size_t)length);
    free(text);
    scratch_text(directory, "events.jsonl", "{\"step\":1,\"action\":\"trim\"}\n{\"step\":2,\"action\":\"tr");
    scratch_text(directory, "plan.json", "{\"fits\":");
    char *page = page_of_one(directory);
    assert_alone(page);
    assert_says(page, "metrics.jsonl: 10 of 15 lines could not be read and are left out; the first is line 2.");
    assert_says(page, "events.jsonl: its last line is only half there and is left out.");
    assert_says(page, "1 lines are of steps that were told before");
    assert_says(page, "In 1 steps loss or gradient was not finite, and nothing was changed; the first is step 6.");
    assert_says(page, "plan.json");
    assert_says(page, "4 steps; loss from 2 to 1.25.");
    assert_says(page, "There is no config.yaml that could be read.");
    assert_says(page, "<title>step 5\nloss –</title>");
    free(page);
}

static void reports_what_little_there_is(void **state) {
    const char *directory = made_directory(*state, "little");
    scratch_text(directory, "metrics.jsonl", "");
    char *page = page_of_one(directory);
    assert_alone(page);
    assert_says(page, "No step is told of.");
    assert_says(page, "There is no events.jsonl");
    free(page);
    scratch_text(directory, "metrics.jsonl", "{\"step\":3}"); /* one step, nothing known, no newline: it is whole */
    page = page_of_one(directory);
    assert_alone(page);
    assert_says(page, "<p>1 step.</p>");
    assert_silent(page, "nan");
    assert_silent(page, "inf");
    free(page);
    scratch_text(directory, "metrics.jsonl",
                 "{\"step\":9223372036854775807,\"loss\":1e308,\"grad_norm\":-1e308,\"held_bytes\":1e308}\n");
    page = page_of_one(directory);
    assert_alone(page);
    free(page);
}

/* Steps so large that one more is the same number: a page all the same, and in no time. */
static void ends_whatever_the_steps(void **state) {
    const char *directory = made_directory(*state, "far");
    scratch_text(directory, "metrics.jsonl",
                 "{\"step\":9223372036854773760,\"loss\":1e308}\n{\"step\":9223372036854774784,\"loss\":-1e308}\n");
    const char *twice[] = {directory, directory};
    char output[FILE_PATH_BYTES];
    assert_true(file_join(output, *state, "twice.html"));
    char *page = page_of(output, twice, 2);
    assert_alone(page);
    assert_silent(page, "nan");
    assert_silent(page, "inf");
    assert_says(page, "2 steps; loss from 1e+308 to -1e+308.");
    assert_true(strlen(page) < 100 * 1024);
    free(page);
}

static void says_what_is_missing(void **state) {
    levee_error error;
    const char *directory = made_directory(*state, "empty");
    scratch_expect("empty", LEVEE_MISSING_INPUT, "empty|metrics.jsonl",
                   levee_report(&directory, 1, NULL, NULL, NULL, &error), &error);
    const char *nowhere = "/nowhere/at/all", *nine[9];
    scratch_expect("nowhere", LEVEE_MISSING_INPUT, "/nowhere/at/all|adapter-path",
                   levee_report(&nowhere, 1, NULL, NULL, NULL, &error), &error);
    for (unsigned i = 0; i < 9; i++) nine[i] = directory;
    scratch_expect("nine", LEVEE_USAGE, "1 to 8", levee_report(nine, 9, NULL, NULL, NULL, &error), &error);
    scratch_expect("none", LEVEE_USAGE, "1 to 8", levee_report(nine, 0, NULL, NULL, NULL, &error), &error);
    write_run(directory, 2);
    scratch_expect("no place", LEVEE_IO_ERROR, "/nowhere/page.html",
                   levee_report(&directory, 1, "/nowhere/page.html", NULL, NULL, &error), &error);
    assert_int_equal(levee_report(&directory, 1, NULL, NULL, NULL, &error), LEVEE_OK);
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, "report.html") && file_exists(path));
    ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + 4096);
    levee_status refused = levee_report(&directory, 1, NULL, NULL, NULL, &error);
    ledger_set_budget(UINT64_MAX);
    scratch_expect("no memory", LEVEE_DOES_NOT_FIT, "", refused, &error);
}

static void compares_runs(void **state) {
    char first[FILE_PATH_BYTES], second[FILE_PATH_BYTES], output[FILE_PATH_BYTES];
    snprintf(first, sizeof first, "%s", made_directory(*state, "one/run"));
    snprintf(second, sizeof second, "%s", made_directory(*state, "two/run"));
    write_run(first, 10);
    write_run(second, 4);
    scratch_text(first, "config.yaml", "rank: 8\nseed: 1\nlr_schedule:\n  warmup: 5\nlora:\n  warmup: 1\n");
    scratch_text(second, "config.yaml",
                 "rank: 16\nseed: 1\nlr_schedule:\n  warmup: 6\nlora:\n  warmup: 1\nextra: yes\n");
    const char *both[] = {first, second};
    assert_true(file_join(output, *state, "both.html"));
    char *page = page_of(output, both, 2), *differences = strstr(page, "Differences of configuration"),
         words[3 * FILE_PATH_BYTES];
    assert_alone(page);
    assert_says(page, "<h1>levee: 2 runs compared</h1>");
    snprintf(words, sizeof words, "<h2 id=\"run1\">%s</h2>",
             second); /* of the same name, so told apart by all of it */
    assert_says(page, words);
    assert_says(page, "steps</th><td class=\"number\">10</td><td class=\"number\">4</td>");
    assert_says(page, "loss at last</th><td class=\"number\">2.1</td><td class=\"number\">2.25</td>");
    assert_non_null(differences);
    char *end = strstr(differences, "</table>");
    assert_non_null(end);
    *end = 0;
    assert_says(differences, "<code>rank</code></th><td class=\"value\">8</td><td class=\"value\">16</td>");
    assert_says(differences,
                "<code>lr_schedule.warmup</code></th><td class=\"value\">5</td><td class=\"value\">6</td>");
    assert_says(differences, "<code>extra</code></th><td class=\"value\">–</td><td class=\"value\">yes</td>");
    assert_silent(differences, "seed");
    assert_silent(differences, "lora.warmup");
    /* Over each other: at step 3 both, at step 8 one. */
    snprintf(words, sizeof words, "<title>step 3\n%s: 2.33333\n%s: 2.33333</title>", first, second);
    assert_says(page, words);
    snprintf(words, sizeof words, "<title>step 8\n%s: 2.125</title>", first);
    assert_says(page, words);
    free(page);
}

/* However long the run: as many points, and each is what its steps are together. */
static void takes_long_runs_together(void **state) {
    enum { STEPS = 60000 };
    const char *directory = made_directory(*state, "long");
    char *text = malloc(STEPS * 160);
    size_t length = 0;
    levee_error error;
    for (unsigned step = 1; step <= STEPS; step++)
        length += (size_t)sprintf(
            text + length,
            "{\"step\":%u,\"loss\":%u,\"val_loss\":%s,\"held_bytes\":%u,\"booked_bytes\":{\"data\":%u},"
            "\"tokens\":2,\"seconds\":1}\n",
            step, step % 100, step % 1000 ? "null" : "7", step == 30001 ? 999999 : 1000, step);
    scratch_file(directory, "metrics.jsonl", text, length);
    free(text);
    ledger_restart_peaks();
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    history h;
    scratch_expect("open", LEVEE_OK, "", history_open(&h, directory, &error), &error);
    assert_in_range(ledger_peak(LEVEE_CATEGORY_COUNT) - before, 1, 512 * 1024);
    assert_int_equal(h.steps, STEPS);
    assert_true(h.count <= HISTORY_POINTS && h.count >= HISTORY_POINTS / 2 && h.stride == 256);
    uint64_t next = 1, validations = 0;
    double most_held = 0;
    for (uint32_t i = 0; i < h.count; i++) {
        const history_point *p = &h.points[i];
        double sum = 0;
        assert_int_equal(p->first, next);
        assert_int_equal(p->steps, p->last - p->first + 1);
        for (uint64_t step = p->first; step <= p->last; step++) sum += (double)(step % 100);
        assert_true(fabs(p->loss - sum / (double)p->steps) < 1e-9);
        assert_true(p->least_loss == 0 && p->most_loss == 99);
        if (isfinite(p->validation_loss)) {
            assert_true(p->validation_step % 1000 == 0);
            validations++;
        }
        if (p->held_bytes > most_held) {
            most_held = p->held_bytes;
            if (most_held > 1000) assert_true(p->booked_bytes[LEVEE_DATA] == 30001); /* what was booked then */
        }
        next = p->last + 1;
    }
    assert_int_equal(next, STEPS + 1);
    assert_int_equal(validations, STEPS / 1000);
    assert_true(most_held == 999999 && h.peak_bytes == 999999);
    assert_true(h.tokens_per_second == 2 && h.seconds == STEPS);
    assert_true(fabs(history_recent_loss(&h) - 81.375) < 1e-9); /* of 69 to 99, and 0 */
    history_close(&h);
    history_close(&h);
    ledger_restart_peaks();
    char *page = page_of_one(directory);
    assert_in_range(ledger_peak(LEVEE_CATEGORY_COUNT) - before, 1, 2 * 1024 * 1024);
    assert_alone(page);
    assert_says(page, "Each point is the mean of up to 256 steps");
    assert_true(strlen(page) < 600 * 1024);
    free(page);
}

static void keeps_the_first_and_the_last_decisions(void **state) {
    const char *directory = made_directory(*state, "busy");
    write_run(directory, 1000);
    write_events(directory, 1, 1000);
    history h;
    levee_error error;
    scratch_expect("open", LEVEE_OK, "", history_open(&h, directory, &error), &error);
    assert_int_equal(h.decision_count, 1000);
    assert_int_equal(history_decisions(&h), 2 * HISTORY_DECISIONS);
    for (uint32_t i = 0; i < 2 * HISTORY_DECISIONS; i++)
        assert_int_equal(history_decision_at(&h, i)->step,
                         i < HISTORY_DECISIONS ? i + 1 : 1000 - 2 * HISTORY_DECISIONS + i + 1);
    history_close(&h);
    char *page = page_of_one(directory);
    assert_alone(page);
    assert_says(page, "872 more are in events.jsonl.");
    assert_says(page, "start=\"937\"");
    free(page);
    /* The older part of a log that was rotated comes first. */
    char older[FILE_PATH_BYTES], newer[FILE_PATH_BYTES];
    assert_true(file_join(newer, directory, "events.jsonl") && file_join(older, directory, "events.jsonl.1"));
    assert_int_equal(file_move(newer, older, NULL), LEVEE_OK);
    write_events(directory, 2000, 1);
    scratch_expect("open", LEVEE_OK, "", history_open(&h, directory, &error), &error);
    assert_int_equal(h.decision_count, 1001);
    assert_int_equal(history_decision_at(&h, 0)->step, 1);
    assert_int_equal(history_decision_at(&h, 2 * HISTORY_DECISIONS - 1)->step, 2000);
    history_close(&h);
}

/* A program that is watched tells of no steps, only of its memory. */
static void shows_samples_where_there_are_no_metrics(void **state) {
    const char *directory = made_directory(*state, "watched");
    scratch_text(directory, "samples.jsonl",
                 "{\"time\":1,\"step\":0,\"held_bytes\":1048576,\"meters\":{}}\n"
                 "{\"time\":2,\"step\":0,\"held_bytes\":3145728,\"meters\":{}}\n{\"time\":3,\"step\":4,\"held_"
                 "bytes\":2097152}\n");
    char *page = page_of_one(directory);
    assert_alone(page);
    assert_says(page, "There is no metrics.jsonl: this is what the guard saw of memory. Memory: 3.0 MiB at most.");
    assert_says(page, "held 2.0 MiB");
    assert_says(page, "<dt>peak memory, measured</dt><dd>3.0 MiB</dd>");
    assert_silent(page, "<dd>–");
    assert_silent(page, "<dt>tokens");
    free(page);
}

/* Each call fails in turn: then there is no page, or all of it, and the page of before stays where there is none. */
static void says_what_failed(void **state) {
    const char *directory = made_directory(*state, "failing");
    char output[FILE_PATH_BYTES];
    levee_error error;
    write_run(directory, 3);
    write_events(directory, 1, 1);
    scratch_text(directory, "config.yaml", "rank: 8\n");
    scratch_text(directory, "plan.json", "{\"fits\":true}");
    assert_true(file_join(output, directory, "report.html"));
    failing f = {.first = FAULT_ALLOCATE, .last = FAULT_LOCK};
    failing_start(&f);
    assert_int_equal(levee_report(&directory, 1, NULL, NULL, NULL, &error), LEVEE_OK);
    failing_stop();
    uint64_t calls = f.calls, failures = 0;
    size_t bytes, whole;
    free(scratch_read(output, &whole));
    assert_in_range(calls, 20, 2000);
    for (uint64_t call = 0; call < calls; call++) {
        const char *path = scratch_text(directory, "report.html", "before");
        f = (failing){.first = FAULT_ALLOCATE, .last = FAULT_LOCK, .from = call, .to = call + 1, .what.failure = EIO};
        memset(&error, 0, sizeof error);
        failing_start(&f);
        levee_status status = levee_report(&directory, 1, NULL, NULL, NULL, &error);
        failing_stop();
        char *page = scratch_read(path, &bytes);
        if (status != LEVEE_OK) {
            failures++;
            assert_true(status == LEVEE_DOES_NOT_FIT || status == LEVEE_MISSING_INPUT || status == LEVEE_IO_ERROR);
            assert_int_equal(error.status, status);
            assert_true(strlen(error.message) > 10);
        } else {
            assert_balanced(page); /* a file that could not be asked for is told of as missing */
        }
        /* Where only the last step fails, the new name, the page is there all the same, and the message says so. */
        bool is_old = !strcmp(page, "before");
        assert_true(is_old || strstr(page, "</html>"));
        assert_true(status == LEVEE_OK ? !is_old : is_old || f.point == FAULT_SYNC || f.point == FAULT_OPEN);
        free(page);
    }
    assert_in_range(failures, 10, calls);
}

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_what_the_files_say, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(makes_no_markup_of_texts, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(counts_what_it_cannot_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(reports_what_little_there_is, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(ends_whatever_the_steps, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(says_what_is_missing, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(compares_runs, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(takes_long_runs_together, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(keeps_the_first_and_the_last_decisions, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(says_what_failed, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(shows_samples_where_there_are_no_metrics, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
