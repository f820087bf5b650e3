/* The guard of a training: see guarding.h. */
#include "train/guarding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "train/requests.h"

static const double calm_seconds = 0.1,
                    tense_seconds = 0.01; /* tense from yellow on: a container may fill in 35 ms */
static const double attend_seconds = 0.5; /* between two calls in the same state, which wait for the end of a pass */
static const double pause_seconds = 1;

/* The level that the thread sees. It knows no history: that is the guard's. */
static pressure_level look(guarding *g) {
    guard_sample sample;
    const pressure_plan expected = {.planned_bytes = (double)atomic_load(&g->planned_bytes),
                                    .group_limit_bytes = (double)atomic_load(&g->group_limit_bytes)};
    sampler_take(&g->meters, &sample);
    return pressure_worst(&g->watch.limits.pressure, &sample, &expected, 0).level;
}

/* What the thread called for attention to the last time. */
typedef struct call_for_attention {
    pressure_level level;
    uint64_t planned_bytes;
    double seconds;
} call_for_attention;

/* Something is new since: it got worse, or what could be given back was and is not enough. Only that may cut a pass
 * short: a training that cannot help must go on. */
static bool is_new(const call_for_attention *last, const call_for_attention *now) {
    return now->level > last->level || now->planned_bytes != last->planned_bytes;
}

static bool is_due(const call_for_attention *last, const call_for_attention *now) {
    return is_new(last, now) || now->seconds - last->seconds >= attend_seconds;
}

/* False as soon as the guard is closed, so that nobody waits for the rest. */
static bool rest(guarding *g, double seconds) {
    double until = machine_seconds() + seconds, whole = floor(until);
    const struct timespec deadline = {.tv_sec = (time_t)whole, .tv_nsec = (long)(1e9 * (until - whole))};
    int failure = 0;
    pthread_mutex_lock(&g->lock);
    while (!g->ends && !failure) failure = pthread_cond_timedwait(&g->ending, &g->lock, &deadline);
    bool goes_on = !g->ends;
    pthread_mutex_unlock(&g->lock);
    return goes_on;
}

