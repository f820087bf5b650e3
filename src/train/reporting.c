/* The faces of a training: see reporting.h. */
#include "train/reporting.h"

#include "train/describing.h"

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
                       .self = &t->board,
                       .step = tensorboard_step,
                       .event = tensorboard_event,
                       .sample = tensorboard_sample,
                       .sync = tensorboard_sync};
    char path[FILE_PATH_BYTES];
    if (!t->common.options->tensorboard) return LEVEE_OK;
    levee_status status = run_file_path(path, t->common.options->adapter_path, RUN_TENSORBOARD, error);
    if (status == LEVEE_OK) status = tensorboard_open(&t->board, path, t->place.state.step + 1, error);
    return status == LEVEE_OK ? run_stream_add(t->common.told, &face, error) : status;
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

void reporting_close(trainer *t, levee_status status, const levee_error *error) {
    if (!t->common.told) return;
    if (t->files.open) tell_losses(t);
    if (status != LEVEE_OK && error) run_note(&t->common, error->message);
    run_stream_close(t->common.told);
    if (t->files.open) reporting_tell(t);
    run_files_close(&t->files);
    tensorboard_close(&t->board);
}
