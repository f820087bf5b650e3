/* Trading time for memory: activations that are computed again in the backward part instead of kept. */
#include <string.h>

#include "base/error.h"
#include "graph/graph.h"
#include "memory/ledger.h"

typedef struct recomputation {
    graph *result;
    const graph *source;
    const bool *recompute;
    value_id *again; /* for a value of the source, the value that holds it in the backward part, or NO_VALUE */
} recomputation;

static value_id compute_again(recomputation *r, value_id v);

/* What a backward node reads in place of v. */
static value_id backward_input(recomputation *r, value_id v) {
    if (v == NO_VALUE || v >= r->source->value_count) return v;
    if (!r->recompute[v] || r->source->values[v].producer == NO_NODE) return v;
    return r->again[v] != NO_VALUE ? r->again[v] : compute_again(r, v);
}

/* Clones the node that made v, and first whatever it reads that is not kept either. */
static value_id compute_again(recomputation *r, value_id v) {
    node clone = r->source->nodes[r->source->values[v].producer];
    clone.recomputed = true;
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) {
        value_id in = clone.in[i];
        unsigned shared_input;
        /* The input of a required sharing was overwritten in the forward part even if it was not marked. */
        bool overwritten = operator_sharing(clone.kind, 0, &shared_input) == SHARING_REQUIRED && shared_input == i &&
                           in != NO_VALUE && r->source->values[in].role == VALUE_ACTIVATION;
        clone.in[i] = overwritten ? compute_again(r, in) : backward_input(r, in);
    }
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) {
        value_id out = clone.out[i];
        if (out == NO_VALUE || r->result->failure.status != LEVEE_OK) continue;
        value like = r->source->values[out];
        clone.out[i] = graph_value(r->result, like.role, like.type, like.per_token ? 0 : like.rows, like.cols,
                                   like.layer, "%.70s again", like.name);
        r->again[out] = clone.out[i];
    }
    graph_node(r->result, &clone);
    return r->again[v];
}

/* Room in both lists for what each mark adds, and as much again for what that reads, so that they need not grow: a
 * search makes hundreds of these graphs. */
static levee_status make_lists(graph *g, const graph *source, uint32_t marked, levee_error *error) {
    uint32_t most_values = source->value_count + 2 * marked + 1, most_nodes = source->node_count + 2 * marked + 1;
    graph kept = *g;
    graph_open(g, source->compute_space);
    if (kept.value_capacity < most_values || kept.node_capacity < most_nodes) {
        graph_close(&kept);
        kept.values = ledger_alloc_array(LEVEE_RUNTIME, most_values, sizeof *kept.values);
        kept.nodes = ledger_alloc_array(LEVEE_RUNTIME, most_nodes, sizeof *kept.nodes);
        kept.value_capacity = most_values;
        kept.node_capacity = most_nodes;
    }
    g->values = kept.values;
    g->nodes = kept.nodes;
    g->value_capacity = kept.value_capacity;
    g->node_capacity = kept.node_capacity;
    if (g->values && g->nodes) return LEVEE_OK;
    return error_out_of_memory(error, "the graph with recomputation", most_values * sizeof(value));
}

levee_status graph_recompute_again(graph *result, const graph *source, const bool *recompute, levee_error *error) {
    uint32_t marked = 0;
    for (uint32_t v = 0; v < source->value_count; v++) marked += recompute[v];
    recomputation r = {.result = result, .source = source, .recompute = recompute};
    r.again = ledger_alloc_array(LEVEE_RUNTIME, source->value_count ? source->value_count : 1, sizeof *r.again);
    levee_status status = make_lists(result, source, marked, error);
    if (status == LEVEE_OK && !r.again)
        status = error_out_of_memory(error, "the graph with recomputation", source->value_count * sizeof *r.again);
    if (status != LEVEE_OK) {
        ledger_free(r.again);
        graph_close(result);
        return status;
    }
    memcpy(result->values, source->values, source->value_count * sizeof *result->values);
    result->value_count = source->value_count;
    for (uint32_t v = 0; v < source->value_count; v++) {
        r.again[v] = NO_VALUE;
        result->values[v].producer = NO_NODE; /* set anew as the nodes are added */
    }
    for (uint32_t i = 0; i < source->node_count && result->failure.status == LEVEE_OK; i++) {
        node n = source->nodes[i];
        /* The head reads the forward part's last value while it is still there. */
        if (n.backward && n.kind != OPERATOR_HEAD_LOSS_GRADIENT)
            for (unsigned k = 0; k < KERNEL_INPUTS; k++) n.in[k] = backward_input(&r, n.in[k]);
        graph_node(result, &n);
    }
    ledger_free(r.again);
    status = graph_status(result, error);
    if (status != LEVEE_OK) graph_close(result);
    return status;
}

levee_status graph_recompute(graph *result, const graph *source, const bool *recompute, levee_error *error) {
    memset(result, 0, sizeof *result);
    return graph_recompute_again(result, source, recompute, error);
}
