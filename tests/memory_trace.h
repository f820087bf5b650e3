/* Memory as programs show it, step by step, made from a seed: what the leak estimator is tried on.
 *
 * Each family is a way in which memory moves without leaking, or (growing ones) without leaking for ever. */
#ifndef LEVEE_TESTS_MEMORY_TRACE_H
#define LEVEE_TESTS_MEMORY_TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* Numbers are megabytes (10^6 bytes) and steps. */
typedef enum trace_family {
    TRACE_LEDGER,                   /* white noise of 0.25: what is left when every byte is booked */
    TRACE_WHITE,                    /* white noise of 16 */
    TRACE_CORRELATED,               /* autoregressive, 0.95 from step to step, of 16 */
    TRACE_SPIKES,                   /* one step in twenty takes 500 more, exponentially distributed */
    TRACE_SAWTOOTH,                 /* garbage of 4 a step, collected every 50 to 150 steps */
    TRACE_SHIFTS,                   /* one step in a thousand moves the level by 200, up or down */
    TRACE_POOL,                     /* a pool that keeps the most that a log-normal demand ever took */
    TRACE_WARM_UP,                  /* 2000 more within some hundred steps */
    TRACE_STAIRS,                   /* five stairs of 100 at random steps of the trace */
    TRACE_WANDER,                   /* Ornstein-Uhlenbeck over 1000 steps, of 64 */
    TRACE_LONG_CORRELATED,          /* autoregressive, 0.99, of 16 */
    TRACE_STUDENT,                  /* Student's t with 3 degrees of freedom, scaled by 16 */
    TRACE_NESTED_SAWTOOTH,          /* a sawtooth of 5 a step on one of 0.5 a step up to 500 */
    TRACE_NEVER_GROWS,              /* the number of families above */
    TRACE_WAVE = TRACE_NEVER_GROWS, /* a sine of 200 over 3000 steps */
    TRACE_LOGARITHM,                /* 300 log(1 + step / 50) */
    TRACE_SQUARE_ROOT,              /* 10 sqrt(step) */
    TRACE_FILL,                     /* 1 a step up to 3000 */
    TRACE_FAMILIES
} trace_family;

const char *trace_name(trace_family family);

typedef struct memory_trace {
    trace_family family;
    uint64_t seed, steps, step;
    uint64_t drawn; /* random numbers taken so far */
    double level, saw, saw_end, highest;
    double stairs[5];
    unsigned spike_steps;
} memory_trace;

/* A trace of `steps` steps; equal seeds give equal traces. */
void trace_begin(memory_trace *t, trace_family family, uint64_t seed, uint64_t steps);

/* The bytes held at the next step. */
double trace_next(memory_trace *t);

/* What clearing caches and collecting garbage does to it. */
void trace_release(memory_trace *t);

#endif
