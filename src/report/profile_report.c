/* A profile as a table and as a trace: see profile_report.h. */
#include "report/profile_report.h"

#include <stdio.h>

#include "base/file.h"

static double operations(const work *w) {
    return w->amount[WORK_PRODUCTS] + w->amount[WORK_THIN_PRODUCTS] + w->amount[WORK_ATTENTION];
}

static double seconds_of(const profile *p) {
    double sum = 0;
    for (unsigned kind = 0; kind < OPERATOR_COUNT; kind++) sum += p->totals[kind].seconds;
    return sum;
}

/* What it took of what the machine can do; empty where that was not measured. */
static const char *reached(char text[16], const work *done, double seconds, const double *rates) {
    *text = 0;
    if (rates && seconds > 0) snprintf(text, 16, "%7.0f %%", 100 * work_seconds(done, rates) / seconds);
    return text;
}

/* The kinds that ran, by the time that they took. */
static unsigned sort_kinds(unsigned kinds[OPERATOR_COUNT], const profile *p) {
    unsigned count = 0;
    for (unsigned kind = 0; kind < OPERATOR_COUNT; kind++) {
        if (!p->totals[kind].calls) continue;
        unsigned at = count++;
        for (; at > 0 && p->totals[kinds[at - 1]].seconds < p->totals[kind].seconds; at--) kinds[at] = kinds[at - 1];
        kinds[at] = kind;
    }
    return count;
}

void table_of_profile(char text[TABLE_BYTES], const profile *p, double step_seconds, const double *rates) {
    unsigned kinds[OPERATOR_COUNT], count = sort_kinds(kinds, p);
    double operators = seconds_of(p);
    work all = {0};
    char share[16];
    *text = 0;
    table_add(text, "  %-28s %8s %9s %7s %9s %7s%s\n", "operator", "calls", "seconds", "share", "GFLOP/s", "GB/s",
              rates ? "  of this machine" : "");
    for (unsigned i = 0; i < count; i++) {
        const profile_total *t = &p->totals[kinds[i]];
        table_add(text, "  %-28s %8llu %9.3f %5.1f %% %9.1f %7.1f%s\n", operator_name((operator_kind)kinds[i]),
                  (unsigned long long)t->calls, t->seconds, 100 * t->seconds / step_seconds,
                  1e-9 * operations(&t->done) / t->seconds, 1e-9 * t->done.amount[WORK_BYTES] / t->seconds,
                  reached(share, &t->done, t->seconds, rates));
        for (unsigned kind = 0; kind < WORK_KINDS; kind++) all.amount[kind] += t->done.amount[kind];
    }
    table_add(text, "  %-28s %8s %9.3f %5.1f %% %9.1f %7.1f%s\n", "passes", "", operators,
              100 * operators / step_seconds, 1e-9 * operations(&all) / operators,
              1e-9 * all.amount[WORK_BYTES] / operators, reached(share, &all, operators, rates));
    table_add(text, "  %-28s %8s %9.3f %5.1f %%", "update, rows, the rest", "", step_seconds - operators,
              100 - 100 * operators / step_seconds);
    if (!rates) table_add(text, "\n  what this machine can do is not known: levee doctor --calibrate measures it");
}

/* Times are microseconds from the first operator on. */
levee_status profile_trace_write(const profile *p, const char *path, levee_error *error) {
    file_writer w = {.descriptor = -1};
    levee_status status = file_writer_open(&w, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&w, "{\"traceEvents\":[", 16, error);
    for (uint32_t i = 0; i < p->count && status == LEVEE_OK; i++) {
        const profile_event *e = &p->events[i];
        char line[256];
        int length = snprintf(
            line, sizeof line,
            "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"layer\":%d,"
            "\"operations\":%.0f,\"bytes\":%.0f}}",
            i ? "," : "", operator_name(e->kind), 1e6 * (e->began - p->events[0].began), 1e6 * e->seconds,
            (int)e->layer, operations(&e->done), e->done.amount[WORK_BYTES]);
        status = file_writer_write(&w, line, (uint64_t)length, error);
    }
    if (status == LEVEE_OK) status = file_writer_write(&w, "\n]}\n", 4, error);
    if (status == LEVEE_OK) status = file_writer_commit(&w, error);
    file_writer_abandon(&w);
    return status;
}
