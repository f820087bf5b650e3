/* From lifetimes to offsets: see pack.h.
 *
 * An order of the items, each put at the lowest offset where it fits among those already placed, gives a packing;
 * every optimal packing is given by some order (its own, by offset). So the search is one for an order.
 *
 * What makes it fast is where the placed items are kept: time is cut into spans, an item that lives in one or two of
 * them is kept with those, and the few that live longer are kept in one list of their own. To place an item, only the
 * long-lived ones and those of its own spans are looked at, from the lowest offset upwards. */
#include "graph/pack.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

enum {
    EXACT_ITEMS = 8, /* up to here every order is tried */
    MOST_SPANS = 256,
    ITEMS_PER_SPAN = 32,
    LONG_LIVED = 2, /* an item that reaches over more than this many spans */
    /* How long the local search may go on: placed items looked at, and packings begun. */
    LOOKS_PER_ITEM = 3000,
    LEAST_LOOKS = 16000000,
    MOST_ATTEMPTS = 20000
};

/* An item that takes room. */
typedef struct member {
    uint64_t bytes; /* rounded up */
    uint32_t first, last;
    uint32_t first_span, last_span;
    uint32_t item; /* its index */
} member;

typedef struct block {
    uint64_t offset, end;
    uint32_t first, last;
} block;

/* Placed members by rising offset. */
typedef struct shelf {
    block *blocks;
    uint32_t count;
    uint32_t next; /* while one item is placed: the first block not yet looked at */
} shelf;

typedef struct sort_key {
    double key, then;
    uint32_t member;
} sort_key;

typedef struct packer {
    member *members;
    uint32_t count;
    uint32_t span_count;
    uint32_t *span_starts; /* [span_count] the first instruction of each; the first one is 0 */
    shelf *shelves;        /* [span_count + 1], the last one for what is long-lived */
    block *blocks;         /* behind the shelves */
    uint32_t *order, *best_order;
    uint64_t *offsets, *best_offsets; /* by member */
    sort_key *keys;
    uint64_t best_peak, lower_bound;
    uint64_t looks; /* done so far */
} packer;

static bool is_long_lived(const member *m) { return m->last_span - m->first_span >= LONG_LIVED; }

/* Raises `offset` past the blocks of a shelf that are in the way of m, as far as they begin below its end. */
static uint64_t rise(packer *p, shelf *s, const member *m, uint64_t offset) {
    uint32_t i = s->next;
    for (; i < s->count && s->blocks[i].offset < offset + m->bytes; i++) {
        const block *b = &s->blocks[i];
        if (b->end > offset && b->first <= m->last && m->first <= b->last) offset = b->end;
    }
    p->looks += i - s->next + 1;
    s->next = i;
    return offset;
}

static uint64_t lowest_fit(packer *p, const member *m) {
    shelf *long_lived = &p->shelves[p->span_count];
    uint64_t offset = 0, before;
    long_lived->next = 0;
    for (uint32_t s = m->first_span; s <= m->last_span; s++) p->shelves[s].next = 0;
    do {
        before = offset;
        offset = rise(p, long_lived, m, offset);
        for (uint32_t s = m->first_span; s <= m->last_span; s++) offset = rise(p, &p->shelves[s], m, offset);
    } while (offset != before);
    return offset;
}

static void put_on(shelf *s, const block *b) {
    uint32_t low = 0, high = s->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->blocks[middle].offset <= b->offset)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(s->blocks + low + 1, s->blocks + low, (s->count - low) * sizeof *s->blocks);
    s->blocks[low] = *b;
    s->count++;
}

static uint64_t place(packer *p, uint32_t index) {
    const member *m = &p->members[index];
    block b = {.offset = lowest_fit(p, m), .first = m->first, .last = m->last};
    b.end = b.offset + m->bytes;
    p->offsets[index] = b.offset;
    if (is_long_lived(m))
        put_on(&p->shelves[p->span_count], &b);
    else
        for (uint32_t s = m->first_span; s <= m->last_span; s++) put_on(&p->shelves[s], &b);
    return b.end;
}

static void keep_best(packer *p, uint64_t peak) {
    if (peak >= p->best_peak) return;
    p->best_peak = peak;
    memcpy(p->best_offsets, p->offsets, p->count * sizeof *p->offsets);
    memcpy(p->best_order, p->order, p->count * sizeof *p->order);
}

