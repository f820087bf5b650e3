/* Rules and the ladder: see controller.h. */
#include "guard/controller.h"

#include <math.h>
#include <stdio.h>

#include "base/bytes.h"

const char *guard_action_name(guard_action action) {
    static const char *const names[] = {"nothing", "trim", "shrink", "grow", "pause", "resume", "stop"};
    return (unsigned)action <= GUARD_STOP ? names[action] : "unknown";
}

const char *guard_rule_name(guard_rule rule) {
    static const char *const names[RULE_COUNT] = {
        "calm",
        "the last action is not carried out yet",
        "memory is getting short, so caches are given back",
        "a leak is suspected; if memory falls when caches go, it was a cache",
        "memory is short",
        "memory is nearly used up",
        "the growth of memory would end the run soon",
        "memory is nearly used up, and smaller plans would not give enough back",
        "the growth of memory would end the run soon, and only a new process gives back what leaked",
        "memory is nearly used up, and the run cannot pause, or did so too often",
        "the machine has had no memory for too long",
        "memory is short, and nothing is left to give back",
        "memory was plenty for long enough to try a larger plan",
        "memory was plenty for long enough to go on",
    };
    return (unsigned)rule < RULE_COUNT ? names[rule] : "unknown";
}

guard_limits guard_limits_default(void) {
    return (guard_limits){.pressure = pressure_limits_default(),
                          .breaker = breaker_limits_default(),
                          .response = RESPOND_SHRINK,
                          .leak_horizon_steps = 12,
                          .growth_caution = 1.25,
                          .least_share = 0.25,
                          .answer_seconds = 10,
                          .red_answer_seconds = 2,
                          .answer_steps = 2,
                          .can_pause = true,
                          .most_pauses = 16,
                          .longest_pause_seconds = 6 * 3600,
                          .longest_gap_seconds = 10};
}

/* What passed since the last decision. */
static pressure_interval since_last(controller *c, const guard_limits *l, const guard_situation *s) {
    double seconds = c->begun ? fmax(s->sample->seconds - c->seconds, 0) : 0;
    uint64_t steps = c->begun && s->steps > c->steps ? s->steps - c->steps : 0;
    c->begun = true;
    c->seconds = s->sample->seconds;
    c->steps = s->steps;
    return (pressure_interval){.seconds = fmin(seconds, l->longest_gap_seconds),
                               .steps = steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX,
                               .refused = s->refused};
}

static double plan_bytes(const guard_situation *s, uint32_t plan) {
    return plan < s->plan_count && plan < GUARD_MOST_PLANS ? (double)s->plan_bytes[plan] : 0;
}

static pressure_plan plan_in_use(const guard_limits *l, const guard_situation *s) {
    return (pressure_plan){.planned_bytes = s->paused ? 0 : plan_bytes(s, s->plan),
                           .caution = l->growth_caution,
                           .group_limit_bytes = (double)s->group_limit_bytes};
}

/* With so many bytes more, would it still be green, and stay so? */
static bool has_room(const guard_limits *l, const guard_situation *s, double growth_bytes) {
    pressure_plan plan = plan_in_use(l, s);
    plan.growth_bytes = growth_bytes;
    return pressure_worst(&l->pressure, s->sample, &plan, 0).level == PRESSURE_GREEN;
}

/* What the next growth takes: the next larger plan, or after a pause the plan that it paused with. */
static double growth_bytes(const guard_situation *s) {
    if (s->paused) return plan_bytes(s, s->plan);
    return s->plan ? plan_bytes(s, s->plan - 1) - plan_bytes(s, s->plan) : 0;
}

/* Bytes above what is clearly below orange. */
static double need_bytes(const guard_limits *l, const pressure_finding *found) {
    double target = l->pressure.orange - l->pressure.lower_by;
    return isfinite(found->share) ? fmax(found->share - target, 0) * found->capacity_bytes : 0;
}

static bool carried_out(const controller *c, const guard_situation *s) {
    switch (c->asked) {
    case GUARD_SHRINK:
        return s->plan > c->asked_plan || s->paused;
    case GUARD_GROW:
        return s->plan < c->asked_plan || s->growth_refused;
    case GUARD_PAUSE:
        return s->paused;
    case GUARD_RESUME:
        return !s->paused || s->growth_refused;
    default:
        return true; /* a trim leaves no trace but memory; after a stop nobody asks */
    }
}