static void *keep_looking(void *context) {
    guarding *g = context;
    call_for_attention last = {0};
    /* On a busy machine it must get its turn; where it may not ask for that, it goes on as it is. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), -10);
    double seconds = 0;
    while (rest(g, seconds)) {
        call_for_attention now = {.planned_bytes = atomic_load(&g->planned_bytes)};
        if (atomic_load(&g->begun) && now.planned_bytes) now.level = look(g);
        now.seconds = machine_seconds();
        if (now.level >= PRESSURE_ORANGE && is_due(&last, &now)) {
            double unanswered = atomic_load(&g->noticed_seconds);
            if (!(unanswered > 0)) atomic_store(&g->noticed_seconds, now.seconds);
            requests_attend(is_new(&last, &now));
            last = now;
        }
        if (now.level < PRESSURE_ORANGE) last.level = now.level;
        seconds = now.level >= PRESSURE_YELLOW ? tense_seconds : calm_seconds;
    }
    return NULL;
}

static levee_status start_thread(guarding *g, levee_error *error) {
    pthread_condattr_t clock;
    pthread_mutex_init(&g->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&g->ending, &clock);
    pthread_condattr_destroy(&clock);
    return thread_start(&g->thread, "the guard's thread", true, keep_looking, g, error);
}

static void bend(void *context, guard_sample *sample) {
    guarding *g = context;
    if (g->exercises) drill_bend(g->exercises, &g->watch.limits.pressure, atomic_load(&g->planned_bytes), sample);
}

levee_status guarding_open(guarding *g, guard_mode mode, const guard_limits *limits, const run *common,
                           levee_error *error) {
    memset(g, 0, sizeof *g);
    g->mode = mode;
    g->common = common;
    if (mode == GUARD_OFF) return LEVEE_OK;
    sampler_options meters = sampler_options_default();
    meters.bend = bend;
    meters.bend_context = g;
    guard_open(&g->watch, limits, &meters);
    sampler_open(&g->meters, &meters);
    return start_thread(g, error);
}

void guarding_close(guarding *g) {
    if (g->mode != GUARD_OFF) {
        pthread_mutex_lock(&g->lock);
        g->ends = true;
        pthread_cond_signal(&g->ending);
        pthread_mutex_unlock(&g->lock);
        thread_join(&g->thread);
        pthread_cond_destroy(&g->ending);
        pthread_mutex_destroy(&g->lock);
        sampler_close(&g->meters);
        guard_close(&g->watch);
    }
    memset(g, 0, sizeof *g);
}

static guard_progress progress_of(const guarding *g, bool paused) {
    const training *t = g->engine;
    guard_progress p = {.steps = g->step, .plan = t->level, .plan_count = t->level_count, .paused = paused};
    for (uint32_t i = 0; i < t->level_count; i++) p.plan_bytes[i] = training_plan_bytes(t, i);
    return p;
}

static int64_t held_bytes(void) {
    process_memory now = {0};
    process_memory_read(&now);
    return (int64_t)now.held_bytes;
}

/* Tells people and the log. */
static void tell(guarding *g, const guard_decision *d, bool carried_out, int64_t moved_bytes, double seconds) {
    char line[GUARD_LINE_BYTES], moved[BYTES_TEXT];
    const event_report event = {report_time(), g->step, *d, g->watch.sample, carried_out, moved_bytes, seconds};
    run_stream_push_event(g->common->told, &event);
    guard_decision_line(line, d);
    bytes_format(moved, (uint64_t)(moved_bytes < 0 ? -moved_bytes : moved_bytes));
    if (carried_out)
        run_print(g->common, "guard: after step %llu: %s; %s %s in %.1f ms", (unsigned long long)g->step, line, moved,
                  moved_bytes < 0 ? "taken" : "given back", 1e3 * seconds);
    else
        run_print(g->common, "guard, not acted on: after step %llu: %s", (unsigned long long)g->step, line);
}

/* Says of a leak what it is, how fast, since when, and what to try; once for each verdict. */
static void tell_leak(guarding *g, const guard_decision *d) {
    leak_meter meter = guard_worst_leak(&g->watch);
    const leak_estimator *e = &g->watch.leaks[meter];
    char rate[BYTES_TEXT], low[BYTES_TEXT], high[BYTES_TEXT], left[64] = "";
    leak_slope slope;
    if (d->leak == LEAK_NONE && g->told_leak != LEAK_NONE) run_print(g->common, "%s", leak_headline(d->leak));
    if (d->leak <= g->told_leak || !leak_estimate(e, &slope)) {
        if (d->leak == LEAK_NONE) g->told_leak = LEAK_NONE;
        return;
    }
    g->told_leak = d->leak;
    uint64_t lasts = e->history.samples - leak_began(e);
    if (isfinite(d->leak_steps)) snprintf(left, sizeof left, "; %.0f steps are left at least", d->leak_steps);
    run_print(g->common,
              "%s: %s memory grows by %s a step (%s to %s), since step %llu%s; nothing that is planned grows, so try "
              "without what else this process loads or calls, and --resume to go on in a new one",
              leak_headline(d->leak), leak_meter_name(meter), bytes_format(rate, (uint64_t)fmax(slope.bytes, 0)),
              bytes_format(low, (uint64_t)fmax(slope.low, 0)), bytes_format(high, (uint64_t)fmax(slope.high, 0)),
              (unsigned long long)(g->step > lasts ? g->step - lasts : 0), left);
}

static levee_status stop(const guarding *g, const guard_decision *d, levee_error *error) {
    return error_set(error, LEVEE_STOPPED, "stopped by the guard after step %llu: %s (%s at %.0f %%)",
                     (unsigned long long)g->step, guard_rule_name(d->rule), pressure_source_name(d->found.source),
                     100 * d->found.share);
}

static levee_status carry_out(guarding *g, const guard_decision *d, bool *refused, levee_error *error) {
    training *t = g->engine;
    levee_status status = LEVEE_OK;
    double noticed = atomic_exchange(&g->noticed_seconds, 0), began = noticed > 0 ? noticed : machine_seconds();
    int64_t before = held_bytes();
    *refused = false;
    if (d->action == GUARD_TRIM) levee_trim(NULL);
    if (d->action == GUARD_SHRINK) status = training_change_plan(t, t->level + 1, began, refused, error);
    if (d->action == GUARD_GROW) status = training_change_plan(t, t->level - 1, began, refused, error);
    if (d->action == GUARD_STOP || d->action == GUARD_PAUSE) status = training_release_arena(t, error);
    if (status == LEVEE_OK && d->action == GUARD_STOP) status = stop(g, d, error);
    if (status == LEVEE_OK && d->action == GUARD_PAUSE) {
        g->pauses = true;
        status = error_set(error, LEVEE_STOPPED, "paused by the guard");
    }
    atomic_store(&g->planned_bytes, training_plan_bytes(t, t->level));
    tell(g, d, true, before - held_bytes(), machine_seconds() - began);
    return status;
}

/* What the guard saw at the end of a step, or while the training pauses. */
static void show(guarding *g, const guard_decision *d) {
    const leak_estimator *e = &g->watch.leaks[guard_worst_leak(&g->watch)];
    sample_report seen = {.time = report_time(), .step = g->step, .seen = *d, .sample = g->watch.sample};
    seen.leak_known = leak_estimate(e, &seen.leak);
    run_stream_push_sample(g->common->told, &seen);
    g->last = *d;
}

/* Asks until nothing is left to do. */
static levee_status consult(guarding *g, bool step_ended, levee_error *error) {
    enum { MOST_ROUNDS = 2 * PLAN_LEVELS + 4 };
    levee_status status = LEVEE_OK;
    bool refused = false;
    for (unsigned round = 0; round < MOST_ROUNDS && status == LEVEE_OK; round++) {
        guard_progress p = progress_of(g, false);
        p.growth_refused = refused;
        guard_decision d = guard_ask(&g->watch, &p);
        atomic_store(&g->group_limit_bytes, g->watch.group_limit_bytes);
        if (step_ended && !round) show(g, &d);
        tell_leak(g, &d);
        if (d.action == GUARD_NOTHING) break;
        if (g->mode == GUARD_WARN) {
            tell(g, &d, false, 0, 0);
            break;
        }
        status = carry_out(g, &d, &refused, error);
    }
    return status;
}

static levee_status attend(void *context, levee_error *error) {
    guarding *g = context;
    levee_status status = consult(g, false, error);
    atomic_store(&g->noticed_seconds, 0);
    return status;
}

void guarding_begin(guarding *g, training *engine, drill *exercises) {
    if (g->mode == GUARD_OFF) return;
    char lacks[SAMPLE_LACKS_BYTES];
    g->engine = engine;
    g->exercises = exercises;
    engine->on_attend = attend;
    engine->attend_context = g;
    sampler_take(&g->watch.meters, &g->watch.sample);
    if (sample_lacks(&g->watch.sample, lacks)) run_print(g->common, "guard: cannot read %s", lacks);
    atomic_store(&g->planned_bytes, training_plan_bytes(engine, engine->level));
    atomic_store(&g->begun, true);
}

levee_status guarding_step(guarding *g, uint64_t finished, levee_error *error) {
    if (g->mode == GUARD_OFF) return LEVEE_OK;
    g->step = finished;
    return consult(g, true, error);
}

/* Tries to go on: false, with LEVEE_OK, when the machine has no memory after all. */
static levee_status resume(guarding *g, const guard_decision *d, bool *resumed, levee_error *error) {
    double began = machine_seconds();
    int64_t before = held_bytes();
    levee_status status = training_reclaim(g->engine, error);
    *resumed = status == LEVEE_OK;
    tell(g, d, *resumed, before - held_bytes(), machine_seconds() - began);
    return status == LEVEE_DOES_NOT_FIT ? LEVEE_OK : status;
}

levee_status guarding_pause(guarding *g, levee_error *error) {
    bool resumed = false, refused = false;
    char given[BYTES_TEXT];
    int64_t before = held_bytes();
    g->pauses = false;
    atomic_store(&g->planned_bytes, 0);
    levee_status status = training_release(g->engine, error);
    levee_trim(NULL);
    int64_t moved = before - held_bytes();
    run_print(g->common, "paused after step %llu: %s more given back", (unsigned long long)g->step,
              bytes_format(given, (uint64_t)(moved > 0 ? moved : 0)));
    while (status == LEVEE_OK && !resumed) {
        machine_sleep(pause_seconds);
        if (requests_stopping()) return error_set(error, LEVEE_STOPPED, "stopped as asked, while it was paused");
        guard_progress p = progress_of(g, true);
        p.growth_refused = refused;
        guard_decision d = guard_ask(&g->watch, &p);
        show(g, &d);
        if (d.action == GUARD_STOP) {
            tell(g, &d, true, 0, 0);
            return stop(g, &d, error);
        }
        if (d.action == GUARD_RESUME) status = resume(g, &d, &resumed, error);
        refused = d.action == GUARD_RESUME && !resumed;
    }
    if (status == LEVEE_OK) atomic_store(&g->planned_bytes, training_plan_bytes(g->engine, g->engine->level));
    return status;
}

void guarding_rest(guarding *g) {
    atomic_store(&g->planned_bytes, 0);
    if (g->mode != GUARD_OFF) guard_skip(&g->watch);
}

void guarding_go_on(guarding *g) {
    if (g->mode != GUARD_OFF) atomic_store(&g->planned_bytes, training_plan_bytes(g->engine, g->engine->level));
}
