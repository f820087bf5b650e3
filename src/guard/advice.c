/* The guard for programs that train in their own way: levee_guard_open, _ask and _close of levee.h. */
#include <string.h>

#include "base/error.h"
#include "guard/guard.h"
#include "memory/ledger.h"
#include "platform/headroom.h"

struct levee_guard {
    guard watch;
    uint32_t ways;
    uint64_t way_bytes[GUARD_MOST_PLANS];
};

_Static_assert((int)LEVEE_MOST_WAYS == (int)GUARD_MOST_PLANS, "a way of working is a plan");
_Static_assert((int)LEVEE_REASON_BYTES == (int)GUARD_LINE_BYTES, "a reason is a decision's line");

static levee_status limits_of(const levee_guard_settings *s, guard_limits *limits, levee_error *error) {
    *limits = guard_limits_default();
    limits->can_pause = s->can_pause;
    if (s->budget_bytes) limits->pressure.budget_bytes = s->budget_bytes;
    if (s->cool_down_seconds > 0) limits->breaker.first_seconds = s->cool_down_seconds;
    uint64_t asked = s->reserve_bytes ? s->reserve_bytes : HEADROOM_USUAL_RESERVE;
    return headroom_machine_reserve(asked, &limits->pressure.machine_reserve_bytes, error);
}

levee_status levee_guard_open(levee_guard **result, const levee_guard_settings *settings, levee_error *error) {
    guard_limits limits;
    *result = NULL;
    if (settings->ways > LEVEE_MOST_WAYS)
        return error_set(error, LEVEE_USAGE, "%u ways of working; there may be %d", settings->ways, LEVEE_MOST_WAYS);
    levee_status status = limits_of(settings, &limits, error);
    if (status != LEVEE_OK) return status;
    levee_guard *g = ledger_alloc(LEVEE_RUNTIME, sizeof *g);
    if (!g) return error_out_of_memory(error, "the guard", sizeof *g);
    const sampler_options meters = sampler_options_default();
    guard_open(&g->watch, &limits, &meters);
    g->ways = settings->ways ? settings->ways : 1;
    memcpy(g->way_bytes, settings->way_bytes, sizeof g->way_bytes);
    *result = g;
    return LEVEE_OK;
}

void levee_guard_close(levee_guard *g) {
    if (g) guard_close(&g->watch);
    ledger_free(g);
}

static void tell_leak(const guard *g, levee_advice *advice) {
    const leak_estimator *e = &g->leaks[guard_worst_leak(g)];
    leak_slope slope;
    advice->leak_suspected = e->verdict != LEAK_NONE;
    advice->leak_confirmed = e->verdict == LEAK_CONFIRMED;
    if (!leak_estimate(e, &slope)) return;
    advice->leak_bytes = slope.bytes;
    advice->leak_bytes_low = slope.low;
    advice->leak_bytes_high = slope.high;
}

void levee_guard_ask(levee_guard *g, const levee_guard_place *place, levee_advice *advice) {
    static const levee_action actions[] = {
        [GUARD_NOTHING] = LEVEE_GO_ON,     [GUARD_TRIM] = LEVEE_EMPTY_CACHES, [GUARD_SHRINK] = LEVEE_USE_LESS,
        [GUARD_GROW] = LEVEE_USE_MORE,     [GUARD_PAUSE] = LEVEE_PAUSE,       [GUARD_RESUME] = LEVEE_RESUME,
        [GUARD_STOP] = LEVEE_SAVE_AND_STOP};
    guard_progress p = {.steps = place->steps,
                        .plan = place->way < g->ways ? place->way : g->ways - 1,
                        .plan_count = g->ways,
                        .paused = place->paused};
    /* What is refused in a larger way than before is a growth that failed, anything else a need that was not met. */
    bool grew = g->watch.control.asked == GUARD_GROW || g->watch.control.asked == GUARD_RESUME;
    p.growth_refused = place->refused && grew;
    p.refused = place->refused && !grew;
    memcpy(p.plan_bytes, g->way_bytes, sizeof p.plan_bytes);
    guard_decision d = guard_ask(&g->watch, &p);
    *advice = (levee_advice){.action = actions[d.action]};
    if (d.action != GUARD_NOTHING) guard_decision_line(advice->reason, &d);
    tell_leak(&g->watch, advice);
}
