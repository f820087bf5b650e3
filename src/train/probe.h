/* A probe: what `levee probe` has open, and what it has found out so far.
 *
 * It climbs from micro-batch to micro-batch. At each size it plans, takes memory, runs some real steps and gives
 * everything back, in the way and by the calls of a training; the model, the data and the guard's meters stay open.
 * Nothing of what is trained is stored. */
#ifndef LEVEE_TRAIN_PROBE_H
#define LEVEE_TRAIN_PROBE_H

#include "report/ramp.h"
#include "train/drill.h"
#include "train/planning.h"

/* Why the climb ended. */
typedef enum probe_end {
    PROBE_GOES_ON,
    PROBE_WHOLE, /* nothing larger is of use: the whole step is one pass */
    PROBE_NOT_FASTER,
    PROBE_BUDGET,
    PROBE_LEAK,
    PROBE_PRESSURE,
    PROBE_STOPPED /* as somebody asked */
} probe_end;

typedef struct probe {
    levee_options options; /* of the size that is tried */
    run common;            /* with these options */
    planning_data data;
    drill exercises;
    machine_rates rates;
    uint64_t steps; /* finished, of all sizes */
    ramp found;
    probe_end end;
    char reason[LEVEE_ERROR_BYTES]; /* of the end */
} probe;

/* Tries the size that p->options ask for (probe_attempt.c): *row is what was measured, row->safe when all steps were
 * done and nothing speaks against it; else p->end says why, and p->reason. The budget ends a climb before a step is
 * run; then row->tokens is 0. In any case everything is given back. Only what would end any training is an error. */
levee_status probe_attempt(probe *p, ramp_row *row, levee_error *error);

#endif
