/* metrics.jsonl and the progress line: see metrics.h. */
#include "report/metrics.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/file.h"
#include "report/json_text.h"

levee_status metrics_open(metrics *m, const char *path, uint64_t keep_bytes, levee_error *error) {
    return file_append_open(&m->descriptor, path, keep_bytes, &m->bytes, error);
}

void metrics_close(metrics *m) {
    file_close(m->descriptor);
    m->descriptor = -1;
}

static int categories(char *text, size_t room, const char *key, const uint64_t *bytes) {
    int length = snprintf(text, room, ",\"%s\":{", key);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        length += snprintf(text + length, room - (size_t)length, "%s\"%s\":%llu", c ? "," : "",
                           levee_category_name((levee_category)c), (unsigned long long)bytes[c]);
    return length + snprintf(text + length, room - (size_t)length, "}");
}

int metrics_line(char line[METRICS_LINE_BYTES], const step_report *r) {
    char loss[JSON_NUMBER_BYTES], rate[JSON_NUMBER_BYTES], norm[JSON_NUMBER_BYTES], speed[JSON_NUMBER_BYTES];
    char validation[JSON_NUMBER_BYTES], seconds[JSON_NUMBER_BYTES], held[JSON_NUMBER_BYTES];
    int length = snprintf(
        line, METRICS_LINE_BYTES,
        "{\"step\":%llu,\"loss\":%s,\"val_loss\":%s,\"learning_rate\":%s,\"grad_norm\":%s,\"tokens\":%"
        "llu,"
        "\"trained_tokens\":%llu,\"tokens_per_second\":%s,\"seconds\":%s,\"passes\":%u,\"repeated_passes\":%u,\"plan_"
        "level\":%u,\"applied\":%s,"
        "\"time\":%.3f,\"held_bytes\":%s,\"peak_bytes\":%llu,\"predicted_bytes\":%llu,\"budget_bytes\":%llu",
        (unsigned long long)r->step, json_text_number(loss, r->loss),
        json_text_number(validation, r->validation_loss), json_text_number(rate, r->learning_rate),
        json_text_number(norm, r->gradient_norm), (unsigned long long)r->tokens,
        (unsigned long long)r->trained_tokens, json_text_number(speed, r->tokens_per_second),
        json_text_number(seconds, r->seconds), r->passes, r->repeated, r->plan_level, r->applied ? "true" : "false",
        r->time, json_text_count(held, r->held_bytes != LEVEE_UNKNOWN_BYTES, r->held_bytes),
        (unsigned long long)r->peak_bytes, (unsigned long long)r->predicted_bytes,
        (unsigned long long)r->budget_bytes);
    length += categories(line + length, METRICS_LINE_BYTES - (size_t)length, "planned_bytes", r->planned_bytes);
    length += categories(line + length, METRICS_LINE_BYTES - (size_t)length, "booked_bytes", r->booked_bytes);
    return length + snprintf(line + length, METRICS_LINE_BYTES - (size_t)length, "}\n");
}

levee_status metrics_write(metrics *m, const step_report *r, levee_error *error) {
    char line[METRICS_LINE_BYTES];
    int length = metrics_line(line, r);
    levee_status status = file_append(m->descriptor, "metrics.jsonl", line, (uint64_t)length, m->bytes, error);
    if (status == LEVEE_OK) m->bytes += (uint64_t)length;
    return status;
}

levee_status metrics_sync(metrics *m, levee_error *error) { return file_sync(m->descriptor, "metrics.jsonl", error); }

void metrics_progress(char line[PROGRESS_BYTES], const step_report *r) {
    char held[BYTES_TEXT], budget[BYTES_TEXT];
    bool known = r->held_bytes != LEVEE_UNKNOWN_BYTES;
    double left = r->seconds * (double)(r->steps - r->step);
    snprintf(
        line, PROGRESS_BYTES, "step %llu/%llu  loss %.4f  %.0f tokens/s  rate %.3g  memory %s of %s  left %.0f s",
        (unsigned long long)r->step, (unsigned long long)r->steps, r->loss, r->tokens_per_second, r->learning_rate,
        known ? bytes_format(held, r->held_bytes) : "unknown", bytes_format(budget, r->budget_bytes), left);
}
