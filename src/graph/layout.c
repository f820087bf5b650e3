/* Offsets of what lives as long as the run: see layout.h. */
#include "graph/layout.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

/* Every value starts on a cache line, for vector loads and so that threads do not share lines. */
enum { LAYOUT_ALIGNMENT = 64 };

static uint64_t align(uint64_t bytes) { return (bytes + LAYOUT_ALIGNMENT - 1) & ~(uint64_t)(LAYOUT_ALIGNMENT - 1); }

bool layout_is_lasting(value_role role) {
    return role == VALUE_CONSTANT || role == VALUE_PARAMETER || role == VALUE_GRADIENT || role == VALUE_CACHE;
}

static layout_entry *add_entry(layout *l, const value *v, uint64_t offset, uint64_t bytes) {
    layout_entry *entry = &l->entries[l->count++];
    memcpy(entry->name, v->name, sizeof entry->name);
    entry->role = v->role;
    entry->space = v->space;
    entry->offset = offset;
    entry->bytes = bytes;
    entry->rows = v->rows;
    entry->cols = v->cols;
    return entry;
}

/* Appends all values of one role to their spaces. */
static void add_role(layout *l, const graph *g, value_role role, levee_category category) {
    for (uint32_t i = 0; i < g->value_count; i++) {
        const value *v = &g->values[i];
        if (v->role != role) continue;
        uint64_t bytes = align(graph_value_bytes(v, 0));
        add_entry(l, v, l->total_bytes[v->space], bytes);
        l->total_bytes[v->space] += bytes;
        l->category_bytes[category] += bytes;
    }
}

/* Takes another block as large as the parameters' and returns where it starts. */
static uint64_t mirror_block(layout *l, levee_category category) {
    uint64_t offset = l->total_bytes[l->space];
    l->total_bytes[l->space] += l->parameters_bytes;
    l->category_bytes[category] += l->parameters_bytes;
    return offset;
}

static void add_gradients(layout *l, const graph *g) {
    for (uint32_t i = 0; i < g->value_count; i++) {
        const value *v = &g->values[i];
        if (v->role != VALUE_PARAMETER || v->gradient == NO_VALUE) continue;
        const layout_entry *parameter = layout_find(l, v->name);
        add_entry(l, &g->values[v->gradient], l->gradients_offset + (parameter->offset - l->parameters_offset),
                  parameter->bytes);
    }
}

levee_status layout_make(layout *result, const graph *g, bool training, levee_error *error) {
    memset(result, 0, sizeof *result);
    result->space = g->compute_space;
    result->entries = ledger_alloc_array(LEVEE_RUNTIME, g->value_count ? g->value_count : 1, sizeof *result->entries);
    if (!result->entries) return error_out_of_memory(error, "the layout", g->value_count * sizeof *result->entries);
    add_role(result, g, VALUE_CONSTANT, LEVEE_WEIGHTS);
    add_role(result, g, VALUE_CACHE, LEVEE_ACTIVATIONS);
    result->parameters_offset = result->total_bytes[result->space];
    add_role(result, g, VALUE_PARAMETER, LEVEE_TRAINABLE);
    result->parameters_bytes = result->total_bytes[result->space] - result->parameters_offset;
    if (training) {
        result->gradients_offset = mirror_block(result, LEVEE_GRADIENTS);
        result->first_moments_offset = mirror_block(result, LEVEE_OPTIMIZER);
        result->second_moments_offset = mirror_block(result, LEVEE_OPTIMIZER);
        add_gradients(result, g);
    }
    return LEVEE_OK;
}

void layout_close(layout *l) {
    ledger_free(l->entries);
    memset(l, 0, sizeof *l);
}

const layout_entry *layout_find(const layout *l, const char *name) {
    for (uint32_t i = 0; i < l->count; i++)
        if (!strcmp(l->entries[i].name, name)) return &l->entries[i];
    return NULL;
}
