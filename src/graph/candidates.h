/* What can be computed again instead of kept, in the order in which that pays: all tensors of a class in a layer are
 * one candidate, and those come first that save most bytes for a nanosecond. */
#ifndef LEVEE_GRAPH_CANDIDATES_H
#define LEVEE_GRAPH_CANDIDATES_H

#include "graph/graph.h"

/* What this machine does in a second, measured. */
typedef struct machine_rates {
    double products; /* floating-point operations of a matrix product */
    double bytes;    /* read or written by an element-wise operator */
} machine_rates;

/* What a tensor of a layer is, as far as computing it again goes. */
typedef enum tensor_class {
    CLASS_NORM,    /* normalised rows */
    CLASS_SWIGLU,  /* the product that feeds the down projection */
    CLASS_GATE_UP, /* the two projections that feed it */
    CLASS_QUERY_KEY_VALUE,
    CLASS_ATTENTION, /* its output and log-sum-exp */
    CLASS_RESIDUAL,  /* the sum between attention and the feed-forward part */
    CLASS_ADAPTED,   /* DoRA: what other projections give before their magnitude */
    CLASS_COUNT,
    CLASS_NONE = CLASS_COUNT
} tensor_class;

/* One thing that can be decided: all tensors of a class in a layer. */
typedef struct candidate {
    tensor_class class;
    int32_t layer;
    double seconds_token; /* to compute them again */
    double bytes_token;   /* saved */
} candidate;

typedef struct candidate_list {
    candidate *items; /* in the order in which they are taken */
    uint32_t count;
    uint32_t *of_value; /* the candidate that a value belongs to; UINT32_MAX: none */
} candidate_list;

/* Finds them in a differentiated graph; half of `longest_tokens` is what a row attends to. candidates_close in any
 * case, which accepts a zeroed list. */
levee_status candidates_find(candidate_list *list, const graph *g, const machine_rates *rates,
                             uint32_t longest_tokens, levee_error *error);
void candidates_close(candidate_list *list);

#endif
