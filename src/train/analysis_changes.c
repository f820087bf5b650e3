/* What other settings would take: see analysis.h. Every figure is a plan's. */
#include <stdio.h>

#include "base/error.h"
#include "train/analysis.h"
#include "train/trial.h"

/* Rows that no pass is larger than (run_step_tokens). */
enum { MOST_PASS_TOKENS = 1 << 20 };

static uint64_t plan_budget(const analysis *a) {
    uint64_t budget = a->common.model.budget_bytes;
    return budget > a->unplanned_bytes ? budget - a->unplanned_bytes : 0;
}

/* Training settings after one more option. */
static levee_status changed_settings(const analysis *a, const char *key, const char *given,
                                     training_settings *settings, levee_error *error) {
    levee_options o = *a->common.options;
    levee_status status = options_set(&o, key, given, error);
    if (status != LEVEE_OK) return status;
    uint32_t longest = planning_longest_tokens(&a->data, &o);
    if (longest > o.max_sequence_tokens - 1) longest = o.max_sequence_tokens - 1;
    *settings = planning_settings(&o, longest);
    return LEVEE_OK;
}

/* The budget for a plan of so many bytes; opening a tiny job takes more. */
static uint64_t budget_for(const analysis *a, uint64_t planned_bytes) {
    uint64_t bytes = training_round_budget(planned_bytes + a->unplanned_bytes);
    return bytes > a->report.least_budget_bytes ? bytes : a->report.least_budget_bytes;
}

/* The most sequences of the longest kind that one pass may hold. What a pass takes grows almost evenly with them, so
 * the last step that fits is aimed at and then stepped to. */
static levee_status find_largest_pass(analysis *a, trial *t, levee_error *error) {
    enum { MOST_STEPS = 12 };
    const uint32_t longest = a->settings.longest_tokens, most = MOST_PASS_TOKENS / longest;
    uint64_t budget = plan_budget(a), one, two, bytes;
    levee_status status = trial_smallest(t, longest, &one, error);
    if (status == LEVEE_OK) status = trial_smallest(t, 2 * longest, &two, error);
    if (status != LEVEE_OK || one > budget) return status;
    uint64_t slope = two > one ? two - one : 1, sequences = 1 + (budget - one) / slope, good = 1, bad = most + 1ull;
    for (unsigned step = 0; step < MOST_STEPS && good + 1 < bad; step++) {
        if (sequences >= bad) sequences = bad - 1;
        if (sequences <= good) sequences = good + 1;
        status = trial_smallest(t, (uint32_t)(sequences * longest), &bytes, error);
        if (status != LEVEE_OK) return status;
        uint64_t away = (bytes > budget ? bytes - budget + slope - 1 : budget - bytes) / slope;
        if (bytes <= budget) {
            good = sequences;
            sequences += away ? away : 1;
        } else {
            bad = sequences;
            sequences = away < sequences ? sequences - away : 1;
        }
    }
    a->report.largest_sequences = (uint32_t)good;
    return LEVEE_OK;
}

levee_status analysis_find_limits(analysis *a, levee_error *error) {
    trial t = {0};
    training_settings kept = a->settings, recomputed = a->settings;
    uint64_t one = 0, step = 0;
    kept.recompute = RECOMPUTE_OFF;
    if (recomputed.recompute == RECOMPUTE_AUTO) recomputed.recompute = RECOMPUTE_ALL;
    levee_status status = trial_open(&t, &a->common.model, &kept, &a->rates, error);
    if (status != LEVEE_OK) return status;
    t.engine.searched = a->searched;
    uint32_t longest = kept.longest_tokens, whole = kept.step_tokens > longest ? kept.step_tokens : longest;
    status = trial_smallest(&t, longest, &one, error);
    /* With the head's largest chunk, which a search stops at: then nothing is left to be won. */
    t.engine.settings.wanted.shapes[0].head_chunk_tokens = a->settings.deterministic ? 32 : 128;
    if (status == LEVEE_OK) status = trial_smallest(&t, whole, &step, error);
    t.engine.settings.wanted.shapes[0].head_chunk_tokens = 0;
    t.engine.settings.recompute = recomputed.recompute;
    a->report.unrecomputed_bytes = budget_for(a, one);
    a->report.unrecomputed_step_bytes = budget_for(a, step);
    if (status == LEVEE_OK && !a->settings.deterministic) status = find_largest_pass(a, &t, error);
    trial_close(&t);
    if (status == LEVEE_OK && a->settings.deterministic) a->report.largest_sequences = a->report.fits;
    return status;
}

