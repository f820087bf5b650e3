/* What is in memory while a plan runs: for people, who ask which byte is for what. */
#ifndef LEVEE_GRAPH_OCCUPANCY_H
#define LEVEE_GRAPH_OCCUPANCY_H

#include "graph/plan.h"

/* One buffer of a plan's arena that is live at a node. */
typedef struct occupant {
    value_id value;   /* that lies in it then; NO_VALUE: scratch */
    uint32_t made_by; /* the node that wrote it, or whose scratch it is; NO_NODE: an input of the pass */
    uint64_t bytes;   /* padding included */
    levee_category category;
} occupant;

/* Lists what is live while node `at` runs, the largest first: at most `room` of them; *count says how many. */
levee_status occupancy_at(occupant *list, uint32_t room, uint32_t *count, const plan *p, uint32_t at,
                          levee_error *error);

/* Adds up, for each node, what is live while it runs: bytes [node_count][LEVEE_CATEGORY_COUNT]. */
levee_status occupancy_by_node(uint64_t (*bytes)[LEVEE_CATEGORY_COUNT], const plan *p, levee_error *error);

#endif
