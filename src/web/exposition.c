/* The metrics in Prometheus' text format: see exposition.h. */
#include "web/exposition.h"

#include <math.h>

typedef enum metric_type { GAUGE, COUNTER } metric_type;

static void describe(web_text *t, const char *name, metric_type type, const char *help) {
    web_put(t, "# HELP levee_%s %s\n# TYPE levee_%s %s\n", name, help, name, type == GAUGE ? "gauge" : "counter");
}

/* As json_text_number, with the format's words for what is not finite. */
static void put_value(web_text *t, double value) {
    if (isnan(value))
        web_put(t, " NaN\n");
    else if (isinf(value))
        web_put(t, " %cInf\n", value > 0 ? '+' : '-');
    else
        web_put(t, " %.9g\n", value);
}

static void put_count(web_text *t, uint64_t count) { web_put(t, " %llu\n", (unsigned long long)count); }

static void put_label(web_text *t, const char *key, const char *text) {
    web_put(t, "%s=\"", key);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            web_put(t, "\\%c", *text);
        else if (*text == '\n')
            web_put(t, "\\n");
        else /* the format is UTF-8, and a path need not be */
            web_put(t, "%c", (unsigned char)*text < 0x80 ? *text : '?');
    }
    web_put(t, "\"");
}

static void number(web_text *t, const char *name, double value, const char *help) {
    describe(t, name, GAUGE, help);
    web_put(t, "levee_%s", name);
    put_value(t, value);
}

/* UINT64_MAX: not known. */
static void count(web_text *t, const char *name, metric_type type, uint64_t value, const char *help) {
    describe(t, name, type, help);
    if (value == UINT64_MAX) return;
    web_put(t, "levee_%s", name);
    put_count(t, value);
}

static void labelled(web_text *t, const char *name, const char *key, const char *label) {
    web_put(t, "levee_%s{", name);
    put_label(t, key, label);
    web_put(t, "}");
}

static void put_run(web_text *t, const board_view *v) {
    const board_facts *f = &v->facts;
    describe(t, "info", GAUGE, "What runs; always 1.");
    web_put(t, "levee_info{version=\"" LEVEE_VERSION "\",");
    put_label(t, "verb", f->verb);
    web_put(t, ",");
    put_label(t, "model", f->model);
    web_put(t, ",");
    put_label(t, "type", f->type);
    web_put(t, "} 1\n");
    describe(t, "run_state", GAUGE, "1 for the state that the run is in.");
    for (unsigned s = 0; s < BOARD_STATE_COUNT; s++) {
        labelled(t, "run_state", "state", board_state_name((board_state)s));
        put_count(t, v->state == s);
    }
    describe(t, "start_time_seconds", GAUGE, "When the run began, since 1970.");
    web_put(t, "levee_start_time_seconds %.3f\n", f->began);
    count(t, "budget_steps", GAUGE, f->steps ? f->steps : UINT64_MAX, "Optimizer steps of the whole run.");
    count(t, "steps_total", COUNTER, v->has_step ? v->step.step : 0, "Optimizer steps finished.");
    count(t, "skipped_steps_total", COUNTER, v->skipped_steps,
          "Steps whose loss or gradient was not finite: they changed nothing.");
}

static void put_step(web_text *t, const board_view *v) {
    const step_report *r = &v->step;
    if (!v->has_step) return;
    describe(t, "last_step_time_seconds", GAUGE, "When the last step was finished, since 1970.");
    web_put(t, "levee_last_step_time_seconds %.3f\n", r->time);
    number(t, "loss", r->loss, "Mean training loss of the last step.");
    if (v->validation_step) number(t, "validation_loss", v->validation_loss, "Loss of the last validation.");
    number(t, "learning_rate", r->learning_rate, "Learning rate of the last step.");
    number(t, "gradient_norm", r->gradient_norm, "Global norm of the gradient, before clipping.");
    number(t, "tokens_per_second", r->tokens_per_second, "Speed of the last step.");
    number(t, "step_duration_seconds", r->seconds, "How long the last step took.");
    count(t, "step_tokens", GAUGE, r->tokens, "Tokens that counted in the last step.");
    count(t, "step_passes", GAUGE, r->passes, "Passes of the last step.");
    count(t, "step_repeated_passes", GAUGE, r->repeated, "Passes of the last step that were done again.");
    count(t, "trained_tokens_total", COUNTER, r->trained_tokens, "Tokens that changed parameters.");
    count(t, "plan_level", GAUGE, r->plan_level, "Plan in use; 0 is the largest.");
}

