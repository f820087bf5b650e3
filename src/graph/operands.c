/* Which activations are stored in the type of the products: those that are rounded to it anyway. */
#include <string.h>

#include "base/error.h"
#include "graph/graph.h"
#include "memory/ledger.h"

/* What is known of each value. */
typedef struct readers {
    const graph *g;
    uint32_t *count;
    bool *only_products; /* no operator but frozen linear ones reads it */
} readers;

/* A linear operator whose weight does not train: a gradient of the weight would be summed from what is rounded. */
static bool is_frozen_product(const graph *g, const node *n) {
    return operator_is_linear(n->kind) && g->values[n->in[1]].role == VALUE_WEIGHT &&
           (n->in[2] == NO_VALUE || g->values[n->in[2]].role == VALUE_WEIGHT);
}

static void count_readers(readers *r) {
    const graph *g = r->g;
    for (value_id v = 0; v < g->value_count; v++) r->only_products[v] = true;
    for (uint32_t i = 0; i < g->node_count; i++)
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) {
            value_id v = g->nodes[i].in[k];
            if (v == NO_VALUE) continue;
            r->count[v]++;
            r->only_products[v] = r->only_products[v] && k == 0 && is_frozen_product(g, &g->nodes[i]);
        }
}

static bool is_operand(const readers *r, value_id v) {
    return r->g->values[v].role == VALUE_ACTIVATION && r->count[v] && r->only_products[v];
}

/* Is it the result of a frozen product that goes into this one operator? */
static bool is_result(const readers *r, value_id v) {
    const value *described = &r->g->values[v];
    return described->role == VALUE_ACTIVATION && r->count[v] == 1 && described->producer != NO_NODE &&
           is_frozen_product(r->g, &r->g->nodes[described->producer]);
}

static void set_types(graph *g, const readers *r, dtype type) {
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->kind == OPERATOR_RMSNORM && is_operand(r, n->out[0])) g->values[n->out[0]].type = type;
        /* All of a SwiGLU's values are of one type. */
        if (n->kind == OPERATOR_SWIGLU && is_operand(r, n->out[0]) && is_result(r, n->in[0]) &&
            is_result(r, n->in[1]))
            g->values[n->in[0]].type = g->values[n->in[1]].type = g->values[n->out[0]].type = type;
    }
}

levee_status graph_store_operands(graph *g, dtype type, levee_error *error) {
    if (graph_status(g, error) != LEVEE_OK) return g->failure.status;
    readers r = {.g = g};
    r.count = ledger_alloc_array(LEVEE_RUNTIME, g->value_count, sizeof *r.count);
    r.only_products = ledger_alloc_array(LEVEE_RUNTIME, g->value_count, sizeof *r.only_products);
    if (!r.count || !r.only_products) {
        error_out_of_memory(&g->failure, "the types of activations", g->value_count * sizeof *r.count);
    } else {
        count_readers(&r);
        set_types(g, &r, type);
    }
    ledger_free(r.count);
    ledger_free(r.only_products);
    return graph_status(g, error);
}
