/* value_and_grad as a transformation of the graph: appends the backward operators that the trainable set needs. */
#include <string.h>

#include "base/error.h"
#include "graph/graph.h"
#include "memory/ledger.h"

/* The state of one differentiation. gradients[v] is the gradient of v collected so far, or NO_VALUE. */
typedef struct differentiation {
    graph *g;
    bool *needed; /* does a parameter lie behind this value? */
    value_id *gradients;
    uint32_t value_count; /* of the forward graph; values made later need no gradient */
} differentiation;

static node backward_node(operator_kind kind, const node *forward) {
    node n = {.kind = kind, .parameters = forward->parameters, .layer = forward->layer, .backward = true};
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) n.in[i] = NO_VALUE;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) n.out[i] = NO_VALUE;
    return n;
}

static bool needs(const differentiation *d, value_id v) {
    return v != NO_VALUE && d->g->values[v].role != VALUE_WEIGHT && d->needed[v];
}

static bool trains(const differentiation *d, value_id v) {
    return v != NO_VALUE && d->g->values[v].role == VALUE_PARAMETER;
}

/* A new value shaped like `like`, to hold a gradient of it. */
static value_id gradient_of_type(differentiation *d, value_id like, dtype type) {
    if (d->g->failure.status != LEVEE_OK) return NO_VALUE;
    value shape = d->g->values[like];
    return graph_value(d->g, VALUE_ACTIVATION, type, shape.per_token ? 0 : shape.rows, shape.cols, shape.layer,
                       "d %.70s", shape.name);
}

static value_id gradient_value(differentiation *d, value_id like) { return gradient_of_type(d, like, DTYPE_F32); }

/* Adds `contribution` to what is collected for v. */
static void collect(differentiation *d, const node *forward, value_id v, value_id contribution) {
    if (d->gradients[v] == NO_VALUE) {
        d->gradients[v] = contribution;
        return;
    }
    node sum = backward_node(OPERATOR_ADD, forward);
    sum.in[0] = d->gradients[v];
    sum.in[1] = contribution;
    sum.out[0] = gradient_value(d, v);
    graph_node(d->g, &sum);
    d->gradients[v] = sum.out[0];
}

/* For operators with an `add` input: the gradient so far goes in, the new one comes out. */
static value_id accumulate_into(differentiation *d, node *n, unsigned add_input, value_id v) {
    n->in[add_input] = d->gradients[v];
    n->out[0] = gradient_value(d, v);
    d->gradients[v] = n->out[0];
    return n->out[0];
}

static void differentiate_rmsnorm(differentiation *d, const node *f, value_id dy) {
    value_id x = f->in[0], weight = f->in[1], inverse_rms = f->out[1];
    if (trains(d, weight)) {
        node n = backward_node(OPERATOR_RMSNORM_GRADIENT_WEIGHT, f);
        n.in[0] = dy, n.in[1] = x, n.in[2] = inverse_rms;
        n.out[0] = graph_gradient_of(d->g, weight);
        graph_node(d->g, &n);
    }
    if (needs(d, x)) {
        node n = backward_node(OPERATOR_RMSNORM_GRADIENT_INPUT, f);
        n.in[0] = dy, n.in[1] = x, n.in[2] = weight, n.in[3] = inverse_rms;
        accumulate_into(d, &n, 4, x);
        graph_node(d->g, &n);
    }
}

static void differentiate_linear(differentiation *d, const node *f, value_id dy) {
    value_id x = f->in[0], weight = f->in[1], bias = f->in[2];
    if (trains(d, bias)) {
        node n = backward_node(OPERATOR_LINEAR_GRADIENT_BIAS, f);
        n.in[0] = dy;
        n.out[0] = graph_gradient_of(d->g, bias);
        graph_node(d->g, &n);
    }
    if (trains(d, weight)) {
        node n = backward_node(OPERATOR_LINEAR_GRADIENT_WEIGHT, f);
        n.in[0] = dy, n.in[1] = x;
        n.out[0] = graph_gradient_of(d->g, weight);
        graph_node(d->g, &n);
    }
    if (needs(d, x)) {
        node n = backward_node(OPERATOR_LINEAR_GRADIENT_INPUT, f);
        n.in[0] = dy, n.in[1] = weight;
        accumulate_into(d, &n, 2, x);
        graph_node(d->g, &n);
    }
}

