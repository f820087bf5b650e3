/* One size of a probe: a training of some steps that leaves nothing behind. See probe.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "platform/headroom.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "train/probe.h"
#include "train/requests.h"
#include "train/step.h"

enum { MOST_SPEEDS = 64 }; /* the median of the last ones says enough */

typedef struct attempt {
    probe *p;
    ramp_row *row;
    training_settings settings;
    guarding protection;
    training engine;
    leak_estimator held;
    double speeds[MOST_SPEEDS];
    uint32_t steps; /* done */
} attempt;

static levee_status plan_size(attempt *a, levee_error *error) {
    probe *p = a->p;
    a->settings = planning_settings(&p->options, planning_longest_tokens(&p->data, &p->options));
    levee_status status = planning_make(&a->protection, &a->engine, &p->common, &a->settings, error);
    if (status != LEVEE_OK) return status;
    const search_result *planned = &a->engine.levels[0].planned;
    p->rates = a->engine.rates;
    a->row->tokens = planned->chosen.capacity_tokens;
    a->row->recomputed = planned->recomputed_tensors;
    a->row->candidates = planned->candidate_tensors;
    a->row->predicted_bytes = training_plan_bytes(&a->engine, 0);
    return LEVEE_OK;
}

static void end(probe *p, probe_end why, const char *reason) {
    p->end = why;
    snprintf(p->reason, sizeof p->reason, "%s", reason);
}

/* A training would do with smaller passes; that is another size. */
static bool is_split(attempt *a) {
    if (a->row->tokens >= a->settings.wanted.shapes[0].capacity_tokens) return false;
    char reason[128], budget[BYTES_TEXT];
    snprintf(reason, sizeof reason,
             "a micro-batch of %u does not fit %s together with what its plans take themselves", a->row->sequences,
             bytes_format(budget, a->p->common.model.budget_bytes));
    a->row->tokens = 0;
    end(a->p, PROBE_BUDGET, reason);
    return true;
}

/* Looks at what is held. The first step's is not compared: libraries take some of theirs in it. */
static void look(attempt *a) {
    process_memory now;
    if (!process_memory_read(&now)) return;
    if (now.held_bytes > a->row->peak_bytes) a->row->peak_bytes = now.held_bytes;
    if (a->steps > 1) leak_add(&a->held, (int64_t)now.held_bytes);
}

static levee_status train_step(attempt *a, levee_error *error) {
    const probe *p = a->p;
    const levee_options *o = &p->options;
    const cursor order = {
        .seed = o->seed, .rows = dataset_rows(p->data.train), .batch_size = planning_step_examples(o)};
    const step_input input = {.data = p->data.train, .order = &order, .ids = p->data.ids};
    step_result done;
    double norm, began = machine_seconds();
    bool applied;
    levee_status status = step_run(&a->engine, &input, a->steps, &done, error);
    double rate = planning_rate(o, a->steps);
    if (status == LEVEE_OK)
        status =
            optimizer_update(&a->engine.updates, rate, done.loss_sum / (double)done.targets, &norm, &applied, error);
    if (status != LEVEE_OK) return status;
    a->speeds[a->steps++ % MOST_SPEEDS] = (double)done.targets / (machine_seconds() - began);
    return LEVEE_OK;
}

static levee_status one_step(attempt *a, levee_error *error) {
    probe *p = a->p;
    levee_status status = train_step(a, error);
    if (status != LEVEE_OK) return status;
    look(a);
    p->steps++;
    status = drill_step(&p->exercises, p->steps, error);
    if (status == LEVEE_OK) status = training_check_sealed(&a->engine, error);
    if (status == LEVEE_OK) status = guarding_step(&a->protection, p->steps, error);
    return status;
}

static levee_status run_steps(attempt *a, levee_error *error) {
    levee_status status = training_start(&a->engine, error);
    if (status == LEVEE_OK) guarding_begin(&a->protection, &a->engine, &a->p->exercises);
    while (status == LEVEE_OK && a->steps < a->p->options.probe.steps && a->held.verdict == LEAK_NONE &&
           !a->engine.level)
        status = one_step(a, error);
    return status;
}

