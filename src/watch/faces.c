/* Where watch writes what it tells: see watching.h. */
#include "base/error.h"
#include "watch/watching.h"

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
                       .self = &w->board,
                       .event = tensorboard_event,
                       .sample = tensorboard_sample,
                       .sync = tensorboard_sync};
    char path[FILE_PATH_BYTES];
    if (!w->options->tensorboard) return LEVEE_OK;
    levee_status status = run_file_path(path, w->options->run_directory, RUN_TENSORBOARD, error);
    if (status == LEVEE_OK) status = tensorboard_open(&w->board, path, 0, error);
    w->board.by_samples = true;
    return status == LEVEE_OK ? run_stream_add(&w->told, &face, error) : status;
}

levee_status faces_open(watching *w, levee_error *error) {
    if (w->options->tensorboard && !*w->options->run_directory)
        return error_set(error, LEVEE_USAGE, "--tensorboard needs --run-dir, below which its files go");
    if (!*w->options->log && !*w->options->run_directory) return LEVEE_OK;
    levee_status status = run_stream_open(&w->told, error);
    if (status == LEVEE_OK) status = open_log(w, error);
    if (status == LEVEE_OK) status = open_directory(w, error);
    if (status == LEVEE_OK) status = open_tensorboard(w, error);
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
    rotating_file_close(&w->log.file);
    run_files_close(&w->files);
    tensorboard_close(&w->board);
    directory_lock_release(&w->directory);
}
