/* Reading a run's directory: see run_view.h. */
#include "monitor/run_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/json.h"

static uint64_t whole(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    double real = json_is_number(value) ? json_number_value(value) : -1;
    return real >= 0 && real < 0x1p63 ? (uint64_t)real : LEVEE_UNKNOWN_BYTES;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Copies a text without what a terminal would take for more than text. */
static void copy_text(char *to, size_t room, const char *from) {
    size_t length = 0;
    for (; from && *from && length + 1 < room; from++) to[length++] = (unsigned char)*from < 32 ? ' ' : *from;
    to[length] = 0;
}

static void text(char *to, size_t room, const json_t *object, const char *key) {
    copy_text(to, room, json_string_value(json_object_get(object, key)));
}

static void categories(uint64_t bytes[LEVEE_CATEGORY_COUNT], const json_t *object, const char *key) {
    const json_t *all = json_object_get(object, key);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) bytes[c] = whole(all, levee_category_name((levee_category)c));
}

/* Whole lines of a file from `offset` on, as far as the scratch holds them, and how long they are. "" where there are
 * none. */
static const char *read_lines(run_view *v, const char *path, uint64_t offset, uint64_t *bytes, uint64_t *length) {
    int descriptor;
    uint64_t got = 0;
    *bytes = *length = 0;
    *v->tail = 0;
    if (file_open(path, &descriptor, bytes, NULL) != LEVEE_OK) return v->tail;
    if (file_read_at(descriptor, path, v->tail, VIEW_TAIL_BYTES, offset, &got, NULL) != LEVEE_OK) got = 0;
    file_close(descriptor);
    while (got && v->tail[got - 1] != '\n') got--;
    v->tail[got] = 0;
    *length = got;
    return v->tail;
}

/* The last whole lines of a file. */
static char *read_tail(run_view *v, const char *path, uint64_t most_bytes) {
    uint64_t bytes, length;
    int descriptor;
    if (file_open(path, &descriptor, &bytes, NULL) != LEVEE_OK)
        bytes = 0;
    else
        file_close(descriptor);
    uint64_t offset = bytes > most_bytes ? bytes - most_bytes : 0;
    read_lines(v, path, offset, &bytes, &length);
    char *begin = v->tail;
    if (offset) begin = strchr(begin, '\n') ? strchr(begin, '\n') + 1 : v->tail + length;
    return begin;
}

/* A line of a file of ours as an object; NULL when it is none. Whole numbers are read as reals, which hold bytes
 * exactly up to 8 PiB, because there are some that the library cannot read otherwise: a group without a limit has
 * 2^64 - 1. */
static json_t *parse_line(const char *line, size_t length) {
    json_error_t problem;
    json_t *object = json_parse(line, length, JSON_DECODE_INT_AS_REAL, &problem);
    if (json_is_object(object)) return object;
    json_decref(object);
    return NULL;
}

static void read_step(view_step *s, const json_t *line) {
    double validation = number(line, "val_loss");
    s->known = true;
    s->step = whole(line, "step");
    s->passes = whole(line, "passes");
    s->plan_level = whole(line, "plan_level");
    s->tokens = whole(line, "tokens");
    s->time = number(line, "time");
    s->loss = number(line, "loss");
    if (!isnan(validation)) s->validation_loss = validation;
    s->learning_rate = number(line, "learning_rate");
    s->gradient_norm = number(line, "grad_norm");
    s->tokens_per_second = number(line, "tokens_per_second");
    s->seconds = number(line, "seconds");
    s->held_bytes = whole(line, "held_bytes");
    s->peak_bytes = whole(line, "peak_bytes");
    s->predicted_bytes = whole(line, "predicted_bytes");
    s->budget_bytes = whole(line, "budget_bytes");
    categories(s->planned_bytes, line, "planned_bytes");
    categories(s->booked_bytes, line, "booked_bytes");
}

