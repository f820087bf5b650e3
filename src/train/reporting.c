/* The faces of a training: see reporting.h. */
#include "train/reporting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/describing.h"
#include "web/web.h"

/* The plan as `levee plan --json` says it, but for what that finds by trials. */
static levee_status write_plan(const trainer *t, levee_error *error) {
    const described planned = {&t->common, &t->data, &t->engine, &t->engine.settings};
    plan_report report = {.fits = true};
    text_buffer text = {0};
    char path[FILE_PATH_BYTES];
    levee_status status = describe_model(&report, &planned, error);
    if (status == LEVEE_OK) describe_plan(&report, &planned);
    if (status == LEVEE_OK) status = describe_machine(&report, &t->common, error);
    if (status == LEVEE_OK) status = plan_report_json(&text, &report, error);
    if (status == LEVEE_OK) status = text_append(&text, "\n", 1, error);
    if (status == LEVEE_OK) status = run_file_path(path, t->common.options->adapter_path, RUN_PLAN, error);
    if (status == LEVEE_OK) status = file_write(path, text.data, text.bytes, error);
    text_free(&text);
    return status;
}

static levee_status open_tensorboard(trainer *t, levee_error *error) {
    const sink face = {.name = run_file_name(RUN_TENSORBOARD),
                       .self = &t->event_files,
                       .step = tensorboard_step,
                       .event = tensorboard_event,
                       .sample = tensorboard_sample,
                       .sync = tensorboard_sync};
    char path[FILE_PATH_BYTES];
    if (!t->common.options->tensorboard) return LEVEE_OK;
    levee_status status = run_file_path(path, t->common.options->adapter_path, RUN_TENSORBOARD, error);
    if (status == LEVEE_OK) status = tensorboard_open(&t->event_files, path, t->place.state.step + 1, error);
    return status == LEVEE_OK ? run_stream_add(t->common.told, &face, error) : status;
}

/* Somebody at the page asks. What it shows comes first, because the training may answer at once. */
static void take_order(void *context, web_order order) {
    static const levee_request_kind requests[] = {LEVEE_REQUEST_PAUSE, LEVEE_REQUEST_RESUME, LEVEE_REQUEST_CHECKPOINT,
                                                  LEVEE_REQUEST_STOP};
    const trainer *t = context;
    if (order == ORDER_PAUSE) board_change_state(t->shown, BOARD_RUNNING, BOARD_PAUSING);
    if (order == ORDER_STOP) board_set_state(t->shown, BOARD_STOPPING);
    levee_request(requests[order]);
    if (order == ORDER_RESUME) board_change_state(t->shown, BOARD_PAUSING, BOARD_RUNNING);
}

/* Neither the log nor the queue hears of the address: whoever has its token may stop the run. */
static void tell_address(const trainer *t) {
    char text[512];
    if (!t->common.print) return;
    snprintf(text, sizeof text, "page: %s%s", web_url(t->page),
             web_is_open_to_others(t->page) ? " (others can reach it; it is not encrypted)" : "");
    t->common.print(t->common.context, text);
}

static void set_facts(const trainer *t) {
    const levee_options *o = t->common.options;
    const session *model = &t->common.model;
    static const char *const types[] = {
        [FINE_TUNE_LORA] = "lora", [FINE_TUNE_FULL] = "full", [FINE_TUNE_HEAD] = "head", [FINE_TUNE_DORA] = "dora"};
    board_facts f = {.verb = "train",
                     .steps = t->steps,
                     .budget_bytes = model->budget_bytes,
                     .predicted_bytes = t->predicted_bytes ? t->predicted_bytes : UINT64_MAX,
                     .pid = (uint64_t)getpid(),
                     .began = t->began,
                     .takes_orders = true};
    snprintf(f.model, sizeof f.model, "%.*s", BOARD_NAME_BYTES - 1, *o->model_name ? o->model_name : o->model);
    snprintf(f.data, sizeof f.data, "%.*s", BOARD_NAME_BYTES - 1, o->data);
    snprintf(f.result, sizeof f.result, "%.*s", BOARD_NAME_BYTES - 1, o->adapter_path);
    snprintf(f.type, sizeof f.type, "%s", types[o->type]);
    if (t->predicted_bytes)
        snprintf(f.products, sizeof f.products, "%s",
                 model->device->compute(model->state) == COMPUTE_BF16 ? "bf16" : "f32");
    memcpy(f.planned_bytes, t->planned, sizeof f.planned_bytes);
    board_set_facts(t->shown, &f);
}

