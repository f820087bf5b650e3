/* The controller with a trainer, as a model: every interleaving of pressure and steps over a small machine, explored
 * whole. The controller is the real one; the trainer is a few lines that do what a trainer must do. Faults are then
 * put into both, and each must be found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/controller.h"

/* A machine of 100 bytes; plans hold 40, 20, 10 of them; others hold what the pressure says. At the third pressure
 * only the smallest plan fits, at the fourth none. */
enum { MACHINE = 100, PLANS = 3, PRESSURES = 4, EFFECTIVE_BATCH = 6 };
static const uint64_t plan_holds[PLANS] = {40, 20, 10};
static const uint64_t others_hold[PRESSURES] = {10, 50, 85, 99};
static const unsigned micro_batch[PLANS] = {4, 2, 1};

typedef enum place { AT_BOUNDARY, IN_STEP, AT_UPDATE, IN_PAUSE, AT_END } place;

typedef struct trainer {
    place at;
    uint32_t plan;
    unsigned done, updates; /* examples of this step; updates made of it */
    bool saved, grown;      /* grown: the controller's last word was a growth */
} trainer;

typedef struct world {
    trainer t;
    controller c;
} world;

/* Faults of the trainer and of the controller. */
typedef enum fault {
    SOUND,
    REPLAYS_AFTER_UPDATE, /* the batch is done again when pressure comes right after the update */
    RAGGED_TAIL,          /* the last micro-batch is not cut to what is left */
    FORGETS_TO_SAVE,
    DROPS_GRADIENTS, /* a plan that changes within a step starts the step's examples over without their update */
    IGNORES_SHRINK,
    ACTS_ONCE,        /* does not ask again after it shrank */
    NO_COOLDOWN,      /* limits of 0 */
    COOLS_BY_QUIET,   /* an update restarts the cool-down */
    GROWS_WHEN_ASKED, /* grows at once when memory is green */
    NEVER_GREEN,      /* the held level never falls */
    TRIMS_FOR_EVER,   /* forgets that it trimmed */
    FAULTS
} fault;

static const char *const fault_names[FAULTS] = {"sound",
                                                "replays after update",
                                                "ragged tail",
                                                "forgets to save",
                                                "drops gradients",
                                                "ignores shrink",
                                                "acts only once",
                                                "no cool-down",
                                                "restarts cool-down",
                                                "grows outside half-open",
                                                "held level never falls",
                                                "trims for ever"};

typedef enum promise {
    ONE_UPDATE,
    EXACT_BATCH,
    SAVED_PAUSE,
    FITTING_PLAN,
    HALF_OPEN_GROWTH,
    PROGRESS,
    REGROWTH,
    FEW_SWITCHES,
    PROMISES
} promise;

static const char *const promise_names[PROMISES] = {"one update a batch",
                                                    "effective batch exact",
                                                    "a pause has a checkpoint",
                                                    "no plan starts that does not fit",
                                                    "growth only when half-open",
                                                    "progress under lasting pressure",
                                                    "full regrowth under lasting green",
                                                    "few switches"};

static guard_limits limits_of(fault f) {
    guard_limits l = guard_limits_default();
    l.pressure.hold_seconds = l.pressure.hold_steps = 1;
    l.breaker = (breaker_limits){.first_seconds = 4, .longest_seconds = 16, .cool_steps = 1, .proving_steps = 1};
    if (f == NEVER_GREEN) l.pressure.hold_seconds = 2; /* and forgets each tick what it saw, see tick */
    l.growth_caution = 1;
    l.most_pauses = UINT32_MAX;
    l.longest_pause_seconds = INFINITY;
    if (f == NO_COOLDOWN) {
        l.breaker = (breaker_limits){0};
        l.pressure.hold_seconds = l.pressure.hold_steps = 0;
    }
    return l;
}

static guard_sample sample_of(const trainer *t, unsigned pressure) {
    guard_sample s = {.seconds = 1};
    uint64_t held = t->at == IN_PAUSE ? 0 : plan_holds[t->plan], all = held + others_hold[pressure];
    const reading none = {true, UINT64_MAX};
    s.meters[METER_MACHINE_TOTAL] = (reading){true, MACHINE};
    s.meters[METER_MACHINE_AVAILABLE] = (reading){true, all < MACHINE ? MACHINE - all : 0};
    s.meters[METER_GROUP_LIMIT] = s.meters[METER_GROUP_HEADROOM] = none;
    return s;
}