/* Halves the buckets. */
static void widen(view_curve *c) {
    for (uint32_t i = 0; i < VIEW_BUCKETS / 2; i++) {
        c->sums[i] = c->sums[2 * i] + c->sums[2 * i + 1];
        c->counts[i] = c->counts[2 * i] + c->counts[2 * i + 1];
    }
    c->used = VIEW_BUCKETS / 2;
    c->width *= 2;
}

static void add_loss(view_curve *c, double loss) {
    if (!isfinite(loss)) return;
    if (!c->width) c->width = 1;
    if (c->used && c->counts[c->used - 1] < c->width) {
        c->sums[c->used - 1] += loss;
        c->counts[c->used - 1]++;
        return;
    }
    if (c->used == VIEW_BUCKETS) widen(c);
    c->sums[c->used] = loss;
    c->counts[c->used++] = 1;
}

/* A number out of a line that metrics_write made, without its tree: a long run has hundreds of thousands. NaN for
 * null. */
static double find_number(const char *line, const char *key) {
    const char *found = strstr(line, key);
    char *end;
    if (!found) return NAN;
    double value = strtod(found + strlen(key), &end);
    return end == found + strlen(key) ? NAN : value;
}

/* Is what was read last still where it was? A run that is gone on with cuts the file back, and may have written on.
 */
static bool is_the_same(run_view *v, const char *path) {
    uint64_t bytes, length, last = strlen(v->last_line);
    if (!v->metrics_bytes) return true;
    const char *text = read_lines(v, path, v->metrics_bytes - last - 1, &bytes, &length);
    return length > last && !strncmp(text, v->last_line, last) && text[last] == '\n';
}

static void read_metrics(run_view *v) {
    char path[FILE_PATH_BYTES];
    uint64_t bytes, length;
    if (run_file_path(path, v->directory, RUN_METRICS, NULL) != LEVEE_OK) return;
    if (!is_the_same(v, path)) {
        v->metrics_bytes = 0;
        v->losses = (view_curve){0};
        v->last = (view_step){.validation_loss = NAN};
    }
    while (read_lines(v, path, v->metrics_bytes, &bytes, &length), length) {
        char *last = v->tail;
        for (char *line = v->tail, *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            double validation = find_number(line, "\"val_loss\":");
            add_loss(&v->losses, find_number(line, "\"loss\":"));
            if (!isnan(validation)) v->last.validation_loss = validation;
            last = line;
        }
        json_t *object = parse_line(last, strlen(last));
        if (object) read_step(&v->last, object);
        json_decref(object);
        v->metrics_bytes += length;
        size_t line_bytes = strnlen(last, sizeof v->last_line - 1);
        memcpy(v->last_line, last, line_bytes);
        v->last_line[line_bytes] = 0;
    }
}

static void read_plan(run_view *v) {
    char path[FILE_PATH_BYTES];
    json_t *all = NULL;
    if (run_file_path(path, v->directory, RUN_PLAN, NULL) != LEVEE_OK || !file_exists(path)) return;
    if (json_object_read_reals(&all, path, JSON_FILE_LIMIT_BYTES, NULL) != LEVEE_OK) return;
    const json_t *plan = json_object_get(all, "plan");
    v->planned = true;
    v->plan_steps = whole(json_object_get(all, "job"), "steps");
    v->plan_budget_bytes = whole(all, "budget_bytes");
    v->plan_predicted_bytes = whole(plan, "predicted_bytes");
    categories(v->plan_bytes, plan, "planned_bytes");
    json_decref(all);
}

static void read_event(run_view *v, const char *line, size_t length) {
    json_t *object = parse_line(line, length);
    if (!object) return;
    view_event *e = &v->events[v->event_count++ % VIEW_EVENTS];
    *e = (view_event){.time = number(object, "time"),
                      .step = whole(object, "step"),
                      .carried_out = json_is_true(json_object_get(object, "carried_out"))};
    text(e->action, sizeof e->action, object, "action");
    text(e->level, sizeof e->level, object, "level");
    text(e->breaker, sizeof e->breaker, object, "breaker");
    text(e->rule, sizeof e->rule, object, "rule");
    json_decref(object);
}

