/* Made memory: see memory_trace.h. */
#include "memory_trace.h"

#include <math.h>
#include <string.h>

#include "base/random.h"

static const double megabyte = 1e6, base_level = 8000, two_pi = 6.283185307179586;

const char *trace_name(trace_family family) {
    static const char *const names[TRACE_FAMILIES] = {
        "ledger s 0.25",  "white s 16",      "AR(.95) s 16",    "5% spikes of 500", "sawtooth 400",
        "unknown shifts", "pool maximum",    "warm-up 2000",    "stairs 5x100",     "slow wander s 64",
        "AR(.99) s 16",   "Student-t3 s 16", "nested sawtooth", "wave 3000 steps",  "log growth",
        "sqrt growth",    "fill, then stop",
    };
    return names[family];
}

static double uniform(memory_trace *t) {
    uint64_t at = t->drawn++;
    return (double)random_uniform(t->seed, (uint32_t)at, (uint32_t)(at >> 32), (uint32_t)t->family, 0);
}

static double normal(memory_trace *t) {
    uint64_t at = t->drawn++;
    return (double)random_normal(t->seed, (uint32_t)at, (uint32_t)(at >> 32), (uint32_t)t->family, 1);
}

static double exponential(memory_trace *t) { return -log(1 - uniform(t)); }

void trace_begin(memory_trace *t, trace_family family, uint64_t seed, uint64_t steps) {
    *t = (memory_trace){.family = family, .seed = seed, .steps = steps};
    t->saw_end = 50 + 100 * uniform(t);
    for (unsigned i = 0; i < 5; i++) t->stairs[i] = uniform(t) * (double)steps;
    if (family == TRACE_CORRELATED || family == TRACE_LONG_CORRELATED) t->level = 16 * normal(t);
    if (family == TRACE_WANDER) t->level = 64 * normal(t);
}

/* A stationary autoregressive process of deviation 16. */
static double correlated(memory_trace *t, double correlation) {
    t->level = correlation * t->level + 16 * sqrt(1 - correlation * correlation) * normal(t);
    return t->level;
}

static double spikes(memory_trace *t) {
    if (!t->spike_steps && uniform(t) < 0.025) t->spike_steps = 1 + (unsigned)(3 * uniform(t));
    double value = 2 * normal(t);
    if (!t->spike_steps) return value;
    t->spike_steps--;
    return value + 500 * exponential(t);
}

static double sawtooth(memory_trace *t, double a_step, double shortest, double spread) {
    t->saw += 1;
    if (t->saw > t->saw_end) {
        t->saw = 0;
        t->saw_end = shortest + spread * uniform(t);
    }
    return a_step * t->saw;
}

static double shifts(memory_trace *t) {
    if (uniform(t) < 0.001) t->level += (uniform(t) < 0.5 ? 200 : -200) * exponential(t);
    return t->level;
}

static double pool(memory_trace *t) {
    t->highest = fmax(t->highest, 6000 * exp(0.15 * normal(t)));
    return t->highest;
}

static double stairs(const memory_trace *t) {
    double height = 0;
    for (unsigned i = 0; i < 5; i++) height += (double)t->step >= t->stairs[i] ? 100 : 0;
    return height;
}

static double wander(memory_trace *t) {
    t->level += -t->level / 1000 + 64 * sqrt(2.0 / 1000) * normal(t);
    return t->level;
}

static double student(memory_trace *t) {
    double value = normal(t), squares = 0;
    for (unsigned i = 0; i < 3; i++) {
        double one = normal(t);
        squares += one * one;
    }
    return 16 * value / sqrt(squares / 3);
}

static double nested(memory_trace *t) {
    t->level = t->level > 500 ? 0 : t->level + 0.5;
    return t->level + sawtooth(t, 5, 20, 20);
}

static double moved(memory_trace *t) {
    double step = (double)t->step;
    switch (t->family) {
    case TRACE_LEDGER:
        return 0.25 * normal(t);
    case TRACE_WHITE:
        return 16 * normal(t);
    case TRACE_CORRELATED:
        return correlated(t, 0.95);
    case TRACE_LONG_CORRELATED:
        return correlated(t, 0.99);
    case TRACE_SPIKES:
        return spikes(t);
    case TRACE_STUDENT:
        return student(t);
    case TRACE_POOL:
        return pool(t) + 2 * normal(t);
    case TRACE_SAWTOOTH:
        return sawtooth(t, 4, 50, 100) + 4 * normal(t);
    case TRACE_SHIFTS:
        return shifts(t) + 4 * normal(t);
    case TRACE_WARM_UP:
        return 2000 * (1 - exp(-step / 150)) + 4 * normal(t);
    case TRACE_STAIRS:
        return stairs(t) + 4 * normal(t);
    case TRACE_WANDER:
        return wander(t) + 4 * normal(t);
    case TRACE_NESTED_SAWTOOTH:
        return nested(t) + 4 * normal(t);
    case TRACE_WAVE:
        return 200 * sin(two_pi * step / 3000) + 4 * normal(t);
    case TRACE_LOGARITHM:
        return 300 * log(1 + step / 50) + 4 * normal(t);
    case TRACE_SQUARE_ROOT:
        return 10 * sqrt(step) + 4 * normal(t);
    case TRACE_FILL:
        return fmin(step, 3000) + 4 * normal(t);
    case TRACE_FAMILIES:
        break;
    }
    return 0;
}

double trace_next(memory_trace *t) {
    double bytes = (base_level + moved(t)) * megabyte;
    t->step++;
    return bytes;
}

void trace_release(memory_trace *t) { t->saw = t->highest = 0; }
