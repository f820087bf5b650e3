/* Levels of pressure: see pressure.h. */
#include "guard/pressure.h"

#include <math.h>

const char *pressure_level_name(pressure_level level) {
    static const char *const names[] = {"green", "yellow", "orange", "red", "black"};
    return (unsigned)level <= PRESSURE_BLACK ? names[level] : "unknown";
}

const char *pressure_source_name(pressure_source source) {
    static const char *const names[SOURCE_COUNT] = {"none",   "budget", "control group", "machine",
                                                    "device", "stall",  "unknown meter", "refusal"};
    return (unsigned)source < SOURCE_COUNT ? names[source] : "unknown";
}

pressure_limits pressure_limits_default(void) {
    return (pressure_limits){.yellow = 0.85,
                             .orange = 0.92,
                             .red = 0.97,
                             .lower_by = 0.05,
                             .hold_seconds = 10,
                             .hold_steps = 20,
                             .stall_share = 0.05,
                             .stall_seconds = 2,
                             .budget_bytes = UINT64_MAX,
                             .device_budget_bytes = UINT64_MAX};
}

/* A share of a limit that starts at `from`: what lies below is no pressure. */
static pressure_share share_of(double used, double from, double limit) {
    pressure_share s = {.known = true, .needed = true, .capacity_bytes = fmax(limit - from, 0)};
    if (used <= from) return s;
    s.share = limit > from ? (used - from) / (limit - from) : INFINITY;
    return s;
}

/* A limit that others share: the share used of all of it. But a plan that fits may leave little, and must not be
 * pressure by itself: where it comes near to yellow alone, what lies above it counts for the rest of the scale. */
static pressure_share share_beside_plan(const pressure_limits *l, double used, double planned, double limit) {
    double calm = l->yellow - l->lower_by;
    pressure_share s = share_of(used, 0, limit);
    if (planned >= limit || planned <= calm * limit || used <= planned) return s;
    s.capacity_bytes = (limit - planned) / (1 - calm);
    s.share = calm + (used - planned) / s.capacity_bytes;
    return s;
}

static const pressure_share no_limit = {0}, unreadable = {.needed = true};

static pressure_share of_budget(const pressure_limits *l, const guard_sample *s, const pressure_plan *plan) {
    reading held = sample_held(s);
    if (l->budget_bytes == UINT64_MAX) return no_limit;
    if (!held.known) return unreadable;
    double growth = plan->growth_bytes;
    return share_of((double)held.value + growth, plan->planned_bytes + growth, (double)l->budget_bytes);
}

/* A growth asks for more than it takes, by the factor of caution. */
static double growth_asked(const pressure_plan *plan) { return plan->growth_bytes * plan->caution; }

static pressure_share of_group(const pressure_limits *l, const guard_sample *s, const pressure_plan *plan) {
    reading limit = s->meters[METER_GROUP_LIMIT], headroom = s->meters[METER_GROUP_HEADROOM];
    if (!limit.known || !headroom.known) return unreadable;
    if (limit.value == UINT64_MAX) return no_limit;
    double used = (double)limit.value - (double)headroom.value + growth_asked(plan);
    if ((double)limit.value < plan->group_limit_bytes) return share_of(used, 0, (double)limit.value);
    return share_beside_plan(l, used, plan->planned_bytes + plan->growth_bytes, (double)limit.value);
}

static pressure_share of_machine(const pressure_limits *l, const guard_sample *s, const pressure_plan *plan) {
    reading total = s->meters[METER_MACHINE_TOTAL], available = s->meters[METER_MACHINE_AVAILABLE];
    if (!total.known || !available.known) return unreadable;
    double limit = fmax((double)total.value - (double)l->machine_reserve_bytes, 0);
    double used = (double)total.value - (double)available.value + growth_asked(plan);
    return share_beside_plan(l, used, plan->planned_bytes + plan->growth_bytes, limit);
}

static pressure_share of_device(const pressure_limits *l, const guard_sample *s) {
    reading total = s->meters[METER_DEVICE_TOTAL], used = s->meters[METER_DEVICE_USED];
    reading own = s->meters[METER_DEVICE_PROCESS];
    if (l->device_budget_bytes == UINT64_MAX) return no_limit;
    if (!own.known) return unreadable;
    pressure_share whole =
        total.known && used.known ? share_of((double)used.value, 0, (double)total.value) : no_limit;
    pressure_share part = share_of((double)own.value, 0, (double)l->device_budget_bytes);
    return whole.needed && whole.share > part.share ? whole : part;
}

pressure_share pressure_of(pressure_source source, const pressure_limits *l, const guard_sample *s,
                           const pressure_plan *plan) {
    switch (source) {
    case SOURCE_BUDGET:
        return of_budget(l, s, plan);
    case SOURCE_GROUP:
        return of_group(l, s, plan);
    case SOURCE_MACHINE:
        return of_machine(l, s, plan);
    case SOURCE_DEVICE:
        return of_device(l, s);
    default:
        return no_limit;
    }
}

