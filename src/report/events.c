/* Lines of events.jsonl and samples.jsonl: see events.h. */
#include "report/events.h"

#include <stdio.h>

#include "report/json_text.h"

void evidence_add(event_evidence *before, const sample_report *seen) {
    before->samples[before->count++ % EVIDENCE_SAMPLES] = *seen;
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

/* Ends the line with the meters. */
static unsigned end_line(char line[EVENT_LINE_BYTES], int length, const guard_sample *sample) {
    length += meters(line + length, EVENT_LINE_BYTES - (size_t)length, sample);
    return (unsigned)(length + snprintf(line + length, EVENT_LINE_BYTES - (size_t)length, "}\n"));
}

static const char *meter(char text[JSON_NUMBER_BYTES], const guard_sample *sample, guard_meter which) {
    return json_text_count(text, sample->meters[which].known, sample->meters[which].value);
}

/* What shows how it came to this: what the process held, what the machine had, and how long tasks have waited. */
static int evidence(char *text, size_t room, const event_evidence *before) {
    int length = snprintf(text, room, ",\"before\":[");
    uint64_t begin = before && before->count > EVIDENCE_SAMPLES ? before->count - EVIDENCE_SAMPLES : 0;
    for (uint64_t n = begin; before && n < before->count; n++) {
        const sample_report *r = &before->samples[n % EVIDENCE_SAMPLES];
        char held[JSON_NUMBER_BYTES], available[JSON_NUMBER_BYTES], stall[JSON_NUMBER_BYTES],
            share[JSON_NUMBER_BYTES];
        reading bytes = sample_held(&r->sample);
        length += snprintf(text + length, room - (size_t)length,
                           "%s{\"time\":%.3f,\"step\":%llu,\"held_bytes\":%s,\"machine_available_bytes\":%s,"
                           "\"stall_some_microseconds\":%s,\"level\":\"%s\",\"share\":%s}",
                           n > begin ? "," : "", r->time, (unsigned long long)r->step,
                           json_text_count(held, bytes.known, bytes.value),
                           meter(available, &r->sample, METER_MACHINE_AVAILABLE),
                           meter(stall, &r->sample, METER_STALL_SOME), pressure_level_name(r->seen.found.level),
                           json_text_number(share, r->seen.found.share));
    }
    return length + snprintf(text + length, room - (size_t)length, "]");
}

unsigned event_line(char line[EVENT_LINE_BYTES], const event_report *e, const event_evidence *before) {
    char share[JSON_NUMBER_BYTES], steps[JSON_NUMBER_BYTES], took[JSON_NUMBER_BYTES];
    const guard_decision *d = &e->decision;
    int length = snprintf(
        line, EVENT_LINE_BYTES,
        "{\"time\":%.3f,\"step\":%llu,\"action\":\"%s\",\"rule\":\"%s\",\"carried_out\":%s,\"level\":\"%s\","
        "\"held_level\":\"%s\",\"source\":\"%s\",\"share\":%s,\"need_bytes\":%.0f,\"expected_bytes\":%.0f,"
        "\"moved_bytes\":%lld,\"seconds\":%s,\"plan\":%u,\"breaker\":\"%s\",\"leak\":\"%s\",\"leak_steps_left\":%s",
        e->time, (unsigned long long)e->step, guard_action_name(d->action), guard_rule_name(d->rule),
        e->carried_out ? "true" : "false", pressure_level_name(d->found.level), pressure_level_name(d->held),
        pressure_source_name(d->found.source), json_text_number(share, d->found.share), d->need_bytes,
        d->expected_bytes, (long long)e->moved_bytes, json_text_number(took, e->seconds), d->plan,
        breaker_position_name(d->breaker), leak_verdict_name(d->leak), json_text_number(steps, d->leak_steps));
    length += evidence(line + length, EVENT_LINE_BYTES - (size_t)length, before);
    return end_line(line, length, &e->sample);
}

unsigned sample_line(char line[EVENT_LINE_BYTES], const sample_report *r) {
    char share[JSON_NUMBER_BYTES], steps[JSON_NUMBER_BYTES], held[JSON_NUMBER_BYTES];
    const guard_decision *seen = &r->seen;
    reading bytes = sample_held(&r->sample);
    int length = snprintf(line, EVENT_LINE_BYTES,
                          "{\"time\":%.3f,\"step\":%llu,\"held_bytes\":%s,\"level\":\"%s\",\"held_level\":\"%s\","
                          "\"source\":\"%s\",\"share\":%s,\"breaker\":\"%s\",\"leak\":\"%s\",\"leak_steps_left\":%s",
                          r->time, (unsigned long long)r->step, json_text_count(held, bytes.known, bytes.value),
                          pressure_level_name(seen->found.level), pressure_level_name(seen->held),
                          pressure_source_name(seen->found.source), json_text_number(share, seen->found.share),
                          breaker_position_name(seen->breaker), leak_verdict_name(seen->leak),
                          json_text_number(steps, seen->leak_steps));
    return end_line(line, length, &r->sample);
}
