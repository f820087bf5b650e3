/* Levels of pressure, the breaker and the controller, case by case. Every interleaving is in test_guard_model.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "guard/controller.h"
#include "memory_trace.h"

static const reading unlimited = {true, UINT64_MAX};

static reading known(uint64_t value) { return (reading){true, value}; }

static void assert_near(double a, double b) {
    if (!(fabs(a - b) <= 1e-9 * fmax(1, fabs(b)))) fail_msg("%.12g instead of %.12g", a, b);
}

/* A machine of 1000 bytes of which `used` are, a process that holds `held`, no groups, no GPU. */
static guard_sample sample_at(double seconds, uint64_t used, uint64_t held) {
    guard_sample s = {.seconds = seconds};
    s.meters[METER_MACHINE_TOTAL] = known(1000);
    s.meters[METER_MACHINE_AVAILABLE] = known(1000 - used);
    s.meters[METER_GROUP_LIMIT] = s.meters[METER_GROUP_HEADROOM] = unlimited;
    s.meters[METER_PROCESS_ANONYMOUS] = known(held);
    s.meters[METER_PROCESS_SHARED] = known(0);
    return s;
}

static pressure_finding worst_of(const pressure_limits *l, const guard_sample *s, double planned, double growth) {
    const pressure_plan plan = {.planned_bytes = planned, .growth_bytes = growth, .caution = 1.25};
    return pressure_worst(l, s, &plan, 0);
}

static void levels_by_thresholds(void **state) {
    (void)state;
    static const struct {
        uint64_t used;
        pressure_level level;
    } cases[] = {{0, PRESSURE_GREEN},    {849, PRESSURE_GREEN},  {850, PRESSURE_YELLOW}, {919, PRESSURE_YELLOW},
                 {920, PRESSURE_ORANGE}, {969, PRESSURE_ORANGE}, {970, PRESSURE_RED},    {1000, PRESSURE_RED}};
    pressure_limits l = pressure_limits_default();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        guard_sample s = sample_at(0, cases[i].used, 0);
        assert_int_equal(worst_of(&l, &s, 0, 0).level, cases[i].level);
    }
}

/* A plan that fills its container is no pressure; one whose container was made smaller since is. */
static void a_lowered_limit_excuses_no_plan(void **state) {
    (void)state;
    static const struct {
        double limit_then;
        pressure_level level;
    } cases[] = {{0, PRESSURE_GREEN}, {400, PRESSURE_GREEN}, {399, PRESSURE_GREEN}, {401, PRESSURE_ORANGE}};
    pressure_limits l = pressure_limits_default();
    guard_sample s = sample_at(0, 100, 370);
    s.meters[METER_GROUP_LIMIT] = known(400);
    s.meters[METER_GROUP_HEADROOM] = known(30);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pressure_plan plan = {.planned_bytes = 369, .caution = 1.25, .group_limit_bytes = cases[i].limit_then};
        assert_int_equal(pressure_worst(&l, &s, &plan, 0).level, cases[i].level);
    }
}

static void sources_and_their_shares(void **state) {
    (void)state;
    pressure_limits l = pressure_limits_default();
    guard_sample s = sample_at(0, 500, 300);
    l.machine_reserve_bytes = 200;
    pressure_finding f = worst_of(&l, &s, 0, 0);
    assert_int_equal(f.source, SOURCE_MACHINE);
    assert_near(f.share, 500 / 800.0);
    assert_near(f.capacity_bytes, 800);
    s.meters[METER_GROUP_LIMIT] = known(400);
    s.meters[METER_GROUP_HEADROOM] = known(30);
    f = worst_of(&l, &s, 0, 0);
    assert_int_equal(f.source, SOURCE_GROUP);
    assert_near(f.share, 370 / 400.0);
    assert_int_equal(f.level, PRESSURE_ORANGE);
    l.budget_bytes = 305;
    f = worst_of(&l, &s, 0, 0);
    assert_int_equal(f.source, SOURCE_BUDGET);
    assert_int_equal(f.level, PRESSURE_RED);
    s.meters[METER_DEVICE_TOTAL] = known(100);
    s.meters[METER_DEVICE_USED] = known(99);
    assert_int_equal(worst_of(&l, &s, 0, 0).source, SOURCE_BUDGET); /* without a budget there it is no limit */
    l.device_budget_bytes = 30;
    s.meters[METER_DEVICE_PROCESS] = known(20);
    f = worst_of(&l, &s, 0, 0);
    assert_int_equal(f.source, SOURCE_DEVICE);
    assert_near(f.share, 0.99);
    l.device_budget_bytes = 10; /* and of our own budget there */
    assert_near(worst_of(&l, &s, 0, 0).share, 2);
}

