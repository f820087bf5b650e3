/* levee_plan: whether a training fits, and how, without running any of it. */
#include "train/analysis.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "train/levels.h"
#include "train/trainer.h"

/* What a training remembers lies on the stack, where it is held and not booked; an analysis stands for it there. */
typedef union as_a_training {
    analysis analysis;
    unsigned char bytes[sizeof(trainer) + sizeof(levee_options)];
} as_a_training;

/* What is held and not booked moves by some KiB from one process to the next (by 28 on average of 16 jobs, at most); a budget
 * that is named must do in all of them. */
static const uint64_t chance_bytes = 96 * 1024;

static void assume(plan_report *r, const char *text) {
    if (r->assumption_count < REPORT_ASSUMPTIONS)
        snprintf(r->assumptions[r->assumption_count++], REPORT_TEXT_BYTES, "%s", text);
}

/* What is not there, and what is taken for it. */
static void list_assumptions(analysis *a) {
    const levee_options *o = a->common.options;
    char text[REPORT_TEXT_BYTES];
    if (!a->common.model.tensors) {
        snprintf(text, sizeof text, "no weights are here, so all of them %s, as config.json says",
                 dtype_describe(a->common.model.config.stored_type)->name);
        assume(&a->report, text);
    }
    if (!a->common.model.tokens) assume(&a->report, "no tokenizer.json is here, so its memory is not counted");
    if (!*o->data) {
        snprintf(text, sizeof text, "no --data, so sequences of --max-seq-length %u", o->max_sequence_tokens);
        assume(&a->report, text);
    }
}

static levee_status open_all(analysis *a, const levee_options *o, levee_print *print, void *context,
                             levee_error *error) {
    levee_status status = run_open(&a->common, "plan", o, print, context, error);
    if (status == LEVEE_OK && *o->data && !a->common.model.tokens)
        status =
            error_set(error, LEVEE_MISSING_INPUT,
                      "%s: holds no tokenizer.json, so the rows of --data cannot be counted; leave --data out to "
                      "plan for sequences of --max-seq-length",
                      o->model);
    if (status == LEVEE_OK && *o->data) status = planning_open_data(&a->data, &a->common, NULL, error);
    if (status != LEVEE_OK) return status;
    a->opening_bytes = ledger_peak(LEVEE_CATEGORY_COUNT);
    a->settings = planning_settings(o, planning_longest_tokens(&a->data, o));
    list_assumptions(a);
    return LEVEE_OK;
}

/* The smallest plan of a job that does not fit: as a training finds it when it refuses. */
static levee_status plan_least(analysis *a, levee_error *error) {
    levee_status status = training_describe(&a->engine, &a->common.model, &a->settings, error);
    if (status == LEVEE_OK) status = training_warm_up(&a->engine, error);
    return status == LEVEE_OK ? training_least_budget(&a->engine, &a->report.least_budget_bytes, error) : status;
}

/* Plans as a training does. When the job does not fit, the smallest plan stands for it, and *refusal is what a
 * training would say. */
static levee_status make_plan(analysis *a, levee_error *refusal, levee_error *error) {
    session *model = &a->common.model;
    levee_status status = planning_make(&a->protection, &a->engine, &a->common, &a->settings, refusal);
    a->report.fits = status == LEVEE_OK;
    if (status == LEVEE_DOES_NOT_FIT && !model->lasting.count) {
        *error = *refusal; /* refused before there was anything to plan */
        return status;
    }
    if (status == LEVEE_DOES_NOT_FIT) {
        layout_close(&model->lasting);
        status = plan_least(a, error);
        /* Memory was refused on the way, which says nothing about the job; or trials did not come to a plan. */
        bool planned = a->engine.level_count && a->engine.levels[0].planned.chosen.g.node_count;
        if (status == LEVEE_OK && (!planned || a->report.least_budget_bytes <= model->budget_bytes)) {
            *error = *refusal;
            status = LEVEE_DOES_NOT_FIT;
        }
    } else if (status != LEVEE_OK) {
        *error = *refusal;
    }
    a->rates = a->engine.rates;
    a->warm_bytes = a->engine.warm_bytes;
    a->searched = a->engine.searched;
    a->runtime_bytes = model->runtime_bytes;
    a->unplanned_bytes = session_unplanned_bytes(model);
    return status;
}