/* Packs in p->order, until an item ends at or above `limit`: then says false and gives that item's place in the
 * order. */
static bool pack_in_order(packer *p, uint64_t limit, uint32_t *failed) {
    uint64_t peak = 0;
    for (uint32_t s = 0; s <= p->span_count; s++) p->shelves[s].count = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        uint64_t end = place(p, p->order[i]);
        if (end > peak) peak = end;
        if (end >= limit) {
            *failed = i;
            return false;
        }
    }
    keep_best(p, peak);
    return true;
}

static int compare_keys(const void *left, const void *right) {
    const sort_key *a = left, *b = right;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    if (a->then != b->then) return a->then > b->then ? -1 : 1;
    return a->member < b->member ? -1 : a->member > b->member;
}

typedef enum greedy { BY_SIZE, BY_LIFETIME, BY_AREA, BY_START, BY_END, GREEDY_COUNT } greedy;

static void greedy_order(packer *p, greedy kind) {
    for (uint32_t i = 0; i < p->count; i++) {
        const member *m = &p->members[i];
        double size = (double)m->bytes, life = (double)(m->last - m->first) + 1;
        double key = 0, then = kind == BY_SIZE ? life : size;
        switch (kind) {
        case BY_SIZE:
            key = size;
            break;
        case BY_LIFETIME:
            key = life;
            break;
        case BY_AREA:
            key = size * life;
            break;
        case BY_START:
            key = -(double)m->first;
            break;
        case BY_END:
            key = (double)m->last;
            break;
        case GREEDY_COUNT:
            break;
        }
        p->keys[i] = (sort_key){key, then, i};
    }
    qsort(p->keys, p->count, sizeof *p->keys, compare_keys);
    for (uint32_t i = 0; i < p->count; i++) p->order[i] = p->keys[i].member;
}

/* An order that fails is mended by moving the item that failed towards the front, to a random place: what was placed
 * before it left it no room. At first the aim is half-way to the bound, which fails early and so tries much; when
 * half of the time is gone, any improvement will do. */
static void search_locally(packer *p) {
    uint64_t looks = (uint64_t)p->count * LOOKS_PER_ITEM, random = 1;
    if (looks < LEAST_LOOKS) looks = LEAST_LOOKS;
    memcpy(p->order, p->best_order, p->count * sizeof *p->order);
    for (uint32_t attempt = 0; attempt < MOST_ATTEMPTS && p->looks < looks; attempt++) {
        uint64_t excess = p->best_peak - p->lower_bound;
        if (!excess) return;
        uint32_t failed;
        if (pack_in_order(p, p->looks < looks / 2 ? p->lower_bound + (excess + 1) / 2 : p->best_peak, &failed))
            continue;
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t to = failed ? (uint32_t)((random >> 33) % failed) : 0, moved = p->order[failed];
        memmove(p->order + to + 1, p->order + to, (failed - to) * sizeof *p->order);
        p->order[to] = moved;
    }
}

/* Trying every order. */
typedef struct exact_search {
    const packer *p;
    uint64_t offsets[EXACT_ITEMS], best_offsets[EXACT_ITEMS];
    uint64_t best_peak;
    uint32_t placed[EXACT_ITEMS];
} exact_search;

static uint64_t exact_fit(const exact_search *e, uint32_t index, uint32_t depth) {
    const member *m = &e->p->members[index];
    uint64_t offset = 0; /* placed members stand by rising offset */
    for (uint32_t i = 0; i < depth; i++) {
        uint32_t other = e->placed[i];
        const member *o = &e->p->members[other];
        if (o->first > m->last || m->first > o->last) continue;
        if (e->offsets[other] >= offset + m->bytes) break;
        if (e->offsets[other] + o->bytes > offset) offset = e->offsets[other] + o->bytes;
    }
    return offset;
}

/* Extends the packing of `depth` members by every other one. A packing whose offsets have the smallest sum among the
 * optimal ones is met when its members are placed by rising offset, so an offset below the last one ends the branch.
 */
