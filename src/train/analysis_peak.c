/* What is in memory at the peak, and over the whole pass: see analysis.h. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/occupancy.h"
#include "memory/ledger.h"
#include "report/curve.h"
#include "train/analysis.h"

static void insert(plan_report *r, const report_buffer *b) {
    uint32_t place = r->buffer_count;
    while (place && r->buffers[place - 1].bytes < b->bytes) place--;
    if (place == REPORT_BUFFERS) return;
    if (r->buffer_count < REPORT_BUFFERS) r->buffer_count++;
    memmove(r->buffers + place + 1, r->buffers + place, (r->buffer_count - place - 1) * sizeof *r->buffers);
    r->buffers[place] = *b;
}

static void describe_occupant(report_buffer *b, const plan *p, const occupant *item) {
    *b = (report_buffer){.layer = NO_LAYER, .category = item->category, .bytes = item->bytes};
    if (item->value == NO_VALUE)
        snprintf(b->name, sizeof b->name, "scratch of the running operator");
    else
        snprintf(b->name, sizeof b->name, "%s", p->g.values[item->value].name);
    if (item->made_by == NO_NODE) {
        snprintf(b->made_by, sizeof b->made_by, "the trainer");
        return;
    }
    const node *n = &p->g.nodes[item->made_by];
    b->layer = n->layer;
    snprintf(b->made_by, sizeof b->made_by, "%s%s", operator_name(n->kind),
             n->recomputed ? ", again"
             : n->backward ? ", backward"
                           : "");
}

/* What lasts: a parameter, and as many bytes again for its gradient and each of its moments. */
static void insert_lasting(plan_report *r, const layout *l) {
    for (uint32_t i = 0; i < l->count; i++) {
        const layout_entry *e = &l->entries[i];
        bool gradient = e->role == VALUE_GRADIENT;
        if (e->role != VALUE_PARAMETER && !gradient) continue;
        report_buffer b = {.layer = NO_LAYER, .bytes = e->bytes};
        b.category = gradient ? LEVEE_GRADIENTS : LEVEE_TRAINABLE;
        snprintf(b.name, sizeof b.name, "%s", e->name);
        snprintf(b.made_by, sizeof b.made_by, "%s", gradient ? "the backward pass" : "training");
        insert(r, &b);
        if (gradient) continue;
        b.category = LEVEE_OPTIMIZER;
        b.bytes = 2 * e->bytes;
        snprintf(b.name, sizeof b.name, "moments of %.80s", e->name);
        snprintf(b.made_by, sizeof b.made_by, "the optimizer");
        insert(r, &b);
    }
}

levee_status analysis_list_buffers(analysis *a, levee_error *error) {
    const plan *p = &a->engine.levels[0].planned.chosen;
    occupant live[REPORT_BUFFERS];
    uint32_t count;
    a->report.explained = true;
    levee_status status = occupancy_at(live, REPORT_BUFFERS, &count, p, p->peak_node, error);
    for (uint32_t i = 0; status == LEVEE_OK && i < count; i++) {
        report_buffer b;
        describe_occupant(&b, p, &live[i]);
        insert(&a->report, &b);
    }
    if (status == LEVEE_OK) insert_lasting(&a->report, &a->common.model.lasting);
    return status;
}

static levee_status make_points(curve_point *points, const analysis *a, levee_error *error) {
    const plan *p = &a->engine.levels[0].planned.chosen;
    const layout *lasting = &a->common.model.lasting;
    uint64_t(*live)[LEVEE_CATEGORY_COUNT] = ledger_alloc_array(LEVEE_RUNTIME, p->g.node_count, sizeof *live);
    if (!live) return error_out_of_memory(error, "the curve", p->g.node_count * sizeof *live);
    const uint32_t head = graph_head(&p->g);
    levee_status status = occupancy_by_node(live, p, error);
    for (uint32_t i = 0; status == LEVEE_OK && i < p->g.node_count; i++) {
        const node *n = &p->g.nodes[i];
        describe_node(points[i].name, n);
        points[i].layer = n->layer;
        /* What is computed again is a forward operator in the backward part. */
        points[i].part = i == head ? CURVE_HEAD : n->backward || n->recomputed ? CURVE_BACKWARD : CURVE_FORWARD;
        for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
            points[i].bytes[c] = lasting->category_bytes[c] + live[i][c];
        points[i].bytes[LEVEE_RUNTIME] += a->runtime_bytes;
    }
    ledger_free(live);
    return status;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && !strcmp(text + length - tail, end);
}

levee_status analysis_draw(const analysis *a, levee_error *error) {
    const char *path = a->common.options->analysis.curve;
    const plan_report *r = &a->report;
    const uint32_t count = a->engine.levels[0].planned.chosen.g.node_count;
    char title[2 * REPORT_TEXT_BYTES], subtitle[REPORT_TEXT_BYTES];
    const char *name = strrchr(r->model, '/');
    snprintf(title, sizeof title, "%.80s: memory over one pass", name && name[1] ? name + 1 : r->model);
    snprintf(subtitle, sizeof subtitle, "%s, %u tokens a pass, %u of %u groups of activations recomputed",
             r->fine_tune_type, r->capacity_tokens, r->recomputed, r->candidates);
    curve_point *points = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *points);
    if (!points) return error_out_of_memory(error, "the curve", count * sizeof *points);
    text_buffer text = {0};
    levee_status status = make_points(points, a, error);
    const curve drawn = {.title = title,
                         .subtitle = subtitle,
                         .points = points,
                         .count = count,
                         .planned_bytes = plan_report_total(r),
                         .budget_bytes = r->budget_bytes};
    if (status == LEVEE_OK) status = curve_draw(&text, &drawn, ends_with(path, ".html"), error);
    if (status == LEVEE_OK) status = file_write(path, text.data, text.bytes, error);
    text_free(&text);
    ledger_free(points);
    return status;
}
