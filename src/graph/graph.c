/* Building a graph: see graph.h. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

void graph_open(graph *g, value_space compute_space) {
    memset(g, 0, sizeof *g);
    g->compute_space = compute_space;
}

void graph_close(graph *g) {
    ledger_free(g->values);
    ledger_free(g->nodes);
    memset(g, 0, sizeof *g);
}

levee_status graph_status(const graph *g, levee_error *error) {
    if (g->failure.status != LEVEE_OK && error) *error = g->failure;
    return g->failure.status;
}

/* Makes room for one more element in a growing array; false, with the failure kept, when memory is refused. */
static bool make_room(graph *g, void **array, uint32_t count, uint32_t *capacity, uint64_t size) {
    if (g->failure.status != LEVEE_OK) return false;
    if (count < *capacity) return true;
    uint32_t larger = *capacity ? *capacity * 2 : 256;
    void *grown = ledger_resize(LEVEE_RUNTIME, *array, larger * size);
    if (!grown) {
        error_out_of_memory(&g->failure, "the model's graph", larger * size);
        return false;
    }
    *array = grown;
    *capacity = larger;
    return true;
}

static value_space natural_space(const graph *g, value_role role) {
    switch (role) {
    case VALUE_WEIGHT:
        return SPACE_MAPPED;
    case VALUE_INPUT:
    case VALUE_CONSTANT:
        return SPACE_HOST;
    default:
        return g->compute_space;
    }
}

value_id graph_value(graph *g, value_role role, dtype type, uint64_t rows, uint64_t cols, int32_t layer,
                     const char *name, ...) {
    if (!make_room(g, (void **)&g->values, g->value_count, &g->value_capacity, sizeof *g->values)) return NO_VALUE;
    value *v = &g->values[g->value_count];
    *v = (value){.role = role,
                 .space = natural_space(g, role),
                 .type = type,
                 .per_token = rows == 0,
                 .rows = rows,
                 .cols = cols,
                 .layer = layer,
                 .gradient = NO_VALUE,
                 .producer = NO_NODE};
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(v->name, sizeof v->name, name, arguments);
    va_end(arguments);
    return g->value_count++;
}

value_id graph_gradient_of(graph *g, value_id parameter) {
    if (g->failure.status != LEVEE_OK) return NO_VALUE;
    value p = g->values[parameter];
    if (p.gradient != NO_VALUE) return p.gradient;
    value_id gradient =
        graph_value(g, VALUE_GRADIENT, DTYPE_F32, p.rows, p.cols, p.layer, "gradient of %.60s", p.name);
    if (gradient != NO_VALUE) g->values[parameter].gradient = gradient;
    return gradient;
}

uint32_t graph_node(graph *g, const node *description) {
    if (!make_room(g, (void **)&g->nodes, g->node_count, &g->node_capacity, sizeof *g->nodes)) return NO_NODE;
    g->nodes[g->node_count] = *description;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) {
        value_id out = description->out[i];
        if (out == NO_VALUE || operator_accumulates(description->kind, i)) continue;
        if (g->values[out].producer != NO_NODE) {
            error_set(&g->failure, LEVEE_INTERNAL, "graph: %s is written by two operators", g->values[out].name);
            return NO_NODE;
        }
        if (g->values[out].role != VALUE_CACHE) g->values[out].producer = g->node_count;
    }
    return g->node_count++;
}

uint32_t graph_head(const graph *g) {
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].kind == OPERATOR_HEAD_LOSS || g->nodes[i].kind == OPERATOR_HEAD_LOSS_GRADIENT) return i;
    return NO_NODE;
}

bool graph_head_stores_logits(const graph *g) {
    uint32_t head = graph_head(g);
    return head != NO_NODE && g->nodes[head].kind == OPERATOR_HEAD_LOSS_GRADIENT && g->nodes[head].out[2] != NO_VALUE;
}

uint64_t graph_value_bytes(const value *v, uint32_t capacity) {
    return dtype_bytes(v->type, (v->per_token ? capacity : v->rows) * v->cols);
}