/* The most that is booked until there are plans: files and data are opened, or the machine is measured. That takes
 * more in a larger budget, so it is measured again in a small one. */
static levee_status find_opening_bytes(analysis *a, levee_error *error) {
    session *model = &a->common.model;
    const uint64_t asked = model->budget_bytes, booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    machine_rates ignored;
    ledger_restart_peaks();
    model->budget_bytes = a->runtime_bytes;
    levee_status status = session_rates(model, &ignored, error);
    model->budget_bytes = asked;
    const uint64_t measuring = a->warm_bytes + ledger_peak(LEVEE_CATEGORY_COUNT) - booked;
    if (measuring > a->opening_bytes) a->opening_bytes = measuring;
    ledger_restart_peaks();
    return status;
}

/* The least budget of a job that fits: tried in the same way, when the plan was read and is gone. What is ready for
 * the plan is ready for this one; what opening took still counts. */
static levee_status find_least_budget(analysis *a, levee_error *error) {
    session *model = &a->common.model;
    uint64_t *least = &a->report.least_budget_bytes;
    training_close(&a->engine);
    if (!a->report.fits) return LEVEE_OK;
    layout_close(&model->lasting);
    levee_status status = find_opening_bytes(a, error);
    if (status == LEVEE_OK) status = training_describe(&a->engine, model, &a->settings, error);
    a->engine.rates = a->rates; /* of which what was searched depends */
    a->engine.searched = a->searched;
    if (status == LEVEE_OK) status = session_measure(model, error);
    if (status == LEVEE_OK) status = training_least_budget(&a->engine, least, error);
    training_close(&a->engine);
    while (*least < a->opening_bytes + model->unbooked_bytes + chance_bytes) *least += 1024 * 1024;
    if (*least > model->budget_bytes) *least = model->budget_bytes; /* which does, as was found */
    return status;
}

static levee_status analyse(analysis *a, levee_error *refusal, levee_error *error) {
    const analysis_options *asked = &a->common.options->analysis;
    levee_status status = make_plan(a, refusal, error);
    const described planned = {&a->common, &a->data, &a->engine, &a->settings};
    if (status == LEVEE_OK) status = describe_model(&a->report, &planned, error);
    if (status != LEVEE_OK) return status;
    describe_plan(&a->report, &planned);
    status = describe_machine(&a->report, &a->common, error);
    if (status == LEVEE_OK && asked->explain) status = analysis_list_buffers(a, error);
    if (status == LEVEE_OK && *asked->curve) status = analysis_draw(a, error);
    if (status == LEVEE_OK) status = find_least_budget(a, error);
    ledger_set_budget(UINT64_MAX); /* trials of what does not fit need not fit */
    if (status == LEVEE_OK) status = analysis_find_limits(a, error);
    a->report.limits_known = status == LEVEE_OK;
    if (status == LEVEE_OK && asked->explain) status = analysis_find_changes(a, error);
    if (status == LEVEE_OK && asked->table) status = analysis_fill_table(a, error);
    if (status == LEVEE_OK && !a->report.fits) status = analysis_find_nearest(a, error);
    return status;
}

static levee_status print_report(const analysis *a, levee_error *error) {
    text_buffer text = {0};
    bool json = a->common.options->analysis.json;
    levee_status status = (json ? plan_report_json : plan_report_text)(&text, &a->report, error);
    if (status == LEVEE_OK && a->common.print) a->common.print(a->common.context, text.data);
    text_free(&text);
    return status;
}

levee_status levee_plan(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    levee_error refusal = {0}, ignored;
    if (!error) error = &ignored;
    as_a_training state;
    analysis *a = &state.analysis;
    memset(&state, 0, sizeof state);
    levee_status status = open_all(a, options, print, context, error);
    if (status == LEVEE_OK) status = analyse(a, &refusal, error);
    if (status == LEVEE_OK) status = print_report(a, error);
    if (status == LEVEE_OK && !a->report.fits) {
        *error = refusal;
        status = LEVEE_DOES_NOT_FIT;
    }
    training_close(&a->engine);
    guarding_close(&a->protection);
    planning_close_data(&a->data);
    run_close(&a->common);
    return status;
}