/* Plans other settings, and says what they would take. */
static levee_status try_settings(const analysis *a, const training_settings *settings, report_change *change,
                                 levee_error *error) {
    trial t = {0};
    trial_result found;
    uint64_t least = 0;
    levee_status status = trial_open(&t, &a->common.model, settings, &a->rates, error);
    if (status != LEVEE_OK) return status;
    status = trial_plan(&t, settings->wanted.shapes[0].capacity_tokens, plan_budget(a), &found, error);
    if (status == LEVEE_OK) status = trial_smallest(&t, settings->longest_tokens, &least, error);
    trial_close(&t);
    change->fits = found.fits;
    change->peak_bytes = found.planned_bytes + a->runtime_bytes;
    change->least_bytes = least + a->runtime_bytes;
    return status;
}

/* Whether settings fit at their least; *least_bytes is what it takes then. */
static levee_status fits_at_least(const analysis *a, const training_settings *settings, bool *fits,
                                  uint64_t *least_bytes, levee_error *error) {
    trial t = {0};
    uint64_t planned = 0;
    levee_status status = trial_open(&t, &a->common.model, settings, &a->rates, error);
    if (status == LEVEE_OK) status = trial_smallest(&t, settings->longest_tokens, &planned, error);
    trial_close(&t);
    if (status != LEVEE_OK) return status;
    *fits = planned <= plan_budget(a);
    *least_bytes = planned + a->runtime_bytes;
    return LEVEE_OK;
}

static levee_status try_change(analysis *a, const char *key, const char *given, levee_error *error) {
    plan_report *r = &a->report;
    if (r->change_count == REPORT_CHANGES) return LEVEE_OK;
    report_change *change = &r->changes[r->change_count++];
    training_settings settings;
    snprintf(change->option, sizeof change->option, "--%s %s", key, given);
    levee_status status = changed_settings(a, key, given, &settings, error);
    return status == LEVEE_OK ? try_settings(a, &settings, change, error) : status;
}

static levee_status try_number(analysis *a, bool applies, const char *key, uint32_t number, levee_error *error) {
    char given[16];
    snprintf(given, sizeof given, "%u", number);
    return applies ? try_change(a, key, given, error) : LEVEE_OK;
}

levee_status analysis_find_changes(analysis *a, levee_error *error) {
    const plan_report *r = &a->report;
    const fine_tune_type type = a->settings.trained.type;
    bool fits;
    levee_status status = fits_at_least(a, &a->settings, &fits, &a->report.least_bytes, error);
    const struct {
        bool applies;
        const char *key;
        uint32_t number;
    } numbers[] = {{r->longest_tokens > 2, "max-seq-length", (r->longest_tokens + 1) / 2},
                   {fine_tune_is_adapter(type) && r->rank > 1, "rank", r->rank / 2},
                   {r->trained_layers > 1, "num-layers", r->trained_layers / 2},
                   {r->capacity_tokens > r->longest_tokens, "batch-size", 1}};
    const struct {
        bool applies;
        const char *key, *given;
    } words[] = {{r->recomputed < r->candidates, "grad-checkpoint", "all"},
                 {type == FINE_TUNE_FULL || type == FINE_TUNE_DORA, "fine-tune-type", "lora"},
                 {type != FINE_TUNE_HEAD, "fine-tune-type", "head"}};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers && status == LEVEE_OK; i++)
        status = try_number(a, numbers[i].applies, numbers[i].key, numbers[i].number, error);
    for (unsigned i = 0; i < sizeof words / sizeof *words && status == LEVEE_OK; i++)
        if (words[i].applies) status = try_change(a, words[i].key, words[i].given, error);
    return status;
}

/* One column: all numbers of sequences of one length. */
static levee_status fill_column(analysis *a, uint32_t column, levee_error *error) {
    plan_report *r = &a->report;
    training_settings settings = a->settings;
    trial t = {0};
    settings.longest_tokens = r->column_tokens[column] - 1;
    levee_status status = trial_open(&t, &a->common.model, &settings, &a->rates, error);
    if (status != LEVEE_OK) return status;
    for (uint32_t row = 0; row < r->row_count && status == LEVEE_OK; row++) {
        report_cell *cell = &r->cells[row][column];
        trial_result found;
        uint32_t tokens = r->row_sequences[row] * settings.longest_tokens;
        t.engine.settings.step_tokens = tokens;
        status = trial_plan(&t, tokens, plan_budget(a), &found, error);
        cell->fit = !found.fits ? FIT_NOT : found.recomputed_tensors ? FIT_RECOMPUTED : FIT_AS_IT_IS;
        cell->peak_bytes = found.planned_bytes + a->runtime_bytes;
    }
    trial_close(&t);
    return status;
}