static void differentiate_lora(differentiation *d, const node *f, value_id dy) {
    value_id x = f->in[0], weight = f->in[1], a = f->in[3], b = f->in[4];
    node n = backward_node(OPERATOR_LORA_GRADIENT, f);
    n.in[0] = dy, n.in[3] = x, n.in[4] = f->out[1], n.in[5] = a, n.in[6] = b;
    n.in[7] = f->in[5], n.in[8] = f->in[6];
    if (needs(d, x)) {
        n.in[1] = weight;
        accumulate_into(d, &n, 2, x);
    }
    n.out[1] = graph_gradient_of(d->g, a);
    n.out[2] = graph_gradient_of(d->g, b);
    graph_node(d->g, &n);
}

static void differentiate_magnitude(differentiation *d, const node *f, value_id dy) {
    node n = backward_node(OPERATOR_MAGNITUDE_GRADIENT, f);
    n.in[0] = dy, n.in[1] = f->in[0], n.in[2] = f->in[1], n.in[3] = f->in[2];
    n.out[0] = gradient_value(d, f->in[0]);
    n.out[1] = graph_gradient_of(d->g, f->in[1]);
    graph_node(d->g, &n);
    collect(d, f, f->in[0], n.out[0]);
}

static void differentiate_rope(differentiation *d, const node *f, value_id dy) {
    if (!needs(d, f->in[0])) return;
    node n = backward_node(OPERATOR_ROPE, f);
    n.parameters.inverse = !f->parameters.inverse;
    n.in[0] = dy, n.in[1] = f->in[1];
    n.out[0] = gradient_value(d, f->in[0]);
    graph_node(d->g, &n);
    collect(d, f, f->in[0], n.out[0]);
}

static void differentiate_attention(differentiation *d, const node *f, value_id dy) {
    node n = backward_node(OPERATOR_ATTENTION_GRADIENT, f);
    n.in[0] = dy;
    for (unsigned i = 0; i < 3; i++) {
        n.in[1 + i] = f->in[i];
        n.out[i] = gradient_value(d, f->in[i]);
    }
    n.in[4] = f->out[0], n.in[5] = f->out[1], n.in[6] = f->in[3];
    graph_node(d->g, &n);
    for (unsigned i = 0; i < 3; i++)
        if (needs(d, f->in[i])) collect(d, f, f->in[i], n.out[i]);
}

static void differentiate_swiglu(differentiation *d, const node *f, value_id dy) {
    node n = backward_node(OPERATOR_SWIGLU_GRADIENT, f);
    n.in[0] = dy, n.in[1] = f->in[0], n.in[2] = f->in[1];
    for (unsigned i = 0; i < 2; i++) n.out[i] = gradient_of_type(d, f->in[i], d->g->values[f->in[i]].type);
    graph_node(d->g, &n);
    for (unsigned i = 0; i < 2; i++)
        if (needs(d, f->in[i])) collect(d, f, f->in[i], n.out[i]);
}

static void differentiate_embedding(differentiation *d, const node *f, value_id dy) {
    if (!trains(d, f->in[1])) return;
    node n = backward_node(OPERATOR_EMBEDDING_GRADIENT, f);
    n.in[0] = f->in[0], n.in[1] = dy;
    n.out[0] = graph_gradient_of(d->g, f->in[1]);
    graph_node(d->g, &n);
}