/* A plan that fills its budget is no pressure; what exceeds the plan is. */
static void a_budget_counts_from_the_plan(void **state) {
    (void)state;
    pressure_limits l = pressure_limits_default();
    l.budget_bytes = 400;
    guard_sample s = sample_at(0, 0, 380);
    assert_int_equal(worst_of(&l, &s, 380, 0).level, PRESSURE_GREEN);
    assert_int_equal(worst_of(&l, &s, 0, 0).level, PRESSURE_ORANGE); /* with no plan */
    s = sample_at(0, 0, 397);
    assert_near(worst_of(&l, &s, 380, 0).share, 17 / 20.0);
    s = sample_at(0, 0, 401);
    assert_int_equal(worst_of(&l, &s, 400, 0).level, PRESSURE_RED);
    /* Growing keeps what is above the plan above the larger one; nobody else takes our budget. */
    s = sample_at(0, 0, 205);
    assert_near(worst_of(&l, &s, 200, 190).share, 5 / 10.0);
    /* Of the machine a growth asks for more than it takes. */
    s = sample_at(0, 600, 205);
    assert_near(worst_of(&l, &s, 205, 195).share, (600 + 1.25 * 195) / 1000);
}

static void unknown_meters_are_yellow(void **state) {
    (void)state;
    pressure_limits l = pressure_limits_default();
    static const guard_meter meters[] = {METER_MACHINE_TOTAL, METER_MACHINE_AVAILABLE, METER_GROUP_LIMIT,
                                         METER_GROUP_HEADROOM};
    for (unsigned i = 0; i < 4; i++) {
        guard_sample s = sample_at(0, 100, 0);
        s.meters[meters[i]].known = false;
        pressure_finding f = worst_of(&l, &s, 0, 0);
        assert_int_equal(f.level, PRESSURE_YELLOW);
        assert_int_equal(f.source, SOURCE_UNKNOWN);
    }
    guard_sample s = sample_at(0, 100, 0);
    s.meters[METER_PROCESS_SHARED].known = false;
    assert_int_equal(worst_of(&l, &s, 0, 0).level, PRESSURE_GREEN); /* without a budget it is not needed */
    l.budget_bytes = 1000;
    assert_int_equal(worst_of(&l, &s, 0, 0).level, PRESSURE_YELLOW);
    s = sample_at(0, 990, 0); /* something known that is worse counts more */
    s.meters[METER_GROUP_LIMIT].known = false;
    assert_int_equal(worst_of(&l, &s, 0, 0).level, PRESSURE_RED);
    l = pressure_limits_default();
    l.device_budget_bytes = 10;
    s = sample_at(0, 0, 0);
    assert_int_equal(worst_of(&l, &s, 0, 0).source, SOURCE_UNKNOWN);
}

static void headroom_is_the_least(void **state) {
    (void)state;
    pressure_limits l = pressure_limits_default();
    guard_sample s = sample_at(0, 600, 50);
    assert_int_equal(pressure_headroom(&l, &s).value, 400);
    l.machine_reserve_bytes = 100;
    assert_int_equal(pressure_headroom(&l, &s).value, 300);
    l.budget_bytes = 250;
    assert_int_equal(pressure_headroom(&l, &s).value, 200);
    s.meters[METER_GROUP_HEADROOM] = known(20);
    assert_int_equal(pressure_headroom(&l, &s).value, 20);
    l.budget_bytes = 40;
    assert_true(pressure_headroom(&l, &s).known);
    assert_int_equal(pressure_headroom(&l, &s).value, 0);
    memset(&s, 0, sizeof s);
    assert_false(pressure_headroom(&l, &s).known);
}

