/* How quickly the leak estimator finds a leak, and how often it finds one that is not there, on made memory.
 *
 *   leaks delays [RUNS [SEED]]               a leak that begins after 2000 clean steps, or with the first step
 *   leaks alarms [MILLIONS [SEED [FAMILY]]]  no leak: suspicions and confirmations in a million steps
 *   leaks early [RUNS [SEED]]                a leak from the first step, memory for 40 steps: steps left to act */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../tests/memory_trace.h"
#include "guard/leak.h"

enum { TRACE_STEPS = 20000, CLEAN_STEPS = 2000, MOST_RUNS = 4000 };

static const double megabyte = 1e6;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The given quantile of values that are sorted here; -1 for none. */
static double quantile(double *values, unsigned count, double share) {
    if (!count) return -1;
    qsort(values, count, sizeof *values, compare);
    return values[(unsigned)((count - 1) * share)];
}

static uint64_t seed_of(uint64_t seed, uint64_t family, uint64_t cell, uint64_t run) {
    return (seed << 40) ^ (family << 32) ^ (cell << 24) ^ run;
}

typedef struct found {
    double suspected, confirmed; /* steps after the leak began; -1: never */
    bool covered;                /* the interval at confirmation holds the true slope */
    double error, width;         /* of the slope then, and half of its interval, as shares of the slope */
} found;

static found find_leak(trace_family family, uint64_t seed, uint64_t clean, uint64_t steps, double leak) {
    static leak_estimator e;
    memory_trace trace;
    found f = {-1, -1, false, 0, 0};
    trace_begin(&trace, family, seed, clean + steps);
    leak_reset(&e, leak_least_rise_bytes);
    for (uint64_t step = 0; step < clean + steps && f.confirmed < 0; step++) {
        double leaked = step > clean ? leak * megabyte * (double)(step - clean) : 0;
        leak_verdict verdict = leak_add(&e, (int64_t)(trace_next(&trace) + leaked));
        if (step <= clean && clean) {
            if (verdict != LEAK_NONE) leak_dismiss(&e);
            continue;
        }
        double delay = (double)(step - clean);
        if (verdict != LEAK_NONE && f.suspected < 0) f.suspected = delay;
        if (verdict != LEAK_CONFIRMED) continue;
        leak_slope slope;
        leak_estimate(&e, &slope);
        f.confirmed = delay;
        f.covered = slope.low <= leak * megabyte && leak * megabyte <= slope.high;
        f.error = fabs(slope.bytes / (leak * megabyte) - 1);
        f.width = (slope.high - slope.low) / 2 / (leak * megabyte);
    }
    return f;
}

static void print_delays(trace_family family, uint64_t clean, double leak, unsigned cell, unsigned runs,
                         uint64_t seed) {
    static double suspected[MOST_RUNS], confirmed[MOST_RUNS];
    unsigned suspicions = 0, confirmations = 0, covered = 0;
    double error = 0, width = 0;
    uint64_t steps = leak < 0.5 ? 20000 : leak < 5 ? 6000 : 3000;
    for (unsigned run = 0; run < runs; run++) {
        found f = find_leak(family, seed_of(seed, family, cell, run), clean, steps, leak);
        if (f.suspected >= 0) suspected[suspicions++] = f.suspected;
        if (f.confirmed < 0) continue;
        confirmed[confirmations++] = f.confirmed;
        covered += f.covered;
        error += f.error;
        width += f.width;
    }
    printf("%-17s %5.1f MB/step  suspected %5.0f (95 %% %5.0f, never %3.0f %%)  confirmed %5.0f (95 %% %5.0f, never "
           "%3.0f %%)  interval +- %2.0f %% holds %3.0f %%, slope off by %2.0f %%\n",
           trace_name(family), leak, quantile(suspected, suspicions, 0.5), quantile(suspected, suspicions, 0.95),
           100.0 * (runs - suspicions) / runs, quantile(confirmed, confirmations, 0.5),
           quantile(confirmed, confirmations, 0.95), 100.0 * (runs - confirmations) / runs,
           confirmations ? 100 * width / confirmations : -1, confirmations ? 100.0 * covered / confirmations : -1,
           confirmations ? 100 * error / confirmations : -1);
    fflush(stdout);
}

static void delays(unsigned runs, uint64_t seed) {
    static const trace_family noises[] = {TRACE_LEDGER,   TRACE_WHITE,  TRACE_CORRELATED,      TRACE_SPIKES,
                                          TRACE_SAWTOOTH, TRACE_SHIFTS, TRACE_NESTED_SAWTOOTH, TRACE_STUDENT};
    static const double leaks[] = {0.1, 1, 10, 100};
    static const uint64_t begins[] = {CLEAN_STEPS, 0};
    for (unsigned b = 0; b < 2; b++) {
        printf("A leak after %u clean steps; median delays in steps, %u runs\n", (unsigned)begins[b], runs);
        for (unsigned n = 0; n < sizeof noises / sizeof *noises; n++)
            for (unsigned k = 0; k < 4; k++) print_delays(noises[n], begins[b], leaks[k], k + 4 * b, runs, seed);
    }
}

