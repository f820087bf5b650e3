/* What can be recomputed: see candidates.h. */
#include "graph/candidates.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "graph/work.h"
#include "memory/ledger.h"

/* What is at hand while they are found. */
typedef struct finder {
    const graph *g;
    const machine_rates *rates;
    uint32_t longest_tokens;
    candidate_list *list;
    tensor_class *class_of; /* a value's */
    bool *read_again;       /* a value's: the backward part reads it */
} finder;

/* Of one row. */
static double product_flops_token(const graph *g, const node *n) {
    if (!operator_is_linear(n->kind)) return 0;
    const value *weight = &g->values[n->in[1]];
    double rows = (double)weight->rows, cols = (double)weight->cols, flops = 2 * rows * cols;
    if (n->kind == OPERATOR_LORA) flops += 2 * (rows + cols) * (double)g->values[n->out[1]].cols;
    return flops;
}

/* 0 for what is not one row a token. */
static double row_bytes(const graph *g, value_id v) {
    return v != NO_VALUE && g->values[v].per_token ? (double)dtype_bytes(g->values[v].type, g->values[v].cols) : 0;
}

/* To compute one row of an operator again. */
static double seconds_token(const finder *s, const node *n) {
    const graph *g = s->g;
    double flops = product_flops_token(g, n), bytes = 0;
    if (n->kind == OPERATOR_ATTENTION) /* two products of head_dim per pair */
        flops = 4.0 * n->parameters.heads * n->parameters.head_dim *
                work_rows_seen(n->parameters.window, s->longest_tokens);
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) bytes += row_bytes(g, n->in[i]);
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) bytes += row_bytes(g, n->out[i]);
    return flops / s->rates->products + bytes / s->rates->bytes;
}

/* The input that a step between a projection and its use goes on from; NO_VALUE at the projection itself, and for
 * anything else. */
static value_id step_before(const node *n) {
    switch (n->kind) {
    case OPERATOR_MAGNITUDE:
    case OPERATOR_ROPE:
    case OPERATOR_RMSNORM:
        return n->in[0];
    default:
        return NO_VALUE;
    }
}

/* Marks v and what leads to it: projections, adapters, magnitudes, norms of heads, rotations. */
static void mark_chain(finder *s, value_id v, tensor_class class) {
    const graph *g = s->g;
    while (v != NO_VALUE && g->values[v].producer != NO_NODE && s->class_of[v] == CLASS_NONE) {
        const node *n = &g->nodes[g->values[v].producer];
        if (!operator_is_linear(n->kind) && step_before(n) == NO_VALUE) return;
        s->class_of[v] = class;
        if (n->kind == OPERATOR_LORA || n->kind == OPERATOR_RMSNORM) s->class_of[n->out[1]] = class;
        v = step_before(n);
    }
}

/* Is it a norm of heads, which comes after a projection and not before? */
static bool follows_projection(const graph *g, const node *norm) {
    uint32_t producer = g->values[norm->in[0]].producer;
    if (producer == NO_NODE) return false;
    return operator_is_linear(g->nodes[producer].kind) || g->nodes[producer].kind == OPERATOR_MAGNITUDE;
}

static void classify(finder *s) {
    const graph *g = s->g;
    for (value_id v = 0; v < g->value_count; v++) s->class_of[v] = CLASS_NONE;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->backward || n->layer < 0) continue;
        if (n->kind == OPERATOR_RMSNORM && !follows_projection(g, n)) {
            s->class_of[n->out[0]] = CLASS_NORM;
            value_id x = n->in[0];
            const value *described = &g->values[x];
            bool within_layer = described->producer != NO_NODE && described->layer == n->layer &&
                                g->nodes[described->producer].kind == OPERATOR_ADD;
            if (within_layer) {
                s->class_of[x] = CLASS_RESIDUAL;
                mark_chain(s, g->nodes[described->producer].in[1], CLASS_RESIDUAL);
            }
        } else if (n->kind == OPERATOR_SWIGLU) {
            s->class_of[n->out[0]] = CLASS_SWIGLU;
            mark_chain(s, n->in[0], CLASS_GATE_UP);
            mark_chain(s, n->in[1], CLASS_GATE_UP);
        } else if (n->kind == OPERATOR_ATTENTION) {
            s->class_of[n->out[0]] = s->class_of[n->out[1]] = CLASS_ATTENTION;
            for (unsigned k = 0; k < 3; k++) mark_chain(s, n->in[k], CLASS_QUERY_KEY_VALUE);
        }
    }
}