static pressure_level update(pressure_gauge *g, uint64_t used, double seconds, uint32_t steps) {
    const pressure_limits l = pressure_limits_default();
    const pressure_plan plan = {.caution = 1};
    const pressure_interval since = {.seconds = seconds, .steps = steps};
    const guard_sample s = sample_at(0, used, 0);
    pressure_update(g, &l, &s, &plan, &since);
    return g->held;
}

static void a_held_level_rises_at_once_and_falls_slowly(void **state) {
    (void)state;
    pressure_gauge g = {0};
    assert_int_equal(update(&g, 930, 1, 1), PRESSURE_ORANGE);
    for (unsigned i = 0; i < 100; i++) assert_int_equal(update(&g, 880, 1, 1), PRESSURE_ORANGE); /* within 5 points */
    for (unsigned i = 0; i < 19; i++) assert_int_equal(update(&g, 860, 1, 1), PRESSURE_ORANGE);
    assert_int_equal(update(&g, 930, 1, 1), PRESSURE_ORANGE); /* begins again */
    for (unsigned i = 0; i < 19; i++) assert_int_equal(update(&g, 860, 1, 1), PRESSURE_ORANGE);
    assert_int_equal(update(&g, 860, 1, 1), PRESSURE_YELLOW);
    for (unsigned i = 0; i < 200; i++) assert_int_equal(update(&g, 700, 0.01, 1), PRESSURE_YELLOW);
    g = (pressure_gauge){.held = PRESSURE_RED};
    assert_int_equal(update(&g, 100, 1000, 0), PRESSURE_RED); /* time alone is not enough */
    assert_int_equal(update(&g, 100, 0, 20), PRESSURE_GREEN);
}

static void waiting_for_memory_is_orange(void **state) {
    (void)state;
    const pressure_limits l = pressure_limits_default();
    const pressure_plan plan = {.caution = 1};
    pressure_gauge g = {0};
    guard_sample s = sample_at(0, 100, 0);
    uint64_t total = 5000000; /* since the machine was started; not ours */
    static const struct {
        uint64_t stalled; /* microseconds more in half a second */
        pressure_level level;
    } cases[] = {{0, 0},     {0, 0},     {0, 0},     {0, 0},     {0, 0},    {40000, 0},
                 {40000, 0}, {40000, 0}, {40000, 2}, {5000, 2},  {5000, 2}, {5000, 2},
                 {5000, 0},  {20000, 0}, {20000, 0}, {20000, 0}, {20000, 0}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pressure_interval since = {.seconds = i ? 0.5 : 0};
        total += cases[i].stalled;
        s.meters[METER_STALL_SOME] = known(total);
        pressure_finding f = pressure_update(&g, &l, &s, &plan, &since);
        if (f.level != cases[i].level) fail_msg("sample %u: %s", i, pressure_level_name(f.level));
        if (f.level) assert_int_equal(f.source, SOURCE_STALL);
    }
    s.meters[METER_STALL_SOME].known = false; /* a kernel without PSI */
    const pressure_interval since = {.seconds = 5};
    assert_int_equal(pressure_update(&g, &l, &s, &plan, &since).level, PRESSURE_GREEN);
}

/* Drives a breaker for some seconds of one step each; returns the last event. */
static breaker_event drive(breaker *b, unsigned seconds, breaker_input input) {
    const breaker_limits l = breaker_limits_default();
    breaker_event event = BREAKER_NOTHING;
    input.seconds = 1;
    input.steps = 1;
    for (unsigned i = 0; i < seconds; i++) event = breaker_update(b, &l, &input);
    return event;
}