static void print_alarms(trace_family family, bool release, unsigned traces, uint64_t seed) {
    static leak_estimator e;
    unsigned long suspicions = 0, confirmations = 0, suspected_steps = 0;
    double began = seconds_now(), spent = 0;
    for (unsigned i = 0; i < traces; i++) {
        memory_trace trace;
        trace_begin(&trace, family, seed_of(seed, family, 64, i), TRACE_STEPS);
        leak_reset(&e, leak_least_rise_bytes);
        leak_verdict before = LEAK_NONE;
        for (unsigned step = 0; step < TRACE_STEPS; step++) {
            leak_verdict now = leak_add(&e, (int64_t)trace_next(&trace));
            suspected_steps += now != LEAK_NONE;
            if (now != LEAK_NONE && before == LEAK_NONE) {
                suspicions++;
                if (release) trace_release(&trace);
            }
            if (now == LEAK_CONFIRMED) {
                confirmations++;
                leak_dismiss(&e);
            }
            before = e.verdict;
        }
    }
    spent = seconds_now() - began;
    double millions = (double)traces * TRACE_STEPS / 1e6;
    printf(
        "%-17s %-8s suspected %8.2f  confirmed %8.3f in 10^6 steps (%lu in %.1f million)  suspected %5.2f %% of the "
        "time  %.2f us/step with the trace\n",
        trace_name(family), release ? "released" : "", (double)suspicions / millions,
        (double)confirmations / millions, confirmations, millions, 100e-6 * (double)suspected_steps / millions,
        spent / millions);
    fflush(stdout);
}

/* Of one family, by its number in memory_trace.h, or (TRACE_FAMILIES) of all. */
static void alarms(double millions, uint64_t seed, unsigned family) {
    unsigned traces = (unsigned)ceil(millions * 1e6 / TRACE_STEPS);
    for (unsigned f = 0; f < TRACE_FAMILIES; f++)
        if (family == f || family == TRACE_FAMILIES) print_alarms((trace_family)f, false, traces, seed);
    if (family != TRACE_FAMILIES) return;
    print_alarms(TRACE_SAWTOOTH, true, traces, seed);
    print_alarms(TRACE_POOL, true, traces, seed);
}

/* The step at which less than `horizon` steps are left at the upper slope, and how many truly were left. */
static double steps_left(trace_family family, uint64_t seed, double leak, double horizon, double *suspected) {
    static leak_estimator e;
    memory_trace trace;
    enum { HEADROOM_STEPS = 40 };
    trace_begin(&trace, family, seed, HEADROOM_STEPS);
    leak_reset(&e, leak_least_rise_bytes);
    double left = -1, first = 0;
    *suspected = -1;
    for (unsigned step = 0; step < HEADROOM_STEPS; step++) {
        double held = trace_next(&trace) + leak * megabyte * step;
        if (!step) first = held;
        if (leak_add(&e, (int64_t)held) != LEAK_NONE && *suspected < 0) *suspected = step + 1;
        double headroom = first + HEADROOM_STEPS * leak * megabyte - held;
        if (left < 0 && leak_time_left(&e, headroom).fewest < horizon) left = HEADROOM_STEPS - step;
    }
    return left;
}

static void early(unsigned runs, uint64_t seed) {
    static const trace_family noises[] = {TRACE_LEDGER, TRACE_WHITE, TRACE_CORRELATED, TRACE_SAWTOOTH};
    static const double leaks[] = {50, 75, 100};
    static double suspected[MOST_RUNS];
    enum { HORIZON_STEPS = 12 };
    for (unsigned n = 0; n < sizeof noises / sizeof *noises; n++)
        for (unsigned k = 0; k < 3; k++) {
            unsigned suspicions = 0, acted = 0;
            double least = INFINITY;
            for (unsigned run = 0; run < runs; run++) {
                double at, left = steps_left(noises[n], seed_of(seed, noises[n], 128 + k, run), leaks[k],
                                             HORIZON_STEPS, &at);
                if (at >= 0) suspected[suspicions++] = at;
                if (left >= 0) acted++;
                least = fmin(least, left);
            }
            printf("%-17s %5.0f MB/step from the first, 40 steps of headroom: suspected after %2.0f samples (most "
                   "%2.0f, %u of %u runs); warned in %u of %u, at least %.0f steps before the end\n",
                   trace_name(noises[n]), leaks[k], quantile(suspected, suspicions, 0.5),
                   quantile(suspected, suspicions, 1), suspicions, runs, acted, runs, least);
        }
}

int main(int count, char **arguments) {
    const char *table = count > 1 ? arguments[1] : "";
    double size = count > 2 ? strtod(arguments[2], NULL) : 0;
    uint64_t seed = count > 3 ? strtoull(arguments[3], NULL, 10) : 1;
    unsigned family = count > 4 ? (unsigned)strtoul(arguments[4], NULL, 10) : TRACE_FAMILIES;
    unsigned runs = size >= 1 && size <= MOST_RUNS ? (unsigned)size : 100;
    if (!strcmp(table, "delays"))
        delays(runs, seed);
    else if (!strcmp(table, "alarms"))
        alarms(size > 0 ? size : 1, seed, family);
    else if (!strcmp(table, "early"))
        early(runs, seed);
    else
        return fprintf(stderr, "leaks delays|alarms|early [RUNS or MILLIONS [SEED [FAMILY]]]\n"), 2;
    return 0;
}
