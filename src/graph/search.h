/* The search for a plan that fits: how many tokens a pass holds, how many rows of logits live at once (if
 * any are stored), and which activations are computed again instead of kept, chosen together by the estimated time of
 * a step.
 *
 * Recomputation is chosen per layer and per tensor. The tensors of a layer fall into classes (norms, SwiGLU product,
 * projections, attention, residual); classes are taken in the order of bytes saved per nanosecond of computing them
 * again, layer by layer, until the plan fits. */
#ifndef LEVEE_GRAPH_SEARCH_H
#define LEVEE_GRAPH_SEARCH_H

#include "graph/candidates.h"
#include "graph/plan.h"

typedef enum recompute_choice { RECOMPUTE_AUTO, RECOMPUTE_OFF, RECOMPUTE_ALL } recompute_choice;

/* How the work of a step is cut up, and so how its sums are rounded: recomputation changes no bit, but this does. */
typedef struct pass_shape {
    uint32_t capacity_tokens;   /* rows that a pass holds at most */
    uint32_t head_chunk_tokens; /* rows of logits that exist at once; 0 when none are stored */
} pass_shape;

/* What searches over one graph, with one layout and the same rates, have found out about variants of it, so that the
 * next one with another budget need not; zeroed at first. */
enum { REMEMBERED_ESTIMATES = 256 };
typedef struct search_memory {
    struct {
        uint32_t taken; /* of the candidates for recomputation */
        uint32_t capacity_tokens;
        plan_bound bound;
    } known[REMEMBERED_ESTIMATES];
    uint32_t count;
} search_memory;

typedef struct search_request {
    const graph *g; /* differentiated, without copies; its head's chunk is the search's to choose */
    const layout *lasting;
    kernel_table kernels;
    const struct backend_state *state;
    uint32_t longest_tokens; /* of one sequence: the least capacity */
    uint32_t step_tokens;    /* of an effective batch, at most: the largest capacity that is of use */
    uint64_t budget_bytes;   /* for all spaces but mapped files: lasting values and arena */
    recompute_choice recompute;
    pass_shape fixed; /* what is not 0 is not the search's to choose */
    machine_rates rates;
    search_memory *memory; /* NULL: nothing is remembered */
} search_request;

typedef struct search_result {
    plan chosen;                 /* owned by the caller */
    uint32_t recomputed_tensors; /* of candidate_tensors */
    uint32_t candidate_tensors;
    uint32_t head_chunk_tokens; /* 0 when the head stores no logits */
    uint32_t passes;            /* a step takes for an effective batch of step_tokens */
} search_result;

/* Fills `result`. When nothing fits: LEVEE_DOES_NOT_FIT, and *smallest_bytes is the smallest budget that would do.
 * When the search itself was refused memory, which has the same status, that is unknown: UINT64_MAX. */
levee_status plan_search(search_result *result, const search_request *request, uint64_t *smallest_bytes,
                         levee_error *error);

#endif
