/* From a graph to lifetimes to offsets: see plan.h. */
#include "graph/plan.h"

#include <string.h>

#include "base/error.h"
#include "graph/lifetimes.h"
#include "graph/pack.h"
#include "memory/ledger.h"

enum { ARENA_ALIGNMENT = 64 };

uint64_t plan_round(uint64_t bytes) { return (bytes + ARENA_ALIGNMENT - 1) & ~(uint64_t)(ARENA_ALIGNMENT - 1); }

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

/* What takes room in one space: its values, and the operators' scratch when it is the space they work in. */
static uint32_t collect_items(const plan *p, const lifetimes *l, value_space space, pack_item *items) {
    const graph *g = &p->g;
    uint32_t count = 0;
    for (value_id v = 0; v < g->value_count; v++)
        if (lifetimes_has_buffer(l, g, v) && g->values[v].space == space)
            items[count++] = (pack_item){.bytes = graph_value_bytes(&g->values[v], p->capacity_tokens),
                                         .first = l->first[v],
                                         .last = l->last[v]};
    for (uint32_t i = 0; space == g->compute_space && i < g->node_count; i++)
        if (p->scratch_bytes[i]) items[count++] = (pack_item){.bytes = p->scratch_bytes[i], .first = i, .last = i};
    return count;
}

static pack_item *take_items(const graph *g, levee_error *error) {
    uint64_t most = (uint64_t)g->value_count + g->node_count + 1;
    pack_item *items = ledger_alloc_array(LEVEE_RUNTIME, most, sizeof *items);
    if (!items) error_out_of_memory(error, "packing the plan", most * sizeof *items);
    return items;
}

/* Packs one space. */
static levee_status pack_space(plan *p, const lifetimes *l, value_space space, uint64_t base, levee_error *error) {
    const graph *g = &p->g;
    bool with_scratch = space == g->compute_space;
    pack_item *items = take_items(g, error);
    if (!items) return LEVEE_DOES_NOT_FIT;
    uint32_t peak_node = 0, count = collect_items(p, l, space, items);
    p->lower_bound_bytes[space] = pack_lower_bound(items, count, ARENA_ALIGNMENT, &peak_node);
    if (with_scratch) p->peak_node = peak_node;
    levee_status status = pack_offsets(items, count, ARENA_ALIGNMENT, &p->arena_bytes[space], error);
    if (status == LEVEE_OK) status = pack_verify(items, count, error);
    if (status == LEVEE_OK) {
        uint32_t next = 0;
        for (value_id v = 0; v < g->value_count; v++)
            if (lifetimes_has_buffer(l, g, v) && g->values[v].space == space)
                p->offsets[v] = base + items[next++].offset;
        for (uint32_t i = 0; with_scratch && i < g->node_count; i++)
            if (p->scratch_bytes[i]) p->scratch_offsets[i] = base + items[next++].offset;
        for (value_id v = 0; v < g->value_count; v++)
            if (lifetimes_is_planned(&g->values[v]) && g->values[v].space == space)
                p->offsets[v] = p->offsets[l->root[v]];
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

uint64_t plan_scratch_bytes(const graph *g, const node *n, uint32_t capacity_tokens, kernel_table kernels,
                            const struct backend_state *state) {
    const kernel *k = kernels[n->kind];
    kernel_call call;
    if (!k || !k->scratch) return 0;
    plan_describe_call(&call, g, n, capacity_tokens);
    return k->scratch(state, &call);
}

/* Asks for the scratch of every operator but number `except`. */
static levee_status find_scratch(plan *p, uint32_t except, kernel_table kernels, const struct backend_state *state,
                                 levee_error *error) {
    p->scratch_bytes = ledger_alloc_array(LEVEE_RUNTIME, p->g.node_count + 1, sizeof *p->scratch_bytes);
    if (!p->scratch_bytes) return error_out_of_memory(error, "the plan", p->g.node_count * sizeof *p->scratch_bytes);
    for (uint32_t i = 0; i < p->g.node_count; i++) {
        const node *n = &p->g.nodes[i];
        if (!kernels[n->kind])
            return error_set(error, LEVEE_INTERNAL, "this backend has no %s", operator_name(n->kind));
        if (i != except) p->scratch_bytes[i] = plan_scratch_bytes(&p->g, n, p->capacity_tokens, kernels, state);
    }
    return LEVEE_OK;
}

levee_status plan_make(plan *result, const graph *g, const layout *lasting, uint32_t capacity_tokens,
                       kernel_table kernels, const struct backend_state *state, levee_error *error) {
    memset(result, 0, sizeof *result);
    levee_status status = copy_graph(&result->g, g, error);
    if (status != LEVEE_OK) return status;
    lifetimes l = {0};
    result->capacity_tokens = capacity_tokens;
    result->offsets = ledger_alloc_array(LEVEE_RUNTIME, g->value_count + 1, sizeof *result->offsets);
    result->scratch_offsets = ledger_alloc_array(LEVEE_RUNTIME, g->node_count + 1, sizeof *result->scratch_offsets);
    if (!result->offsets || !result->scratch_offsets)
        status = error_out_of_memory(error, "the plan", g->value_count * sizeof *result->offsets);
    if (status == LEVEE_OK) status = find_scratch(result, NO_NODE, kernels, state, error);
    if (status == LEVEE_OK) status = lifetimes_make(&result->g, &l, error);
    for (unsigned s = SPACE_HOST; status == LEVEE_OK && s < SPACE_COUNT; s++)
        status = pack_space(result, &l, (value_space)s, lasting->total_bytes[s], error);
    if (status == LEVEE_OK) status = place_lasting(result, lasting, error);
    if (status == LEVEE_OK) count_categories(result);
    lifetimes_close(&l);
    if (status != LEVEE_OK) plan_close(result);
    return status;
}

/* Bytes that are live while operator `at` runs. */
static uint64_t live_at(const pack_item *items, uint32_t count, uint32_t at) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].first <= at && at <= items[i].last) live += plan_round(items[i].bytes);
    return live;
}

