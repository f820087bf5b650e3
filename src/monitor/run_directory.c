/* Names and lock of a run's directory: see run_directory.h. */
#include "monitor/run_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

const char *run_file_name(run_file file) {
    static const char *const names[RUN_FILES] = {"metrics.jsonl", "events.jsonl", "samples.jsonl", "plan.json",
                                                 "config.yaml",   "log.txt",      "tensorboard",   "checkpoints"};
    return (unsigned)file < RUN_FILES ? names[file] : "unknown";
}

levee_status run_file_path(char path[FILE_PATH_BYTES], const char *directory, run_file file, levee_error *error) {
    if (file_join(path, directory, run_file_name(file))) return LEVEE_OK;
    return error_set(error, LEVEE_USAGE, "%.200s...: --adapter-path is too long", directory);
}

void run_directory_sign(const directory_lock *lock) {
    char note[LOCK_NOTE_BYTES];
    snprintf(note, sizeof note, "%-*d\n", LOCK_NOTE_BYTES - 2, (int)getpid());
    directory_lock_note(lock, note);
}

levee_status run_directory_look(const char *directory, bool *goes_on, int *pid, levee_error *error) {
    char note[LOCK_NOTE_BYTES];
    *pid = 0;
    *goes_on = false;
    if (!file_is_directory(directory))
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: is no directory of a run (--adapter-path, or watch's --run-dir)", directory);
    levee_status status = directory_lock_look(directory, goes_on, note, error);
    if (status == LEVEE_MISSING_INPUT)
        return error_set(error, status, "%s: no run has written there: it holds no file named lock", directory);
    if (status == LEVEE_OK && *goes_on) *pid = (int)strtol(note, NULL, 10);
    return status;
}
