/* levee_probe: which micro-batch is safe and fast, found by trying. See probe.h. */
#include "train/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "report/format.h"
#include "train/requests.h"
#include "train/trial.h"

/* A larger size must be faster by this share to be worth its memory; and twice in a row it may be not, because speed
 * on a machine that others use wanders. */
static const double worthwhile = 1.03;
enum { MOST_NOT_FASTER = 2 };

static const char file_mark[] = "# levee probe";

/* What is not ours is not written over. */
static levee_status check_target(const levee_options *o, char picture[FILE_PATH_BYTES], levee_error *error) {
    const char *path = o->probe.file, *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot && (!slash || dot > slash + 1) && dot != path ? (size_t)(dot - path) : strlen(path);
    char begin[sizeof file_mark];
    if (!*path || (slash && !slash[1])) return error_set(error, LEVEE_USAGE, "--probe-file: a file is needed");
    if (stem + sizeof ".svg" > FILE_PATH_BYTES)
        return error_set(error, LEVEE_USAGE, "%.200s...: --probe-file is too long", path);
    snprintf(picture, FILE_PATH_BYTES, "%.*s.svg", (int)stem, path);
    if (!strcmp(picture, path))
        return error_set(error, LEVEE_USAGE, "%s: the picture goes there; give --probe-file another name", path);
    bool ours = false;
    if (file_exists(path)) {
        levee_status status = file_read_text(path, begin, sizeof begin, error);
        if (status != LEVEE_OK) return status;
        ours = !strcmp(begin, file_mark);
    }
    for (unsigned i = 0; i < 2 && !ours; i++)
        if (file_exists(i ? picture : path))
            return error_set(error, LEVEE_USAGE,
                             "%s: is there, and was not written by a probe; give another --probe-file",
                             i ? picture : path);
    return LEVEE_OK;
}

static levee_status open_all(probe *p, const levee_options *given, levee_print *print, void *context,
                             levee_error *error) {
    const levee_options *o = &p->options;
    p->options = *given;
    p->options.on_pressure = RESPOND_STOP; /* another plan would be another size */
    requests_clear();
    levee_status status = run_open(&p->common, "probe", o, print, context, error);
    if (status == LEVEE_OK && !*o->data)
        status = error_set(error, LEVEE_USAGE, "--data is needed: a directory with train.jsonl");
    if (status == LEVEE_OK && o->deterministic)
        status = error_set(error, LEVEE_USAGE,
                           "deterministic passes hold one sequence, so there is nothing to probe; leave "
                           "--deterministic out");
    if (status == LEVEE_OK) status = drill_open(&p->exercises, o->inject, &p->common, error);
    if (status == LEVEE_OK) status = planning_open_data(&p->data, &p->common, NULL, error);
    return status;
}

/* With a batch size that was chosen by hand the training stays what it is, and only how it is split is asked; without
 * one, the batch grows with the size. */
static void set_size(probe *p, uint32_t sequences) {
    p->options.micro_batch_size = sequences;
    if (!p->options.batch_size_given) p->options.batch_size = sequences;
}

/* The largest size of use. */
static uint32_t most_sequences(const probe *p) {
    uint64_t tokens = run_step_tokens(1, UINT32_MAX) / planning_longest_tokens(&p->data, &p->options);
    uint64_t most = p->options.batch_size_given ? planning_step_examples(&p->options) : dataset_rows(p->data.train);
    if (most > tokens) most = tokens;
    return most ? (uint32_t)most : 1;
}

/* The least budget of a size, whatever is recomputed. */
static levee_status find_need(probe *p, uint32_t sequences, uint64_t *bytes, levee_error *error) {
    trial t = {0};
    set_size(p, sequences);
    const training_settings settings = planning_settings(&p->options, planning_longest_tokens(&p->data, &p->options));
    levee_status status = trial_open(&t, &p->common.model, &settings, &p->rates, error);
    if (status == LEVEE_OK) status = trial_smallest(&t, settings.wanted.shapes[0].capacity_tokens, bytes, error);
    trial_close(&t);
    *bytes += session_unplanned_bytes(&p->common.model);
    return status;
}

static void end_by_budget(probe *p, uint32_t sequences, uint64_t need) {
    p->end = PROBE_BUDGET;
    /* In MiB, because two figures in GiB may look the same. */
    snprintf(p->reason, sizeof p->reason, "a micro-batch of %u needs %.1f MiB at least, and the budget is %.1f MiB",
             sequences, (double)need / 0x1p20, (double)p->common.model.budget_bytes / 0x1p20);
}