/* Is the last action still under way? A change of plan that is not carried out in time was in vain; saving and
 * loading take the time that they take. */
static bool waits(controller *c, const guard_limits *l, const guard_situation *s, const pressure_interval *since,
                  pressure_level now) {
    double answer_seconds = now >= PRESSURE_RED ? l->red_answer_seconds : l->answer_seconds;
    bool changes_plan = c->asked == GUARD_SHRINK || c->asked == GUARD_GROW;
    c->asked_seconds += since->seconds;
    c->asked_steps += since->steps;
    if (!carried_out(c, s)) {
        if (!changes_plan || (c->asked_seconds < answer_seconds && c->asked_steps < l->answer_steps)) return true;
        c->unanswered = c->unanswered || c->asked == GUARD_SHRINK;
    }
    c->asked = GUARD_NOTHING;
    c->asked_seconds = 0;
    c->asked_steps = 0;
    return false;
}

static void ask(controller *c, const guard_situation *s, guard_decision *d, guard_action action, guard_rule rule,
                double expected_bytes) {
    d->action = c->asked = action;
    d->rule = rule;
    d->expected_bytes = expected_bytes;
    c->asked_plan = s->plan;
    c->asked_seconds = 0;
    c->asked_steps = 0;
    if (action == GUARD_TRIM) c->trimmed = true;
    if (action == GUARD_PAUSE) c->pauses++;
}

static void pause_or_stop(controller *c, const guard_limits *l, const guard_situation *s, guard_decision *d) {
    bool leaked = s->leak == LEAK_CONFIRMED && d->found.source == SOURCE_BUDGET;
    bool stop = l->response == RESPOND_STOP || !l->can_pause || c->pauses >= l->most_pauses;
    double everything = plan_bytes(s, s->plan);
    if (leaked)
        ask(c, s, d, GUARD_STOP, RULE_LEAK_STOP, everything);
    else
        ask(c, s, d, stop ? GUARD_STOP : GUARD_PAUSE, stop ? RULE_NO_PAUSE_STOP : RULE_RED_PAUSE, everything);
}

/* Would the plans that are left give back enough of the need? A plan whose bytes nobody knows may. */
static bool shrinking_helps(const controller *c, const guard_limits *l, const guard_situation *s, double need) {
    if (l->response != RESPOND_SHRINK || c->unanswered || s->plan + 1 >= s->plan_count) return false;
    double left = plan_bytes(s, s->plan) - plan_bytes(s, s->plan_count - 1);
    return plan_bytes(s, s->plan) <= 0 || left >= l->least_share * need;
}

static void shrink(controller *c, const guard_situation *s, guard_decision *d, guard_rule rule) {
    ask(c, s, d, GUARD_SHRINK, rule, plan_bytes(s, s->plan) - plan_bytes(s, s->plan + 1));
}

/* Down the ladder. Red passes the trim over: it has no time to see what that gave. */
static void give_back(controller *c, const guard_limits *l, const guard_situation *s, guard_decision *d) {
    bool red = d->found.level >= PRESSURE_RED, orange = d->found.level >= PRESSURE_ORANGE;
    if (!red && !c->trimmed)
        ask(c, s, d, GUARD_TRIM, orange ? RULE_YELLOW_TRIM : RULE_SUSPECTED_TRIM, 0);
    else if (shrinking_helps(c, l, s, orange ? d->need_bytes : 0))
        shrink(c, s, d, red ? RULE_RED_SHRINK : orange ? RULE_ORANGE_SHRINK : RULE_LEAK_SHRINK);
    else if (red || (orange && l->response != RESPOND_SHRINK))
        pause_or_stop(c, l, s, d);
    else if (s->leak_steps < l->leak_horizon_steps)
        ask(c, s, d, GUARD_STOP, RULE_LEAK_STOP, plan_bytes(s, s->plan));
    else
        d->rule = RULE_SMALLEST;
}

/* Once each time that it leaves green, and once for each suspicion. */
static void trim_early(controller *c, const guard_situation *s, guard_decision *d) {
    bool yellow = d->found.level == PRESSURE_YELLOW && d->found.source != SOURCE_UNKNOWN;
    if (yellow && !c->trimmed) {
        ask(c, s, d, GUARD_TRIM, RULE_YELLOW_TRIM, 0);
    } else if (s->leak != LEAK_NONE && !c->probed) {
        ask(c, s, d, GUARD_TRIM, RULE_SUSPECTED_TRIM, 0);
        c->probed = true;
    }
}

