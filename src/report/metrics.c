/* metrics.jsonl and the progress line: see metrics.h. */
#include "report/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "memory/ledger.h"

enum { LINE_BYTES = 4096, NUMBER_BYTES = 32 };

levee_status metrics_open(metrics *m, const char *path, levee_error *error) {
    m->descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    return m->descriptor >= 0 ? LEVEE_OK
                              : error_set(error, LEVEE_IO_ERROR, "%s: cannot be written: %s", path, strerror(errno));
}

void metrics_close(metrics *m) {
    if (m->descriptor >= 0) close(m->descriptor);
    m->descriptor = -1;
}

/* JSON has no infinity and no NaN. */
static const char *number(char text[NUMBER_BYTES], double given) {
    snprintf(text, NUMBER_BYTES, isfinite(given) ? "%.9g" : "null", given);
    return text;
}

static int categories(char *text, size_t room, const char *key, const uint64_t *planned) {
    int length = snprintf(text, room, ",\"%s\":{", key);
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        length += snprintf(text + length, room - (size_t)length, "%s\"%s\":%llu", c ? "," : "",
                           levee_category_name((levee_category)c),
                           (unsigned long long)(planned ? planned[c] : ledger_booked((levee_category)c)));
    return length + snprintf(text + length, room - (size_t)length, "}");
}

levee_status metrics_write(metrics *m, const step_report *r, levee_error *error) {
    char line[LINE_BYTES], loss[NUMBER_BYTES], rate[NUMBER_BYTES], norm[NUMBER_BYTES], speed[NUMBER_BYTES];
    char validation[NUMBER_BYTES], seconds[NUMBER_BYTES];
    int length = snprintf(
        line, sizeof line,
        "{\"step\":%llu,\"loss\":%s,\"val_loss\":%s,\"learning_rate\":%s,\"grad_norm\":%s,\"tokens\":%llu,"
        "\"trained_tokens\":%llu,\"tokens_per_second\":%s,\"seconds\":%s,\"passes\":%u,\"repeated_passes\":%u,\"plan_"
        "level\":%u,"
        "\"held_bytes\":%llu,\"peak_bytes\":%llu,\"predicted_bytes\":%llu,\"budget_bytes\":%llu",
        (unsigned long long)r->step, number(loss, r->loss), number(validation, r->validation_loss),
        number(rate, r->learning_rate), number(norm, r->gradient_norm), (unsigned long long)r->tokens,
        (unsigned long long)r->trained_tokens, number(speed, r->tokens_per_second), number(seconds, r->seconds),
        r->passes, r->repeated, r->plan_level, (unsigned long long)r->held_bytes, (unsigned long long)r->peak_bytes,
        (unsigned long long)r->predicted_bytes, (unsigned long long)r->budget_bytes);
    length += categories(line + length, sizeof line - (size_t)length, "planned_bytes", r->planned_bytes);
    length += categories(line + length, sizeof line - (size_t)length, "booked_bytes", NULL);
    length += snprintf(line + length, sizeof line - (size_t)length, "}\n");
    if (write(m->descriptor, line, (size_t)length) == length) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "metrics.jsonl: %s; is the disk full?", strerror(errno));
}

void metrics_progress(char line[PROGRESS_BYTES], const step_report *r) {
    char held[BYTES_TEXT], budget[BYTES_TEXT];
    double left = r->seconds * (double)(r->steps - r->step);
    snprintf(line, PROGRESS_BYTES,
             "step %llu/%llu  loss %.4f  %.0f tokens/s  rate %.3g  memory %s of %s  left %.0f s",
             (unsigned long long)r->step, (unsigned long long)r->steps, r->loss, r->tokens_per_second,
             r->learning_rate, bytes_format(held, r->held_bytes), bytes_format(budget, r->budget_bytes), left);
}
