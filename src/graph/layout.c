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

/* Where a name is, or belongs: a model of 80 layers has thousands of entries, which every plan looks for. */
static uint32_t *find_slot(const layout *l, const char *name) {
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3ull;
    uint32_t i = (uint32_t)(hash ^ hash >> 32) & (l->slot_count - 1);
    while (l->slots[i] && strcmp(l->entries[l->slots[i] - 1].name, name)) i = (i + 1) & (l->slot_count - 1);
    return &l->slots[i];
}

/* Half of the slots at least stay free. */
static levee_status open_entries(layout *l, const graph *g, levee_error *error) {
    uint32_t most = 1;
    for (uint32_t i = 0; i < g->value_count; i++) most += layout_is_lasting(g->values[i].role);
    for (l->slot_count = 16; l->slot_count < 2 * most;) l->slot_count *= 2;
    l->entries = ledger_alloc_array(LEVEE_RUNTIME, most, sizeof *l->entries);
    l->slots = ledger_alloc_array(LEVEE_RUNTIME, l->slot_count, sizeof *l->slots);
    if (l->entries && l->slots) return LEVEE_OK;
    layout_close(l);
    return error_out_of_memory(error, "the layout", most * sizeof *l->entries);
}

static void add_entry(layout *l, const value *v, uint64_t offset, uint64_t bytes) {
    layout_entry *entry = &l->entries[l->count++];
    memcpy(entry->name, v->name, sizeof entry->name);
    entry->role = v->role;
    entry->space = v->space;
    entry->offset = offset;
    entry->bytes = bytes;
    entry->rows = v->rows;
    entry->cols = v->cols;
    uint32_t *slot = find_slot(l, v->name);
    if (!*slot) *slot = l->count; /* of two of one name the first is found */
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
    levee_status status = open_entries(result, g, error);
    if (status != LEVEE_OK) return status;
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
    ledger_free(l->slots);
    memset(l, 0, sizeof *l);
}

const layout_entry *layout_find(const layout *l, const char *name) {
    uint32_t found = l->slots ? *find_slot(l, name) : 0;
    return found ? &l->entries[found - 1] : NULL;
}
