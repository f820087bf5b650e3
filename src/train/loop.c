/* The loop over the steps of a run: see trainer.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "platform/machine.h"
#include "train/orders.h"
#include "train/reporting.h"
#include "train/step.h"

/* Names the lines of the data that a step's examples are, the first of them when there are many. */
static void name_lines(trainer *t, uint32_t step, char *text, size_t room) {
    enum { MOST_NAMED = 16 };
    uint32_t examples = t->order.batch_size;
    size_t length = 0;
    *text = 0;
    for (uint32_t e = 0; e < examples && e < MOST_NAMED && length < room; e++) {
        uint64_t line;
        if (dataset_row_line(t->data.train, cursor_row(&t->order, step, e), &line, NULL) != LEVEE_OK) continue;
        length += (size_t)snprintf(text + length, room - length, "%s%llu", e ? ", " : "", (unsigned long long)line);
    }
    if (examples > MOST_NAMED && length < room) snprintf(text + length, room - length, " and others");
}

static void tell_not_finite(trainer *t, const step_report *report) {
    char lines[512];
    name_lines(t, (uint32_t)report->step - 1, lines, sizeof lines);
    run_print(&t->common, "step %llu: %s is not finite, so nothing was changed; its examples are in lines %s",
              (unsigned long long)report->step, isfinite(report->loss) ? "the gradient" : "the loss", lines);
}

/* A training that is ruined, or data that are, must not run on for days. */
static levee_status check_finite(trainer *t, levee_error *error) {
    uint32_t most = t->common.options->most_not_finite_steps;
    if (t->place.state.not_finite_steps < most) return LEVEE_OK;
    t->place.state.not_finite_steps = 0; /* who goes on has seen to it */
    return error_set(error, LEVEE_STOPPED,
                     "stopped after step %llu: in %u steps in a row loss or gradient was not finite; lower "
                     "--learning-rate, or look at the lines of the data that were named",
                     (unsigned long long)t->place.state.step, most);
}

/* Runs a step and applies it: from here on the run stands behind it. */
static levee_status train_step(trainer *t, uint32_t step, step_report *report, levee_error *error) {
    const levee_options *o = t->common.options;
    const step_input input = {.data = t->data.train, .order = &t->order, .ids = t->data.ids};
    checkpoint_state *place = &t->place.state;
    step_result done;
    double began = machine_seconds();
    levee_status status = step_run(&t->engine, &input, step, &done, error);
    if (status != LEVEE_OK) return status;
    report->loss = done.loss_sum / (double)done.targets;
    report->learning_rate = planning_rate(o, step);
    status = optimizer_update(&t->engine.updates, report->learning_rate, report->loss, &report->gradient_norm,
                              &report->applied, error);
    if (status != LEVEE_OK) return status;
    place->step = step + 1;
    place->position += t->order.batch_size;
    place->trained_tokens += report->applied ? done.targets : 0;
    place->not_finite_steps = report->applied ? 0 : place->not_finite_steps + 1;
    report->passes = done.passes;
    report->repeated = done.repeated;
    report->plan_level = t->engine.level;
    report->tokens = done.targets;
    report->trained_tokens = place->trained_tokens;
    report->seconds = machine_seconds() - began;
    t->step_seconds += report->seconds;
    report->tokens_per_second = (double)done.targets / report->seconds;
    return LEVEE_OK;
}

static levee_status validate(trainer *t, double *loss, levee_error *error) {
    const levee_options *o = t->common.options;
    evaluation result = {.loss = NAN};
    levee_status status = run_evaluate(&t->engine, t->data.valid, (uint64_t)o->validation_batches * o->batch_size,
                                       t->data.ids, &result, error);
    *loss = result.loss;
    return status;
}

/* A full disk does not end a training that could still be saved later: it is told, and the next save tries again. */
static levee_status save_later(const trainer *t, const step_report *report, levee_status status,
                               const levee_error *why) {
    if (status != LEVEE_IO_ERROR || report->step == t->steps) return status;
    run_print(&t->common, "step %llu is not saved, and training goes on: %s", (unsigned long long)report->step,
              why->message);
    return LEVEE_OK;
}

/* All that was told is on the disk before the checkpoint, which says how long metrics.jsonl is. */
static levee_status save_checkpoint(trainer *t, levee_error *error) {
    levee_status status = reporting_save(t, false, error);
    return status == LEVEE_OK ? resume_save(&t->place, &t->engine, error) : status;
}

static void print_progress(const trainer *t, const step_report *report) {
    const levee_options *o = t->common.options;
    char line[PROGRESS_BYTES];
    metrics_progress(line, report);
    if (report->step == t->steps || report->step == 1 || report->step % o->steps_per_report == 0) {
        if (o->show)
            run_note(&t->common, line);
        else
            run_print(&t->common, "%s", line);
    }
    if (!isnan(report->validation_loss))
        run_print(&t->common, "step %llu  validation loss %.4f", (unsigned long long)report->step,
                  report->validation_loss);
}

/* A step that is saved has its line of metrics. */
static levee_status record(trainer *t, const step_report *report, bool saves, levee_error *error) {
    run_stream_push_step(t->common.told, report);
    if (!saves) return LEVEE_OK;
    levee_status status = reporting_save(t, true, error);
    if (status == LEVEE_OK) status = resume_check_disk(&t->place, 1, t->result_bytes, error);
    if (status == LEVEE_OK) status = trainer_save_result(t, report, error);
    return status == LEVEE_OK ? save_checkpoint(t, error) : status;
}