levee_status reporting_prepare(trainer *t, levee_error *error) {
    const levee_options *o = t->common.options;
    t->began = report_time();
    if (!*o->web) return LEVEE_OK;
    levee_status status = board_open(&t->shown, error);
    const web_options page = {
        .address = o->web, .token = getenv("LEVEE_WEB_TOKEN"), .shown = t->shown, .order = take_order, .context = t};
    if (status == LEVEE_OK) set_facts(t);
    if (status == LEVEE_OK) status = web_open(&t->page, &page, error);
    if (status != LEVEE_OK) return status;
    session_promise(&t->common.model, web_library_bytes());
    tell_address(t);
    return LEVEE_OK;
}

void reporting_state(const trainer *t, board_state state) {
    if (t->shown) board_set_state(t->shown, state);
}

static levee_status add_page(trainer *t, levee_error *error) {
    if (!t->shown) return LEVEE_OK;
    const sink face = board_sink(t->shown);
    set_facts(t);
    return run_stream_add(t->common.told, &face, error);
}

/* Pages hear how it ended. */
static void close_page(trainer *t) {
    reporting_state(t, BOARD_ENDED);
    web_close(t->page);
    board_close(t->shown);
    t->page = NULL;
    t->shown = NULL;
}

levee_status reporting_open(trainer *t, levee_error *error) {
    const char *directory = t->common.options->adapter_path;
    /* Of a run that was elsewhere there is nothing to keep. */
    uint64_t keep_bytes = t->place.checkpoints.count ? t->place.state.metrics_bytes : 0;
    levee_status status = run_files_open(&t->files, directory, RUN_FILE_MOST_BYTES, error);
    if (status == LEVEE_OK) status = run_files_open_metrics(&t->files, directory, keep_bytes, error);
    if (status == LEVEE_OK) status = write_plan(t, error);
    if (status == LEVEE_OK) status = run_files_add(&t->files, t->common.told, error);
    if (status == LEVEE_OK) status = open_tensorboard(t, error);
    if (status == LEVEE_OK) status = add_page(t, error);
    if (status != LEVEE_OK) return status;
    run_directory_sign(&t->place.lock);
    run_stream_begin(t->common.told);
    return status;
}

levee_status reporting_save(trainer *t, bool last_line, levee_error *error) {
    levee_status status = run_stream_flush(t->common.told, error);
    if (status == LEVEE_OK && last_line && t->files.steps_failure.status != LEVEE_OK) {
        if (error) *error = t->files.steps_failure;
        return t->files.steps_failure.status;
    }
    t->place.state.metrics_bytes = t->files.steps.bytes;
    return status;
}

void reporting_tell(trainer *t) {
    const char *name, *message;
    while (run_stream_next_failure(t->common.told, &name, &message))
        run_print(&t->common, "%s is not complete, and training goes on: %s", name, message);
}

static void tell_losses(trainer *t) {
    for (unsigned kind = 0; kind < RECORD_KINDS; kind++) {
        uint64_t dropped = run_stream_dropped(t->common.told, (record_kind)kind);
        if (dropped)
            run_print(&t->common, "%llu %s were dropped, because files could not be written as fast as they came",
                      (unsigned long long)dropped, record_kind_name((record_kind)kind));
    }
}

static void end_stream(trainer *t, levee_status status, const levee_error *error) {
    if (t->files.open) tell_losses(t);
    if (status != LEVEE_OK && error) run_note(&t->common, error->message);
    run_stream_close(t->common.told);
    if (t->files.open) reporting_tell(t);
    run_files_close(&t->files);
    tensorboard_close(&t->event_files);
}

void reporting_close(trainer *t, levee_status status, const levee_error *error) {
    if (t->common.told) end_stream(t, status, error);
    close_page(t);
}