static pressure_level level_of(const pressure_limits *l, double share, double lowered) {
    if (share >= l->red - lowered) return PRESSURE_RED;
    if (share >= l->orange - lowered) return PRESSURE_ORANGE;
    return share >= l->yellow - lowered ? PRESSURE_YELLOW : PRESSURE_GREEN;
}

static void raise(pressure_finding *worst, pressure_finding other) {
    if (other.level > worst->level || (other.level == worst->level && other.share > worst->share)) *worst = other;
}

pressure_finding pressure_worst(const pressure_limits *l, const guard_sample *s, const pressure_plan *plan,
                                double lowered) {
    pressure_finding worst = {.level = PRESSURE_GREEN};
    for (pressure_source source = SOURCE_BUDGET; source <= SOURCE_DEVICE; source++) {
        pressure_share one = pressure_of(source, l, s, plan);
        if (!one.needed) continue;
        pressure_finding unknown = {.level = PRESSURE_YELLOW, .source = SOURCE_UNKNOWN};
        pressure_finding found = {level_of(l, one.share, lowered), source, one.share, one.capacity_bytes};
        raise(&worst, one.known ? found : unknown);
    }
    return worst;
}

static void lower(reading *least, double bytes) {
    uint64_t value = bytes > 0 ? (uint64_t)bytes : 0;
    if (!least->known || value < least->value) *least = (reading){.known = true, .value = value};
}

reading pressure_headroom(const pressure_limits *l, const guard_sample *s) {
    reading least = {0}, held = sample_held(s), group = s->meters[METER_GROUP_HEADROOM];
    reading available = s->meters[METER_MACHINE_AVAILABLE];
    if (l->budget_bytes != UINT64_MAX && held.known) lower(&least, (double)l->budget_bytes - (double)held.value);
    if (group.known && group.value != UINT64_MAX) lower(&least, (double)group.value);
    if (available.known) lower(&least, (double)available.value - (double)l->machine_reserve_bytes);
    return least;
}

reading pressure_device_headroom(const pressure_limits *l, const guard_sample *s) {
    reading least = {0}, own = s->meters[METER_DEVICE_PROCESS];
    reading total = s->meters[METER_DEVICE_TOTAL], used = s->meters[METER_DEVICE_USED];
    if (l->device_budget_bytes != UINT64_MAX && own.known)
        lower(&least, (double)l->device_budget_bytes - (double)own.value);
    if (total.known && used.known) lower(&least, (double)total.value - (double)used.value);
    return least;
}

/* The share of time that some task waited, measured over whole windows: the kernel's own averages lag by seconds. */
static void measure_stall(pressure_gauge *p, const pressure_limits *l, const guard_sample *s, double seconds) {
    reading now = s->meters[METER_STALL_SOME], before = p->stalled_before;
    p->stalled_before = now;
    if (!now.known) p->stall_share = 0;
    if (!now.known || !before.known || now.value < before.value) return;
    p->stall_window_seconds += seconds;
    p->stall_window_microseconds += (double)(now.value - before.value);
    if (p->stall_window_seconds < l->stall_seconds) return;
    p->stall_share = 1e-6 * p->stall_window_microseconds / p->stall_window_seconds;
    p->stall_window_seconds = p->stall_window_microseconds = 0;
}

static pressure_finding measured(const pressure_gauge *p, const pressure_limits *l, const guard_sample *s,
                                 const pressure_plan *plan, bool falling) {
    pressure_finding worst = pressure_worst(l, s, plan, falling ? l->lower_by : 0);
    if (p->stall_share > (falling ? l->stall_share / 2 : l->stall_share))
        raise(&worst, (pressure_finding){PRESSURE_ORANGE, SOURCE_STALL, p->stall_share, 0});
    return worst;
}

/* A held level rises with what is now, and falls when the lowered thresholds were kept for long enough. */
static void hold(pressure_gauge *p, const pressure_limits *l, pressure_level now, pressure_level falling,
                 const pressure_interval *since) {
    bool calm = now <= p->held && falling < p->held;
    p->calm_seconds = calm ? fmin(p->calm_seconds + since->seconds, l->hold_seconds) : 0;
    p->calm_steps = calm ? (uint32_t)fmin((double)p->calm_steps + since->steps, l->hold_steps) : 0;
    if (now > p->held) p->held = now;
    if (!calm || p->calm_seconds < l->hold_seconds || p->calm_steps < l->hold_steps) return;
    p->held = falling;
    p->calm_seconds = p->calm_steps = 0;
}

pressure_finding pressure_update(pressure_gauge *p, const pressure_limits *l, const guard_sample *s,
                                 const pressure_plan *plan, const pressure_interval *since) {
    measure_stall(p, l, s, since->seconds);
    pressure_finding now = measured(p, l, s, plan, false), falling = measured(p, l, s, plan, true);
    if (since->refused) {
        now.level = falling.level = PRESSURE_BLACK;
        now.source = SOURCE_REFUSAL;
    }
    hold(p, l, now.level, falling.level, since);
    return now;
}