/* Magnitudes read in the backward part what no other operator does: the projections of no class so far are one. */
static void classify_magnitudes(finder *s) {
    for (uint32_t i = 0; i < s->g->node_count; i++)
        if (s->g->nodes[i].kind == OPERATOR_MAGNITUDE) mark_chain(s, s->g->nodes[i].in[0], CLASS_ADAPTED);
}

/* Sets the flag of each value that the backward part reads. */
static void mark_read_in_backward(const graph *g, bool *read) {
    memset(read, 0, g->value_count * sizeof *read);
    for (uint32_t i = g->node_count; i-- > 0 && g->nodes[i].backward;)
        for (unsigned k = 0; k < KERNEL_INPUTS; k++)
            if (g->nodes[i].in[k] != NO_VALUE) read[g->nodes[i].in[k]] = true;
}

static candidate *find_candidate(finder *s, tensor_class class, int32_t layer) {
    for (uint32_t i = 0; i < s->list->count; i++)
        if (s->list->items[i].class == class && s->list->items[i].layer == layer) return &s->list->items[i];
    s->list->items[s->list->count] = (candidate){.class = class, .layer = layer};
    return &s->list->items[s->list->count++];
}

static double gain(const candidate *c) { return c->bytes_token / (c->seconds_token + 1e-12); }

/* Best gain first; among equals, the first layer first. An insertion sort: a few hundred candidates, once. */
static void sort_candidates(finder *s) {
    for (uint32_t i = 1; i < s->list->count; i++) {
        candidate moving = s->list->items[i];
        uint32_t to = i;
        for (; to > 0; to--) {
            double before = gain(&s->list->items[to - 1]), own = gain(&moving);
            bool equal = fabs(before - own) <= 1e-9 * own;
            if (equal ? s->list->items[to - 1].layer <= moving.layer : before > own) break;
            s->list->items[to] = s->list->items[to - 1];
        }
        s->list->items[to] = moving;
    }
}

static void collect_candidates(finder *s) {
    const graph *g = s->g;
    mark_read_in_backward(g, s->read_again);
    for (value_id v = 0; v < g->value_count; v++) {
        if (s->class_of[v] == CLASS_NONE) continue;
        candidate *c = find_candidate(s, s->class_of[v], g->values[v].layer);
        const node *n = &g->nodes[g->values[v].producer];
        if (n->out[0] == v) c->seconds_token += seconds_token(s, n);
        if (s->read_again[v]) c->bytes_token += row_bytes(g, v);
    }
    uint32_t kept = 0; /* what the backward part does not read costs nothing already */
    for (uint32_t i = 0; i < s->list->count; i++)
        if (s->list->items[i].bytes_token > 0) s->list->items[kept++] = s->list->items[i];
    s->list->count = kept;
    sort_candidates(s);
    for (value_id v = 0; v < g->value_count; v++) {
        s->list->of_value[v] = UINT32_MAX;
        for (uint32_t i = 0; i < s->list->count && s->class_of[v] != CLASS_NONE; i++)
            if (s->list->items[i].class == s->class_of[v] && s->list->items[i].layer == g->values[v].layer)
                s->list->of_value[v] = i;
    }
}

levee_status candidates_find(candidate_list *list, const graph *g, const machine_rates *rates,
                             uint32_t longest_tokens, levee_error *error) {
    uint64_t count = g->value_count ? g->value_count : 1;
    finder s = {.g = g, .rates = rates, .longest_tokens = longest_tokens, .list = list};
    *list = (candidate_list){0};
    list->items = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *list->items);
    list->of_value = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *list->of_value);
    s.class_of = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.class_of);
    s.read_again = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.read_again);
    levee_status status = LEVEE_OK;
    if (list->items && list->of_value && s.class_of && s.read_again) {
        classify(&s);
        classify_magnitudes(&s);
        collect_candidates(&s);
    } else {
        status = error_out_of_memory(error, "the search for a plan", count * sizeof *list->items);
    }
    ledger_free(s.class_of);
    ledger_free(s.read_again);
    return status;
}

void candidates_close(candidate_list *list) {
    ledger_free(list->items);
    ledger_free(list->of_value);
    *list = (candidate_list){0};
}
