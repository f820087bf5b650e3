/* The search for a plan that fits: how many tokens a pass holds, how many rows of logits live at once, and which
 * activations are computed again instead of kept, chosen together by the estimated time of a step.
 *
 * Recomputation is chosen per layer and per tensor. The tensors of a layer fall into classes (norms, SwiGLU product,
 * projections, attention, residual); classes are taken in the order of bytes saved per nanosecond of computing them
 * again, layer by layer, until the plan fits. */
#ifndef LEVEE_GRAPH_SEARCH_H
#define LEVEE_GRAPH_SEARCH_H

#include "graph/plan.h"

typedef enum recompute_choice { RECOMPUTE_AUTO, RECOMPUTE_OFF, RECOMPUTE_ALL } recompute_choice;

/* What this machine does in a second, measured. */
typedef struct machine_rates {
    double products; /* floating-point operations of a matrix product */
    double bytes;    /* read or written by an element-wise operator */
} machine_rates;

typedef struct search_request {
    const graph *g; /* differentiated, without copies; its head's chunk is the search's to choose */
    const layout *lasting;
    kernel_table kernels;
    const struct backend_state *state;
    uint32_t longest_tokens; /* of one sequence: the least capacity */
    uint32_t step_tokens;    /* of an effective batch, at most: the largest capacity that is of use */
    uint64_t budget_bytes;   /* for all spaces but mapped files: lasting values and arena */
    recompute_choice recompute;
    machine_rates rates;
} search_request;

typedef struct search_result {
    plan chosen;                 /* owned by the caller */
    uint32_t recomputed_tensors; /* of candidate_tensors */
    uint32_t candidate_tensors;
    uint32_t head_chunk_tokens;
    uint32_t passes;               /* a step takes for an effective batch of step_tokens */
    double recompute_seconds_step; /* estimated */
} search_result;

/* Fills `result`. When nothing fits: LEVEE_DOES_NOT_FIT, and *smallest_bytes is the smallest budget that would do. */
levee_status plan_search(search_result *result, const search_request *request, uint64_t *smallest_bytes,
                         levee_error *error);

#endif