levee_status analysis_fill_table(analysis *a, levee_error *error) {
    plan_report *r = &a->report;
    const uint32_t most = a->common.model.config.max_positions, own = a->common.options->max_sequence_tokens;
    if (a->settings.deterministic)
        return error_set(error, LEVEE_USAGE,
                         "--table: deterministic passes hold one sequence, so there is nothing to compare; leave "
                         "--deterministic out");
    for (uint32_t sequences = 1; r->row_count < REPORT_ROWS; sequences *= 2)
        r->row_sequences[r->row_count++] = sequences;
    for (int32_t power = -2; power <= 2; power++) {
        uint64_t tokens = power < 0 ? own >> -power : (uint64_t)own << power;
        if (tokens >= 2 && (tokens <= most || !power) && tokens <= MOST_PASS_TOKENS / 32)
            r->column_tokens[r->column_count++] = (uint32_t)tokens;
    }
    levee_status status = LEVEE_OK;
    for (uint32_t column = 0; column < r->column_count && status == LEVEE_OK; column++)
        status = fill_column(a, column, error);
    return status;
}

/* Adds a change to those that do when a training with it would start. */
static levee_status add_if_it_fits(analysis *a, const char *key, const char *given, bool *fits, levee_error *error) {
    training_settings settings;
    report_change found = {0};
    levee_status status = changed_settings(a, key, given, &settings, error);
    if (status == LEVEE_OK) status = fits_at_least(a, &settings, fits, &found.least_bytes, error);
    if (status == LEVEE_OK && *fits)
        status = trial_fits(&a->common.model, &settings, a->common.model.budget_bytes, fits, error);
    if (status != LEVEE_OK || !*fits || a->report.nearest_count == REPORT_CHANGES) return status;
    found.fits = true;
    snprintf(found.option, sizeof found.option, "--%s %s", key, given);
    a->report.nearest[a->report.nearest_count++] = found;
    return LEVEE_OK;
}

/* The largest multiple of `grain` below `own` that fits, by halving; then down from it until a training starts.
 * Multiples up to `none` are not tried, because no training takes them. */
static levee_status find_number(analysis *a, const char *key, uint32_t own, uint32_t grain, uint32_t none,
                                levee_error *error) {
    enum { MOST_STEPS_DOWN = 3 };
    uint32_t low = none, high = (own + grain - 1) / grain; /* multiples: low fits or is none, high does not */
    char given[16];
    levee_status status = LEVEE_OK;
    while (low + 1 < high && status == LEVEE_OK) {
        uint32_t middle = (low + high) / 2;
        training_settings settings;
        uint64_t least;
        bool fits = false;
        snprintf(given, sizeof given, "%u", middle * grain);
        status = changed_settings(a, key, given, &settings, error);
        if (status == LEVEE_OK) status = fits_at_least(a, &settings, &fits, &least, error);
        *(fits ? &low : &high) = middle;
    }
    bool added = false;
    for (unsigned down = 0; down < MOST_STEPS_DOWN && low > none && !added && status == LEVEE_OK; down++, low--) {
        snprintf(given, sizeof given, "%u", low * grain);
        status = add_if_it_fits(a, key, given, &added, error);
    }
    return status;
}

levee_status analysis_find_nearest(analysis *a, levee_error *error) {
    plan_report *r = &a->report;
    const fine_tune_type type = a->settings.trained.type;
    bool fits, adapter = fine_tune_is_adapter(type), not_lora = type == FINE_TUNE_FULL || type == FINE_TUNE_DORA;
    uint32_t grain = r->longest_tokens > 512 ? 64 : r->longest_tokens > 64 ? 8 : 1;
    snprintf(r->tried, sizeof r->tried, "each alone: %sa smaller --max-seq-length%s%s%s, --fine-tune-type head",
             a->settings.recompute != RECOMPUTE_AUTO ? "--grad-checkpoint auto, " : "", adapter ? ", --rank" : "",
             r->trained_layers > 1 ? ", fewer --num-layers" : "", not_lora ? ", --fine-tune-type lora" : "");
    levee_status status = LEVEE_OK;
    if (a->settings.recompute != RECOMPUTE_AUTO) status = add_if_it_fits(a, "grad-checkpoint", "auto", &fits, error);
    if (status == LEVEE_OK)
        status = find_number(a, "max-seq-length", r->longest_tokens + 1, grain, grain == 1, error);
    if (status == LEVEE_OK && adapter) status = find_number(a, "rank", r->rank, 1, 0, error);
    if (status == LEVEE_OK && r->trained_layers > 1)
        status = find_number(a, "num-layers", r->trained_layers, 1, 0, error);
    if (status == LEVEE_OK && not_lora) status = add_if_it_fits(a, "fine-tune-type", "lora", &fits, error);
    if (status == LEVEE_OK && type != FINE_TUNE_HEAD)
        status = add_if_it_fits(a, "fine-tune-type", "head", &fits, error);
    return status;
}
