/* events.jsonl of a run: see history.h. */
#include <math.h>
#include <string.h>

#include "report/history.h"
#include "report/jsonl.h"

static unsigned kind_of(const char *action) {
    unsigned kind = 0;
    while (kind < HISTORY_ACTIONS - 1 && strcmp(action, guard_action_name((guard_action)kind)) != 0) kind++;
    return kind;
}

static history_decision *place(history *h) {
    uint64_t number = h->decision_count++;
    if (number < HISTORY_DECISIONS) return &h->decisions[number];
    return &h->decisions[HISTORY_DECISIONS + number % HISTORY_DECISIONS];
}

/* False for what is no decision: samples may stand between them. */
static bool keep_decision(history *h, const json_t *line) {
    uint64_t step, plan;
    if (!jsonl_count(line, "step", &step)) return false;
    if (!json_is_string(json_object_get(line, "action"))) return json_is_object(json_object_get(line, "meters"));
    jsonl_count(line, "plan", &plan);
    history_decision *d = place(h);
    *d = (history_decision){.time = jsonl_number(line, "time", NAN),
                            .step = step,
                            .share = jsonl_number(line, "share", NAN),
                            .need_bytes = jsonl_number(line, "need_bytes", NAN),
                            .expected_bytes = jsonl_number(line, "expected_bytes", NAN),
                            .moved_bytes = jsonl_number(line, "moved_bytes", NAN),
                            .seconds = jsonl_number(line, "seconds", NAN),
                            .leak_steps = jsonl_number(line, "leak_steps_left", NAN),
                            .plan = plan,
                            .carried_out = json_is_true(json_object_get(line, "carried_out"))};
    jsonl_text(line, "action", d->action, sizeof d->action);
    jsonl_text(line, "level", d->level, sizeof d->level);
    jsonl_text(line, "source", d->source, sizeof d->source);
    jsonl_text(line, "breaker", d->breaker, sizeof d->breaker);
    jsonl_text(line, "leak", d->leak, sizeof d->leak);
    jsonl_text(line, "rule", d->rule, sizeof d->rule);
    h->actions[kind_of(d->action)]++;
    h->carried_out += d->carried_out;
    return true;
}

static levee_status read_events(history *h, const char *name, levee_error *error) {
    jsonl_reader lines;
    const json_t *line;
    char path[FILE_PATH_BYTES];
    if (!file_join(path, h->directory, name) || !file_exists(path)) return LEVEE_OK;
    levee_status status = jsonl_open(&lines, path, error);
    while (status == LEVEE_OK) {
        status = jsonl_next(&lines, &line, error);
        if (status != LEVEE_OK || !line) break;
        if (!keep_decision(h, line)) jsonl_refuse(&lines);
    }
    if (status == LEVEE_OK) {
        if (!h->events.unreadable) h->events.first_unreadable = lines.first_unreadable;
        h->events.there = true;
        h->events.lines += lines.line;
        h->events.unreadable += lines.unreadable;
        h->events.cut_short = lines.cut_short;
    }
    jsonl_close(&lines);
    return status;
}

levee_status history_read_events(history *h, levee_error *error) {
    levee_status status = read_events(h, "events.jsonl.1", error);
    return status == LEVEE_OK ? read_events(h, "events.jsonl", error) : status;
}