static const breaker_input green = {.green = true, .room = true}, grey = {.room = true};
static const breaker_input largest = {.green = true, .room = true, .largest = true}, trip = {.tripped = true};

static void the_breaker_goes_round(void **state) {
    (void)state;
    breaker b = {0};
    assert_int_equal(drive(&b, 1000, largest), BREAKER_NOTHING);
    assert_int_equal(b.position, BREAKER_CLOSED);
    assert_int_equal(drive(&b, 1, trip), BREAKER_TRIPPED);
    assert_near(breaker_seconds_left(&b), 60);
    assert_int_equal(drive(&b, 59, green), BREAKER_NOTHING);
    assert_int_equal(drive(&b, 100, grey), BREAKER_NOTHING); /* neither counts nor takes away */
    assert_int_equal(drive(&b, 1, (breaker_input){.green = true}), BREAKER_NOTHING); /* cool, but no room */
    assert_int_equal(drive(&b, 1, green), BREAKER_COOLED);
    assert_int_equal(b.position, BREAKER_HALF_OPEN);
    assert_int_equal(drive(&b, 7, green), BREAKER_NOTHING);
    assert_int_equal(drive(&b, 1, green), BREAKER_PROVED);
    assert_int_equal(b.position, BREAKER_OPEN);
    assert_int_equal(drive(&b, 60, green), BREAKER_COOLED);
    assert_int_equal(drive(&b, 8, largest), BREAKER_PROVED_LARGEST);
    assert_int_equal(b.position, BREAKER_CLOSED);
}

static void cool_down_doubles_up_to_an_hour(void **state) {
    (void)state;
    static const double expected[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    breaker b = {0};
    drive(&b, 1, trip);
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_near(breaker_seconds_left(&b), expected[i]);
        assert_int_equal(drive(&b, (unsigned)expected[i], green), BREAKER_COOLED);
        drive(&b, 1, trip);
    }
    drive(&b, 10, trip); /* further trips while it is open do not lengthen it */
    assert_near(breaker_seconds_left(&b), 3600);
    drive(&b, 3600, green);
    drive(&b, 8, green);
    assert_near(breaker_seconds_left(&b), 60); /* proved: from the beginning again */
}

static void cool_down_asks_for_steps_too(void **state) {
    (void)state;
    const breaker_limits l = breaker_limits_default();
    breaker b = {0};
    drive(&b, 1, trip);
    breaker_input slow = green, still = green;
    slow.seconds = 100;
    slow.steps = 1;
    for (unsigned i = 0; i < 49; i++) assert_int_equal(breaker_update(&b, &l, &slow), BREAKER_NOTHING);
    assert_int_equal(breaker_update(&b, &l, &slow), BREAKER_COOLED);
    b = (breaker){0};
    drive(&b, 1, trip);
    still.seconds = 59;
    assert_int_equal(breaker_update(&b, &l, &still), BREAKER_NOTHING);
    still.seconds = 1;
    assert_int_equal(breaker_update(&b, &l, &still), BREAKER_NOTHING);
    still.paused = true; /* who is paused makes no steps */
    assert_int_equal(breaker_update(&b, &l, &still), BREAKER_COOLED);
}

/* A run under the controller: the test moves memory and time, and carries actions out. */
typedef struct rig {
    controller c;
    guard_limits limits;
    guard_sample sample;
    guard_situation s;
} rig;

static rig rig_with(uint32_t plans) {
    rig r = {.limits = guard_limits_default()};
    r.s = (guard_situation){.plan_count = plans, .plan_bytes = {400, 200, 100, 50}, .leak_steps = INFINITY};
    return r;
}

/* One step, one second later, with so much of the machine used. */
static guard_decision step(rig *r, uint64_t used) {
    double seconds = r->sample.seconds + 1;
    r->sample = sample_at(seconds, used, r->s.plan_bytes[r->s.plan]);
    r->s.sample = &r->sample;
    r->s.steps++;
    return controller_decide(&r->c, &r->limits, &r->s);
}

