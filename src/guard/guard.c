/* Sample, estimate, decide: see guard.h. */
#include "guard/guard.h"

#include <math.h>
#include <string.h>

const char *leak_meter_name(leak_meter meter) {
    static const char *const names[LEAK_METERS] = {"total", "unaccounted", "device"};
    return (unsigned)meter < LEAK_METERS ? names[meter] : "unknown";
}

void guard_open(guard *g, const guard_limits *limits, const sampler_options *meters) {
    memset(g, 0, sizeof *g);
    g->limits = *limits;
    sampler_open(&g->meters, meters);
    for (unsigned m = 0; m < LEAK_METERS; m++) leak_reset(&g->leaks[m], leak_least_rise_bytes);
}

void guard_close(guard *g) { sampler_close(&g->meters); }

/* One value of a meter; a gap where it is unknown. */
static void search(leak_estimator *e, bool is_known, int64_t bytes) {
    if (is_known)
        leak_add(e, bytes);
    else
        leak_begin_segment(e);
}

static void search_for_leaks(guard *g) {
    int64_t unaccounted;
    reading total = sample_taken(&g->sample), device = g->sample.meters[METER_DEVICE_PROCESS];
    bool is_known = sample_unaccounted(&g->sample, &unaccounted);
    search(&g->leaks[LEAK_OF_TOTAL], total.known, (int64_t)total.value);
    search(&g->leaks[LEAK_OF_UNACCOUNTED], is_known, unaccounted);
    search(&g->leaks[LEAK_OF_DEVICE], device.known, (int64_t)device.value);
}

void guard_skip(guard *g) {
    for (unsigned m = 0; m < LEAK_METERS; m++) leak_begin_segment(&g->leaks[m]);
}

/* Follows steps and plans; the estimators see one sample of each step. */
static void follow(guard *g, const guard_progress *p) {
    bool another = !g->begun || p->plan != g->plan || p->paused != g->paused;
    reading limit = g->sample.meters[METER_GROUP_LIMIT];
    if (another) g->group_limit_bytes = limit.known ? limit.value : 0;
    if (g->begun && another) guard_skip(g);
    if (!p->paused && (!g->begun || p->steps != g->steps)) search_for_leaks(g);
    g->steps = p->steps;
    g->plan = p->plan;
    g->paused = p->paused;
    g->begun = true;
}

reading guard_leak_headroom(const guard *g, leak_meter meter) {
    const pressure_limits *l = &g->limits.pressure;
    return meter == LEAK_OF_DEVICE ? pressure_device_headroom(l, &g->sample) : pressure_headroom(l, &g->sample);
}

/* Unknown headroom is a warning of its own (pressure.h); of time left it says nothing. */
static double fewest_steps_left(const guard *g) {
    double fewest = INFINITY;
    for (unsigned m = 0; m < LEAK_METERS; m++) {
        if (m == LEAK_OF_DEVICE && g->limits.pressure.device_budget_bytes == UINT64_MAX) continue;
        reading headroom = guard_leak_headroom(g, (leak_meter)m);
        if (headroom.known) fewest = fmin(fewest, leak_time_left(&g->leaks[m], (double)headroom.value).fewest);
    }
    return fewest;
}

leak_meter guard_worst_leak(const guard *g) {
    leak_meter worst = LEAK_OF_TOTAL;
    for (unsigned m = 0; m < LEAK_METERS; m++)
        if (g->leaks[m].verdict > g->leaks[worst].verdict) worst = (leak_meter)m;
    return worst;
}

guard_decision guard_ask(guard *g, const guard_progress *p) {
    sampler_take(&g->meters, &g->sample);
    follow(g, p);
    guard_situation s = {.sample = &g->sample,
                         .steps = p->steps,
                         .plan = p->plan,
                         .plan_count = p->plan_count,
                         .group_limit_bytes = g->group_limit_bytes,
                         .paused = p->paused,
                         .refused = p->refused,
                         .growth_refused = p->growth_refused,
                         .leak = g->leaks[guard_worst_leak(g)].verdict,
                         .leak_steps = fewest_steps_left(g)};
    memcpy(s.plan_bytes, p->plan_bytes, sizeof s.plan_bytes);
    return controller_decide(&g->control, &g->limits, &s);
}