static void decide_paused(controller *c, const guard_limits *l, const guard_situation *s, guard_decision *d,
                          double seconds) {
    c->paused_seconds += seconds;
    if (c->paused_seconds >= l->longest_pause_seconds)
        ask(c, s, d, GUARD_STOP, RULE_PAUSED_TOO_LONG, 0);
    else if (d->event == BREAKER_COOLED)
        ask(c, s, d, GUARD_RESUME, RULE_COOLED_RESUME, growth_bytes(s));
}

static void decide_running(controller *c, const guard_limits *l, const guard_situation *s, guard_decision *d) {
    bool ends_soon = s->leak_steps < l->leak_horizon_steps;
    if (d->found.level >= PRESSURE_ORANGE || ends_soon)
        give_back(c, l, s, d);
    else if (d->event == BREAKER_COOLED && s->plan)
        ask(c, s, d, GUARD_GROW, RULE_COOLED_GROW, growth_bytes(s));
    else
        trim_early(c, s, d);
}

static breaker_event update_breaker(controller *c, const guard_limits *l, const guard_situation *s,
                                    const pressure_interval *since, bool tripped) {
    const breaker_input input = {.seconds = since->seconds,
                                 .steps = since->steps,
                                 .tripped = tripped,
                                 .green = c->gauge.held == PRESSURE_GREEN && (s->paused || s->leak == LEAK_NONE),
                                 .room = has_room(l, s, growth_bytes(s)),
                                 .largest = !s->plan && !s->paused,
                                 .paused = s->paused};
    return breaker_update(&c->breaker, &l->breaker, &input);
}

guard_decision controller_decide(controller *c, const guard_limits *l, const guard_situation *s) {
    pressure_interval since = since_last(c, l, s);
    pressure_limits limits = l->pressure;
    if (s->paused) limits.hold_steps = 0; /* there are none */
    const pressure_plan plan = plan_in_use(l, s);
    guard_decision d = {.plan = s->plan, .leak = s->leak, .leak_steps = s->leak_steps};
    d.found = pressure_update(&c->gauge, &limits, s->sample, &plan, &since);
    d.held = c->gauge.held;
    d.need_bytes = need_bytes(l, &d.found);
    if (d.held == PRESSURE_GREEN && s->leak_steps >= l->leak_horizon_steps) c->trimmed = c->unanswered = false;
    if (s->leak == LEAK_NONE) c->probed = false;
    if (!s->paused) c->paused_seconds = 0;
    bool waiting = waits(c, l, s, &since, d.found.level);
    d.event = update_breaker(c, l, s, &since, s->growth_refused);
    if (waiting)
        d.rule = RULE_WAITING;
    else if (s->paused)
        decide_paused(c, l, s, &d, since.seconds);
    else
        decide_running(c, l, s, &d);
    bool gives_back = d.action == GUARD_SHRINK || d.action == GUARD_PAUSE;
    if (gives_back) {
        const pressure_interval none = {0};
        d.event = update_breaker(c, l, s, &none, true);
    }
    d.breaker = c->breaker.position;
    return d;
}

void guard_decision_line(char text[GUARD_LINE_BYTES], const guard_decision *d) {
    char need[BYTES_TEXT], expected[BYTES_TEXT], leak[96] = "";
    bytes_format(need, (uint64_t)round(d->need_bytes));
    bytes_format(expected, (uint64_t)round(fmax(d->expected_bytes, 0)));
    if (isfinite(d->leak_steps))
        snprintf(leak, sizeof leak, ", leak %s, at least %.0f steps left", leak_verdict_name(d->leak), d->leak_steps);
    snprintf(text, GUARD_LINE_BYTES,
             "%s: %s (%s, %s at %.0f %%, held level %s, %s needed, %s expected, plan %u, breaker %s%s)",
             guard_action_name(d->action), guard_rule_name(d->rule), pressure_level_name(d->found.level),
             pressure_source_name(d->found.source), 100 * d->found.share, pressure_level_name(d->held), need,
             expected, d->plan, breaker_position_name(d->breaker), leak);
}