static double fastest(const probe *p) {
    double most = 0;
    for (uint32_t i = 0; i < p->found.count; i++)
        if (p->found.rows[i].safe && p->found.rows[i].tokens_second > most) most = p->found.rows[i].tokens_second;
    return most;
}

/* Tries a size, prints what became of it, and says whether it was faster than all before. */
static levee_status try_size(probe *p, uint32_t sequences, bool *faster, levee_error *error) {
    char line[RAMP_LINE_BYTES];
    ramp_row row;
    *faster = false;
    uint64_t need = 0;
    levee_status status = p->found.count ? find_need(p, sequences, &need, error) : LEVEE_OK;
    if (status == LEVEE_OK && need > p->common.model.budget_bytes) {
        end_by_budget(p, sequences, need);
        return LEVEE_OK;
    }
    set_size(p, sequences);
    if (status == LEVEE_OK) status = probe_attempt(p, &row, error);
    if (status != LEVEE_OK || !row.tokens) return status;
    *faster = row.safe && row.tokens_second >= worthwhile * fastest(p);
    p->found.rows[p->found.count++] = row;
    ramp_line(line, &row);
    run_print(&p->common, "%s", line);
    return LEVEE_OK;
}

/* Between a size that fits and one that does not: the largest that fits, by plans alone, and then by trying it. */
static levee_status try_largest(probe *p, uint32_t fits, uint32_t does_not, levee_error *error) {
    bool faster;
    uint64_t need = 0;
    levee_status status = LEVEE_OK;
    while (fits + 1 < does_not && status == LEVEE_OK) {
        uint32_t middle = fits + (does_not - fits) / 2;
        status = find_need(p, middle, &need, error);
        if (status != LEVEE_OK) return status;
        if (need > p->common.model.budget_bytes) {
            end_by_budget(p, middle, need);
            does_not = middle;
        } else
            fits = middle;
    }
    const uint32_t count = p->found.count, tried = p->found.rows[count - 1].sequences;
    for (; fits > tried && status == LEVEE_OK && p->found.count == count && p->end == PROBE_BUDGET; fits--) {
        char reason[LEVEE_ERROR_BYTES];
        memcpy(reason, p->reason, sizeof reason);
        p->end = PROBE_GOES_ON;
        status = try_size(p, fits, &faster, error);
        if (p->end != PROBE_GOES_ON) continue;
        p->end = PROBE_BUDGET;
        memcpy(p->reason, reason, sizeof reason);
    }
    return status;
}

static levee_status climb(probe *p, levee_error *error) {
    const uint32_t most = most_sequences(p);
    uint32_t sequences = 1, before = 0;
    unsigned not_faster = 0;
    levee_status status = LEVEE_OK;
    while (status == LEVEE_OK && p->end == PROBE_GOES_ON) {
        bool faster;
        status = try_size(p, sequences, &faster, error);
        not_faster = faster ? 0 : not_faster + 1;
        if (status != LEVEE_OK || p->end != PROBE_GOES_ON) break;
        if (sequences == most) {
            p->end = PROBE_WHOLE;
            snprintf(p->reason, sizeof p->reason, "a pass of %u holds %s", most,
                     p->options.batch_size_given ? "the whole step" : "all that is of use");
        } else if (not_faster == MOST_NOT_FASTER) {
            p->end = PROBE_NOT_FASTER;
            snprintf(p->reason, sizeof p->reason, "%u larger sizes in a row were not %.0f %% faster", not_faster,
                     100 * (worthwhile - 1));
        }
        before = sequences;
        sequences = sequences < most / 2 ? 2 * sequences : most;
    }
    return status == LEVEE_OK && p->end == PROBE_BUDGET ? try_largest(p, before, sequences, error) : status;
}

/* The smallest of those that are about as fast as the fastest. */
static const ramp_row *choose(const probe *p) {
    const ramp_row *chosen = NULL;
    double enough = fastest(p) / worthwhile;
    for (uint32_t i = 0; i < p->found.count; i++) {
        const ramp_row *row = &p->found.rows[i];
        if (row->safe && row->tokens_second >= enough && (!chosen || row->sequences < chosen->sequences))
            chosen = row;
    }
    return chosen;
}

static void add_comment(formatter *f, const char *lines) {
    for (size_t length; *lines; lines += length + (lines[length] == '\n')) {
        length = strcspn(lines, "\n");
        format_add(f, "# %.*s\n", (int)length, lines);
    }
}