/* The same moment again, after an action was carried out. */
static guard_decision again(rig *r, uint64_t used) {
    r->sample = sample_at(r->sample.seconds, used, r->s.plan_bytes[r->s.plan]);
    return controller_decide(&r->c, &r->limits, &r->s);
}

static void assert_decision(guard_decision d, guard_action action, guard_rule rule) {
    char line[GUARD_LINE_BYTES];
    guard_decision_line(line, &d);
    if (d.action != action || d.rule != rule) fail_msg("%s", line);
}

static void walks_down_the_ladder_and_up_again(void **state) {
    (void)state;
    rig r = rig_with(3);
    for (unsigned i = 0; i < 10; i++) assert_decision(step(&r, 500), GUARD_NOTHING, RULE_CALM);
    assert_decision(step(&r, 860), GUARD_TRIM, RULE_YELLOW_TRIM);
    assert_decision(again(&r, 860), GUARD_NOTHING, RULE_CALM);
    guard_decision d = step(&r, 930);
    assert_decision(d, GUARD_SHRINK, RULE_ORANGE_SHRINK);
    assert_near(d.expected_bytes, 200);
    assert_near(d.need_bytes, 930 - 870);
    assert_int_equal(d.breaker, BREAKER_OPEN);
    r.s.plan = 1;
    assert_decision(again(&r, 730), GUARD_NOTHING, RULE_CALM);
    assert_decision(step(&r, 980), GUARD_SHRINK, RULE_RED_SHRINK);
    r.s.plan = 2;
    d = again(&r, 985);
    assert_decision(d, GUARD_PAUSE, RULE_RED_PAUSE);
    assert_near(d.expected_bytes, 100);
    r.s.paused = true;
    unsigned seconds = 0;
    do {
        d = step(&r, 300);
        r.s.steps--; /* it makes none */
    } while (d.action == GUARD_NOTHING && ++seconds < 200);
    assert_decision(d, GUARD_RESUME, RULE_COOLED_RESUME);
    assert_in_range(seconds, 68, 72); /* 10 until it is green, 60 of green */
    r.s.paused = false;
    unsigned growths = 0;
    for (seconds = 0; seconds < 300; seconds++) {
        d = step(&r, 300);
        if (d.action == GUARD_NOTHING) continue;
        assert_decision(d, GUARD_GROW, RULE_COOLED_GROW);
        assert_near(d.expected_bytes, growths ? 200 : 100);
        r.s.plan--;
        growths++;
    }
    assert_int_equal(growths, 2);
    assert_int_equal(r.c.breaker.position, BREAKER_CLOSED);
}

static void a_refusal_gives_back_at_once(void **state) {
    (void)state;
    rig r = rig_with(2);
    step(&r, 100);
    r.s.refused = true;
    guard_decision d = again(&r, 100);
    assert_decision(d, GUARD_SHRINK, RULE_RED_SHRINK);
    assert_int_equal(d.found.level, PRESSURE_BLACK);
    assert_int_equal(d.found.source, SOURCE_REFUSAL);
}

/* Brings a rig to the growth that the breaker tries. */
static void try_to_grow(rig *r) {
    guard_decision d;
    unsigned seconds = 0;
    do d = step(r, 300);
    while (d.action == GUARD_NOTHING && ++seconds < 5000);
    assert_decision(d, GUARD_GROW, RULE_COOLED_GROW);
}

static void a_refused_growth_doubles_the_cool_down(void **state) {
    (void)state;
    rig r = rig_with(2);
    step(&r, 980);
    r.s.plan = 1;
    try_to_grow(&r);
    r.s.growth_refused = true;
    guard_decision d = step(&r, 300);
    assert_decision(d, GUARD_NOTHING, RULE_CALM);
    assert_int_equal(d.breaker, BREAKER_OPEN);
    assert_near(r.c.breaker.cooldown_seconds, 120);
}

