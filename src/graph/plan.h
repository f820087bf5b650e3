/* A plan: every byte of a pass over one graph, for one capacity in tokens.
 *
 * Each space is one range of addresses: the layout's lasting values first, then the plan's arena, in which
 * activations, inputs, outputs and the scratch of each operator have offsets by their lifetimes:
 *
 *   bytes of a space = layout.total_bytes[space] + plan.arena_bytes[space]
 *
 * Nothing outside is used by a pass, so this is the measured use too, to the byte. */
#ifndef LEVEE_GRAPH_PLAN_H
#define LEVEE_GRAPH_PLAN_H

#include "graph/layout.h"

typedef struct plan {
    graph g; /* as it runs: with recomputation and copies; owned */
    uint32_t capacity_tokens;
    uint64_t *offsets;         /* [value_count] from the base of the value's space; mapped values have none */
    uint64_t *scratch_offsets; /* [node_count] from the base of the compute space */
    uint64_t *scratch_bytes;   /* [node_count] */
    uint64_t arena_bytes[SPACE_COUNT];
    uint64_t lower_bound_bytes[SPACE_COUNT];       /* of the arena: the most bytes live at once */
    uint32_t peak_node;                            /* where that is, in the compute space */
    uint64_t category_bytes[LEVEE_CATEGORY_COUNT]; /* of the arena, all spaces: activations, workspace, data */
} plan;

/* Plans one pass over `g`, of which it takes a copy; `state` is the backend's, asked for scratch sizes. The result is
 * verified: no two buffers that live at once overlap. plan_close frees, and accepts a zeroed plan. */
levee_status plan_make(plan *result, const graph *g, const layout *lasting, uint32_t capacity_tokens,
                       kernel_table kernels, const struct backend_state *state, levee_error *error);
void plan_close(plan *p);

/* How small an arena may be, whatever the rows that the head works on at once: these decide the scratch of that one
 * operator, so that a search over them needs one estimate. Bytes of all spaces. */
typedef struct plan_bound {
    uint64_t most_bytes;    /* the most that is live at once, without the head's scratch */
    uint64_t at_head_bytes; /* what is live while the head runs, without its scratch */
} plan_bound;

/* Bounds the arena of a plan from below, which is what a search needs, in a fraction of the time of plan_make. */
levee_status plan_estimate(plan_bound *bound, const graph *g, uint32_t capacity_tokens, kernel_table kernels,
                           const struct backend_state *state, levee_error *error);

/* The bound for a head that takes so much scratch. */
uint64_t plan_bound_bytes(const plan_bound *bound, uint64_t head_scratch_bytes);

/* What a buffer takes in an arena: its bytes, and padding. */
uint64_t plan_round(uint64_t bytes);

/* Scratch of one operator. */
uint64_t plan_scratch_bytes(const graph *g, const node *n, uint32_t capacity_tokens, kernel_table kernels,
                            const struct backend_state *state);

/* The call of a node as its kernel sees it when a plan is made: shapes and presence, no data. */
void plan_describe_call(kernel_call *call, const graph *g, const node *n, uint32_t capacity_tokens);

/* Finds a value by its name; NO_VALUE when there is none. */
value_id plan_find(const plan *p, const char *name);

#endif
