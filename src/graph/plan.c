/* From a graph to lifetimes to offsets: see plan.h. */
#include "graph/plan.h"

#include <string.h>

#include "base/error.h"
#include "graph/pack.h"
#include "memory/ledger.h"

enum { ARENA_ALIGNMENT = 64 };

/* The lifetimes of one graph. Values that share a buffer have the same root. */
typedef struct lifetimes {
    value_id *root;
    uint32_t *first, *last; /* nodes, both included; of a root: of all that share its buffer */
} lifetimes;

static void lifetimes_close(lifetimes *l) {
    ledger_free(l->root);
    ledger_free(l->first);
    ledger_free(l->last);
}

void plan_describe_call(kernel_call *call, const graph *g, const node *n, uint32_t capacity_tokens) {
    memset(call, 0, sizeof *call);
    call->parameters = &n->parameters;
    for (unsigned i = 0; i < KERNEL_INPUTS + KERNEL_OUTPUTS; i++) {
        value_id id = i < KERNEL_INPUTS ? n->in[i] : n->out[i - KERNEL_INPUTS];
        if (id == NO_VALUE) continue;
        const value *v = &g->values[id];
        kernel_buffer *buffer = i < KERNEL_INPUTS ? &call->in[i] : &call->out[i - KERNEL_INPUTS];
        *buffer = (kernel_buffer){
            .type = v->type, .present = true, .rows = v->per_token ? capacity_tokens : v->rows, .cols = v->cols};
    }
}

value_id plan_find(const plan *p, const char *name) {
    for (value_id v = 0; v < p->g.value_count; v++)
        if (!strcmp(p->g.values[v].name, name)) return v;
    return NO_VALUE;
}

