/* What people and the log are told: see watching.h. */
#include "platform/machine.h"
#include "watch/watching.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/duration.h"

enum { LINE_BYTES = 1024 };

void tell(watching *w, const char *format, ...) {
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (w->print) w->print(w->context, line);
    run_stream_push_text(&w->told, line);
}

static const char *held_text(const watching *w, char text[BYTES_TEXT]) {
    reading held = sample_held(&w->watch.sample);
    if (!held.known) return "unknown";
    return bytes_format(text, held.value);
}

/* The unit of a leak: a step, or a second where nobody tells of steps; and how many there were since a moment. */
static double units_since(const watching *w, const moment *then, double seconds) {
    return w->steps_told ? (double)(w->steps - then->steps) : seconds - then->seconds;
}

static void tell_leak(watching *w, const guard_decision *d) {
    static const char advice[] =
        "; try: what is kept from step to step (results in a list, a loss together with its "
        "graph, a cache without a bound); until then, go on from a checkpoint in a new process";
    leak_meter meter = guard_worst_leak(&w->watch);
    const leak_estimator *e = &w->watch.leaks[meter];
    char rate[SIGNED_BYTES_TEXT], low[SIGNED_BYTES_TEXT], high[SIGNED_BYTES_TEXT], left[BYTES_TEXT],
        ago[DURATION_TEXT], since[DURATION_TEXT + 16], end[64] = "";
    leak_slope slope;
    moment began = moments_find(&w->when, leak_began(e));
    double now = machine_seconds() - w->started, units = units_since(w, &began, now);
    if (!leak_estimate(e, &slope) || units <= 0) return;
    double per_unit = (double)(e->history.samples - began.sample) / units; /* samples */
    reading headroom = guard_leak_headroom(&w->watch, meter);
    double steps = headroom.known ? leak_time_left(e, (double)headroom.value).fewest : INFINITY;
    const char *unit = w->steps_told ? "step" : "second";
    if (w->steps_told)
        snprintf(since, sizeof since, "step %llu", (unsigned long long)began.steps);
    else
        duration_format(since, began.seconds, 1);
    if (isfinite(steps))
        snprintf(end, sizeof end, "; %s are left, for %.0f %ss at least", bytes_format(left, headroom.value),
                 steps / per_unit, unit);
    tell(w, "%s: %s grows by %s a %s (%s to %s), since %s%s, %s ago%s%s", leak_headline(d->leak),
         meter == LEAK_OF_DEVICE ? "GPU memory" : "memory", bytes_format_signed(rate, slope.bytes * per_unit), unit,
         bytes_format_signed(low, slope.low * per_unit), bytes_format_signed(high, slope.high * per_unit), since,
         w->steps_told ? "" : " after the start", duration_format(ago, now - began.seconds, 1), end,
         d->leak == LEAK_CONFIRMED ? advice : "");
}

/* By the clock a program that loads its model looks like one that leaks: its first samples say little. */
static bool is_too_early(const watching *w, const guard_decision *d) {
    enum { LOADING_SAMPLES = 64 };
    return !w->steps_told && d->leak == LEAK_SUSPECTED &&
           w->watch.leaks[LEAK_OF_TOTAL].history.samples < LOADING_SAMPLES;
}

static void tell_leaks(watching *w, const guard_decision *d) {
    if (d->leak == w->told_leak || is_too_early(w, d)) return;
    if (d->leak == LEAK_NONE)
        tell(w, "%s", leak_headline(d->leak));
    else if (d->leak > w->told_leak)
        tell_leak(w, d);
    if (d->leak > w->told_leak || d->leak == LEAK_NONE) w->told_leak = d->leak;
}

/* Each level once, as it rises; and when all is calm again. */
static void tell_level(watching *w, const guard_decision *d) {
    char held[BYTES_TEXT], lacks[SAMPLE_LACKS_BYTES];
    bool risen = d->found.level > w->told_level, calm = d->held == PRESSURE_GREEN && w->told_level > PRESSURE_GREEN;
    if (risen || d->held < w->told_level) w->told_level = risen ? d->found.level : d->held;
    if (w->options->quiet) return;
    if (risen && d->found.source == SOURCE_UNKNOWN && sample_lacks(&w->watch.sample, lacks))
        tell(w, "memory: cannot read %s", lacks);
    else if (risen)
        tell(w, "memory: %s: %s at %.0f %%; the command holds %s", pressure_level_name(d->found.level),
             pressure_source_name(d->found.source), 100 * d->found.share, held_text(w, held));
    else if (calm)
        tell(w, "memory: green again; the command holds %s", held_text(w, held));
}

/* A process that comes or goes may be unreadable for a moment; what stays so is said, once. */
static void tell_unknown(watching *w) {
    enum { MOST_IN_A_ROW = 10 };
    char lacks[SAMPLE_LACKS_BYTES];
    bool known = sample_held(&w->watch.sample).known;
    w->unknown_samples = known ? 0 : w->unknown_samples + 1;
    if (w->unknown_samples == MOST_IN_A_ROW && sample_lacks(&w->watch.sample, lacks))
        tell(w, "what the command holds is unknown: cannot read %s", lacks);
}

void tell_look(watching *w, const guard_decision *d, bool new_sample) {
    sample_report seen = {.time = report_time(), .step = w->steps, .seen = *d, .sample = w->watch.sample};
    seen.leak_known = leak_estimate(&w->watch.leaks[guard_worst_leak(&w->watch)], &seen.leak);
    if (new_sample) run_stream_push_sample(&w->told, &seen);
    tell_unknown(w);
    tell_level(w, d);
    tell_leaks(w, d);
}

/* The controller says the same at each look, until something changes. */
static bool is_new(watching *w, const guard_decision *d, bool carried_out) {
    bool same = d->action == w->told_action && d->rule == w->told_rule && !carried_out;
    w->told_action = d->action;
    w->told_rule = d->rule;
    return !same;
}

void tell_decision(watching *w, const guard_decision *d, bool carried_out) {
    char line[GUARD_LINE_BYTES];
    if (!is_new(w, d, carried_out)) return;
    guard_decision_line(line, d);
    const event_report event = {report_time(), w->steps, *d, w->watch.sample, carried_out, 0, 0};
    run_stream_push_event(&w->told, &event);
    if (d->action != GUARD_TRIM) tell(w, "%s%s", carried_out ? "" : "not acted on: ", line);
}

void tell_end(watching *w, int exit_code) {
    char peak[BYTES_TEXT], device[BYTES_TEXT], beside[BYTES_TEXT + 24] = "", lasted[DURATION_TEXT];
    const char *name = w->command_name;
    faces_flush(w);
    process_tree_look(&w->tree);
    unsigned left = process_tree_living(&w->tree);
    if (left) tell(w, "%s leaves behind, not watched any more: %u of its processes", name, left);
    if (w->options->quiet) return;
    /* One that is gone before the first look was never seen. */
    const char *held = w->peak_bytes ? bytes_format(peak, w->peak_bytes) : "unknown";
    if (w->device_peak_bytes) {
        bytes_format(device, w->device_peak_bytes);
        snprintf(beside, sizeof beside, ", and %s on the GPU", device);
    }
    duration_format(lasted, machine_seconds() - w->started, 1);
    if (w->stop.phase == STOP_NOT)
        tell(w, "%s ended with %d after %s; held at most %s%s; leak: %s", name, exit_code, lasted, held, beside,
             leak_verdict_name(w->last.leak));
    else
        tell(w, "%s was stopped after %s; held at most %s%s; leak: %s", name, lasted, held, beside,
             leak_verdict_name(w->last.leak));
}