static void try_orders(exact_search *e, uint32_t depth, uint32_t used, uint64_t peak) {
    uint32_t count = e->p->count;
    if (depth == count) {
        e->best_peak = peak;
        memcpy(e->best_offsets, e->offsets, sizeof e->offsets);
        return;
    }
    for (uint32_t i = 0; i < count && e->best_peak > e->p->lower_bound; i++) {
        if (used >> i & 1) continue;
        uint64_t offset = exact_fit(e, i, depth), end = offset + e->p->members[i].bytes;
        if (end >= e->best_peak || (depth && offset < e->offsets[e->placed[depth - 1]])) continue;
        e->offsets[i] = offset;
        e->placed[depth] = i;
        try_orders(e, depth + 1, used | UINT32_C(1) << i, end > peak ? end : peak);
    }
}

static void search_exactly(packer *p) {
    exact_search e = {.p = p, .best_peak = p->best_peak};
    try_orders(&e, 0, 0, 0);
    if (e.best_peak >= p->best_peak) return;
    p->best_peak = e.best_peak;
    memcpy(p->best_offsets, e.best_offsets, p->count * sizeof *p->best_offsets);
}

static void search(packer *p) {
    uint32_t failed;
    for (greedy kind = 0; kind < GREEDY_COUNT && p->best_peak > p->lower_bound; kind++) {
        greedy_order(p, kind);
        pack_in_order(p, p->best_peak, &failed);
    }
    if (p->count <= EXACT_ITEMS)
        search_exactly(p);
    else
        search_locally(p);
}

static int compare_instructions(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static uint32_t span_of(const packer *p, uint32_t instruction) {
    uint32_t low = 0, high = p->span_count - 1;
    while (low < high) {
        uint32_t middle = (low + high + 1) / 2;
        if (p->span_starts[middle] <= instruction)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Cuts time so that about as many members begin in each span, and makes a shelf for each. `starts` is scratch
 * [count]. */
static levee_status make_shelves(packer *p, uint32_t *starts, levee_error *error) {
    for (uint32_t i = 0; i < p->count; i++) starts[i] = p->members[i].first;
    qsort(starts, p->count, sizeof *starts, compare_instructions);
    for (uint32_t s = 1; s < p->span_count; s++) p->span_starts[s] = starts[(uint64_t)s * p->count / p->span_count];
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        member *m = &p->members[i];
        m->first_span = span_of(p, m->first);
        m->last_span = span_of(p, m->last);
        uint32_t shelves = is_long_lived(m) ? 1 : m->last_span - m->first_span + 1;
        for (uint32_t s = 0; s < shelves; s++)
            p->shelves[is_long_lived(m) ? p->span_count : m->first_span + s].count++;
        blocks += shelves;
    }
    p->blocks = ledger_alloc_array(LEVEE_RUNTIME, blocks, sizeof *p->blocks);
    if (!p->blocks) return error_out_of_memory(error, "packing the plan", blocks * sizeof *p->blocks);
    block *next = p->blocks;
    for (uint32_t s = 0; s <= p->span_count; s++) {
        p->shelves[s].blocks = next;
        next += p->shelves[s].count;
    }
    return LEVEE_OK;
}

/* Takes over the items that take room; refuses what cannot be packed. */
static levee_status take_members(packer *p, const pack_item *items, uint32_t count, uint64_t alignment,
                                 levee_error *error) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bytes;
        if (items[i].last < items[i].first)
            return error_set(error, LEVEE_INTERNAL, "plan: buffer %u dies at instruction %u, before its birth at %u",
                             i, items[i].last, items[i].first);
        if (__builtin_add_overflow(items[i].bytes, alignment - 1, &bytes) ||
            __builtin_add_overflow(total, bytes & ~(alignment - 1), &total))
            return error_set(error, LEVEE_DOES_NOT_FIT,
                             "plan: the buffers up to number %u have more bytes than can be addressed; "
                             "give a smaller --batch-size or --max-seq-length",
                             i);
        if (!items[i].bytes) continue;
        p->members[p->count++] =
            (member){.bytes = bytes & ~(alignment - 1), .first = items[i].first, .last = items[i].last, .item = i};
    }
    return LEVEE_OK;
}