static void put_categories(web_text *t, const char *name, const uint64_t bytes[LEVEE_CATEGORY_COUNT],
                           const char *help) {
    describe(t, name, GAUGE, help);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        labelled(t, name, "category", levee_category_name((levee_category)c));
        put_count(t, bytes[c]);
    }
}

static void put_memory(web_text *t, const board_view *v) {
    const board_facts *f = &v->facts;
    count(t, "memory_budget_bytes", GAUGE, v->has_step ? v->step.budget_bytes : f->budget_bytes,
          "What the run may hold.");
    count(t, "memory_predicted_bytes", GAUGE, v->has_step ? v->step.predicted_bytes : f->predicted_bytes,
          "Peak that was predicted before the run.");
    put_categories(t, "memory_planned_bytes", v->has_step ? v->step.planned_bytes : f->planned_bytes,
                   "Bytes of the largest plan.");
    if (!v->has_step) return;
    count(t, "memory_held_bytes", GAUGE, v->step.held_bytes, "Held after the last step, as the kernel counts.");
    count(t, "memory_peak_bytes", GAUGE, v->step.peak_bytes, "The most that was held after any step.");
    put_categories(t, "memory_bytes", v->step.booked_bytes, "Bytes booked by the ledger.");
}

/* A meter of the guard as a metric, under its own label where several share a name. */
typedef struct meter_metric {
    guard_meter meter;
    metric_type type;
    const char *name, *key, *label, *help;
} meter_metric;

static const meter_metric meters[] = {
    {METER_PROCESS_ANONYMOUS, GAUGE, "process_memory_bytes", "kind", "anonymous", "Memory of the process, by kind."},
    {METER_PROCESS_SHARED, GAUGE, "process_memory_bytes", "kind", "shared", NULL},
    {METER_PROCESS_FILE, GAUGE, "process_memory_bytes", "kind", "file", NULL},
    {METER_PROCESS_SWAPPED, GAUGE, "process_memory_bytes", "kind", "swapped", NULL},
    {METER_BOOKED, GAUGE, "booked_bytes", NULL, NULL, "Booked by the ledger, in all."},
    {METER_MAJOR_FAULTS, COUNTER, "major_faults_total", NULL, NULL, "Pages read back from disk."},
    {METER_REFAULTS, COUNTER, "file_refaults_total", NULL, NULL, "File pages dropped and read again."},
    {METER_MACHINE_TOTAL, GAUGE, "machine_memory_total_bytes", NULL, NULL, "Memory of the machine."},
    {METER_MACHINE_AVAILABLE, GAUGE, "machine_memory_available_bytes", NULL, NULL, "What can be had of it."},
    {METER_SWAP_TOTAL, GAUGE, "machine_swap_total_bytes", NULL, NULL, "Swap of the machine."},
    {METER_SWAP_FREE, GAUGE, "machine_swap_free_bytes", NULL, NULL, "Swap that is free."},
    {METER_STALL_SOME, COUNTER, "memory_stall_seconds_total", "scope", "some", "Time that tasks waited for memory."},
    {METER_STALL_FULL, COUNTER, "memory_stall_seconds_total", "scope", "full", NULL},
    {METER_GROUP_LIMIT, GAUGE, "group_memory_limit_bytes", NULL, NULL, "Limit of the nearest control group."},
    {METER_GROUP_HEADROOM, GAUGE, "group_memory_headroom_bytes", NULL, NULL, "What it leaves."},
    {METER_GROUP_LIMIT_HITS, COUNTER, "group_limit_hits_total", NULL, NULL, "How often its limit was met."},
    {METER_GROUP_HIGH_HITS, COUNTER, "group_high_hits_total", NULL, NULL, "How often it was slowed down."},
    {METER_GROUP_KILLS, COUNTER, "group_kills_total", NULL, NULL, "Processes that were ended in it."},
    {METER_DEVICE_TOTAL, GAUGE, "device_memory_total_bytes", NULL, NULL, "Memory of the GPU."},
    {METER_DEVICE_USED, GAUGE, "device_memory_used_bytes", NULL, NULL, "Used there, by whomever."},
    {METER_DEVICE_PROCESS, GAUGE, "device_memory_process_bytes", NULL, NULL, "Used there by this process."},
};
_Static_assert(sizeof meters / sizeof *meters == METER_COUNT, "each meter of the guard is a metric");

