/* The layout of what lives as long as the run: constants, parameters, gradients, moments and caches.
 *
 * It lies below the activations of every plan, at the same offsets whatever the plan, so that plans can be exchanged
 * in the middle of a run. Parameters lie contiguously in the order of the graph, layer by layer; gradients and both
 * moments mirror them element by element, so that one fused update serves all:
 *
 *   gradient offset of p   = gradients_offset + (offset of p - parameters_offset)
 *   first moment of p      = first_moments_offset + (offset of p - parameters_offset)
 *   second moment of p     = second_moments_offset + (offset of p - parameters_offset) */
#ifndef LEVEE_GRAPH_LAYOUT_H
#define LEVEE_GRAPH_LAYOUT_H

#include "graph/graph.h"

typedef struct layout_entry {
    char name[VALUE_NAME_BYTES];
    value_role role;
    value_space space;
    uint64_t offset, bytes; /* padding included */
    uint64_t rows, cols;
} layout_entry;

typedef struct layout {
    layout_entry *entries;
    uint32_t count;
    uint32_t *slots; /* [slot_count], by the hash of a name: the entry's index and 1, or 0 */
    uint32_t slot_count;
    value_space space; /* of parameters, gradients and moments */
    uint64_t parameters_offset, gradients_offset, first_moments_offset, second_moments_offset;
    uint64_t parameters_bytes; /* of the whole contiguous block, padding included (which stays zero) */
    uint64_t total_bytes[SPACE_COUNT];
    uint64_t category_bytes[LEVEE_CATEGORY_COUNT];
} layout;

/* Lays out the lasting values of `g`; with `training`, room for the gradients and moments of its parameters too.
 * layout_close frees, and accepts a zeroed layout. */
levee_status layout_make(layout *result, const graph *g, bool training, levee_error *error);
void layout_close(layout *l);

/* The entry of a lasting value, found by its name; NULL when there is none. */
const layout_entry *layout_find(const layout *l, const char *name);

/* Does a value of this role live as long as the run? */
bool layout_is_lasting(value_role role);

#endif
