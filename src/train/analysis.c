/* levee_plan: whether a training fits, and how, without running any of it. */
#include "train/analysis.h"

#include <stdio.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/family.h"
#include "model/size.h"
#include "platform/headroom.h"
#include "platform/process.h"
#include "train/levels.h"
#include "train/resume.h"

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
    a->searched = a->engine.searched;
    a->runtime_bytes = model->runtime_bytes;
    a->unplanned_bytes = session_unplanned_bytes(model);
    return status;
}

void analysis_describe_node(char text[REPORT_NAME_BYTES], const node *n) {
    char layer[32] = "";
    if (n->layer >= 0) snprintf(layer, sizeof layer, " of layer %d", (int)n->layer);
    snprintf(text, REPORT_NAME_BYTES, "%s%s%s", operator_name(n->kind), layer, n->recomputed ? ", again" : "");
}

static levee_status describe_model(analysis *a, levee_error *error) {
    plan_report *r = &a->report;
    const levee_options *o = a->common.options;
    const session *model = &a->common.model;
    static const char *const types[] = {"none", "lora", "full", "head", "dora"};
    model_size size;
    levee_status status = model_measure(&size, &model->source, error);
    if (status != LEVEE_OK) return status;
    uint32_t layers = model->config.layers, last = a->settings.trained.last_layers;
    r->model = o->model;
    r->family = model->config.family->type;
    r->stored_type = dtype_describe(model->config.stored_type)->name;
    r->fine_tune_type = types[o->type];
    r->compute = model->device->compute(model->state) == COMPUTE_BF16 ? "bf16" : "f32";
    r->layers = layers;
    r->trained_layers = o->type == FINE_TUNE_HEAD ? 0 : last < layers ? last : layers;
    r->rank = fine_tune_is_adapter(o->type) ? o->rank : 0;
    r->parameters = size.parameters;
    r->weights_bytes = model->tensors ? safetensors_mapped_bytes(model->tensors) : size.bytes;
    for (uint32_t i = 0; i < model->lasting.count; i++)
        if (model->lasting.entries[i].role == VALUE_PARAMETER)
            r->trained_parameters += model->lasting.entries[i].rows * model->lasting.entries[i].cols;
    return LEVEE_OK;
}

static void describe_plan(analysis *a) {
    plan_report *r = &a->report;
    const levee_options *o = a->common.options;
    const search_result *planned = &a->engine.levels[0].planned;
    const layout *lasting = &a->common.model.lasting;
    training_planned_bytes(&a->engine, r->planned_bytes);
    r->longest_tokens = a->settings.longest_tokens;
    r->examples_step = planning_step_examples(o);
    r->steps = planning_steps(o);
    r->budget_bytes = a->common.model.budget_bytes;
    r->budget_given = o->budget_given;
    r->capacity_tokens = planned->chosen.capacity_tokens;
    r->passes_step = planned->passes;
    r->arena_bytes = planned->chosen.arena_bytes[SPACE_HOST];
    r->live_bytes = planned->chosen.lower_bound_bytes[SPACE_HOST];
    r->recomputed = planned->recomputed_tensors;
    r->candidates = planned->candidate_tensors;
    r->head_chunk_tokens = planned->head_chunk_tokens;
    analysis_describe_node(r->peak, &planned->chosen.g.nodes[planned->chosen.peak_node]);
    r->checkpoint_bytes = resume_checkpoint_bytes(lasting);
    r->checkpoints = planning_checkpoints(o);
    r->result_bytes = planning_result_bytes(o, &a->common.model, r->weights_bytes);
}

/* What can be had here and now, this process's own memory included: a training would have given it back. */
static levee_status describe_machine(analysis *a, levee_error *error) {
    plan_report *r = &a->report;
    headroom room;
    process_memory now = {0};
    levee_status status = headroom_read(&room, a->common.options->others_bytes, error);
    if (status != LEVEE_OK) return status;
    process_memory_read(&now);
    snprintf(r->limit, sizeof r->limit, "%.*s", REPORT_TEXT_BYTES - 1, room.limit.name);
    r->available_bytes = room.limit.available_bytes + now.held_bytes;
    r->reserve_bytes = room.reserve_bytes;
    return LEVEE_OK;
}

/* The least budget of a job that fits: tried in the same way, when the plan was read and is gone. What is ready for
 * the plan is ready for this one; what opening took still counts. */
static levee_status find_least_budget(analysis *a, levee_error *error) {
    session *model = &a->common.model;
    uint64_t *least = &a->report.least_budget_bytes;
    training_close(&a->engine);
    if (!a->report.fits) return LEVEE_OK;
    layout_close(&model->lasting);
    ledger_restart_peaks();
    levee_status status = training_describe(&a->engine, model, &a->settings, error);
    /* Measuring the machine takes memory, more of it in a larger budget; for a tiny job that is what decides. */
    uint64_t asked = model->budget_bytes;
    model->budget_bytes = a->runtime_bytes;
    if (status == LEVEE_OK) status = session_rates(model, &a->engine.rates, error);
    model->budget_bytes = asked;
    a->engine.rates = a->rates; /* of which what was searched depends */
    a->engine.searched = a->searched;
    if (status == LEVEE_OK) status = session_measure(model, error);
    if (status == LEVEE_OK) status = training_least_budget(&a->engine, least, error);
    training_close(&a->engine);
    while (*least < a->opening_bytes) *least += 1024 * 1024;
    return status;
}

static levee_status analyse(analysis *a, levee_error *refusal, levee_error *error) {
    const analysis_options *asked = &a->common.options->analysis;
    levee_status status = make_plan(a, refusal, error);
    if (status == LEVEE_OK) status = describe_model(a, error);
    if (status != LEVEE_OK) return status;
    describe_plan(a);
    analysis_estimate_time(a);
    status = describe_machine(a, error);
    if (status == LEVEE_OK && asked->explain) status = analysis_list_buffers(a, error);
    if (status == LEVEE_OK && *asked->curve) status = analysis_draw(a, error);
    if (status == LEVEE_OK) status = find_least_budget(a, error);
    ledger_set_budget(UINT64_MAX); /* trials of what does not fit need not fit */
    if (status == LEVEE_OK) status = analysis_find_limits(a, error);
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
    analysis *a = ledger_alloc(LEVEE_RUNTIME, sizeof *a);
    if (!a) return error_out_of_memory(error, "the analysis", sizeof *a);
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
    ledger_free(a);
    return status;
}