static bool is_stall(guard_meter meter) { return meter == METER_STALL_SOME || meter == METER_STALL_FULL; }

static void put_meters(web_text *t, const guard_sample *sample) {
    for (unsigned i = 0; i < METER_COUNT; i++) {
        const meter_metric *m = &meters[i];
        const reading *r = &sample->meters[m->meter];
        if (m->help) describe(t, m->name, m->type, m->help);
        if (!r->known) continue;
        if (m->key)
            labelled(t, m->name, m->key, m->label);
        else
            web_put(t, "levee_%s", m->name);
        if (is_stall(m->meter)) /* in microseconds, none of which is to be lost */
            web_put(t, " %llu.%06llu\n", (unsigned long long)r->value / 1000000,
                    (unsigned long long)r->value % 1000000);
        else if (r->value == UINT64_MAX)
            put_value(t, INFINITY);
        else
            put_count(t, r->value);
    }
}

static void put_guard(web_text *t, const board_view *v) {
    const guard_decision *seen = &v->sample.seen;
    describe(t, "guard_events_total", COUNTER, "Decisions of the guard since the start.");
    for (unsigned a = 0; a < BOARD_ACTIONS; a++) {
        labelled(t, "guard_events_total", "action", guard_action_name((guard_action)a));
        put_count(t, v->by_action[a]);
    }
    if (!v->has_sample) return;
    count(t, "pressure_level", GAUGE, seen->found.level, "0 green, 1 yellow, 2 orange, 3 red, 4 black.");
    count(t, "pressure_held_level", GAUGE, seen->held, "The same, falling only after some calm.");
    describe(t, "pressure_share", GAUGE, "Share of the nearest limit that is used up.");
    labelled(t, "pressure_share", "source", pressure_source_name(seen->found.source));
    put_value(t, seen->found.share);
    describe(t, "breaker_position", GAUGE, "1 for the position that the circuit breaker is in.");
    for (unsigned p = BREAKER_CLOSED; p <= BREAKER_HALF_OPEN; p++) {
        labelled(t, "breaker_position", "position", breaker_position_name((breaker_position)p));
        put_count(t, seen->breaker == p);
    }
    count(t, "leak_verdict", GAUGE, seen->leak, "0 none, 1 suspected, 2 growth, 3 confirmed.");
    number(t, "leak_steps_left", seen->leak_steps, "Steps until the first limit is met, at the upper end.");
    if (v->sample.leak_known) {
        number(t, "leak_bytes_per_step", v->sample.leak.bytes, "Growth of the meter that leaks most.");
        number(t, "leak_low_bytes_per_step", v->sample.leak.low, "Lower end of its 95 % interval.");
        number(t, "leak_high_bytes_per_step", v->sample.leak.high, "Upper end of its 95 % interval.");
    }
    put_meters(t, &v->sample.sample);
}

void exposition_put(web_text *t, const board_view *view, const web_counts *counts) {
    put_run(t, view);
    put_step(t, view);
    put_memory(t, view);
    put_guard(t, view);
    count(t, "web_connections", GAUGE, counts->connections, "Connections to the page that are open.");
    count(t, "web_streams", GAUGE, counts->streams, "Of these, pages that are kept up to date.");
    count(t, "web_requests_total", COUNTER, counts->requests, "Requests that were answered.");
    count(t, "web_refused_total", COUNTER, counts->refused, "Requests that were refused.");
}