/* Shell's gaps would be more than these need. */
static double median(double *values, uint32_t count) {
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t at = i; at && values[at - 1] > values[at]; at--) {
            double higher = values[at - 1];
            values[at - 1] = values[at];
            values[at] = higher;
        }
    return count ? (values[(count - 1) / 2] + values[count / 2]) / 2 : 0;
}

/* Reads off what the steps left. The first is slower: pages and caches are cold. */
static void describe(attempt *a) {
    leak_slope slope = {.bytes = NAN};
    headroom room;
    uint32_t count = a->steps < MOST_SPEEDS ? a->steps : MOST_SPEEDS;
    uint32_t cold = a->steps <= MOST_SPEEDS && count > 1;
    leak_growth(&a->held, &slope);
    a->row->growth = slope.bytes;
    a->row->growth_low = slope.low;
    a->row->growth_high = slope.high;
    a->row->tokens_second = median(a->speeds + cold, count - cold);
    if (headroom_read(&room, a->p->options.others_bytes, NULL) == LEVEE_OK) a->row->headroom_bytes = room.bytes;
}

/* Would growth, if only at the lower end of its interval, pass the budget within the steps of the run? What is too
 * little to be suspected of anything is no leak. */
static bool outgrows_budget(const attempt *a) {
    uint64_t budget = a->p->common.model.budget_bytes, peak = a->row->peak_bytes;
    double left = budget > peak ? (double)(budget - peak) : 0;
    return a->row->growth_low * planning_steps(&a->p->options) > fmax(left, leak_least_rise_bytes);
}

static void end_by_leak(attempt *a) {
    char rate[BYTES_TEXT], low[BYTES_TEXT], high[BYTES_TEXT], reason[LEVEE_ERROR_BYTES];
    snprintf(reason, sizeof reason,
             "held memory grows by %s a step (%s to %s), which no plan does: what this process loads or calls leaks",
             bytes_format(rate, (uint64_t)fmax(a->row->growth, 0)),
             bytes_format(low, (uint64_t)fmax(a->row->growth_low, 0)),
             bytes_format(high, (uint64_t)fmax(a->row->growth_high, 0)));
    end(a->p, PROBE_LEAK, reason);
}

/* What becomes of the climb: it goes on, or ends with a reason; an error is what no smaller size would be spared. */
static levee_status judge(attempt *a, levee_status status, const levee_error *why, levee_error *error) {
    probe *p = a->p;
    bool short_of_memory = status == LEVEE_DOES_NOT_FIT && (p->found.count || a->steps);
    if (status != LEVEE_OK && status != LEVEE_STOPPED && !short_of_memory) {
        if (error) *error = *why;
        return status;
    }
    if (requests_stopping())
        end(p, PROBE_STOPPED, "stopped as asked");
    else if (a->steps > 1 && (a->held.verdict != LEAK_NONE || outgrows_budget(a)))
        end_by_leak(a);
    else if (status != LEVEE_OK)
        end(p, PROBE_PRESSURE, why->message);
    else if (a->engine.level)
        end(p, PROBE_PRESSURE, "somebody asked for memory back");
    a->row->safe = p->end == PROBE_GOES_ON;
    return LEVEE_OK;
}

levee_status probe_attempt(probe *p, ramp_row *row, levee_error *error) {
    attempt a = {.p = p, .row = row};
    levee_error why = {0};
    memset(row, 0, sizeof *row);
    row->sequences = p->options.micro_batch_size;
    row->growth = NAN;
    leak_reset(&a.held, leak_least_rise_bytes);
    levee_status status = plan_size(&a, error);
    if (status == LEVEE_OK && !is_split(&a)) {
        status = run_steps(&a, &why);
        describe(&a);
        status = judge(&a, status, &why, error);
    }
    guarding_close(&a.protection);
    training_close(&a.engine);
    levee_status restarted = session_restart(&p->common.model, &why);
    if (status != LEVEE_OK || restarted == LEVEE_OK) return status;
    if (error) *error = why;
    return restarted;
}
