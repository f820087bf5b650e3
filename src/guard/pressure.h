/* Pressure: how near memory is to each limit above it, as levels that rise at once and fall slowly.
 *
 * Words. A source is a limit that may be met: the budget, a control group, the machine less its reserve, a device,
 * and the time that tasks wait for memory. Its share is how much of it is used up; its capacity the bytes that 1
 * stands for. The level now is by the thresholds; the held level falls only after a time in which the share stayed
 * clearly below. Act on what is now, grow on what is held. A meter that is needed and unknown is YELLOW: work goes
 * on, and nothing grows.
 *
 * The share of the budget starts at what the plan in use is expected to hold, because a plan may fill its budget:
 * what counts is how much of the rest is gone.
 *
 * Pure functions of the caller's plain data. */
#ifndef LEVEE_GUARD_PRESSURE_H
#define LEVEE_GUARD_PRESSURE_H

#include "guard/sample.h"

/* BLACK: memory was asked for and refused. */
typedef enum pressure_level {
    PRESSURE_GREEN,
    PRESSURE_YELLOW,
    PRESSURE_ORANGE,
    PRESSURE_RED,
    PRESSURE_BLACK
} pressure_level;

typedef enum pressure_source {
    SOURCE_NONE,
    SOURCE_BUDGET,
    SOURCE_GROUP,
    SOURCE_MACHINE,
    SOURCE_DEVICE,
    SOURCE_STALL,
    SOURCE_UNKNOWN, /* a meter that is needed cannot be read */
    SOURCE_REFUSAL,
    SOURCE_COUNT
} pressure_source;

const char *pressure_level_name(pressure_level level);
const char *pressure_source_name(pressure_source source);

typedef struct pressure_limits {
    double yellow, orange, red;     /* shares */
    double lower_by;                /* a held level is left so far below its threshold */
    double hold_seconds;            /* and after so long */
    uint32_t hold_steps;            /* and so many steps */
    double stall_share;             /* of the time that some task waits: ORANGE; left at half of it */
    double stall_seconds;           /* measured over so long */
    uint64_t budget_bytes;          /* UINT64_MAX: none */
    uint64_t machine_reserve_bytes; /* always left to others */
    uint64_t device_budget_bytes;   /* UINT64_MAX: none, and what else happens on the device is nobody's business */
} pressure_limits;

/* Thresholds; no budget, no reserve. */
pressure_limits pressure_limits_default(void);

typedef struct pressure_share {
    bool known, needed; /* needed: there is such a limit */
    double share, capacity_bytes;
} pressure_share;

/* What the process is expected to hold: by the plan in use, and by how much more if another one is taken. Nobody but
 * us takes our budget; of what is shared with others a growth asks for more than it takes, by the factor `caution`.
 * Where the control group's limit was lowered since the plan was taken, somebody wants memory back, and the plan is
 * no excuse. */
typedef struct pressure_plan {
    double planned_bytes, growth_bytes, caution;
    double group_limit_bytes; /* when it was taken; 0: not known */
} pressure_plan;

pressure_share pressure_of(pressure_source source, const pressure_limits *l, const guard_sample *s,
                           const pressure_plan *plan);

/* A level, the source that it comes from, and that source's numbers. */
typedef struct pressure_finding {
    pressure_level level;
    pressure_source source;
    double share, capacity_bytes;
} pressure_finding;

/* The worst source that is a limit of bytes, by thresholds that are `lowered` by so much. */
pressure_finding pressure_worst(const pressure_limits *l, const guard_sample *s, const pressure_plan *plan,
                                double lowered);

/* Bytes until the first limit is met: of budget, groups and machine reserve; unknown when none of them is known. */
reading pressure_headroom(const pressure_limits *l, const guard_sample *s);

/* The same on the device: of its memory, and of the budget there. */
reading pressure_device_headroom(const pressure_limits *l, const guard_sample *s);

/* What is remembered from sample to sample. Zeroed: a new one. */
typedef struct pressure_gauge {
    pressure_level held;
    double calm_seconds;
    uint32_t calm_steps;
    reading stalled_before; /* the meter at the last sample */
    double stall_window_seconds, stall_window_microseconds;
    double stall_share; /* of the last whole window */
} pressure_gauge;

/* What passed since the sample before. */
typedef struct pressure_interval {
    double seconds;
    uint32_t steps;
    bool refused; /* a reservation was */
} pressure_interval;

/* Returns the level now; p->held is the held one. */
pressure_finding pressure_update(pressure_gauge *p, const pressure_limits *l, const guard_sample *s,
                                 const pressure_plan *plan, const pressure_interval *since);

#endif
