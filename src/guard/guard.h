/* The guard: sampler, leak estimators and controller, one after the other. For a training in this process, which asks
 * at its step boundaries, and for one that watches another process, told of its steps or sampling by the clock.
 *
 * Words. Progress is what only the caller knows: steps, plans, and what became of the last action. The meters that
 * are searched for leaks are `total`, what the process has taken, `unaccounted`, that less what the ledger booked,
 * and `device`, what it has on a GPU. A leak there ends a run only where its memory there has a budget: what a
 * library keeps for itself as it begins is harmless to others.
 *
 * The caller owns the guard, plain data of 16 KiB. After guard_open nothing is allocated. One guard belongs to one
 * thread; how decisions are carried out is the contract of controller.h. */
#ifndef LEVEE_GUARD_GUARD_H
#define LEVEE_GUARD_GUARD_H

#include "guard/controller.h"

typedef enum leak_meter { LEAK_OF_TOTAL, LEAK_OF_UNACCOUNTED, LEAK_OF_DEVICE, LEAK_METERS } leak_meter;

/* "total", "unaccounted", "device". */
const char *leak_meter_name(leak_meter meter);

/* As in guard_situation. */
typedef struct guard_progress {
    uint64_t steps;
    uint32_t plan, plan_count;
    uint64_t plan_bytes[GUARD_MOST_PLANS];
    bool paused, refused, growth_refused;
} guard_progress;

typedef struct guard {
    guard_limits limits;
    sampler meters;
    leak_estimator leaks[LEAK_METERS];
    controller control;
    guard_sample sample; /* the last one */
    uint64_t steps;      /* of which the estimators know */
    uint32_t plan;
    uint64_t group_limit_bytes; /* of the control group when the plan was taken; 0: not known */
    bool begun, paused;
} guard;

/* Opens the meters; guard_close accepts a zeroed guard. */
void guard_open(guard *g, const guard_limits *limits, const sampler_options *meters);
void guard_close(guard *g);

/* Takes a sample and decides. Leaks are searched for in the first sample of each step, and across a change of plan or
 * a pause nothing is compared: call at every step boundary, when nothing of a step is held any more. */
guard_decision guard_ask(guard *g, const guard_progress *progress);

/* Memory was given back and is taken again, by no decision of the guard: nothing is compared across this. */
void guard_skip(guard *g);

/* The meter whose leak is worst, for a report; its estimator says since when and how fast. */
leak_meter guard_worst_leak(const guard *g);

/* What is left to a leak there, by the last sample; unknown where no limit is known. */
reading guard_leak_headroom(const guard *g, leak_meter meter);

#endif
