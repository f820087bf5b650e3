/* metrics.jsonl and samples.jsonl of a run: see history.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/history.h"
#include "report/jsonl.h"

/* Bytes under a key; NAN when they are not known. */
static double bytes_of(const json_t *object, const char *key) {
    uint64_t bytes;
    return jsonl_count(object, key, &bytes) ? (double)bytes : NAN;
}

static void read_categories(const json_t *line, const char *key, double bytes[LEVEE_CATEGORY_COUNT]) {
    const json_t *object = json_object_get(line, key);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        double found = bytes_of(object, levee_category_name((levee_category)c));
        bytes[c] = isnan(found) ? 0 : found;
    }
}

/* A point of one step; false when the line is of no step. */
static bool read_point(const json_t *line, history_point *p) {
    uint64_t step;
    if (!jsonl_count(line, "step", &step)) return false;
    double loss = jsonl_number(line, "loss", NAN);
    *p = (history_point){.first = step,
                         .last = step,
                         .steps = 1,
                         .finite_steps = !isnan(loss),
                         .loss = loss,
                         .least_loss = loss,
                         .most_loss = loss,
                         .validation_step = step,
                         .validation_loss = jsonl_number(line, "val_loss", NAN),
                         .learning_rate = jsonl_number(line, "learning_rate", NAN),
                         .gradient_norm = jsonl_number(line, "grad_norm", NAN),
                         .tokens_per_second = jsonl_number(line, "tokens_per_second", NAN),
                         .held_bytes = bytes_of(line, "held_bytes")};
    read_categories(line, "booked_bytes", p->booked_bytes);
    return true;
}

static void keep_loss(history *h, const history_point *p) {
    if (!h->steps) h->first_loss = p->loss;
    h->last_loss = p->loss;
    if (isnan(p->loss)) return;
    h->recent[h->recent_count++ % HISTORY_RECENT] = p->loss;
    if (!(p->loss >= h->least_loss)) {
        h->least_loss = p->loss;
        h->least_loss_step = p->last;
    }
}

static void keep_validation(history *h, const history_point *p) {
    if (isnan(p->validation_loss)) return;
    h->last_validation = p->validation_loss;
    h->last_validation_step = p->last;
    if (p->validation_loss >= h->least_validation) return;
    h->least_validation = p->validation_loss;
    h->least_validation_step = p->last;
}

static double larger(double a, double b) { return isnan(a) || b > a ? b : a; }

/* Of plans, budget and prediction the last line counts: a run may have been gone on with under others. */
static void keep_memory(history *h, const json_t *line, const history_point *p) {
    double peak = bytes_of(line, "peak_bytes"), predicted = bytes_of(line, "predicted_bytes"),
           budget = bytes_of(line, "budget_bytes");
    h->peak_bytes = larger(larger(h->peak_bytes, p->held_bytes), peak);
    if (!isnan(predicted)) h->predicted_bytes = predicted;
    if (!isnan(budget)) h->budget_bytes = budget;
    read_categories(line, "planned_bytes", h->planned_bytes);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        h->most_booked_bytes[c] = fmax(h->most_booked_bytes[c], p->booked_bytes[c]);
}

static void keep_time(history *h, const json_t *line) {
    double time = jsonl_number(line, "time", NAN);
    if (isnan(h->begin_time)) h->begin_time = time;
    if (!isnan(time)) h->end_time = time;
    h->tokens += jsonl_number(line, "tokens", 0);
    h->seconds += jsonl_number(line, "seconds", 0);
    h->tokens_per_second = h->seconds > 0 ? h->tokens / h->seconds : 0;
}

static void keep_step(history *h, const json_t *line, const history_point *p) {
    if (h->steps && p->last <= h->last_step) { /* two runs in one file: the first that said it stays */
        h->out_of_order++;
        return;
    }
    keep_loss(h, p);
    keep_validation(h, p);
    keep_memory(h, line, p);
    keep_time(h, line);
    if (json_is_false(json_object_get(line, "applied")) && !h->not_applied++) h->first_not_applied = p->last;
    if (!h->steps++) h->first_step = p->last;
    h->last_step = p->last;
    history_add(h, p);
}

/* A sample is of a process that is watched: it has no loss. Several may be of one step. */
static void keep_sample(history *h, const json_t *line, const history_point *p) {
    if (h->steps && p->last < h->last_step) {
        h->out_of_order++;
        return;
    }
    keep_memory(h, line, p);
    keep_time(h, line);
    if (!h->steps++) h->first_step = p->last;
    h->last_step = p->last;
    history_add(h, p);
}

typedef void keep_line(history *h, const json_t *line, const history_point *p);

static levee_status read_lines(history *h, history_file *file, const char *name, keep_line *keep,
                               levee_error *error) {
    jsonl_reader lines;
    const json_t *line;
    char path[FILE_PATH_BYTES];
    history_point point;
    if (!file_join(path, h->directory, name) || !file_exists(path)) return LEVEE_OK;
    levee_status status = jsonl_open(&lines, path, error);
    while (status == LEVEE_OK) {
        status = jsonl_next(&lines, &line, error);
        if (status != LEVEE_OK || !line) break;
        if (read_point(line, &point))
            keep(h, line, &point);
        else
            jsonl_refuse(&lines);
    }
    if (status == LEVEE_OK) {
        if (!file->unreadable) file->first_unreadable = lines.first_unreadable;
        file->there = true;
        file->lines += lines.line;
        file->unreadable += lines.unreadable;
        file->cut_short = lines.cut_short;
    }
    jsonl_close(&lines);
    return status;
}

levee_status history_read_metrics(history *h, levee_error *error) {
    return read_lines(h, &h->metrics, "metrics.jsonl", keep_step, error);
}

levee_status history_read_samples(history *h, levee_error *error) {
    levee_status status = read_lines(h, &h->samples, "samples.jsonl.1", keep_sample, error);
    if (status == LEVEE_OK) status = read_lines(h, &h->samples, "samples.jsonl", keep_sample, error);
    h->by_samples = h->samples.there;
    return status;
}