/* What was measured stands above the options. */
static levee_status describe(text_buffer *text, const probe *p, levee_error *error) {
    char lines[RAMP_LINE_BYTES];
    formatter f = {.text = text, .error = error};
    format_add(&f, "%s: it ended because %s\n", file_mark, p->reason);
    ramp_heading(lines);
    add_comment(&f, lines);
    for (uint32_t i = 0; i < p->found.count; i++) {
        ramp_line(lines, &p->found.rows[i]);
        add_comment(&f, lines);
    }
    return f.status;
}

static levee_status write_found(probe *p, const levee_options *given, const char *picture, levee_error *error) {
    text_buffer heading = {0}, drawn = {0};
    const char *path = given->probe.file, *name = strrchr(given->model, '/');
    char title[256], subtitle[256], steps[32];
    snprintf(title, sizeof title, "%.100s: memory and speed by micro-batch",
             name && name[1] ? name + 1 : given->model);
    snprintf(steps, sizeof steps, "%u steps", given->probe.steps);
    snprintf(subtitle, sizeof subtitle, "%s at each size, the longest sequence of %u tokens", steps,
             planning_longest_tokens(&p->data, given) + 1);
    p->found.title = title;
    p->found.subtitle = subtitle;
    set_size(p, p->found.chosen->sequences);
    p->options.on_pressure = given->on_pressure;
    p->options.budget_bytes = p->common.model.budget_bytes;
    *p->options.inject = 0;
    levee_status status = describe(&heading, p, error);
    if (status == LEVEE_OK) status = ramp_draw(&drawn, &p->found, error);
    if (status == LEVEE_OK) status = options_write(&p->options, path, heading.data, error);
    if (status == LEVEE_OK) status = file_write(picture, drawn.data, drawn.bytes, error);
    text_free(&heading);
    text_free(&drawn);
    if (status == LEVEE_OK) run_print(&p->common, "written: %s, for levee train -c; %s", path, picture);
    return status;
}

static void print_beginning(const probe *p) {
    char heading[RAMP_LINE_BYTES], budget[BYTES_TEXT];
    run_print(&p->common,
              "%llu rows, the longest of %u tokens; %u steps at each size, within %s; nothing is stored of them",
              (unsigned long long)dataset_rows(p->data.train), dataset_longest(p->data.train), p->options.probe.steps,
              bytes_format(budget, p->common.model.budget_bytes));
    ramp_heading(heading);
    run_print(&p->common, "%s", heading);
}

/* Says what came of it; without a size that is safe nothing is written. */
static levee_status conclude(probe *p, const levee_options *given, const char *picture, levee_error *error) {
    run_print(&p->common, "ended: %s", p->reason);
    p->found.chosen = choose(p);
    p->found.budget_bytes = p->common.model.budget_bytes;
    const ramp_row *chosen = p->found.chosen;
    if (!chosen) return error_set(error, LEVEE_STOPPED, "no size is known to be safe: %s", p->reason);
    char peak[BYTES_TEXT], budget[BYTES_TEXT], size[64] = "", larger[64] = "";
    for (uint32_t i = 0; i < p->found.count; i++)
        if (p->found.rows[i].safe && p->found.rows[i].sequences > chosen->sequences)
            snprintf(larger, sizeof larger, ", and larger sizes were not %.0f %% faster", 100 * (worthwhile - 1));
    if (!given->batch_size_given) snprintf(size, sizeof size, " --batch-size %u", chosen->sequences);
    run_print(&p->common, "safe and fast: --micro-batch-size %u%s; it held %s of %s%s", chosen->sequences, size,
              bytes_format(peak, chosen->peak_bytes), bytes_format(budget, p->found.budget_bytes), larger);
    levee_status status = write_found(p, given, picture, error);
    if (status == LEVEE_OK && p->end == PROBE_STOPPED)
        status = error_set(error, LEVEE_STOPPED, "stopped as asked: larger sizes were not tried");
    return status;
}

levee_status levee_probe(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    char picture[FILE_PATH_BYTES];
    probe *p = ledger_alloc(LEVEE_RUNTIME, sizeof *p);
    if (!p) return error_out_of_memory(error, "the probe", sizeof *p);
    levee_status status = check_target(options, picture, error);
    if (status == LEVEE_OK) status = open_all(p, options, print, context, error);
    if (status == LEVEE_OK) {
        print_beginning(p);
        status = climb(p, error);
    }
    if (status == LEVEE_OK) status = conclude(p, options, picture, error);
    drill_close(&p->exercises);
    planning_close_data(&p->data);
    run_close(&p->common);
    ledger_free(p);
    return status;
}
