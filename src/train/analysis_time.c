/* How long a step takes, estimated: see analysis.h. */
#include <math.h>

#include "doctor/calibration.h"
#include "train/analysis.h"

/* What an average step holds. */
typedef struct step_tokens {
    double tokens; /* rows, of all its examples */
    double
        sequence_tokens; /* the sum of the squares of the lengths of its sequences, over their sum (graph/work.h) */
} step_tokens;

/* Of the data; without them, all sequences are as long as the longest. The last token of a row is only a target. */
static step_tokens count_tokens(const analysis *a) {
    const dataset *data = a->data.train;
    double sum = 0, squares = 0, examples = a->report.examples_step;
    step_tokens longest = {.tokens = examples * a->settings.longest_tokens,
                           .sequence_tokens = a->settings.longest_tokens};
    if (!data) return longest;
    uint64_t rows = dataset_rows(data);
    for (uint64_t row = 0; row < rows; row++) {
        double tokens = dataset_row_tokens(data, row) - 1.0;
        sum += tokens;
        squares += tokens * tokens;
    }
    return (step_tokens){.tokens = examples * sum / (double)rows, .sequence_tokens = squares / sum};
}

/* Passes of an average step: as many whole sequences of average length as each holds. */
static double count_passes(const analysis *a, const step_tokens *step) {
    double examples = a->report.examples_step, mean = step->tokens / examples;
    uint64_t held = a->settings.deterministic ? 1 : (uint64_t)(a->report.capacity_tokens / mean);
    return ceil(examples / (double)(held ? held : 1));
}

void analysis_estimate_time(analysis *a) {
    const session *model = &a->common.model;
    plan_report *r = &a->report;
    step_tokens step = count_tokens(a);
    calibration here;
    double rates[WORK_KINDS];
    char path[FILE_PATH_BYTES];
    r->tokens_step = step.tokens;
    calibration_identify(&here, kernel_roots_default, a->common.options->threads);
    if (calibration_path(path, NULL) != LEVEE_OK || !calibration_find(path, &here)) return;
    if (!calibration_rates(&here, model->device->compute(model->state), rates)) return;
    double passes = count_passes(a, &step);
    work pass = {0}, all = {0};
    work_add_pass(&pass, &a->engine.levels[0].planned.chosen.g, step.tokens / passes, step.sequence_tokens);
    for (unsigned kind = 0; kind < WORK_KINDS; kind++) all.amount[kind] = passes * pass.amount[kind];
    work_add_update(&all, (double)r->trained_parameters);
    r->seconds_step = work_seconds(&all, rates);
}
