/* Copies between spaces as operators, so that a backend with memory of its own needs nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "graph/graph.h"
#include "memory/ledger.h"

static bool within_reach(const graph *g, const value *v) {
    return v->space == g->compute_space || (v->space == SPACE_MAPPED && g->compute_space == SPACE_HOST);
}

bool graph_is_within_reach(const graph *g) {
    for (value_id v = 0; v < g->value_count; v++)
        if (!within_reach(g, &g->values[v])) return false;
    return g->compute_space == SPACE_HOST; /* outputs are copied to the host from anywhere else */
}

/* A node that copies `from` into a new value in `space`; returns the new value. */
static value_id add_copy(graph *g, value_id from, value_space space, value_role role, const node *beside) {
    value like = g->values[from];
    value_id to = graph_value(g, role, like.type, like.per_token ? 0 : like.rows, like.cols, like.layer,
                              "%.66s (copy)", like.name);
    if (to == NO_VALUE) return NO_VALUE;
    g->values[to].space = space;
    node copy = {.kind = OPERATOR_COPY, .layer = beside->layer, .backward = beside->backward};
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) copy.in[i] = i ? NO_VALUE : from;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) copy.out[i] = i ? NO_VALUE : to;
    graph_node(g, &copy);
    return to;
}

/* Inputs and constants are copied once and kept; weights stream: each use brings its own copy, which dies after it.
 */
static bool copied_once(value_role role) { return role == VALUE_INPUT || role == VALUE_CONSTANT; }

levee_status graph_insert_copies(graph *result, const graph *source, levee_error *error) {
    graph_open(result, source->compute_space);
    value_id *copies = ledger_alloc_array(LEVEE_RUNTIME, source->value_count, sizeof *copies);
    result->values = ledger_alloc_array(LEVEE_RUNTIME, source->value_count, sizeof *result->values);
    if (!copies || !result->values) {
        ledger_free(copies);
        graph_close(result);
        return error_out_of_memory(error, "the placed graph", source->value_count * sizeof(value));
    }
    memcpy(result->values, source->values, source->value_count * sizeof *result->values);
    result->value_count = result->value_capacity = source->value_count;
    for (uint32_t v = 0; v < source->value_count; v++) {
        copies[v] = NO_VALUE;
        result->values[v].producer = NO_NODE;
    }
    for (uint32_t i = 0; i < source->node_count && result->failure.status == LEVEE_OK; i++) {
        node n = source->nodes[i];
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) {
            value_id v = n.in[k];
            if (v == NO_VALUE || within_reach(result, &result->values[v])) continue;
            if (copies[v] != NO_VALUE) {
                n.in[k] = copies[v];
                continue;
            }
            n.in[k] = add_copy(result, v, result->compute_space, VALUE_ACTIVATION, &n);
            if (result->failure.status == LEVEE_OK && copied_once(source->values[v].role)) copies[v] = n.in[k];
        }
        graph_node(result, &n);
    }
    for (uint32_t v = 0; v < source->value_count && result->failure.status == LEVEE_OK; v++) {
        if (source->values[v].role != VALUE_OUTPUT || source->compute_space == SPACE_HOST) continue;
        node beside = {.layer = NO_LAYER, .backward = true};
        value_id output = add_copy(result, v, SPACE_HOST, VALUE_OUTPUT, &beside);
        if (output == NO_VALUE) break;
        /* The trainer finds an output by its name, so that belongs to the host's. */
        value *computed = &result->values[v];
        computed->role = VALUE_ACTIVATION;
        memcpy(result->values[output].name, computed->name, sizeof computed->name);
        snprintf(computed->name, sizeof computed->name, "%.66s (computed)", source->values[v].name);
    }
    ledger_free(copies);
    levee_status status = graph_status(result, error);
    if (status != LEVEE_OK) graph_close(result);
    return status;
}