static void growth_needs_room_and_no_suspicion(void **state) {
    (void)state;
    rig r = rig_with(2);
    step(&r, 980);
    r.s.plan = 1;
    for (unsigned i = 0; i < 500; i++) /* 650 + 1.25 * 200 is not green */
        assert_decision(step(&r, 650), GUARD_NOTHING, RULE_CALM);
    r.s.leak = LEAK_SUSPECTED;
    assert_decision(step(&r, 300), GUARD_TRIM, RULE_SUSPECTED_TRIM); /* once */
    for (unsigned i = 0; i < 500; i++) assert_decision(step(&r, 300), GUARD_NOTHING, RULE_CALM);
    r.s.leak = LEAK_NONE;
    assert_decision(step(&r, 300), GUARD_GROW, RULE_COOLED_GROW);
}

static void an_unknown_meter_bars_growth_and_nothing_else(void **state) {
    (void)state;
    rig r = rig_with(2);
    step(&r, 980);
    r.s.plan = 1;
    for (unsigned i = 0; i < 300; i++) {
        r.sample = sample_at(r.sample.seconds + 1, 300, 200);
        r.sample.meters[METER_MACHINE_AVAILABLE].known = false;
        r.s.sample = &r.sample;
        r.s.steps++;
        assert_decision(controller_decide(&r.c, &r.limits, &r.s), GUARD_NOTHING, RULE_CALM);
    }
    try_to_grow(&r);
}

/* Green now is not enough while a higher level is held. */
static void what_is_held_bars_growth(void **state) {
    (void)state;
    rig r = rig_with(2);
    assert_decision(step(&r, 980), GUARD_SHRINK, RULE_RED_SHRINK);
    r.s.plan = 1;
    r.s.plan_bytes[0] = 20; /* there is room for it */
    r.s.plan_bytes[1] = 10;
    for (unsigned i = 0; i < 500; i++) {
        guard_decision d = step(&r, 830);
        assert_int_equal(d.found.level, PRESSURE_GREEN);
        assert_int_equal(d.held, i < 19 ? PRESSURE_RED : PRESSURE_YELLOW);
        assert_int_equal(d.action, GUARD_NOTHING);
    }
    try_to_grow(&r);
}

/* What all smaller plans together give is under a quarter of the need: red pauses at once, orange leaves it. */
static void rungs_that_hardly_help_are_passed_over(void **state) {
    (void)state;
    rig r = rig_with(2);
    r.s.plan_bytes[0] = 60;
    r.s.plan_bytes[1] = 50;
    assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    r = rig_with(2);
    r.s.plan_bytes[0] = 60;
    r.s.plan_bytes[1] = 50;
    assert_decision(step(&r, 930), GUARD_TRIM, RULE_YELLOW_TRIM);
    assert_decision(again(&r, 930), GUARD_NOTHING, RULE_SMALLEST);
}

static void responses_and_what_cannot_be_done(void **state) {
    (void)state;
    rig r = rig_with(3);
    r.limits.response = RESPOND_PAUSE;
    assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    r = rig_with(3);
    r.limits.response = RESPOND_PAUSE;
    assert_decision(step(&r, 930), GUARD_TRIM, RULE_YELLOW_TRIM);
    assert_decision(again(&r, 930), GUARD_PAUSE, RULE_RED_PAUSE);
    r = rig_with(3);
    r.limits.response = RESPOND_STOP;
    assert_decision(step(&r, 980), GUARD_STOP, RULE_NO_PAUSE_STOP);
    r = rig_with(1);
    r.limits.can_pause = false;
    assert_decision(step(&r, 980), GUARD_STOP, RULE_NO_PAUSE_STOP);
    r = rig_with(1);
    r.limits.most_pauses = 1;
    assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    r.s.paused = true;
    guard_decision d;
    do d = step(&r, 300);
    while (d.action == GUARD_NOTHING);
    assert_decision(d, GUARD_RESUME, RULE_COOLED_RESUME);
    r.s.paused = false;
    assert_decision(step(&r, 980), GUARD_STOP, RULE_NO_PAUSE_STOP);
}

