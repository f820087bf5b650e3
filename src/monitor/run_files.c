/* Files of a run as sinks: see run_files.h. */
#include "monitor/run_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static levee_status write_step(void *self, const step_report *report, levee_error *error) {
    run_files *f = self;
    f->steps_failure.status = LEVEE_OK;
    levee_status status = metrics_write(&f->steps, report, &f->steps_failure);
    if (status != LEVEE_OK && error) *error = f->steps_failure;
    return status;
}

static levee_status sync_steps(void *self, levee_error *error) {
    run_files *f = self;
    return metrics_sync(&f->steps, error);
}

static levee_status write_event(void *self, const event_report *event, levee_error *error) {
    run_files *f = self;
    char line[EVENT_LINE_BYTES];
    unsigned length = event_line(line, event, &f->before);
    return rotating_file_append(&f->events, line, length, error);
}

static levee_status remember_sample(void *self, const sample_report *seen, levee_error *error) {
    run_files *f = self;
    (void)error;
    evidence_add(&f->before, seen);
    return LEVEE_OK;
}

static levee_status write_sample(void *self, const sample_report *seen, levee_error *error) {
    char line[EVENT_LINE_BYTES];
    unsigned length = sample_line(line, seen);
    return rotating_file_append(self, line, length, error);
}

static levee_status sync_rotating(void *self, levee_error *error) { return rotating_file_sync(self, error); }

static levee_status sync_events(void *self, levee_error *error) {
    run_files *f = self;
    return rotating_file_sync(&f->events, error);
}

/* "2026-03-01 12:00:00Z ". By hand, because the C library reads time zones, from files and into memory, for this too;
 * the calendar is Gregorian, counted in eras of 400 years from a first of March. */
enum { STAMP_BYTES = 64 };
static void stamp(char text[STAMP_BYTES], double time) {
    long long seconds = (long long)floor(time), days = seconds / 86400 + 719468, in_day = seconds % 86400;
    long long era = days / 146097, day = days % 146097;
    long long year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    long long in_year = day - (365 * year + year / 4 - year / 100), month = (5 * in_year + 2) / 153;
    long long day_of_month = in_year - (153 * month + 2) / 5 + 1;
    snprintf(text, STAMP_BYTES, "%04lld-%02lld-%02lld %02lld:%02lld:%02lldZ ", year + era * 400 + (month >= 10),
             month < 10 ? month + 3 : month - 9, day_of_month, in_day / 3600, in_day / 60 % 60, in_day % 60);
}

/* A line that is longer than a record comes in pieces; its time stands before the first. */
static levee_status write_line(void *self, const line_report *report, levee_error *error) {
    run_files *f = self;
    char line[STAMP_BYTES + LINE_REPORT_BYTES + 1] = "";
    if (!f->in_line) stamp(line, report->time);
    size_t length = strlen(line);
    length +=
        (size_t)snprintf(line + length, sizeof line - length, "%s%s", report->text, report->goes_on ? "" : "\n");
    f->in_line = report->goes_on;
    return rotating_file_append(&f->log, line, length, error);
}

static levee_status sync_log(void *self, levee_error *error) {
    run_files *f = self;
    return rotating_file_sync(&f->log, error);
}

static levee_status open_one(rotating_file *f, const char *directory, run_file which, uint64_t most_bytes,
                             levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = run_file_path(path, directory, which, error);
    return status == LEVEE_OK ? rotating_file_open(f, path, most_bytes, error) : status;
}

levee_status run_files_open(run_files *f, const char *directory, uint64_t most_bytes, levee_error *error) {
    memset(f, 0, sizeof *f);
    f->steps.descriptor = f->events.descriptor = f->samples.descriptor = f->log.descriptor = -1;
    f->open = true;
    levee_status status = open_one(&f->events, directory, RUN_EVENTS, most_bytes, error);
    if (status == LEVEE_OK) status = open_one(&f->samples, directory, RUN_SAMPLES, most_bytes, error);
    if (status == LEVEE_OK) status = open_one(&f->log, directory, RUN_LOG, most_bytes, error);
    if (status != LEVEE_OK) run_files_close(f);
    return status;
}

levee_status run_files_open_metrics(run_files *f, const char *directory, uint64_t keep_bytes, levee_error *error) {
    char path[FILE_PATH_BYTES];
    levee_status status = run_file_path(path, directory, RUN_METRICS, error);
    return status == LEVEE_OK ? metrics_open(&f->steps, path, keep_bytes, error) : status;
}

void run_files_close(run_files *f) {
    if (!f->open) return;
    metrics_close(&f->steps);
    rotating_file_close(&f->events);
    rotating_file_close(&f->samples);
    rotating_file_close(&f->log);
    f->open = false;
}

levee_status run_files_add(run_files *f, run_stream *to, levee_error *error) {
    const sink faces[] = {
        {.name = run_file_name(RUN_METRICS), .self = f, .step = write_step, .sync = sync_steps, .checkpointed = true},
        {.name = run_file_name(RUN_EVENTS),
         .self = f,
         .event = write_event,
         .sample = remember_sample,
         .sync = sync_events},
        {.name = run_file_name(RUN_SAMPLES), .self = &f->samples, .sample = write_sample, .sync = sync_rotating},
        {.name = run_file_name(RUN_LOG), .self = f, .line = write_line, .sync = sync_log},
    };
    levee_status status = LEVEE_OK;
    for (unsigned i = f->steps.descriptor < 0; i < sizeof faces / sizeof *faces && status == LEVEE_OK; i++)
        status = run_stream_add(to, &faces[i], error);
    return status;
}
