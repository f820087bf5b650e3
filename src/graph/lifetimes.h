/* From when to when each value of a graph needs its memory, and which values share a buffer. */
#ifndef LEVEE_GRAPH_LIFETIMES_H
#define LEVEE_GRAPH_LIFETIMES_H

#include "graph/graph.h"

/* The lifetimes of one graph. Values that share a buffer have the same root. */
typedef struct lifetimes {
    value_id *root;
    uint32_t *first, *last; /* nodes, both included; of a root: of all that share its buffer */
} lifetimes;

/* Finds them; closed by lifetimes_close in any case, which accepts a zeroed one. LEVEE_INTERNAL when the graph reads
 * what is not written yet, or must share what is still needed. */
levee_status lifetimes_make(const graph *g, lifetimes *l, levee_error *error);
void lifetimes_close(lifetimes *l);

/* Does the plan, and not the layout or a file, give this value its place? */
bool lifetimes_is_planned(const value *v);

/* Has a value a buffer of its own, or does it only share another's, or nobody need it? */
bool lifetimes_has_buffer(const lifetimes *l, const graph *g, value_id v);

#endif