static void a_pause_ends_at_last(void **state) {
    (void)state;
    rig r = rig_with(1);
    r.limits.longest_pause_seconds = 100;
    assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    r.s.paused = true;
    guard_decision d;
    unsigned seconds = 0;
    do d = step(&r, 980), seconds++;
    while (d.action == GUARD_NOTHING && seconds < 200);
    assert_decision(d, GUARD_STOP, RULE_PAUSED_TOO_LONG);
    assert_int_equal(seconds, 100);
}

/* A program that does not answer is not waited for: the next rung. */
static void a_shrink_that_is_not_carried_out_gives_way(void **state) {
    (void)state;
    rig r = rig_with(3);
    r.limits.answer_steps = 1000;
    assert_decision(step(&r, 980), GUARD_SHRINK, RULE_RED_SHRINK);
    assert_decision(step(&r, 980), GUARD_NOTHING, RULE_WAITING);
    assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    r = rig_with(3);
    r.limits.answer_steps = 1000;
    step(&r, 930);
    assert_decision(again(&r, 930), GUARD_SHRINK, RULE_ORANGE_SHRINK);
    for (unsigned i = 0; i < 9; i++) assert_decision(step(&r, 930), GUARD_NOTHING, RULE_WAITING);
    assert_decision(step(&r, 930), GUARD_NOTHING, RULE_SMALLEST);
}

static void saving_and_loading_take_their_time(void **state) {
    (void)state;
    rig r = rig_with(1);
    step(&r, 980);
    for (unsigned i = 0; i < 1000; i++) assert_decision(step(&r, 980), GUARD_NOTHING, RULE_WAITING);
    assert_int_equal(r.c.pauses, 1);
}

/* The clock may stand still, jump or go back: what was not seen counts for little, and nothing is lost. */
static void jumps_of_the_clock_change_nothing(void **state) {
    (void)state;
    static const double jumps[] = {-3600, 0, 3600, 1e9};
    for (unsigned i = 0; i < 4; i++) {
        rig r = rig_with(2);
        step(&r, 980);
        r.s.plan = 1;
        for (unsigned k = 0; k < 25; k++) step(&r, 300);
        r.sample.seconds += jumps[i];
        assert_decision(step(&r, 300), GUARD_NOTHING, RULE_CALM);
        assert_true(breaker_seconds_left(&r.c.breaker) > 20);
        assert_decision(step(&r, 980), GUARD_PAUSE, RULE_RED_PAUSE);
    }
}

/* What the estimator sees of a leak from the first step, with memory for 40 steps: the controller gives memory back
 * at least 10 steps before the budget, without a confirmation. */
static void acts_on_a_leak_in_time(void **state) {
    (void)state;
    enum { HEADROOM_STEPS = 40 };
    const double megabyte = 1e6;
    for (double leak = 50; leak <= 100; leak += 25)
        for (uint64_t seed = 1; seed <= 100; seed++) {
            static leak_estimator e;
            memory_trace trace;
            rig r = rig_with(3);
            guard_action acted = GUARD_NOTHING;
            int at = 0;
            trace_begin(&trace, TRACE_LEDGER, 1000 + seed, HEADROOM_STEPS);
            leak_reset(&e, leak_least_rise_bytes);
            for (int i = 1; i <= HEADROOM_STEPS && acted != GUARD_SHRINK; i++) {
                r.s.leak = leak_add(&e, (int64_t)(trace_next(&trace) + leak * megabyte * i));
                r.s.leak_steps = leak_time_left(&e, (HEADROOM_STEPS - i) * leak * megabyte).fewest;
                guard_decision d = step(&r, 300);
                while (d.action == GUARD_TRIM) d = again(&r, 300);
                acted = d.action;
                at = i;
                if (acted == GUARD_SHRINK) assert_int_equal(d.rule, RULE_LEAK_SHRINK);
            }
            assert_int_equal(acted, GUARD_SHRINK);
            assert_true(r.s.leak == LEAK_SUSPECTED && HEADROOM_STEPS - at >= 10);
        }
}