/* Validates, reports and saves when it is time to. Stopped in a validation, the step is whole nevertheless. */
static levee_status finish_step(trainer *t, step_report *report, levee_error *error) {
    const levee_options *o = t->common.options;
    bool last = report->step == t->steps, validates = last || report->step % o->steps_per_evaluation == 0;
    levee_error why = {0};
    levee_status validated = LEVEE_OK;
    if (!report->applied) tell_not_finite(t, report);
    if (t->data.valid && validates) validated = validate(t, &report->validation_loss, error);
    if (validated != LEVEE_OK) report->validation_loss = NAN;
    if (!isnan(report->validation_loss)) t->validation_loss = report->validation_loss;
    if (validated != LEVEE_OK && validated != LEVEE_STOPPED) return validated;
    report->held_bytes = trainer_sample_memory(t);
    report->peak_bytes = t->peak_bytes;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) report->booked_bytes[c] = ledger_booked((levee_category)c);
    report->time = report_time();
    levee_status status = record(t, report, last || report->step % o->save_every == 0, &why);
    print_progress(t, report);
    reporting_tell(t);
    status = save_later(t, report, status, &why);
    if (status != LEVEE_OK && error) *error = why;
    return status == LEVEE_OK ? validated : status;
}

levee_status trainer_store_place(trainer *t, levee_error *error) {
    uint64_t newest;
    bool stored = checkpoints_newest(&t->place.checkpoints, &newest) && newest == t->place.state.step;
    return stored ? LEVEE_OK : save_checkpoint(t, error);
}

/* Keeps what was done when the run is stopped. */
static levee_status save_stopped(trainer *t, levee_status why, levee_error *error) {
    levee_status status = trainer_store_place(t, error);
    if (status != LEVEE_OK) return status;
    run_print(&t->common, "%s: --resume goes on after step %llu", t->place.checkpoints.path,
              (unsigned long long)t->place.state.step);
    return why;
}

/* Stores the run, gives its memory back, and goes on when there is room again. */
static levee_status pause(trainer *t, levee_error *error) {
    levee_status status = trainer_store_place(t, error);
    if (status == LEVEE_OK) status = guarding_pause(&t->protection, error);
    return status == LEVEE_OK ? resume_reload(&t->place, error) : status;
}

/* Growth of what is planned is an error of ours, at once, but for that of a cache, which is emptied. A guard that is
 * off does not look for it, one that warns tells. */
static levee_status check_sealed(trainer *t, levee_error *error) {
    levee_error why = {0};
    if (t->common.options->guard == GUARD_OFF || training_check_sealed(&t->engine, &why) == LEVEE_OK) return LEVEE_OK;
    levee_trim(NULL);
    if (training_check_sealed(&t->engine, &why) == LEVEE_OK) return LEVEE_OK;
    if (t->common.options->guard == GUARD_WARN) {
        run_print(&t->common, "after step %llu: %s", (unsigned long long)t->place.state.step, why.message);
        return LEVEE_OK;
    }
    t->grew = true;
    return error_set(error, LEVEE_INTERNAL, "stopped after step %llu: %s", (unsigned long long)t->place.state.step,
                     why.message);
}

/* Shows how far the run is, where somebody looks. */
static void show_progress(const trainer *t, const step_report *report) {
    const levee_options *o = t->common.options;
    const guarding *g = &t->protection;
    const levee_progress now = {.step = report->step,
                                .steps = report->steps,
                                .loss = report->loss,
                                .tokens_per_second = report->tokens_per_second,
                                .seconds_left = report->seconds * (double)(report->steps - report->step),
                                .held_bytes = report->held_bytes,
                                .planned_bytes = report->predicted_bytes,
                                .budget_bytes = report->budget_bytes,
                                .guard = g->mode == GUARD_OFF ? "off" : pressure_level_name(g->last.found.level)};
    if (o->show && !o->quiet) o->show(o->show_context, &now);
}

static levee_status one_step(trainer *t, levee_error *error) {
    uint32_t step = (uint32_t)t->place.state.step;
    step_report report = {.step = step + 1,
                          .steps = t->steps,
                          .validation_loss = NAN,
                          .predicted_bytes = t->predicted_bytes,
                          .budget_bytes = t->common.model.budget_bytes};
    memcpy(report.planned_bytes, t->planned, sizeof report.planned_bytes);
    levee_status status = train_step(t, step, &report, error);
    if (status == LEVEE_OK) status = finish_step(t, &report, error);
    if (status == LEVEE_OK) status = check_finite(t, error);
    if (status == LEVEE_OK) status = drill_step(&t->exercises, t->place.state.step, error);
    if (status == LEVEE_OK) status = check_sealed(t, error);
    if (status == LEVEE_OK) status = guarding_step(&t->protection, t->place.state.step, error);
    if (report.time > 0) show_progress(t, &report); /* else the step did not come to its end */
    return status;
}

levee_status trainer_run_steps(trainer *t, levee_error *error) {
    double loss;
    levee_status status = LEVEE_OK;
    uint32_t begin = (uint32_t)t->place.state.step;
    if (begin >= t->steps)
        run_print(&t->common, "nothing is left to do: %u steps of %u are done; a larger --iters goes on", begin,
                  t->steps);
    if (t->data.valid && !begin) status = validate(t, &loss, error);
    if (t->data.valid && !begin && status == LEVEE_OK)
        run_print(&t->common, "before training: validation loss %.4f", loss);
    for (;;) {
        if (status == LEVEE_STOPPED && t->protection.pauses) status = pause(t, error);
        if (status == LEVEE_OK && t->place.state.step < t->steps) status = orders_answer(t, error);
        if (status != LEVEE_OK || t->place.state.step >= t->steps) break;
        status = one_step(t, error);
    }
    return status == LEVEE_STOPPED || t->grew ? save_stopped(t, status, error) : status;
}