static guard_decision ask(world *w, fault f, unsigned pressure, uint64_t steps) {
    const guard_limits l = limits_of(f);
    const guard_sample sample = sample_of(&w->t, pressure);
    guard_situation s = {.sample = &sample,
                         .steps = steps,
                         .plan = w->t.plan,
                         .plan_count = PLANS,
                         .paused = w->t.at == IN_PAUSE,
                         .leak_steps = INFINITY};
    memcpy(s.plan_bytes, plan_holds, sizeof plan_holds);
    return controller_decide(&w->c, &l, &s);
}

static bool fits(const trainer *t, unsigned pressure) {
    return plan_holds[t->plan] + others_hold[pressure] <= MACHINE;
}

/* Carries an action out; true when work may not go on yet. */
static bool carry_out(trainer *t, fault f, guard_action action) {
    t->grown = action == GUARD_GROW || action == GUARD_RESUME;
    switch (action) {
    case GUARD_SHRINK:
        if (f == IGNORES_SHRINK) return false;
        t->plan++;
        if (f == DROPS_GRADIENTS && t->at == IN_STEP) t->at = AT_UPDATE;
        return f != ACTS_ONCE;
    case GUARD_GROW:
        t->plan--;
        return true;
    case GUARD_TRIM:
        return true;
    case GUARD_PAUSE:
        t->at = IN_PAUSE;
        t->done = 0; /* the step that was begun is done again later, whole */
        t->saved = f != FORGETS_TO_SAVE;
        return true;
    case GUARD_RESUME:
        t->at = AT_BOUNDARY;
        return true;
    case GUARD_STOP:
        t->at = AT_END;
        return true;
    case GUARD_NOTHING:
        break;
    }
    return false;
}

/* One piece of work. */
static void work(trainer *t, fault f, unsigned pressure) {
    unsigned take = micro_batch[t->plan], left = EFFECTIVE_BATCH - t->done;
    switch (t->at) {
    case AT_BOUNDARY:
        t->done = t->updates = 0;
        t->saved = false;
        t->at = IN_STEP;
        break;
    case IN_STEP:
        t->done += take < left || f == RAGGED_TAIL ? take : left;
        if (t->done >= EFFECTIVE_BATCH) t->at = AT_UPDATE;
        break;
    case AT_UPDATE:
        if (t->updates < 2) t->updates++;
        t->at = AT_BOUNDARY;
        if (f != REPLAYS_AFTER_UPDATE || pressure < 2) break;
        t->at = IN_STEP;
        t->done = 0;
        break;
    case IN_PAUSE:
    case AT_END:
        break;
    }
}

/* What distinguishes two worlds: times are relative already, and the clock of each decision is 1. */
static world normal(world w) {
    world n;
    memset(&n, 0, sizeof n); /* padding too, since worlds are compared as bytes */
    n.t.at = w.t.at;
    n.t.plan = w.t.plan;
    n.t.done = w.t.done;
    n.t.updates = w.t.updates;
    n.t.saved = w.t.saved;
    n.t.grown = w.t.grown;
    n.c.gauge.held = w.c.gauge.held;
    n.c.gauge.calm_seconds = w.c.gauge.calm_seconds;
    n.c.gauge.calm_steps = w.c.gauge.calm_steps;
    n.c.breaker.position = w.c.breaker.position;
    n.c.breaker.cooldown_seconds = w.c.breaker.cooldown_seconds;
    n.c.breaker.cooled_seconds = w.c.breaker.cooled_seconds;
    n.c.breaker.cooled_steps = w.c.breaker.cooled_steps;
    n.c.breaker.proved_steps = w.c.breaker.proved_steps;
    n.c.begun = w.c.begun;
    n.c.asked = w.c.asked;
    n.c.asked_plan = w.c.asked_plan;
    n.c.unanswered = w.c.unanswered;
    n.c.asked_seconds = w.c.asked == GUARD_NOTHING ? 0 : w.c.asked_seconds;
    n.c.asked_steps = w.c.asked == GUARD_NOTHING ? 0 : w.c.asked_steps;
    n.c.trimmed = w.c.trimmed;
    n.c.probed = w.c.probed;
    return n;
}

