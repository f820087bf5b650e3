/* When to look, and what follows from it: see watching.h. */
#include "platform/machine.h"
#include "watch/watching.h"

#include <math.h>
#include <string.h>

static const double calm_seconds = 0.1, tense_seconds = 0.02;

/* Of the time, what may go into looking for new processes when memory is short. */
static const double short_share = 1.0 / 20;

/* Steps that are told faster than this share a sample: one costs a tenth of a millisecond. */
static const double least_spacing_seconds = 0.01;

/* By the clock a program that loads its model grows as evenly as a leak: then only one that lasts may stop it. */
static double horizon(const watching *w) {
    bool sure = w->steps_told || w->watch.leaks[LEAK_OF_TOTAL].verdict >= LEAK_GROWTH;
    return sure ? guard_limits_default().leak_horizon_steps : 0;
}

static guard_progress progress(watching *w, uint64_t steps) {
    bool takes_part = !w->options->only_warns && channel_peers(&w->talk) && !w->shrinks_refused;
    uint32_t plans = takes_part ? GUARD_MOST_PLANS : w->shrinks + 1;
    w->watch.limits.leak_horizon_steps = horizon(w);
    w->watch.limits.can_pause = channel_can_pause(&w->talk);
    return (guard_progress){
        .steps = steps, .plan = w->shrinks, .plan_count = plans, .paused = channel_paused(&w->talk)};
}

static guard_decision ask(watching *w, uint64_t steps, bool growth_refused) {
    guard_progress p = progress(w, steps);
    p.growth_refused = growth_refused;
    guard_decision d = guard_ask(&w->watch, &p);
    reading held = sample_held(&w->watch.sample);
    reading device = w->watch.sample.meters[METER_DEVICE_PROCESS];
    if (held.known && held.value > w->peak_bytes) w->peak_bytes = held.value;
    if (device.known && device.value > w->device_peak_bytes) w->device_peak_bytes = device.value;
    return w->last = d;
}

guard_decision look_only(watching *w) { return ask(w, w->taken, false); }

/* What the program has done about the last wish. True when a growth was refused. */
static bool take_answers(watching *w) {
    guard_action carried = channel_take_carried(&w->talk);
    bool refused = channel_take_refused(&w->talk);
    if (carried == GUARD_SHRINK && w->shrinks + 1 < GUARD_MOST_PLANS) w->shrinks++;
    if (carried == GUARD_GROW && w->shrinks) w->shrinks--;
    if (carried != GUARD_NOTHING) tell(w, "the program carried out: %s", guard_action_name(carried));
    if (refused && w->last.action == GUARD_SHRINK) w->shrinks_refused = true;
    return refused && w->last.action == GUARD_GROW;
}

static void act(watching *w, const guard_decision *d) {
    bool acts = !w->options->only_warns;
    if (d->action == GUARD_STOP && acts)
        stopping_begin(w, d);
    else if (d->action == GUARD_TRIM || d->action == GUARD_STOP)
        tell_decision(w, d, false); /* nobody but the program knows its caches */
    else if (d->action != GUARD_NOTHING)
        tell_decision(w, d, acts && channel_wish(&w->talk, d->action));
}

static bool is_time_for_sample(watching *w, double now) {
    if (!w->steps_told && now - w->last_step >= w->options->sample_seconds) {
        w->steps++;
        w->last_step = now;
    }
    return w->steps != w->taken && now - w->last_sample >= least_spacing_seconds;
}

static void note_moment(watching *w, double now) {
    moments_add(&w->when, (moment){.sample = w->watch.leaks[LEAK_OF_TOTAL].history.samples - 1,
                                   .steps = w->steps,
                                   .seconds = now - w->started});
}

void look(watching *w) {
    double now = machine_seconds();
    uint64_t samples = w->watch.leaks[LEAK_OF_TOTAL].history.samples;
    bool new_sample = is_time_for_sample(w, now), growth_refused = take_answers(w);
    if (new_sample) {
        w->taken = w->steps;
        w->last_sample = now;
    }
    if (w->last.found.level >= PRESSURE_ORANGE) process_tree_look_again(&w->tree, 0, short_share);
    guard_decision d = ask(w, w->taken, growth_refused);
    if (w->watch.leaks[LEAK_OF_TOTAL].history.samples != samples) note_moment(w, now);
    tell_look(w, &d, new_sample);
    if (w->stop.phase == STOP_NOT) act(w, &d);
    double pause =
        d.found.level >= PRESSURE_YELLOW && d.found.source != SOURCE_UNKNOWN ? tense_seconds : calm_seconds;
    w->next_look = machine_seconds() + fmin(pause, w->options->sample_seconds);
}

/* The clock's steps and the program's are not of one kind: what was seen so far is forgotten. */
static void begin_told_steps(watching *w) {
    for (unsigned m = 0; m < LEAK_METERS; m++) leak_reset(&w->watch.leaks[m], leak_least_rise_bytes);
    memset(&w->when, 0, sizeof w->when);
    w->told_leak = LEAK_NONE;
    w->steps_told = true;
    w->steps = w->taken = 0;
}

void look_at_steps(watching *w, uint64_t steps) {
    if (!w->steps_told) begin_told_steps(w);
    if (steps <= w->steps) return;
    w->steps = steps;
    if (machine_seconds() - w->last_sample >= least_spacing_seconds) look(w);
}