/* Does the plan, and not the layout or a file, give this value its place? */
static bool is_planned(const value *v) {
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

static levee_status lifetimes_make(const graph *g, lifetimes *l, levee_error *error) {
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

/* Packs the values of one space, and the operators' scratch when it is the space they work in. An estimate stops at
 * the lower bound and gives no offsets. */
static levee_status pack_space(plan *p, const lifetimes *l, value_space space, uint64_t base, bool estimate,
                               levee_error *error) {
    const graph *g = &p->g;
    bool with_scratch = space == g->compute_space;
    uint64_t most = (uint64_t)g->value_count + (with_scratch ? g->node_count : 0);
    pack_item *items = ledger_alloc_array(LEVEE_RUNTIME, most ? most : 1, sizeof *items);
    if (!items) return error_out_of_memory(error, "packing the plan", most * sizeof *items);
    uint32_t count = 0;
    for (value_id v = 0; v < g->value_count; v++)
        if (is_planned(&g->values[v]) && g->values[v].space == space && l->root[v] == v && l->first[v] != NO_NODE)
            items[count++] = (pack_item){.bytes = graph_value_bytes(&g->values[v], p->capacity_tokens),
                                         .first = l->first[v],
                                         .last = l->last[v]};
    for (uint32_t i = 0; with_scratch && i < g->node_count; i++)
        if (p->scratch_bytes[i]) items[count++] = (pack_item){.bytes = p->scratch_bytes[i], .first = i, .last = i};

    uint32_t peak_node = 0;
    p->lower_bound_bytes[space] = pack_lower_bound(items, count, ARENA_ALIGNMENT, &peak_node);
    if (with_scratch) p->peak_node = peak_node;
    levee_status status = LEVEE_OK;
    if (estimate)
        p->arena_bytes[space] = p->lower_bound_bytes[space];
    else
        status = pack_offsets(items, count, ARENA_ALIGNMENT, &p->arena_bytes[space], error);
    if (!estimate && status == LEVEE_OK) status = pack_verify(items, count, error);
    if (!estimate && status == LEVEE_OK) {
        uint32_t next = 0;
        for (value_id v = 0; v < g->value_count; v++)
            if (is_planned(&g->values[v]) && g->values[v].space == space && l->root[v] == v && l->first[v] != NO_NODE)
                p->offsets[v] = base + items[next++].offset;
        for (uint32_t i = 0; with_scratch && i < g->node_count; i++)
            if (p->scratch_bytes[i]) p->scratch_offsets[i] = base + items[next++].offset;
        for (value_id v = 0; v < g->value_count; v++)
            if (is_planned(&g->values[v]) && g->values[v].space == space) p->offsets[v] = p->offsets[l->root[v]];
    }
    ledger_free(items);
    return status;
}

/* The arena by category: what inputs and outputs take, the scratch at the peak, and the rest is activations. */
static void count_categories(plan *p) {
    uint64_t total = 0, data = 0;
    for (unsigned s = 0; s < SPACE_COUNT; s++) total += p->arena_bytes[s];
    for (value_id v = 0; v < p->g.value_count; v++)
        if (p->g.values[v].role == VALUE_INPUT || p->g.values[v].role == VALUE_OUTPUT)
            data += graph_value_bytes(&p->g.values[v], p->capacity_tokens);
    uint64_t workspace = p->g.node_count ? p->scratch_bytes[p->peak_node] : 0;
    if (data > total) data = total;
    if (workspace > total - data) workspace = total - data;
    p->category_bytes[LEVEE_DATA] = data;
    p->category_bytes[LEVEE_WORKSPACE] = workspace;
    p->category_bytes[LEVEE_ACTIVATIONS] = total - data - workspace;
}

static levee_status copy_graph(graph *to, const graph *from, levee_error *error) {
    *to = *from;
    to->values = ledger_alloc_array(LEVEE_RUNTIME, from->value_count + 1, sizeof *to->values);
    to->nodes = ledger_alloc_array(LEVEE_RUNTIME, from->node_count + 1, sizeof *to->nodes);
    if (!to->values || !to->nodes) {
        graph_close(to);
        return error_out_of_memory(error, "the plan's graph", from->value_count * sizeof *to->values);
    }
    memcpy(to->values, from->values, from->value_count * sizeof *to->values);
    memcpy(to->nodes, from->nodes, from->node_count * sizeof *to->nodes);
    to->value_capacity = from->value_count + 1;
    to->node_capacity = from->node_count + 1;
    return LEVEE_OK;
}

static levee_status place_lasting(plan *p, const layout *lasting, levee_error *error) {
    for (value_id v = 0; v < p->g.value_count; v++) {
        if (!layout_is_lasting(p->g.values[v].role)) continue;
        const layout_entry *entry = layout_find(lasting, p->g.values[v].name);
        if (!entry)
            return error_set(error, LEVEE_INTERNAL, "plan: %s has no place in the layout", p->g.values[v].name);
        p->offsets[v] = entry->offset;
    }
    return LEVEE_OK;
}

static levee_status build(plan *result, const graph *g, const layout *lasting, uint32_t capacity_tokens,
                          kernel_table kernels, const struct backend_state *state, bool estimate,
                          levee_error *error) {
    memset(result, 0, sizeof *result);
    levee_status status = copy_graph(&result->g, g, error);
    if (status != LEVEE_OK) return status;
    lifetimes l = {0};
    result->capacity_tokens = capacity_tokens;
    result->offsets = ledger_alloc_array(LEVEE_RUNTIME, g->value_count + 1, sizeof *result->offsets);
    result->scratch_offsets = ledger_alloc_array(LEVEE_RUNTIME, g->node_count + 1, sizeof *result->scratch_offsets);
    result->scratch_bytes = ledger_alloc_array(LEVEE_RUNTIME, g->node_count + 1, sizeof *result->scratch_bytes);
    if (!result->offsets || !result->scratch_offsets || !result->scratch_bytes)
        status = error_out_of_memory(error, "the plan", g->value_count * sizeof *result->offsets);
    for (uint32_t i = 0; status == LEVEE_OK && i < g->node_count; i++) {
        const kernel *k = kernels[g->nodes[i].kind];
        kernel_call call;
        plan_describe_call(&call, &result->g, &result->g.nodes[i], capacity_tokens);
        if (!k)
            status = error_set(error, LEVEE_INTERNAL, "this backend has no %s", operator_name(g->nodes[i].kind));
        else if (k->scratch)
            result->scratch_bytes[i] = k->scratch(state, &call);
    }
    if (status == LEVEE_OK) status = lifetimes_make(&result->g, &l, error);
    for (unsigned s = SPACE_HOST; status == LEVEE_OK && s < SPACE_COUNT; s++)
        status = pack_space(result, &l, (value_space)s, lasting->total_bytes[s], estimate, error);
    if (status == LEVEE_OK) status = place_lasting(result, lasting, error);
    if (status == LEVEE_OK) count_categories(result);
    lifetimes_close(&l);
    if (status != LEVEE_OK) plan_close(result);
    return status;
}

levee_status plan_make(plan *result, const graph *g, const layout *lasting, uint32_t capacity_tokens,
                       kernel_table kernels, const struct backend_state *state, levee_error *error) {
    return build(result, g, lasting, capacity_tokens, kernels, state, false, error);
}

levee_status plan_estimate(plan *result, const graph *g, const layout *lasting, uint32_t capacity_tokens,
                           kernel_table kernels, const struct backend_state *state, levee_error *error) {
    return build(result, g, lasting, capacity_tokens, kernels, state, true, error);
}

void plan_close(plan *p) {
    graph_close(&p->g);
    ledger_free(p->offsets);
    ledger_free(p->scratch_offsets);
    ledger_free(p->scratch_bytes);
    memset(p, 0, sizeof *p);
}