static levee_status open_packer(packer *p, const pack_item *items, uint32_t count, uint64_t alignment,
                                levee_error *error) {
    p->best_peak = UINT64_MAX;
    p->members = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->members);
    p->order = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->order);
    p->best_order = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->best_order);
    p->offsets = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->offsets);
    p->best_offsets = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->best_offsets);
    p->keys = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *p->keys);
    p->span_count = count / ITEMS_PER_SPAN;
    if (p->span_count > MOST_SPANS) p->span_count = MOST_SPANS;
    if (!p->span_count) p->span_count = 1;
    p->span_starts = ledger_alloc_array(LEVEE_RUNTIME, p->span_count, sizeof *p->span_starts);
    p->shelves = ledger_alloc_array(LEVEE_RUNTIME, p->span_count + 1, sizeof *p->shelves);
    if (!p->members || !p->order || !p->best_order || !p->offsets || !p->best_offsets || !p->keys ||
        !p->span_starts || !p->shelves)
        return error_out_of_memory(error, "packing the plan", count * sizeof *p->members);
    levee_status status = take_members(p, items, count, alignment, error);
    if (status == LEVEE_OK) status = make_shelves(p, p->order, error);
    return status;
}

static void close_packer(packer *p) {
    ledger_free(p->members);
    ledger_free(p->order);
    ledger_free(p->best_order);
    ledger_free(p->offsets);
    ledger_free(p->best_offsets);
    ledger_free(p->keys);
    ledger_free(p->span_starts);
    ledger_free(p->shelves);
    ledger_free(p->blocks);
}

levee_status pack_offsets(pack_item *items, uint32_t count, uint64_t alignment, uint64_t *peak_bytes,
                          levee_error *error) {
    *peak_bytes = 0;
    if (!alignment || alignment & (alignment - 1))
        return error_set(error, LEVEE_INTERNAL, "plan: an alignment of %llu bytes is no power of two",
                         (unsigned long long)alignment);
    if (!count) return LEVEE_OK;
    packer p = {0};
    levee_status status = open_packer(&p, items, count, alignment, error);
    if (status == LEVEE_OK) {
        for (uint32_t i = 0; i < count; i++) items[i].offset = 0;
        if (p.count) {
            p.lower_bound = pack_lower_bound(items, count, alignment, NULL);
            search(&p);
            *peak_bytes = p.best_peak;
        }
        for (uint32_t i = 0; i < p.count; i++) items[p.members[i].item].offset = p.best_offsets[i];
    }
    close_packer(&p);
    return status;
}

/* A birth or a death. */
typedef struct event {
    uint32_t instruction, item;
} event;

static int compare_events(const void *left, const void *right) {
    const event *a = left, *b = right;
    if (a->instruction != b->instruction) return a->instruction < b->instruction ? -1 : 1;
    return (a->item > b->item) - (a->item < b->item);
}

/* The births [count] and then the deaths [count] of all items, each in order; NULL when memory is refused. */
static event *make_events(const pack_item *items, uint32_t count) {
    event *births = ledger_alloc_array(LEVEE_RUNTIME, 2 * (uint64_t)count, sizeof *births);
    if (!births) return NULL;
    event *deaths = births + count;
    for (uint32_t i = 0; i < count; i++) {
        births[i] = (event){items[i].first, i};
        deaths[i] = (event){items[i].last, i};
    }
    qsort(births, count, sizeof *births, compare_events);
    qsort(deaths, count, sizeof *deaths, compare_events);
    return births;
}

/* UINT64_MAX when that overflows, and then the bound is that too. */
static uint64_t rounded(uint64_t bytes, uint64_t alignment) {
    return bytes > UINT64_MAX - (alignment - 1) ? UINT64_MAX : (bytes + alignment - 1) & ~(alignment - 1);
}

static uint64_t live_at(const pack_item *items, uint32_t count, uint64_t alignment, uint32_t instruction) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < count; i++)
        if (items[i].first <= instruction && instruction <= items[i].last &&
            __builtin_add_overflow(live, rounded(items[i].bytes, alignment), &live))
            return UINT64_MAX;
    return live;
}

/* The bound where instructions are numbered without large holes: by what comes and goes at each. False when memory is
 * refused, or sizes might overflow, or there are too many instructions for that. */
