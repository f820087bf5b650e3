/* From lifetimes to offsets: see pack.h.
 *
 * An order of the items, each put at the lowest offset where it fits among those already placed, gives a packing; every
 * optimal packing is given by some order (its own, by offset). So the search is one for an order. */
#include "graph/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

enum { EXACT_ITEMS = 8, REPAIRS = 40 };

typedef struct packer {
    const pack_item *items;
    uint64_t alignment;
    uint32_t count;
    uint32_t *order, *best_order;
    uint64_t *offsets, *best_offsets; /* by item */
    uint32_t *placed;                 /* items placed so far, by rising offset */
    uint64_t best_peak, lower_bound;
} packer;

static uint64_t rounded(const packer *p, uint32_t item) {
    return (p->items[item].bytes + p->alignment - 1) & ~(p->alignment - 1);
}

static bool meet(const pack_item *a, const pack_item *b) { return a->first <= b->last && b->first <= a->last; }

/* The lowest offset at which `item` fits among the first `placed_count` placed; inserts it there. */
static uint64_t place(packer *p, uint32_t item, uint32_t placed_count) {
    uint64_t bytes = rounded(p, item), offset = 0;
    for (uint32_t i = 0; i < placed_count; i++) {
        uint32_t other = p->placed[i];
        if (!meet(&p->items[item], &p->items[other])) continue;
        if (p->offsets[other] >= offset + bytes) break;
        uint64_t end = p->offsets[other] + rounded(p, other);
        if (end > offset) offset = end;
    }
    p->offsets[item] = offset;
    uint32_t low = 0, high = placed_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (p->offsets[p->placed[middle]] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(p->placed + low + 1, p->placed + low, (placed_count - low) * sizeof *p->placed);
    p->placed[low] = item;
    return offset + bytes;
}

/* Packs in p->order; gives the peak and keeps the packing when it is the best so far. *top is the place in the order of
 * the item that ends highest. */
static uint64_t pack_in_order(packer *p, uint32_t *top) {
    uint64_t peak = 0;
    *top = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        uint64_t end = place(p, p->order[i], i);
        if (end > peak) {
            peak = end;
            *top = i;
        }
    }
    if (peak < p->best_peak) {
        p->best_peak = peak;
        memcpy(p->best_offsets, p->offsets, p->count * sizeof *p->offsets);
        memcpy(p->best_order, p->order, p->count * sizeof *p->order);
    }
    return peak;
}

/* Tries every order of the items from `depth` on, leaving out branches that cannot improve. */
static void search_all(packer *p, uint32_t depth, uint64_t peak) {
    if (p->best_peak == p->lower_bound || peak >= p->best_peak) return;
    if (depth == p->count) {
        p->best_peak = peak;
        memcpy(p->best_offsets, p->offsets, p->count * sizeof *p->offsets);
        return;
    }
    uint32_t kept[EXACT_ITEMS];
    for (uint32_t i = depth; i < p->count; i++) {
        uint32_t chosen = p->order[i];
        p->order[i] = p->order[depth];
        p->order[depth] = chosen;
        memcpy(kept, p->placed, depth * sizeof *kept);
        uint64_t end = place(p, chosen, depth);
        search_all(p, depth + 1, end > peak ? end : peak);
        memcpy(p->placed, kept, depth * sizeof *kept);
        p->order[depth] = p->order[i];
        p->order[i] = chosen;
    }
}

/* What a greedy order looks at, largest first. */
typedef struct sort_key {
    double key;
    uint32_t item;
} sort_key;

