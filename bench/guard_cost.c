/* What the guard costs, part by part, in microseconds of one call: the median of many, on the machine as it is. */
#include <stdio.h>
#include <stdlib.h>

#include "guard/guard.h"
#include "platform/machine.h"

enum { ROUNDS = 31, CALLS = 200 };

static sampler meters;
static guard_sample sample;
static guard whole;
static leak_estimator quiet, growing, collected;
static guard_progress progress = {.plan_count = 1};
static uint64_t calls;

static void read_process(void) {
    process_readings now;
    process_meter_read(&meters.process, &now);
}

static void read_machine(void) {
    machine_readings now;
    machine_meter_read(&meters.machine, &now);
}

static void read_groups(void) {
    group_readings now;
    control_groups_read(&meters.groups, &now);
}

static void take_sample(void) { sampler_take(&meters, &sample); }

static void add_quiet(void) { leak_add(&quiet, 8000000000 + (int64_t)(calls++ * 2654435761u % 500000)); }

static void add_growing(void) { leak_add(&growing, (int64_t)(calls++ * 3000000)); }

static void add_collected(void) { leak_add(&collected, (int64_t)(calls++ % 100 * 4000000)); }

static void ask_guard(void) {
    progress.steps++;
    guard_ask(&whole, &progress);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, void (*call)(void)) {
    double rounds[ROUNDS];
    for (unsigned r = 0; r < ROUNDS; r++) {
        double began = machine_seconds();
        for (unsigned i = 0; i < CALLS; i++) call();
        rounds[r] = (machine_seconds() - began) / CALLS * 1e6;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare);
    printf("%-48s %7.2f us (least %.2f)\n", name, rounds[ROUNDS / 2], rounds[0]);
}

int main(void) {
    const sampler_options options = sampler_options_default();
    const guard_limits limits = guard_limits_default();
    sampler_open(&meters, &options);
    guard_open(&whole, &limits, &options);
    leak_reset(&quiet, leak_least_rise_bytes);
    leak_reset(&growing, leak_least_rise_bytes);
    leak_reset(&collected, leak_least_rise_bytes);
    measure("process: status", read_process);
    measure("machine: meminfo, pressure, vmstat", read_machine);
    measure("control groups: membership and all ancestors", read_groups);
    measure("one sample of all", take_sample);
    measure("leak estimator, quiet memory", add_quiet);
    measure("leak estimator, memory that grows", add_growing);
    measure("leak estimator, a sawtooth of 100 steps", add_collected);
    measure("sample, two estimators and decision", ask_guard);
    printf("%zu bytes of state; %u control groups\n", sizeof whole, whole.sample.groups);
    sampler_close(&meters);
    guard_close(&whole);
    return 0;
}