/* The last forward node becomes loss and gradient in one: the logits' gradient is at hand only while they exist. */
static void differentiate_head(differentiation *d, uint32_t index) {
    node *head = &d->g->nodes[index];
    value_id x = head->in[0], weight = head->in[1];
    value_id dx = needs(d, x) ? gradient_value(d, x) : NO_VALUE;
    value_id gradient = trains(d, weight) ? graph_gradient_of(d->g, weight) : NO_VALUE;
    if (d->g->failure.status != LEVEE_OK) return;
    head->kind = OPERATOR_HEAD_LOSS_GRADIENT;
    head->backward = true;
    head->out[1] = dx;
    head->out[2] = gradient;
    if (dx != NO_VALUE) {
        d->gradients[x] = dx;
        d->g->values[dx].producer = index;
    }
}

static void differentiate_node(differentiation *d, const node *f) {
    value_id out = f->out[0];
    if (out == NO_VALUE || out >= d->value_count || d->gradients[out] == NO_VALUE) return;
    value_id dy = d->gradients[out];
    switch (f->kind) {
    case OPERATOR_EMBEDDING:
        differentiate_embedding(d, f, dy);
        break;
    case OPERATOR_RMSNORM:
        differentiate_rmsnorm(d, f, dy);
        break;
    case OPERATOR_LINEAR:
        differentiate_linear(d, f, dy);
        break;
    case OPERATOR_LORA:
        differentiate_lora(d, f, dy);
        break;
    case OPERATOR_MAGNITUDE:
        differentiate_magnitude(d, f, dy);
        break;
    case OPERATOR_ROPE:
        differentiate_rope(d, f, dy);
        break;
    case OPERATOR_ATTENTION:
        differentiate_attention(d, f, dy);
        break;
    case OPERATOR_SWIGLU:
        differentiate_swiglu(d, f, dy);
        break;
    case OPERATOR_ADD:
        for (unsigned i = 0; i < 2; i++)
            if (needs(d, f->in[i])) collect(d, f, f->in[i], dy);
        break;
    default:
        error_set(&d->g->failure, LEVEE_INTERNAL, "graph: %s has no gradient", operator_name(f->kind));
    }
}

/* A value needs a gradient when it is a parameter or computed from one that does. */
static void find_needed(differentiation *d) {
    for (uint32_t v = 0; v < d->value_count; v++) d->needed[v] = d->g->values[v].role == VALUE_PARAMETER;
    for (uint32_t i = 0; i < d->g->node_count; i++) {
        const node *n = &d->g->nodes[i];
        bool any = false;
        for (unsigned k = 0; k < KERNEL_INPUTS; k++) any = any || (n->in[k] != NO_VALUE && d->needed[n->in[k]]);
        for (unsigned k = 0; k < KERNEL_OUTPUTS; k++)
            if (n->out[k] != NO_VALUE) d->needed[n->out[k]] = any;
    }
}

levee_status graph_differentiate(graph *g, levee_error *error) {
    if (graph_status(g, error) != LEVEE_OK) return g->failure.status;
    uint32_t forward_count = g->node_count;
    if (!forward_count || g->nodes[forward_count - 1].kind != OPERATOR_HEAD_LOSS)
        return error_set(error, LEVEE_INTERNAL, "graph: only a graph that ends in the head's loss is differentiated");
    differentiation d = {.g = g, .value_count = g->value_count};
    d.needed = ledger_alloc_array(LEVEE_RUNTIME, g->value_count, sizeof *d.needed);
    d.gradients = ledger_alloc_array(LEVEE_RUNTIME, g->value_count, sizeof *d.gradients);
    if (!d.needed || !d.gradients) {
        error_out_of_memory(&g->failure, "the backward graph", g->value_count * sizeof *d.gradients);
    } else {
        for (uint32_t v = 0; v < d.value_count; v++) d.gradients[v] = NO_VALUE;
        find_needed(&d);
        differentiate_head(&d, forward_count - 1);
        for (uint32_t i = forward_count - 1; i-- > 0 && g->failure.status == LEVEE_OK;) {
            node forward = g->nodes[i]; /* a copy: appending moves the array */
            differentiate_node(&d, &forward);
        }
    }
    ledger_free(d.needed);
    ledger_free(d.gradients);
    return graph_status(g, error);
}