static int compare_keys(const void *left, const void *right) {
    const sort_key *a = left, *b = right;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

typedef enum greedy { BY_SIZE, BY_LIFETIME, BY_AREA, BY_START, GREEDY_COUNT } greedy;

static void greedy_order(packer *p, greedy kind, sort_key *keys) {
    for (uint32_t i = 0; i < p->count; i++) {
        double size = (double)rounded(p, i), life = (double)(p->items[i].last - p->items[i].first + 1);
        /* Large items first among equals, so that small ones fill what is left. */
        double key = kind == BY_SIZE ? size + life * 1e-6
                     : kind == BY_LIFETIME ? life + size * 1e-15
                     : kind == BY_AREA ? size * life
                                       : -(double)p->items[i].first + size * 1e-15;
        keys[i] = (sort_key){key, i};
    }
    qsort(keys, p->count, sizeof *keys, compare_keys);
    for (uint32_t i = 0; i < p->count; i++) p->order[i] = keys[i].item;
}

/* Moves the item that ends highest to the front of the best order and packs again, while that is worth it. */
static void repair(packer *p, uint32_t attempts) {
    uint32_t top;
    memcpy(p->order, p->best_order, p->count * sizeof *p->order);
    pack_in_order(p, &top);
    for (uint32_t i = 0; i < attempts && p->best_peak > p->lower_bound; i++) {
        uint32_t moved = p->order[top];
        uint32_t to = top / 2 < i ? 0 : top / 2; /* half-way first; later all the way */
        if (i % 3 == 2) to = 0;
        memmove(p->order + to + 1, p->order + to, (top - to) * sizeof *p->order);
        p->order[to] = moved;
        pack_in_order(p, &top);
    }
}

static void search(packer *p, sort_key *keys) {
    uint32_t top;
    for (greedy kind = 0; kind < GREEDY_COUNT && p->best_peak > p->lower_bound; kind++) {
        greedy_order(p, kind, keys);
        pack_in_order(p, &top);
    }
    if (p->best_peak == p->lower_bound) return;
    if (p->count <= EXACT_ITEMS)
        search_all(p, 0, 0);
    else
        repair(p, p->count > 4000 ? 4 : p->count > 600 ? REPAIRS / 4 : REPAIRS * 4);
}

levee_status pack_offsets(pack_item *items, uint32_t count, uint64_t alignment, uint64_t *peak_bytes,
                          levee_error *error) {
    *peak_bytes = 0;
    if (!count) return LEVEE_OK;
    packer p = {.items = items, .alignment = alignment, .count = count, .best_peak = UINT64_MAX};
    p.lower_bound = pack_lower_bound(items, count, alignment, NULL);
    p.order = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p.order);
    p.best_order = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p.best_order);
    p.placed = ledger_alloc_array(LEVEE_RUNTIME, (uint64_t)count + 1, sizeof *p.placed);
    p.offsets = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p.offsets);
    p.best_offsets = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p.best_offsets);
    sort_key *keys = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *keys);
    levee_status status = LEVEE_OK;
    if (p.order && p.best_order && p.placed && p.offsets && p.best_offsets && keys) {
        search(&p, keys);
        *peak_bytes = p.best_peak;
        for (uint32_t i = 0; i < count; i++) items[i].offset = p.best_offsets[i];
    } else {
        status = error_out_of_memory(error, "packing the plan", count * sizeof *keys);
    }
    ledger_free(p.order);
    ledger_free(p.best_order);
    ledger_free(p.placed);
    ledger_free(p.offsets);
    ledger_free(p.best_offsets);
    ledger_free(keys);
    return status;
}

uint64_t pack_lower_bound(const pack_item *items, uint32_t count, uint64_t alignment, uint32_t *instruction) {
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].last >= end) end = items[i].last + 1;
    uint64_t most = 0;
    int64_t *change = ledger_alloc_array(LEVEE_RUNTIME, (uint64_t)end + 1, sizeof *change);
    if (instruction) *instruction = 0;
    if (!change) return 0; /* a bound that is too low only makes the search work longer */
    for (uint32_t i = 0; i < count; i++) {
        int64_t bytes = (int64_t)((items[i].bytes + alignment - 1) & ~(alignment - 1));
        change[items[i].first] += bytes;
        change[items[i].last + 1] -= bytes;
    }
    int64_t live = 0;
    for (uint32_t i = 0; i < end; i++) {
        live += change[i];
        if ((uint64_t)live > most) {
            most = (uint64_t)live;
            if (instruction) *instruction = i;
        }
    }
    ledger_free(change);
    return most;
}

levee_status pack_verify(const pack_item *items, uint32_t count, levee_error *error) {
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = i + 1; k < count; k++)
            if (meet(&items[i], &items[k]) && items[i].offset < items[k].offset + items[k].bytes &&
                items[k].offset < items[i].offset + items[i].bytes)
                return error_set(error, LEVEE_INTERNAL, "plan: buffers %u and %u overlap while both are live", i, k);
    return LEVEE_OK;
}
