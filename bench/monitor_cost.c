/* What it costs to tell: a push into the stream by the thread that trains, what the stream's thread takes for each
 * record (none of which the training waits for), a flush, and the memory. Files are written into the directory that
 * is named, or /tmp. Medians of many rounds, on the machine as it is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory/ledger.h"
#include "monitor/run_files.h"
#include "platform/machine.h"

enum { ROUNDS = 101, RECORDS = 64 };

static run_stream stream;
static run_files files;

static step_report step = {
    .step = 1000, .loss = 2.5, .learning_rate = 1e-5, .gradient_norm = 0.7, .validation_loss = NAN};
static sample_report seen;
static event_report event;

static void push_step(void) { run_stream_push_step(&stream, &step); }
static void push_sample(void) { run_stream_push_sample(&stream, &seen); }
static void push_event(void) { run_stream_push_event(&stream, &event); }
static void push_line(void) {
    run_stream_push_text(&stream,
                         "step 1000/5000  loss 2.5000  1234 tokens/s  rate 1e-05  memory 1.2 GiB of 2.0 GiB");
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[ROUNDS]) {
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

/* So few at a time that nothing is dropped; each round waits until all is written. Returns what a push costs. */
static double measure(const char *name, void (*push)(void)) {
    double pushes[ROUNDS], whole[ROUNDS];
    for (unsigned r = 0; r < ROUNDS; r++) {
        double began = machine_seconds();
        for (unsigned i = 0; i < RECORDS; i++) push();
        double pushed = machine_seconds();
        while (atomic_load(&stream.handed) != atomic_load(&stream.pushed)) continue;
        pushes[r] = (pushed - began) / RECORDS;
        whole[r] = (machine_seconds() - began) / RECORDS;
    }
    double cost = median(pushes);
    printf("%-8s %8.0f ns a push (least %.0f); written after %.1f us each\n", name, 1e9 * cost, 1e9 * pushes[0],
           1e6 * median(whole));
    return cost;
}

static void measure_flush(void) {
    double flushes[ROUNDS];
    for (unsigned r = 0; r < ROUNDS; r++) {
        push_step();
        push_sample();
        double began = machine_seconds();
        run_stream_flush(&stream, NULL);
        flushes[r] = machine_seconds() - began;
    }
    printf("a flush, before a checkpoint: %.2f ms\n", 1e3 * median(flushes));
}

static bool check(levee_status status, const levee_error *error) {
    if (status != LEVEE_OK) fprintf(stderr, "monitor_cost: %s\n", error->message);
    return status == LEVEE_OK;
}

int main(int count, char **arguments) {
    char directory[FILE_PATH_BYTES];
    levee_error error;
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    if (!check(file_make_temporary_directory(directory, count > 1 ? arguments[1] : "/tmp", "levee", &error),
               &error) ||
        !check(run_stream_open(&stream, &error), &error) ||
        !check(run_files_open(&files, directory, RUN_FILE_MOST_BYTES, &error), &error) ||
        !check(run_files_open_metrics(&files, directory, 0, &error), &error) ||
        !check(run_files_add(&files, &stream, &error), &error))
        return 1;
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT) - before;
    for (unsigned m = 0; m < METER_COUNT; m++) seen.sample.meters[m] = (reading){.known = true, .value = 12345678901};
    run_stream_begin(&stream);
    double all = measure("step", push_step) + measure("sample", push_sample);
    measure("event", push_event);
    measure("line", push_line);
    measure_flush();
    unsigned long long dropped = 0;
    for (unsigned kind = 0; kind < RECORD_KINDS; kind++) dropped += run_stream_dropped(&stream, (record_kind)kind);
    printf("%llu dropped, %llu failed\n", dropped, (unsigned long long)run_stream_failures(&stream));
    printf("%llu bytes booked, and %zu beside for what files need\n", (unsigned long long)booked,
           sizeof stream + sizeof files);
    printf("a step tells of itself and of a sample: %.2f us, %.5f %% of a step of a second\n", 1e6 * all, 100 * all);
    run_stream_close(&stream);
    run_files_close(&files);
    file_remove_with_files(directory, NULL);
    return 0;
}
