/* What a run's directory tells: see history.h. */
#include "report/history.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

/* The mean of two means; what has no weight says nothing. */
static double mean(double a, uint64_t weight_a, double b, uint64_t weight_b) {
    if (!weight_a || isnan(a)) return b;
    if (!weight_b || isnan(b)) return a;
    double whole = (double)weight_a + (double)weight_b;
    return a * ((double)weight_a / whole) + b * ((double)weight_b / whole);
}

/* Takes a later point into an earlier one. */
static void take_in(history_point *p, const history_point *later) {
    p->loss = mean(p->loss, p->finite_steps, later->loss, later->finite_steps);
    p->tokens_per_second = mean(p->tokens_per_second, p->steps, later->tokens_per_second, later->steps);
    p->least_loss = fmin(p->least_loss, later->least_loss); /* of a number and NAN, the number */
    p->most_loss = fmax(p->most_loss, later->most_loss);
    p->last = later->last;
    p->steps += later->steps;
    p->finite_steps += later->finite_steps;
    p->learning_rate = later->learning_rate;
    p->gradient_norm = later->gradient_norm;
    if (!isnan(later->validation_loss)) {
        p->validation_loss = later->validation_loss;
        p->validation_step = later->validation_step;
    }
    if (isnan(p->held_bytes) || later->held_bytes > p->held_bytes) {
        p->held_bytes = later->held_bytes;
        memcpy(p->booked_bytes, later->booked_bytes, sizeof p->booked_bytes);
    }
}

static void halve(history *h) {
    for (uint32_t i = 0; i < h->count / 2; i++) {
        history_point pair = h->points[2 * i];
        take_in(&pair, &h->points[2 * i + 1]);
        h->points[i] = pair;
    }
    h->count /= 2;
    h->stride *= 2;
}

void history_add(history *h, const history_point *step) {
    if (h->count && h->points[h->count - 1].steps < h->stride) {
        take_in(&h->points[h->count - 1], step);
        return;
    }
    if (h->count == HISTORY_POINTS) halve(h);
    h->points[h->count++] = *step;
}

uint32_t history_decisions(const history *h) {
    return h->decision_count < 2 * HISTORY_DECISIONS ? (uint32_t)h->decision_count : 2 * HISTORY_DECISIONS;
}

const history_decision *history_decision_at(const history *h, uint32_t number) {
    if (number < HISTORY_DECISIONS || h->decision_count <= 2 * HISTORY_DECISIONS) return &h->decisions[number];
    uint64_t oldest = (h->decision_count - HISTORY_DECISIONS) % HISTORY_DECISIONS;
    return &h->decisions[HISTORY_DECISIONS + (oldest + number - HISTORY_DECISIONS) % HISTORY_DECISIONS];
}

static bool is_same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

const char *history_setting_value(const history *h, const history_setting *named) {
    for (uint32_t i = 0; i < h->setting_count; i++)
        if (!strcmp(h->settings[i].key, named->key) && is_same_text(h->settings[i].section, named->section))
            return h->settings[i].value;
    return NULL;
}

double history_recent_loss(const history *h) {
    uint64_t count = h->recent_count < HISTORY_RECENT ? h->recent_count : HISTORY_RECENT;
    double sum = 0;
    for (uint64_t i = 0; i < count; i++) sum += h->recent[i] / (double)count;
    return count ? sum : NAN;
}

const char *history_name(const history *h) {
    const char *slash = strrchr(h->directory, '/');
    return slash ? slash + 1 : h->directory;
}

static void name_directory(history *h, const char *directory) {
    size_t length = (size_t)snprintf(h->directory, sizeof h->directory, "%s", directory);
    if (length >= sizeof h->directory) length = sizeof h->directory - 1;
    while (length > 1 && h->directory[length - 1] == '/') h->directory[--length] = 0;
}

static levee_status take_memory(history *h, levee_error *error) {
    h->points = ledger_alloc_array(LEVEE_RUNTIME, HISTORY_POINTS, sizeof *h->points);
    h->decisions = ledger_alloc_array(LEVEE_RUNTIME, 2 * HISTORY_DECISIONS, sizeof *h->decisions);
    if (h->points && h->decisions) return LEVEE_OK;
    return error_out_of_memory(error, h->directory, HISTORY_POINTS * sizeof *h->points);
}

static levee_status read_all(history *h, levee_error *error) {
    levee_status status = history_read_metrics(h, error);
    if (status == LEVEE_OK) status = history_read_events(h, error);
    if (status == LEVEE_OK && !h->metrics.there) status = history_read_samples(h, error);
    if (status == LEVEE_OK) status = history_read_settings(h, error);
    if (status == LEVEE_OK) history_read_plan(h);
    return status;
}

levee_status history_open(history *h, const char *directory, levee_error *error) {
    *h = (history){.stride = 1,
                   .first_loss = NAN,
                   .last_loss = NAN,
                   .least_loss = NAN,
                   .last_validation = NAN,
                   .least_validation = NAN,
                   .begin_time = NAN,
                   .end_time = NAN,
                   .peak_bytes = NAN,
                   .predicted_bytes = NAN,
                   .budget_bytes = NAN};
    name_directory(h, directory);
    if (!file_is_directory(directory))
        return error_set(error, LEVEE_MISSING_INPUT, "%s: is no directory; give the --adapter-path of a training",
                         directory);
    levee_status status = take_memory(h, error);
    if (status == LEVEE_OK) status = read_all(h, error);
    if (status == LEVEE_OK && !h->metrics.there && !h->events.there && !h->samples.there)
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: holds no metrics.jsonl and no events.jsonl; give the --adapter-path of a training",
                         directory);
    return status;
}

void history_close(history *h) {
    json_decref(h->plan);
    ledger_free(h->points);
    ledger_free(h->decisions);
    ledger_free(h->settings_text);
    memset(h, 0, sizeof *h);
}
