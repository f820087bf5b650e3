/* The metrics in Prometheus' text format, version 0.0.4: docs/prometheus.md lists them. Values are written as in
 * metrics.jsonl, but for those that the format wants in seconds. A value that is not known has no sample; one that is
 * not finite is NaN, +Inf or -Inf. Nothing is allocated. */
#ifndef LEVEE_WEB_EXPOSITION_H
#define LEVEE_WEB_EXPOSITION_H

#include "monitor/board.h"
#include "web/text.h"

/* What the server counts of itself. */
typedef struct web_counts {
    uint64_t connections, streams, requests, refused;
} web_counts;

void exposition_put(web_text *t, const board_view *view, const web_counts *counts);

#endif
