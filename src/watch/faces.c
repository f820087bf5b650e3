/* Where watch writes what it tells: see watching.h. */
#include "base/error.h"
#include "watch/watching.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static levee_status log_event(void *self, const event_report *event, levee_error *error) {
    log_file *log = self;
    char line[EVENT_LINE_BYTES];
    unsigned length = event_line(line, event, &log->before);
    return rotating_file_append(&log->file, line, length, error);
}

static levee_status log_sample(void *self, const sample_report *seen, levee_error *error) {
    log_file *log = self;
    char line[EVENT_LINE_BYTES];
    evidence_add(&log->before, seen);
    unsigned length = sample_line(line, seen);
    return rotating_file_append(&log->file, line, length, error);
}

/* The user's own file is not rotated. */
static levee_status open_log(watching *w, levee_error *error) {
    const sink face = {.name = w->options->log, .self = &w->log, .event = log_event, .sample = log_sample};
    if (!*w->options->log) return LEVEE_OK;
    levee_status status = rotating_file_open(&w->log.file, w->options->log, UINT64_MAX, error);
    return status == LEVEE_OK ? run_stream_add(&w->told, &face, error) : status;
}

static levee_status open_directory(watching *w, levee_error *error) {
    const char *directory = w->options->run_directory;
    if (!*directory) return LEVEE_OK;
    levee_status status = file_make_directory(directory, error);
    if (status == LEVEE_OK) status = directory_lock_take(&w->directory, directory, error);
    if (status == LEVEE_OK) status = run_files_open(&w->files, directory, RUN_FILE_MOST_BYTES, error);
    return status == LEVEE_OK ? run_files_add(&w->files, &w->told, error) : status;
}

static levee_status open_tensorboard(watching *w, levee_error *error) {
    const sink face = {.name = run_file_name(RUN_TENSORBOARD),
                       .self = &w->event_files,
                       .event = tensorboard_event,
                       .sample = tensorboard_sample,
                       .sync = tensorboard_sync};
    char path[FILE_PATH_BYTES];
    if (!w->options->tensorboard) return LEVEE_OK;
    levee_status status = run_file_path(path, w->options->run_directory, RUN_TENSORBOARD, error);
    if (status == LEVEE_OK) status = tensorboard_open(&w->event_files, path, 0, error);
    w->event_files.by_samples = true;
    return status == LEVEE_OK ? run_stream_add(&w->told, &face, error) : status;
}

static void set_facts(const watching *w) {
    const levee_watch_options *o = w->options;
    board_facts f = {.verb = "watch",
                     .budget_bytes = o->budget_bytes,
                     .predicted_bytes = UINT64_MAX,
                     .pid = (uint64_t)getpid(),
                     .began = report_time()};
    snprintf(f.model, sizeof f.model, "%.*s", BOARD_NAME_BYTES - 1, w->command_name);
    snprintf(f.result, sizeof f.result, "%.*s", BOARD_NAME_BYTES - 1, o->run_directory);
    board_set_facts(w->shown, &f);
}

/* Its address is printed, and goes into no file: it has the token. */
static levee_status open_page(watching *w, levee_error *error) {
    char text[WEB_URL_BYTES + 64];
    if (!*w->options->web) return LEVEE_OK;
    levee_status status = board_open(&w->shown, error);
    if (status != LEVEE_OK) return status;
    const web_options page = {.address = w->options->web, .token = getenv("LEVEE_WEB_TOKEN"), .shown = w->shown};
    const sink face = board_sink(w->shown);
    set_facts(w);
    status = web_open(&w->page, &page, error);
    if (status == LEVEE_OK) status = run_stream_add(&w->told, &face, error);
    if (status != LEVEE_OK) return status;
    snprintf(text, sizeof text, "page: %s", web_url(w->page));
    if (w->print) w->print(w->context, text);
    return LEVEE_OK;
}

static bool has_faces(const levee_watch_options *o) { return *o->log || *o->run_directory || *o->web; }

levee_status faces_open(watching *w, levee_error *error) {
    if (w->options->tensorboard && !*w->options->run_directory)
        return error_set(error, LEVEE_USAGE, "--tensorboard needs --run-dir, below which its files go");
    if (!has_faces(w->options)) return LEVEE_OK;
    levee_status status = run_stream_open(&w->told, error);
    if (status == LEVEE_OK) status = open_log(w, error);
    if (status == LEVEE_OK) status = open_directory(w, error);
    if (status == LEVEE_OK) status = open_tensorboard(w, error);
    if (status == LEVEE_OK) status = open_page(w, error);
    if (status != LEVEE_OK) return status;
    run_directory_sign(&w->directory);
    run_stream_begin(&w->told);
    return LEVEE_OK;
}

void faces_flush(watching *w) {
    const char *name, *message;
    unsigned long long dropped = 0;
    run_stream_flush(&w->told, NULL);
    for (unsigned kind = 0; kind < RECORD_KINDS; kind++) dropped += run_stream_dropped(&w->told, (record_kind)kind);
    while (run_stream_next_failure(&w->told, &name, &message)) tell(w, "%s is not complete: %s", name, message);
    if (dropped)
        tell(w,
             "%llu samples, decisions and lines were dropped, because they could not be written as fast as they came",
             dropped);
}

void faces_close(watching *w) {
    run_stream_close(&w->told);
    if (w->shown) board_set_state(w->shown, BOARD_ENDED);
    web_close(w->page);
    board_close(w->shown);
    rotating_file_close(&w->log.file);
    run_files_close(&w->files);
    tensorboard_close(&w->event_files);
    directory_lock_release(&w->directory);
}