typedef struct exploration {
    fault f;
    world *worlds;
    uint32_t (*next)[PRESSURES];
    uint32_t *table, count;
    bool broken[PROMISES];
    uint32_t switches; /* the most that an adversary gets */
    bool decided[GUARD_STOP + 1];
} exploration;

enum { MOST_WORLDS = 1 << 17, TABLE = 1 << 19, HORIZON = 60, PATIENCE = 200 };

static uint64_t hash_of(const world *w) {
    const unsigned char *bytes = (const unsigned char *)w;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *w; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static uint32_t index_of(exploration *e, world w) {
    w = normal(w);
    for (uint64_t at = hash_of(&w) % TABLE;; at = (at + 1) % TABLE) {
        if (e->table[at] && memcmp(&e->worlds[e->table[at] - 1], &w, sizeof w)) continue;
        if (e->table[at]) return e->table[at] - 1;
        if (e->count == MOST_WORLDS) fail_msg("%s: more worlds than expected", fault_names[e->f]);
        e->worlds[e->count] = w;
        e->table[at] = ++e->count;
        return e->count - 1;
    }
}

/* One tick: pressure is chosen, the controller asked, its action carried out; when nothing is left to do, work. */
static world tick(exploration *e, world w, unsigned pressure) {
    const world before = w;
    if (e->f == COOLS_BY_QUIET && w.t.at == AT_UPDATE) w.c.breaker.cooled_seconds = 0;
    if (e->f == NEVER_GREEN && w.c.gauge.held) w.c.gauge.calm_seconds = w.c.gauge.calm_steps = 0;
    if (e->f == TRIMS_FOR_EVER) w.c.trimmed = false;
    w.c.seconds = 0;
    w.c.steps = 0;
    bool finished = before.t.at == AT_BOUNDARY && before.t.updates == 1;
    guard_decision d = ask(&w, e->f, pressure, finished ? 1 : 0);
    if (finished) w.t.updates = 2; /* counted; see work */
    if (e->f == GROWS_WHEN_ASKED && d.action == GUARD_NOTHING && w.t.plan && d.found.level == PRESSURE_GREEN)
        d.action = GUARD_GROW;
    e->decided[d.action] = true;
    bool grows = d.action == GUARD_GROW || d.action == GUARD_RESUME;
    if (grows && (d.breaker != BREAKER_HALF_OPEN || d.held != PRESSURE_GREEN)) e->broken[HALF_OPEN_GROWTH] = true;
    if (carry_out(&w.t, e->f, d.action) || w.t.at == IN_PAUSE || w.t.at == AT_END) return w;
    if (w.t.at != AT_UPDATE && !fits(&w.t, pressure)) e->broken[FITTING_PLAN] = true;
    if (w.t.at == AT_UPDATE && w.t.updates) e->broken[ONE_UPDATE] = true;
    if (w.t.at == AT_UPDATE && w.t.done != EFFECTIVE_BATCH) e->broken[EXACT_BATCH] = true;
    work(&w.t, e->f, pressure);
    return w;
}

static void explore(exploration *e) {
    world first;
    memset(&first, 0, sizeof first);
    index_of(e, first);
    for (uint32_t i = 0; i < e->count; i++) {
        const world w = e->worlds[i];
        if (w.t.at == IN_PAUSE && !w.t.saved) e->broken[SAVED_PAUSE] = true;
        if (w.t.at == IN_STEP && w.t.done > EFFECTIVE_BATCH) e->broken[EXACT_BATCH] = true;
        for (unsigned p = 0; p < PRESSURES; p++) e->next[i][p] = index_of(e, tick(e, w, p));
    }
}

/* Under lasting pressure the way is one: does it come to a world that is good? */
static bool arrives(const exploration *e, uint32_t from, unsigned pressure, bool (*good)(const world *, unsigned)) {
    for (unsigned ticks = 0; ticks < PATIENCE; ticks++) {
        from = e->next[from][pressure];
        if (good(&e->worlds[from], pressure)) return true;
    }
    return false;
}

static bool has_progress(const world *w, unsigned pressure) {
    return w->t.at == AT_UPDATE || (w->t.at == IN_PAUSE && pressure > 0);
}

static bool is_whole(const world *w, unsigned pressure) {
    (void)pressure;
    return w->t.plan == 0 && w->t.at != IN_PAUSE && w->c.breaker.position == BREAKER_CLOSED;
}

static void check_liveness(exploration *e) {
    for (uint32_t i = 0; i < e->count; i++) {
        for (unsigned p = 0; p < PRESSURES; p++)
            if (!arrives(e, i, p, has_progress)) e->broken[PROGRESS] = true;
        if (!arrives(e, i, 0, is_whole)) e->broken[REGROWTH] = true;
    }
}

/* The most changes of plan that pressure, chosen by an adversary, can force within the horizon. */
static uint32_t most_switches(const exploration *e) {
    uint32_t *now = calloc(e->count, sizeof *now), *later = calloc(e->count, sizeof *later);
    assert_true(now && later);
    for (unsigned ticks = 0; ticks < HORIZON; ticks++) {
        for (uint32_t i = 0; i < e->count; i++) {
            uint32_t most = 0;
            for (unsigned p = 0; p < PRESSURES; p++) {
                uint32_t to = e->next[i][p];
                uint32_t total = later[to] + (e->worlds[to].t.plan != e->worlds[i].t.plan);
                if (total > most) most = total;
            }
            now[i] = most;
        }
        uint32_t *other = later;
        later = now;
        now = other;
    }
    uint32_t most = later[0];
    free(now);
    free(later);
    return most;
}

/* breaker.h: growths <= 1 + T / first_seconds, givings back <= growths + plans. */
static uint32_t allowed_switches(void) {
    uint32_t growths = 1 + (uint32_t)(HORIZON / limits_of(SOUND).breaker.first_seconds);
    return 2 * growths + PLANS;
}

static exploration run(fault f) {
    exploration e = {.f = f};
    e.worlds = calloc(MOST_WORLDS, sizeof *e.worlds);
    e.next = calloc(MOST_WORLDS, sizeof *e.next);
    e.table = calloc(TABLE, sizeof *e.table);
    assert_true(e.worlds && e.next && e.table);
    explore(&e);
    check_liveness(&e);
    e.switches = most_switches(&e);
    e.broken[FEW_SWITCHES] = e.switches > allowed_switches();
    free(e.worlds);
    free(e.next);
    free(e.table);
    return e;
}

static void report(const exploration *e) {
    char broken[512] = "";
    for (unsigned p = 0; p < PROMISES; p++)
        if (e->broken[p]) {
            strcat(broken, "; ");
            strcat(broken, promise_names[p]);
        }
    print_message("%s: %u worlds, %u transitions, at most %u switches in %d ticks%s%s\n", fault_names[e->f], e->count,
                  e->count * PRESSURES, e->switches, HORIZON, *broken ? "; broken" : "", broken);
}

static void a_sound_trainer_keeps_every_promise(void **state) {
    (void)state;
    exploration e = run(SOUND);
    report(&e);
    for (unsigned p = 0; p < PROMISES; p++)
        if (e.broken[p]) fail_msg("broken: %s", promise_names[p]);
    for (guard_action a = GUARD_NOTHING; a < GUARD_STOP; a++)
        if (!e.decided[a]) fail_msg("nothing led to: %s", guard_action_name(a));
}

static void every_fault_is_found(void **state) {
    (void)state;
    static const promise expected[FAULTS] = {
        [REPLAYS_AFTER_UPDATE] = ONE_UPDATE,   [RAGGED_TAIL] = EXACT_BATCH,
        [FORGETS_TO_SAVE] = SAVED_PAUSE,       [DROPS_GRADIENTS] = EXACT_BATCH,
        [IGNORES_SHRINK] = FITTING_PLAN,       [ACTS_ONCE] = FITTING_PLAN,
        [NO_COOLDOWN] = FEW_SWITCHES,          [COOLS_BY_QUIET] = REGROWTH,
        [GROWS_WHEN_ASKED] = HALF_OPEN_GROWTH, [NEVER_GREEN] = REGROWTH,
        [TRIMS_FOR_EVER] = PROGRESS,
    };
    for (fault f = SOUND + 1; f < FAULTS; f++) {
        exploration e = run(f);
        report(&e);
        if (!e.broken[expected[f]]) fail_msg("%s: %s is not broken", fault_names[f], promise_names[expected[f]]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_trainer_keeps_every_promise),
        cmocka_unit_test(every_fault_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
