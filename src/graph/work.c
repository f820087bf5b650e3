/* The work of a pass: see work.h, which has the formulas. */
#include "graph/work.h"

static double rows_of(const graph *g, value_id v) { return v == NO_VALUE ? 0 : (double)g->values[v].rows; }
static double cols_of(const graph *g, value_id v) { return v == NO_VALUE ? 0 : (double)g->values[v].cols; }

double work_rows_seen(uint32_t window, double sequence_tokens) {
    double w = window;
    return w < sequence_tokens ? w * (1 - w / (2 * sequence_tokens)) : sequence_tokens / 2;
}

/* Of one token. */
static void add_operations(work *sum, const graph *g, const node *n, double sequence_tokens) {
    double *amount = sum->amount, q = (double)n->parameters.heads * n->parameters.head_dim;
    switch (n->kind) {
    case OPERATOR_LINEAR:
    case OPERATOR_LINEAR_GRADIENT_INPUT:
        amount[WORK_PRODUCTS] += 2 * rows_of(g, n->in[1]) * cols_of(g, n->in[1]);
        break;
    case OPERATOR_LINEAR_GRADIENT_WEIGHT:
        amount[WORK_PRODUCTS] += 2 * rows_of(g, n->out[0]) * cols_of(g, n->out[0]);
        break;
    case OPERATOR_HEAD_LOSS:
    case OPERATOR_HEAD_LOSS_GRADIENT: {
        bool stores_logits = n->kind == OPERATOR_HEAD_LOSS_GRADIENT && n->out[2] != NO_VALUE;
        double products = 1;
        if (n->kind == OPERATOR_HEAD_LOSS_GRADIENT) products += (n->out[1] != NO_VALUE) + (n->out[2] != NO_VALUE);
        amount[WORK_PRODUCTS] += products * 2 * rows_of(g, n->in[1]) * cols_of(g, n->in[1]);
        if (stores_logits) amount[WORK_BYTES] += 16 * rows_of(g, n->in[1]);
        break;
    }
    case OPERATOR_LORA: /* A is [r, in], B [out, r] */
        amount[WORK_PRODUCTS] += 2 * rows_of(g, n->in[1]) * cols_of(g, n->in[1]);
        amount[WORK_THIN_PRODUCTS] += 2 * rows_of(g, n->in[3]) * (cols_of(g, n->in[3]) + rows_of(g, n->in[4]));
        break;
    case OPERATOR_LORA_GRADIENT: {
        double in = cols_of(g, n->in[5]), out = rows_of(g, n->in[6]);
        if (n->out[0] != NO_VALUE) {
            amount[WORK_PRODUCTS] += 2 * rows_of(g, n->in[1]) * cols_of(g, n->in[1]);
            in *= 2;
        }
        amount[WORK_THIN_PRODUCTS] += 2 * rows_of(g, n->in[5]) * (2 * out + in);
        break;
    }
    case OPERATOR_ATTENTION:
        amount[WORK_ATTENTION] += 4 * q * work_rows_seen(n->parameters.window, sequence_tokens);
        break;
    case OPERATOR_ATTENTION_GRADIENT:
        amount[WORK_ATTENTION] += 10 * q * work_rows_seen(n->parameters.window, sequence_tokens);
        break;
    default:
        break;
    }
}

/* Bytes of a value that an operator reads or writes: a row of it (times `tokens`), or all. */
static double value_bytes(const graph *g, value_id v, double tokens) {
    const value *described = &g->values[v];
    double cols = (double)described->cols;
    if (described->per_token) return tokens * (double)dtype_bytes(described->type, 1) * cols;
    double decoded = described->type == DTYPE_F32 ? 0 : 2 * sizeof(float);
    return (double)described->rows * cols * ((double)dtype_bytes(described->type, 1) + decoded);
}

static void add_bytes(work *sum, const graph *g, const node *n, double tokens) {
    bool looks_up = n->kind == OPERATOR_EMBEDDING || n->kind == OPERATOR_EMBEDDING_GRADIENT;
    for (unsigned i = 0; i < KERNEL_INPUTS + KERNEL_OUTPUTS; i++) {
        value_id v = i < KERNEL_INPUTS ? n->in[i] : n->out[i - KERNEL_INPUTS];
        if (v == NO_VALUE) continue;
        bool whole_table = looks_up && !g->values[v].per_token; /* of which a row a token is touched */
        sum->amount[WORK_BYTES] += whole_table ? tokens * sizeof(float) * cols_of(g, v) : value_bytes(g, v, tokens);
    }
}

/* Of one pass, however many tokens it has. */
static void add_once(work *sum, const graph *g, const node *n) {
    if (n->kind == OPERATOR_ADAPTED_NORM)
        sum->amount[WORK_THIN_PRODUCTS] += 2 * rows_of(g, n->in[1]) * rows_of(g, n->in[0]) * cols_of(g, n->in[0]);
}

void work_add_operator(work *sum, const graph *g, const node *n, double tokens, double sequence_tokens) {
    work token = {0};
    add_operations(&token, g, n, sequence_tokens);
    for (unsigned kind = 0; kind < WORK_KINDS; kind++) sum->amount[kind] += tokens * token.amount[kind];
    add_bytes(sum, g, n, tokens);
    add_once(sum, g, n);
}

void work_add_pass(work *sum, const graph *g, double tokens, double sequence_tokens) {
    for (uint32_t i = 0; i < g->node_count; i++) work_add_operator(sum, g, &g->nodes[i], tokens, sequence_tokens);
}

void work_add_update(work *sum, double parameters) { sum->amount[WORK_BYTES] += 2 * 4 * sizeof(float) * parameters; }

double work_seconds(const work *w, const double rates[WORK_KINDS]) {
    double seconds = 0;
    for (unsigned kind = 0; kind < WORK_KINDS; kind++) seconds += w->amount[kind] / rates[kind];
    return seconds;
}
