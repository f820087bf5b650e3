/* From a graph to lifetimes: see lifetimes.h. */
#include "graph/lifetimes.h"

#include "base/error.h"
#include "memory/ledger.h"

void lifetimes_close(lifetimes *l) {
    ledger_free(l->root);
    ledger_free(l->first);
    ledger_free(l->last);
}

bool lifetimes_is_planned(const value *v) {
    return v->role == VALUE_ACTIVATION || v->role == VALUE_INPUT || v->role == VALUE_OUTPUT;
}

static void find_uses(const graph *g, lifetimes *l) {
    for (value_id v = 0; v < g->value_count; v++) {
        const value *described = &g->values[v];
        l->root[v] = v;
        l->first[v] = described->role == VALUE_INPUT ? 0 : described->producer;
        l->last[v] = described->producer == NO_NODE ? 0 : described->producer;
        if (described->role == VALUE_INPUT || described->role == VALUE_OUTPUT) l->last[v] = g->node_count - 1;
    }
    for (uint32_t i = 0; i < g->node_count; i++)
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) {
            value_id v = g->nodes[i].in[k];
            if (v != NO_VALUE && l->last[v] < i) l->last[v] = i;
        }
}

/* Lets outputs take over the buffers of inputs that die at the same node, where the operator requires or allows it.
 */
static levee_status share_buffers(const graph *g, lifetimes *l, levee_error *error) {
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        for (unsigned k = 0; k < KERNEL_OUTPUTS; k++) {
            unsigned input;
            sharing how = operator_sharing(n->kind, k, &input);
            if (how == SHARING_NONE || n->out[k] == NO_VALUE || n->in[input] == NO_VALUE || n->in[input] == n->out[k])
                continue;
            value_id in = n->in[input], out = n->out[k], root = l->root[in];
            const value *from = &g->values[in], *to = &g->values[out];
            bool possible = from->role == VALUE_ACTIVATION && to->role == VALUE_ACTIVATION && l->last[root] == i &&
                            from->space == to->space && graph_value_bytes(from, 1) == graph_value_bytes(to, 1);
            if (!possible && how == SHARING_REQUIRED)
                return error_set(error, LEVEE_INTERNAL, "plan: %s must reuse the memory of %s, which is still needed",
                                 to->name, from->name);
            if (!possible) continue;
            l->root[out] = root;
            l->last[root] = l->last[out];
        }
    }
    return LEVEE_OK;
}

levee_status lifetimes_make(const graph *g, lifetimes *l, levee_error *error) {
    uint64_t count = g->value_count ? g->value_count : 1;
    l->root = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *l->root);
    l->first = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *l->first);
    l->last = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *l->last);
    if (!l->root || !l->first || !l->last)
        return error_out_of_memory(error, "lifetimes of the plan", count * sizeof *l->root);
    find_uses(g, l);
    for (uint32_t i = 0; i < g->node_count; i++)
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) {
            value_id v = g->nodes[i].in[k];
            if (v == NO_VALUE || g->values[v].role != VALUE_ACTIVATION) continue;
            if (g->values[v].producer == NO_NODE || g->values[v].producer >= i)
                return error_set(error, LEVEE_INTERNAL, "plan: %s reads %s before it is written",
                                 operator_name(g->nodes[i].kind), g->values[v].name);
        }
    return share_buffers(g, l, error);
}

bool lifetimes_has_buffer(const lifetimes *l, const graph *g, value_id v) {
    return lifetimes_is_planned(&g->values[v]) && l->root[v] == v && l->first[v] != NO_NODE;
}
