/* events.jsonl: see events.h. */
#include "report/events.h"

#include <stdio.h>

#include "base/file.h"
#include "report/json_text.h"

enum { LINE_BYTES = 4096 };

levee_status events_open(event_log *log, const char *path, levee_error *error) {
    return file_append_open(&log->descriptor, path, UINT64_MAX, &log->bytes, error);
}

void events_close(event_log *log) {
    file_close(log->descriptor);
    log->descriptor = -1;
}

static int meters(char *text, size_t room, const guard_sample *sample) {
    int length = snprintf(text, room, ",\"meters\":{");
    for (unsigned m = 0; m < METER_COUNT; m++) {
        char value[JSON_NUMBER_BYTES];
        length += snprintf(text + length, room - (size_t)length, "%s\"%s\":%s", m ? "," : "",
                           guard_meter_name((guard_meter)m),
                           json_text_count(value, sample->meters[m].known, sample->meters[m].value));
    }
    return length + snprintf(text + length, room - (size_t)length, "}");
}

/* Ends the line with the meters, and appends it. */
static bool append(event_log *log, char line[LINE_BYTES], int length, const guard_sample *sample) {
    length += meters(line + length, LINE_BYTES - (size_t)length, sample);
    length += snprintf(line + length, LINE_BYTES - (size_t)length, "}\n");
    if (file_append(log->descriptor, "events.jsonl", line, (uint64_t)length, log->bytes, NULL) != LEVEE_OK)
        return false;
    log->bytes += (uint64_t)length;
    return true;
}

bool events_write(event_log *log, const event_report *e) {
    char line[LINE_BYTES], share[JSON_NUMBER_BYTES], steps[JSON_NUMBER_BYTES], took[JSON_NUMBER_BYTES];
    const guard_decision *d = &e->decision;
    int length = snprintf(
        line, sizeof line,
        "{\"time\":%.3f,\"step\":%llu,\"action\":\"%s\",\"rule\":\"%s\",\"carried_out\":%s,\"level\":\"%s\","
        "\"held_level\":\"%s\",\"source\":\"%s\",\"share\":%s,\"need_bytes\":%.0f,\"expected_bytes\":%.0f,"
        "\"moved_bytes\":%lld,\"seconds\":%s,\"plan\":%u,\"breaker\":\"%s\",\"leak\":\"%s\",\"leak_steps_left\":%s",
        e->time, (unsigned long long)e->step, guard_action_name(d->action), guard_rule_name(d->rule),
        e->carried_out ? "true" : "false", pressure_level_name(d->found.level), pressure_level_name(d->held),
        pressure_source_name(d->found.source), json_text_number(share, d->found.share), d->need_bytes,
        d->expected_bytes, (long long)e->moved_bytes, json_text_number(took, e->seconds), d->plan,
        breaker_position_name(d->breaker), leak_verdict_name(d->leak), json_text_number(steps, d->leak_steps));
    return append(log, line, length, &e->sample);
}

bool events_write_sample(event_log *log, const sample_report *r) {
    char line[LINE_BYTES], share[JSON_NUMBER_BYTES], steps[JSON_NUMBER_BYTES], held[JSON_NUMBER_BYTES];
    const guard_decision *seen = &r->seen;
    reading bytes = sample_held(&r->sample);
    int length = snprintf(line, sizeof line,
                          "{\"time\":%.3f,\"step\":%llu,\"held_bytes\":%s,\"level\":\"%s\",\"held_level\":\"%s\","
                          "\"source\":\"%s\",\"share\":%s,\"leak\":\"%s\",\"leak_steps_left\":%s",
                          r->time, (unsigned long long)r->step, json_text_count(held, bytes.known, bytes.value),
                          pressure_level_name(seen->found.level), pressure_level_name(seen->held),
                          pressure_source_name(seen->found.source), json_text_number(share, seen->found.share),
                          leak_verdict_name(seen->leak), json_text_number(steps, seen->leak_steps));
    return append(log, line, length, &r->sample);
}