static bool bound_by_instruction(const pack_item *items, uint32_t count, uint64_t alignment, uint64_t *most,
                                 uint32_t *where) {
    enum { INSTRUCTIONS_PER_ITEM = 16 };
    uint64_t total = 0;
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(total, rounded(items[i].bytes, alignment), &total)) return false;
        if (items[i].last > end) end = items[i].last;
        if (items[i].first > items[i].last) return false;
    }
    if (end / INSTRUCTIONS_PER_ITEM > count) return false;
    uint64_t *change =
        ledger_alloc_array(LEVEE_RUNTIME, (uint64_t)end + 2, sizeof *change); /* wraps around below 0 */
    if (!change) return false;
    for (uint32_t i = 0; i < count; i++) {
        change[items[i].first] += rounded(items[i].bytes, alignment);
        change[items[i].last + 1] -= rounded(items[i].bytes, alignment);
    }
    uint64_t live = 0;
    *most = 0;
    *where = 0;
    for (uint32_t at = 0; at <= end; at++) {
        live += change[at];
        if (live <= *most) continue;
        *most = live;
        *where = at;
    }
    ledger_free(change);
    return true;
}

static uint64_t bound_by_events(const pack_item *items, uint32_t count, uint64_t alignment, uint32_t *where) {
    uint64_t most = 0, live = 0;
    *where = 0;
    event *births = make_events(items, count), *deaths = births ? births + count : NULL;
    for (uint32_t i = 0, dead = 0; i < count; i++) {
        uint32_t now = births ? births[i].instruction : items[i].first;
        if (births) {
            for (; deaths[dead].instruction < now; dead++) live -= rounded(items[deaths[dead].item].bytes, alignment);
            if (__builtin_add_overflow(live, rounded(items[births[i].item].bytes, alignment), &live)) {
                most = UINT64_MAX;
                *where = now;
                break;
            }
        } else {
            live = live_at(items, count, alignment, now); /* without memory: slower, and as right */
        }
        if (live > most || (live == most && now < *where)) {
            most = live;
            *where = now;
        }
    }
    ledger_free(births);
    return most;
}

uint64_t pack_lower_bound(const pack_item *items, uint32_t count, uint64_t alignment, uint32_t *instruction) {
    uint64_t most;
    uint32_t where;
    if (!bound_by_instruction(items, count, alignment, &most, &where))
        most = bound_by_events(items, count, alignment, &where);
    if (instruction) *instruction = where;
    return most;
}

/* The place in `live`, item indices by rising offset, of the first item at or above `offset`. */
static uint32_t find_place(const pack_item *items, const uint32_t *live, uint32_t live_count, uint64_t offset) {
    uint32_t low = 0, high = live_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (items[live[middle]].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Walks through time with the items that are alive, by offset. These never overlap, or the walk has ended: so a
 * newborn need only be compared with its two neighbours. */
static levee_status sweep(const pack_item *items, uint32_t count, const event *births, uint32_t *live,
                          levee_error *error) {
    const event *deaths = births + count;
    uint32_t live_count = 0;
    for (uint32_t i = 0, dead = 0; i < count; i++) {
        for (; deaths[dead].instruction < births[i].instruction; dead++) {
            const pack_item *gone = &items[deaths[dead].item];
            if (!gone->bytes) continue;
            uint32_t place = find_place(items, live, live_count, gone->offset);
            live_count--;
            memmove(live + place, live + place + 1, (live_count - place) * sizeof *live);
        }
        uint32_t born = births[i].item, other = born;
        const pack_item *item = &items[born];
        if (!item->bytes) continue;
        uint32_t place = find_place(items, live, live_count, item->offset);
        if (place < live_count && items[live[place]].offset < item->offset + item->bytes) other = live[place];
        if (place && items[live[place - 1]].offset + items[live[place - 1]].bytes > item->offset)
            other = live[place - 1];
        if (other != born)
            return error_set(error, LEVEE_INTERNAL, "plan: buffers %u and %u overlap while both are alive", other,
                             born);
        memmove(live + place + 1, live + place, (live_count - place) * sizeof *live);
        live[place] = born;
        live_count++;
    }
    return LEVEE_OK;
}

levee_status pack_verify(const pack_item *items, uint32_t count, levee_error *error) {
    for (uint32_t i = 0; i < count; i++)
        if (items[i].last < items[i].first || items[i].bytes > UINT64_MAX - items[i].offset)
            return error_set(error, LEVEE_INTERNAL, "plan: buffer %u has no sound lifetime or place", i);
    event *births = make_events(items, count);
    uint32_t *live = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *live);
    levee_status status =
        births && live ? sweep(items, count, births, live, error)
                       : error_out_of_memory(error, "checking the plan", count * (2 * sizeof *births + sizeof *live));
    ledger_free(births);
    ledger_free(live);
    return status;
}