/* Of a file that is rotated the older part, where the new one is short. */
static void read_events_of(run_view *v, const char *path) {
    for (char *line = read_tail(v, path, VIEW_TAIL_BYTES), *end; (end = strchr(line, '\n')); line = end + 1)
        read_event(v, line, (size_t)(end - line));
}

/* The path of the older part of a file that is rotated; false when it is too long. */
static bool older_part(char older[FILE_PATH_BYTES], const char *path) {
    return snprintf(older, FILE_PATH_BYTES, "%s.1", path) < FILE_PATH_BYTES;
}

static void read_events(run_view *v) {
    char path[FILE_PATH_BYTES], older[FILE_PATH_BYTES];
    v->event_count = 0;
    if (run_file_path(path, v->directory, RUN_EVENTS, NULL) != LEVEE_OK) return;
    if (older_part(older, path)) read_events_of(v, older);
    read_events_of(v, path);
}

static void read_sample(run_view *v) {
    char path[FILE_PATH_BYTES], older[FILE_PATH_BYTES];
    view_sample *s = &v->sample;
    if (run_file_path(path, v->directory, RUN_SAMPLES, NULL) != LEVEE_OK) return;
    char *lines = read_tail(v, path, VIEW_TAIL_BYTES / 4), *last = NULL;
    if (!*lines && older_part(older, path)) lines = read_tail(v, older, VIEW_TAIL_BYTES / 4);
    for (char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1) last = line;
    json_t *object = last ? parse_line(last, strcspn(last, "\n")) : NULL;
    if (!object) return;
    const json_t *meters = json_object_get(object, "meters");
    s->known = true;
    s->time = number(object, "time");
    s->share = number(object, "share");
    s->step = whole(object, "step");
    s->held_bytes = whole(object, "held_bytes");
    text(s->level, sizeof s->level, object, "level");
    text(s->held_level, sizeof s->held_level, object, "held_level");
    text(s->source, sizeof s->source, object, "source");
    text(s->leak, sizeof s->leak, object, "leak");
    text(s->breaker, sizeof s->breaker, object, "breaker");
    for (unsigned m = 0; m < METER_COUNT; m++) {
        uint64_t value = whole(meters, guard_meter_name((guard_meter)m));
        s->meters[m] = (reading){.known = value != LEVEE_UNKNOWN_BYTES, .value = value};
    }
    json_decref(object);
}

static void read_log(run_view *v) {
    char path[FILE_PATH_BYTES];
    memset(v->log, 0, sizeof v->log);
    if (run_file_path(path, v->directory, RUN_LOG, NULL) != LEVEE_OK) return;
    for (char *line = read_tail(v, path, VIEW_TAIL_BYTES / 16), *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        memmove(v->log[0], v->log[1], sizeof v->log - sizeof v->log[0]);
        copy_text(v->log[VIEW_LOG_LINES - 1], VIEW_TEXT_BYTES, line);
    }
}

levee_status run_view_open(run_view *v, const char *directory, levee_error *error) {
    memset(v, 0, sizeof *v);
    v->last.validation_loss = NAN;
    if (snprintf(v->directory, sizeof v->directory, "%s", directory) >= (int)sizeof v->directory)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    return run_directory_look(directory, &v->goes_on, &v->pid, error);
}

levee_status run_view_look(run_view *v, levee_error *error) {
    levee_status status = run_directory_look(v->directory, &v->goes_on, &v->pid, error);
    if (status != LEVEE_OK) return status;
    read_plan(v);
    read_metrics(v);
    read_events(v);
    read_sample(v);
    read_log(v);
    return LEVEE_OK;
}
