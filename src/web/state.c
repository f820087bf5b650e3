/* What the page shows, as JSON: see state.h. */
#include "web/state.h"

#include "report/events.h"
#include "report/json_text.h"
#include "report/metrics.h"

static void put_number(web_text *t, double number) {
    char text[JSON_NUMBER_BYTES];
    web_put(t, "%s", json_text_number(text, number));
}

static void put_count(web_text *t, uint64_t count) {
    char text[JSON_NUMBER_BYTES];
    web_put(t, "%s", json_text_count(text, count != UINT64_MAX, count));
}

static void put_text(web_text *t, const char *key, const char *text) {
    web_put(t, "\"%s\":", key);
    web_put_string(t, text);
    web_put(t, ",");
}

static void put_run(web_text *t, const board_facts *f) {
    web_put(t, "\"run\":{\"levee\":\"" LEVEE_VERSION "\",");
    put_text(t, "verb", f->verb);
    put_text(t, "model", f->model);
    put_text(t, "data", f->data);
    put_text(t, "result", f->result);
    put_text(t, "type", f->type);
    put_text(t, "products", f->products);
    web_put(t, "\"steps\":%llu,\"pid\":%llu,\"began\":%.3f,\"takes_orders\":%s,\"budget_bytes\":",
            (unsigned long long)f->steps, (unsigned long long)f->pid, f->began, f->takes_orders ? "true" : "false");
    put_count(t, f->budget_bytes);
    web_put(t, ",\"predicted_bytes\":");
    put_count(t, f->predicted_bytes);
    web_put(t, ",\"planned_bytes\":{");
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        web_put(t, "%s\"%s\":%llu", c ? "," : "", levee_category_name((levee_category)c),
                (unsigned long long)f->planned_bytes[c]);
    web_put(t, "}},");
}

/* A line of a file without its newline; "null" when there is none yet. */
static void put_line(web_text *t, const char *key, bool is_there, const char *line, int length) {
    web_put(t, "\"%s\":%.*s,", key, is_there ? length - 1 : 4, is_there ? line : "null");
}

static void put_leak(web_text *t, const sample_report *r) {
    web_put(t, "\"leak\":{\"verdict\":\"%s\",\"known\":%s,\"bytes\":", leak_verdict_name(r->seen.leak),
            r->leak_known ? "true" : "false");
    put_number(t, r->leak.bytes);
    web_put(t, ",\"low\":");
    put_number(t, r->leak.low);
    web_put(t, ",\"high\":");
    put_number(t, r->leak.high);
    web_put(t, ",\"steps_left\":");
    put_number(t, r->seen.leak_steps);
    web_put(t, "},");
}

static void put_consumers(web_text *t, const consumers *others) {
    web_put(t, "\"consumers\":[");
    for (unsigned i = 0; others && i < others->count; i++) {
        web_put(t, "%s{\"pid\":%u,\"bytes\":%llu,\"name\":", i ? "," : "", others->largest[i].pid,
                (unsigned long long)others->largest[i].held_bytes);
        web_put_string(t, others->largest[i].name);
        web_put(t, "}");
    }
    web_put(t, "]");
}

void state_put(web_text *t, const board_view *v, const consumers *others) {
    char step[METRICS_LINE_BYTES], sample[EVENT_LINE_BYTES];
    web_put(t, "{\"version\":%llu,\"time\":%.3f,\"state\":\"%s\",", (unsigned long long)v->version, report_time(),
            board_state_name(v->state));
    put_run(t, &v->facts);
    put_line(t, "step", v->has_step, step, v->has_step ? metrics_line(step, &v->step) : 0);
    web_put(t, "\"validation\":{\"step\":%llu,\"loss\":", (unsigned long long)v->validation_step);
    put_number(t, v->validation_loss);
    web_put(t, "},");
    put_line(t, "sample", v->has_sample, sample, v->has_sample ? (int)sample_line(sample, &v->sample) : 0);
    web_put(t, "\"breaker\":\"%s\",\"rule\":\"%s\",", breaker_position_name(v->sample.seen.breaker),
            guard_rule_name(v->sample.seen.rule));
    put_leak(t, &v->sample);
    web_put(t, "\"history\":{\"stride\":%llu,\"points\":%llu},\"events\":%llu,\"actions\":{",
            (unsigned long long)v->stride, (unsigned long long)v->points, (unsigned long long)v->events);
    for (unsigned a = 0; a < BOARD_ACTIONS; a++)
        web_put(t, "%s\"%s\":%llu", a ? "," : "", guard_action_name((guard_action)a),
                (unsigned long long)v->by_action[a]);
    web_put(t, "},\"skipped_steps\":%llu,", (unsigned long long)v->skipped_steps);
    put_consumers(t, others);
    web_put(t, "}");
}

void state_put_columns(web_text *t, const board_view *v) {
    web_put(t, "{\"stride\":%llu,\"columns\":[\"first\",\"last\",\"time\"", (unsigned long long)v->stride);
    for (unsigned s = 0; s < SERIES_COUNT; s++) {
        const char *name = board_series_name((board_series)s);
        web_put(t, ",\"%s_least\",\"%s\",\"%s_largest\"", name, name, name);
    }
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        web_put(t, ",\"booked_%s\"", levee_category_name((levee_category)c));
    web_put(t, "],\"points\":[");
}

/* Numbers are written as metrics.jsonl writes them. */
void state_put_point(web_text *t, const board_point *p) {
    web_put(t, "[%llu,%llu,%.3f", (unsigned long long)p->first, (unsigned long long)p->last, p->time);
    for (unsigned s = 0; s < SERIES_COUNT; s++) {
        const board_range *r = &p->ranges[s];
        char least[JSON_NUMBER_BYTES], mean[JSON_NUMBER_BYTES], largest[JSON_NUMBER_BYTES];
        bool is_bytes = s >= SERIES_HELD_BYTES;
        if (!r->count)
            web_put(t, ",null,null,null");
        else if (is_bytes)
            web_put(t, ",%.0f,%.0f,%.0f", r->least, r->mean, r->largest);
        else
            web_put(t, ",%s,%s,%s", json_text_number(least, r->least), json_text_number(mean, r->mean),
                    json_text_number(largest, r->largest));
    }
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) web_put(t, ",%llu", (unsigned long long)p->booked_bytes[c]);
    web_put(t, "]");
}

void state_put_event(web_text *t, uint64_t number, const event_report *event) {
    char line[EVENT_LINE_BYTES];
    unsigned length = event_line(line, event, NULL);
    web_put(t, "{\"number\":%llu,%.*s", (unsigned long long)number, (int)length - 2, line + 1);
}
