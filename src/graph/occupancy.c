/* What is in memory while a plan runs: see occupancy.h. */
#include "graph/occupancy.h"

#include <string.h>

#include "graph/lifetimes.h"

static levee_category category_of(const value *v) {
    return v->role == VALUE_INPUT || v->role == VALUE_OUTPUT ? LEVEE_DATA : LEVEE_ACTIVATIONS;
}

/* Keeps the list in order and within its room. */
static void insert(occupant *list, uint32_t room, uint32_t *count, const occupant *item) {
    uint32_t place = *count;
    while (place && list[place - 1].bytes < item->bytes) place--;
    if (place >= room) return;
    if (*count < room) ++*count;
    memmove(list + place + 1, list + place, (*count - place - 1) * sizeof *list);
    list[place] = *item;
}

/* Of the values that share a buffer, the one that lies in it while a node runs. */
static value_id sharer_at(const plan *p, const lifetimes *l, value_id root, uint32_t at) {
    value_id now = root;
    for (value_id v = 0; v < p->g.value_count; v++) {
        uint32_t made = p->g.values[v].producer;
        if (l->root[v] == root && made != NO_NODE && made <= at && made > p->g.values[now].producer) now = v;
    }
    return now;
}

levee_status occupancy_at(occupant *list, uint32_t room, uint32_t *count, const plan *p, uint32_t at,
                          levee_error *error) {
    lifetimes l = {0};
    *count = 0;
    levee_status status = lifetimes_make(&p->g, &l, error);
    for (value_id v = 0; status == LEVEE_OK && v < p->g.value_count; v++) {
        if (!lifetimes_has_buffer(&l, &p->g, v) || l.first[v] > at || l.last[v] < at) continue;
        insert(list, room, count,
               &(occupant){.value = v,
                           .bytes = plan_round(graph_value_bytes(&p->g.values[v], p->capacity_tokens)),
                           .category = category_of(&p->g.values[v])});
    }
    if (status == LEVEE_OK && p->scratch_bytes[at])
        insert(list, room, count,
               &(occupant){.value = NO_VALUE,
                           .made_by = at,
                           .bytes = plan_round(p->scratch_bytes[at]),
                           .category = LEVEE_WORKSPACE});
    for (uint32_t i = 0; i < *count; i++) {
        if (list[i].value == NO_VALUE) continue;
        list[i].value = sharer_at(p, &l, list[i].value, at);
        list[i].made_by = p->g.values[list[i].value].producer;
    }
    lifetimes_close(&l);
    return status;
}

levee_status occupancy_by_node(uint64_t (*bytes)[LEVEE_CATEGORY_COUNT], const plan *p, levee_error *error) {
    const graph *g = &p->g;
    lifetimes l = {0};
    memset(bytes, 0, g->node_count * sizeof *bytes);
    levee_status status = lifetimes_make(g, &l, error);
    for (value_id v = 0; status == LEVEE_OK && v < g->value_count; v++) {
        if (!lifetimes_has_buffer(&l, &p->g, v)) continue;
        uint64_t taken = plan_round(graph_value_bytes(&g->values[v], p->capacity_tokens));
        for (uint32_t i = l.first[v]; i <= l.last[v]; i++) bytes[i][category_of(&g->values[v])] += taken;
    }
    for (uint32_t i = 0; status == LEVEE_OK && i < g->node_count; i++)
        bytes[i][LEVEE_WORKSPACE] += plan_round(p->scratch_bytes[i]);
    lifetimes_close(&l);
    return status;
}