/* With the smallest plan in use only a new process gives back what leaked; before that a cache may. */
static void a_leak_stops_the_run_when_plans_are_used_up(void **state) {
    (void)state;
    rig r = rig_with(2);
    r.s.leak = LEAK_SUSPECTED;
    r.s.leak_steps = 5;
    assert_decision(step(&r, 300), GUARD_TRIM, RULE_SUSPECTED_TRIM);
    assert_decision(again(&r, 300), GUARD_SHRINK, RULE_LEAK_SHRINK);
    r.s.plan = 1;
    guard_decision d = again(&r, 300);
    assert_decision(d, GUARD_STOP, RULE_LEAK_STOP);
    assert_near(d.leak_steps, 5);
}

/* Over the budget because of a leak: a pause would not bring it back. */
static void a_confirmed_leak_that_fills_the_budget_stops_the_run(void **state) {
    (void)state;
    static const struct {
        leak_verdict leak;
        guard_action action;
        guard_rule rule;
    } cases[] = {{LEAK_CONFIRMED, GUARD_STOP, RULE_LEAK_STOP}, {LEAK_SUSPECTED, GUARD_PAUSE, RULE_RED_PAUSE}};
    for (unsigned i = 0; i < 2; i++) {
        rig r = rig_with(1);
        r.limits.pressure.budget_bytes = 450;
        r.s.leak = cases[i].leak;
        r.sample = sample_at(1, 100, 449);
        r.s.sample = &r.sample;
        assert_decision(controller_decide(&r.c, &r.limits, &r.s), cases[i].action, cases[i].rule);
    }
}

static void a_decision_says_why(void **state) {
    (void)state;
    char line[GUARD_LINE_BYTES];
    rig r = rig_with(2);
    r.s.leak = LEAK_CONFIRMED;
    r.s.leak_steps = 77.4;
    guard_decision d = step(&r, 980);
    guard_decision_line(line, &d);
    static const char *const words[] = {
        "shrink:",        "red",    "machine at 98 %", "110 B needed",
        "200 B expected", "plan 0", "breaker open",    "leak confirmed, at least 77 steps left"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(line, words[i])) fail_msg("'%s' is not in: %s", words[i], line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_by_thresholds),
        cmocka_unit_test(a_lowered_limit_excuses_no_plan),
        cmocka_unit_test(sources_and_their_shares),
        cmocka_unit_test(a_budget_counts_from_the_plan),
        cmocka_unit_test(unknown_meters_are_yellow),
        cmocka_unit_test(headroom_is_the_least),
        cmocka_unit_test(a_held_level_rises_at_once_and_falls_slowly),
        cmocka_unit_test(waiting_for_memory_is_orange),
        cmocka_unit_test(the_breaker_goes_round),
        cmocka_unit_test(cool_down_doubles_up_to_an_hour),
        cmocka_unit_test(cool_down_asks_for_steps_too),
        cmocka_unit_test(walks_down_the_ladder_and_up_again),
        cmocka_unit_test(a_refusal_gives_back_at_once),
        cmocka_unit_test(a_refused_growth_doubles_the_cool_down),
        cmocka_unit_test(growth_needs_room_and_no_suspicion),
        cmocka_unit_test(an_unknown_meter_bars_growth_and_nothing_else),
        cmocka_unit_test(what_is_held_bars_growth),
        cmocka_unit_test(rungs_that_hardly_help_are_passed_over),
        cmocka_unit_test(responses_and_what_cannot_be_done),
        cmocka_unit_test(a_pause_ends_at_last),
        cmocka_unit_test(a_shrink_that_is_not_carried_out_gives_way),
        cmocka_unit_test(saving_and_loading_take_their_time),
        cmocka_unit_test(jumps_of_the_clock_change_nothing),
        cmocka_unit_test(acts_on_a_leak_in_time),
        cmocka_unit_test(a_leak_stops_the_run_when_plans_are_used_up),
        cmocka_unit_test(a_confirmed_leak_that_fills_the_budget_stops_the_run),
        cmocka_unit_test(a_decision_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