levee_status plan_estimate(plan_bound *bound, const graph *g, uint32_t capacity_tokens, kernel_table kernels,
                           const struct backend_state *state, levee_error *error) {
    plan p = {.g = *g, .capacity_tokens = capacity_tokens}; /* the graph is borrowed */
    lifetimes l = {0};
    uint32_t head = graph_head(g);
    memset(bound, 0, sizeof *bound);
    pack_item *items = take_items(g, error);
    levee_status status = items ? find_scratch(&p, head, kernels, state, error) : LEVEE_DOES_NOT_FIT;
    if (status == LEVEE_OK) status = lifetimes_make(g, &l, error);
    for (unsigned s = SPACE_HOST; status == LEVEE_OK && s < SPACE_COUNT; s++) {
        uint32_t count = collect_items(&p, &l, (value_space)s, items);
        uint64_t most = pack_lower_bound(items, count, ARENA_ALIGNMENT, NULL);
        bool with_head = s == g->compute_space && head != NO_NODE;
        if (__builtin_add_overflow(bound->most_bytes, most, &bound->most_bytes)) bound->most_bytes = UINT64_MAX;
        bound->at_head_bytes += with_head ? live_at(items, count, head) : most;
    }
    ledger_free(items);
    ledger_free(p.scratch_bytes);
    lifetimes_close(&l);
    return status;
}

uint64_t plan_bound_bytes(const plan_bound *bound, uint64_t head_scratch_bytes) {
    uint64_t at_head = bound->at_head_bytes + plan_round(head_scratch_bytes);
    return at_head > bound->most_bytes ? at_head : bound->most_bytes;
}

void plan_close(plan *p) {
    graph_close(&p->g);
    ledger_free(p->offsets);
    ledger_free(p->scratch_offsets);
    ledger_free(p->scratch_bytes);
    memset(p, 0, sizeof *p);
}
