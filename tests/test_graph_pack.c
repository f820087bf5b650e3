/* Packing lifetimes into offsets: against exhaustive search where that is possible, against the bound where it is
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "graph/pack.h"
#include "memory/ledger.h"

enum { ALIGNMENT = 64 };

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [low, high]. */
static uint32_t random_between(uint64_t *state, uint32_t low, uint32_t high) {
    return low + (uint32_t)(next_random(state) % (high - low + 1));
}

/* The packer's own time, whatever else runs on the machine. */
static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t round_up(uint64_t bytes, uint64_t alignment) {
    return (bytes + alignment - 1) / alignment * alignment;
}

/* Overlaps found pair by pair, and the promises of pack_offsets; pack_verify must agree. */
static void assert_packed(const pack_item *items, uint32_t count, uint64_t alignment, uint64_t peak) {
    uint64_t highest = 0;
    for (uint32_t i = 0; i < count; i++) {
        const pack_item *a = &items[i];
        assert_int_equal(a->offset % alignment, 0);
        if (a->bytes && a->offset + round_up(a->bytes, alignment) > highest)
            highest = a->offset + round_up(a->bytes, alignment);
        for (uint32_t k = i + 1; k < count; k++) {
            const pack_item *b = &items[k];
            bool together = a->first <= b->last && b->first <= a->last;
            bool overlap = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            if (a->bytes && b->bytes && together && overlap) fail_msg("%u and %u overlap", i, k);
        }
    }
    assert_int_equal(highest, peak);
    levee_error error = {0};
    if (pack_verify(items, count, &error) != LEVEE_OK) fail_msg("%s", error.message);
}

/* --- A little graph that records when values are written and last read --- */

typedef struct recorder {
    pack_item *items;
    uint32_t count, capacity, now;
} recorder;

enum { NOTHING = UINT32_MAX };

static uint32_t record(recorder *r, uint64_t bytes) {
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? r->capacity * 2 : 256;
        r->items = realloc(r->items, r->capacity * sizeof *r->items);
        assert_non_null(r->items);
    }
    r->items[r->count] = (pack_item){.bytes = bytes, .first = r->now, .last = r->now};
    return r->count++;
}

static void use(recorder *r, uint32_t item) {
    if (item != NOTHING) r->items[item].last = r->now;
}

/* One instruction: reads up to three values, writes one, with scratch. */
static uint32_t run(recorder *r, uint64_t bytes, uint64_t scratch, uint32_t a, uint32_t b, uint32_t c) {
    r->now++;
    use(r, a);
    use(r, b);
    use(r, c);
    if (scratch) record(r, scratch);
    return record(r, bytes);
}

/* --- Random graphs in the shape of training: activations kept for their backward part, in reverse --- */

enum { MOST_OPERATORS = 20 };

typedef struct random_layer {
    uint32_t operators;
    uint64_t bytes[MOST_OPERATORS], scratch[MOST_OPERATORS], gradient_scratch[MOST_OPERATORS];
    uint32_t reads[MOST_OPERATORS]; /* how many operators back a second input lies */
    bool kept[MOST_OPERATORS];      /* read by its own gradient */
} random_layer;

static void make_layer(random_layer *layer, uint64_t *state, uint32_t kept_percent, uint32_t scratch_percent) {
    uint64_t unit = random_between(state, 500, 20000); /* odd sizes: only the alignment is common to them */
    layer->operators = random_between(state, 4, MOST_OPERATORS);
    for (uint32_t i = 0; i < layer->operators; i++) {
        uint32_t shape = random_between(state, 0, 9);
        layer->bytes[i] = shape < 5 ? unit : shape < 7 ? unit * 3 + 17 : shape < 9 ? unit / 4 + 3 : 4 + unit / 64;
        if (random_between(state, 0, 3) == 0) layer->bytes[i] = random_between(state, 1, 60000);
        layer->scratch[i] = random_between(state, 0, 99) < scratch_percent ? random_between(state, 1, 80000) : 0;
        layer->gradient_scratch[i] =
            random_between(state, 0, 99) < scratch_percent ? random_between(state, 1, 120000) : 0;
        layer->reads[i] = random_between(state, 1, 4);
        layer->kept[i] = random_between(state, 0, 99) < kept_percent;
    }
}

static void forward_layer(recorder *r, const random_layer *layer, uint32_t *outputs, uint32_t x) {
    for (uint32_t i = 0; i < layer->operators; i++) {
        uint32_t back = layer->reads[i];
        outputs[i] = run(r, layer->bytes[i], layer->scratch[i], i ? outputs[i - 1] : x,
                         i >= back ? outputs[i - back] : x, NOTHING);
    }
}

/* The layer's gradients, last operator first; gives the gradient of the layer's input. */
static uint32_t backward_layer(recorder *r, const random_layer *layer, const uint32_t *outputs, uint32_t x,
                               uint32_t gradient) {
    uint32_t of_x = gradient; /* a residual connection: alive until the layer is done */
    for (uint32_t i = layer->operators; i-- > 0;) {
        uint32_t read = layer->kept[i] ? (i ? outputs[i - 1] : x) : NOTHING;
        gradient = run(r, i ? layer->bytes[i - 1] : r->items[x].bytes, layer->gradient_scratch[i], gradient, read,
                       layer->kept[i] ? outputs[i] : NOTHING);
    }
    return run(r, r->items[x].bytes, 0, gradient, of_x, NOTHING);
}

static recorder random_training_graph(uint64_t seed) {
    enum { MOST_LAYERS = 40, KINDS = 2 };
    uint64_t state = seed;
    recorder r = {0};
    random_layer kinds[KINDS];
    uint32_t kept_percent = random_between(&state, 20, 90), scratch_percent = random_between(&state, 0, 50);
    for (uint32_t i = 0; i < KINDS; i++) make_layer(&kinds[i], &state, kept_percent, scratch_percent);
    uint32_t layers = random_between(&state, 2, MOST_LAYERS);
    uint32_t recompute = random_between(&state, 0, 4); /* none, none, all, every second, at random */
    bool mixed = random_between(&state, 0, 2) == 0;    /* two kinds of layer by turns */
    uint32_t outputs[MOST_LAYERS][MOST_OPERATORS], x[MOST_LAYERS + 1];
    bool again[MOST_LAYERS];

    uint32_t inputs[3];
    for (uint32_t i = 0; i < 3; i++) inputs[i] = record(&r, random_between(&state, 100, 3000));
    x[0] = run(&r, kinds[0].bytes[kinds[0].operators - 1], 0, inputs[0], NOTHING, NOTHING);
    for (uint32_t l = 0; l < layers; l++) {
        const random_layer *layer = &kinds[mixed ? l % KINDS : 0];
        again[l] = recompute == 2 || (recompute == 3 && l % 2) || (recompute == 4 && random_between(&state, 0, 1));
        forward_layer(&r, layer, outputs[l], x[l]);
        x[l + 1] = outputs[l][layer->operators - 1];
    }
    uint32_t gradient =
        run(&r, r.items[x[layers]].bytes, random_between(&state, 1, 400000), x[layers], inputs[1], NOTHING);
    for (uint32_t l = layers; l-- > 0;) {
        const random_layer *layer = &kinds[mixed ? l % KINDS : 0];
        if (again[l]) forward_layer(&r, layer, outputs[l], x[l]);
        gradient = backward_layer(&r, layer, outputs[l], x[l], gradient);
    }
    for (uint32_t i = 0; i < 3; i++) use(&r, inputs[i]);
    return r;
}

/* --- The Llama family's graph, operator by operator --- */

typedef struct llama_shape {
    const char *name;
    uint32_t layers, hidden, kv, intermediate, heads, tokens;
    bool full;      /* full fine-tuning; else adapters on q, k, v, o, gate, up and down */
    bool recompute; /* of every layer's inside */
} llama_shape;

typedef struct llama_layer {
    uint32_t x, norm, inverse, q, k, v, attention, sums, middle, norm2, inverse2, gate, up, product, out;
    uint32_t inner[7]; /* of the adapters */
} llama_layer;

typedef struct llama {
    const llama_shape *shape;
    recorder r;
    uint32_t rope;
} llama;

static uint64_t rows_of(const llama *m, uint64_t columns) { return 4 * columns * m->shape->tokens; }

enum { RANK = 8, PANEL_BYTES = 3000000 };

static uint32_t llama_linear(llama *m, uint32_t x, uint64_t columns, uint32_t *inner) {
    uint32_t y = run(&m->r, rows_of(m, columns), PANEL_BYTES, x, NOTHING, NOTHING);
    if (m->shape->full) return y;
    *inner = run(&m->r, rows_of(m, RANK), 4096, x, y, NOTHING);
    return y; /* the adapter's product is added in place */
}

static void llama_forward(llama *m, llama_layer *l, uint32_t x) {
    const llama_shape *s = m->shape;
    recorder *r = &m->r;
    l->x = x;
    l->norm = run(r, rows_of(m, s->hidden), 0, x, NOTHING, NOTHING);
    l->inverse = record(r, rows_of(m, 1));
    l->q = llama_linear(m, l->norm, s->hidden, &l->inner[0]);
    l->k = llama_linear(m, l->norm, s->kv, &l->inner[1]);
    l->v = llama_linear(m, l->norm, s->kv, &l->inner[2]);
    l->q = run(r, rows_of(m, s->hidden), 0, l->q, m->rope, NOTHING);
    l->k = run(r, rows_of(m, s->kv), 0, l->k, m->rope, NOTHING);
    l->attention = run(r, rows_of(m, s->hidden), 777777, l->q, l->k, l->v);
    l->sums = record(r, rows_of(m, s->heads));
    uint32_t projected = llama_linear(m, l->attention, s->hidden, &l->inner[3]);
    l->middle = run(r, rows_of(m, s->hidden), 0, projected, x, NOTHING);
    l->norm2 = run(r, rows_of(m, s->hidden), 0, l->middle, NOTHING, NOTHING);
    l->inverse2 = record(r, rows_of(m, 1));
    l->gate = llama_linear(m, l->norm2, s->intermediate, &l->inner[4]);
    l->up = llama_linear(m, l->norm2, s->intermediate, &l->inner[5]);
    l->product = run(r, rows_of(m, s->intermediate), 0, l->gate, l->up, NOTHING);
    projected = llama_linear(m, l->product, s->hidden, &l->inner[6]);
    l->out = run(r, rows_of(m, s->hidden), 0, projected, l->middle, NOTHING);
}

/* The gradient of a linear operator's input; its weight or its adapter needs x. */
static uint32_t llama_linear_gradient(llama *m, uint32_t dy, uint32_t x, uint32_t inner, uint64_t columns,
                                      uint32_t sum) {
    uint32_t dx = run(&m->r, rows_of(m, columns), m->shape->full ? 2 * PANEL_BYTES : 9000, dy, x, inner);
    use(&m->r, sum);
    if (m->shape->full) return dx;
    return run(&m->r, rows_of(m, columns), PANEL_BYTES, dy, dx, NOTHING);
}

static uint32_t llama_backward(llama *m, llama_layer *l, uint32_t dy) {
    const llama_shape *s = m->shape;
    recorder *r = &m->r;
    if (s->full)
        l->inner[0] = l->inner[1] = l->inner[2] = l->inner[3] = l->inner[4] = l->inner[5] = l->inner[6] = NOTHING;
    uint32_t product = llama_linear_gradient(m, dy, l->product, l->inner[6], s->intermediate, NOTHING);
    uint32_t gate = run(r, rows_of(m, s->intermediate), 0, product, l->gate, l->up);
    uint32_t up = record(r, rows_of(m, s->intermediate));
    uint32_t norm = llama_linear_gradient(m, up, l->norm2, l->inner[5], s->hidden, NOTHING);
    norm = llama_linear_gradient(m, gate, l->norm2, l->inner[4], s->hidden, norm);
    uint32_t middle = run(r, rows_of(m, s->hidden), 0, norm, l->middle, l->inverse2);
    use(r, dy);
    uint32_t attention = llama_linear_gradient(m, middle, l->attention, l->inner[3], s->hidden, NOTHING);
    uint32_t q = run(r, rows_of(m, s->hidden), 555555, attention, l->q, l->k);
    use(r, l->v);
    use(r, l->sums);
    use(r, l->attention);
    uint32_t k = record(r, rows_of(m, s->kv)), v = record(r, rows_of(m, s->kv));
    k = run(r, rows_of(m, s->kv), 0, k, m->rope, NOTHING);
    q = run(r, rows_of(m, s->hidden), 0, q, m->rope, NOTHING);
    norm = llama_linear_gradient(m, v, l->norm, l->inner[2], s->hidden, NOTHING);
    norm = llama_linear_gradient(m, k, l->norm, l->inner[1], s->hidden, norm);
    norm = llama_linear_gradient(m, q, l->norm, l->inner[0], s->hidden, norm);
    uint32_t dx = run(r, rows_of(m, s->hidden), 0, norm, l->x, l->inverse);
    use(r, middle);
    return dx;
}

static recorder llama_graph(const llama_shape *shape) {
    llama m = {.shape = shape};
    recorder *r = &m.r;
    llama_layer *layers = calloc(shape->layers, sizeof *layers);
    assert_non_null(layers);
    uint32_t ids = record(r, rows_of(&m, 1)), labels = record(r, rows_of(&m, 1)), starts = record(r, rows_of(&m, 1));
    m.rope = run(r, rows_of(&m, shape->hidden / shape->heads), 0, starts, NOTHING, NOTHING);
    uint32_t x = run(r, rows_of(&m, shape->hidden), 0, ids, NOTHING, NOTHING), embedded = x;
    for (uint32_t l = 0; l < shape->layers; l++) {
        llama_forward(&m, &layers[l], x);
        x = layers[l].out;
    }
    uint32_t norm = run(r, rows_of(&m, shape->hidden), 0, x, NOTHING, NOTHING), inverse = record(r, rows_of(&m, 1));
    uint32_t dy = run(r, rows_of(&m, shape->hidden), 25000000, norm, labels, NOTHING),
             losses = record(r, rows_of(&m, 1));
    dy = run(r, rows_of(&m, shape->hidden), 0, dy, x, inverse);
    for (uint32_t l = shape->layers; l-- > 0;) {
        if (shape->recompute) llama_forward(&m, &layers[l], l ? layers[l - 1].out : embedded);
        dy = llama_backward(&m, &layers[l], dy);
    }
    r->now++;
    use(r, dy);
    use(r, ids);
    use(r, labels);
    use(r, starts);
    use(r, losses);
    free(layers);
    return m.r;
}

/* --- Exhaustive search, written apart from the packer --- */

enum { EXHAUSTIVE_ITEMS = 8 };

/* The least peak over all orders, each item at the lowest multiple of the alignment where it fits. */
static void try_orders(pack_item *items, uint32_t placed, uint32_t count, uint64_t alignment, uint64_t peak,
                       uint64_t *least) {
    if (placed == count) {
        if (peak < *least) *least = peak;
        return;
    }
    for (uint32_t i = placed; i < count; i++) {
        pack_item swapped = items[placed];
        items[placed] = items[i];
        items[i] = swapped;
        pack_item *item = &items[placed];
        bool moved = true;
        for (item->offset = 0; moved;) {
            moved = false;
            for (uint32_t k = 0; k < placed; k++) {
                const pack_item *other = &items[k];
                bool together = item->first <= other->last && other->first <= item->last;
                uint64_t end = other->offset + round_up(other->bytes, alignment);
                if (together && item->offset < end && other->offset < item->offset + item->bytes) {
                    item->offset = end;
                    moved = true;
                }
            }
        }
        uint64_t end = item->offset + round_up(item->bytes, alignment);
        try_orders(items, placed + 1, count, alignment, end > peak ? end : peak, least);
        swapped = items[placed];
        items[placed] = items[i];
        items[i] = swapped;
    }
}

/* Is there any packing at all that ends at `peak`? Tries every offset of every item: no thought, no order. */
static bool exists_below(pack_item *items, uint32_t placed, uint32_t count, uint64_t peak) {
    if (placed == count) return true;
    pack_item *item = &items[placed];
    for (item->offset = 0; item->offset + item->bytes <= peak; item->offset++) {
        bool free_here = true;
        for (uint32_t k = 0; k < placed && free_here; k++) {
            const pack_item *other = &items[k];
            free_here = item->first > other->last || other->first > item->last ||
                        item->offset >= other->offset + other->bytes || other->offset >= item->offset + item->bytes;
        }
        if (free_here && exists_below(items, placed + 1, count, peak)) return true;
    }
    return false;
}

static uint32_t random_items(pack_item *items, uint64_t *state, uint32_t count, uint32_t most_bytes, uint32_t span) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = random_between(state, 0, span);
        items[i] = (pack_item){.bytes = random_between(state, 1, most_bytes),
                               .first = first,
                               .last = first + random_between(state, 0, span / 2),
                               .offset = UINT64_MAX};
    }
    return count;
}

/* Eight items that cannot be packed into their bound (found by search: such are rare); {bytes, first, last}. */
static const pack_item above_their_bound[][EXHAUSTIVE_ITEMS] = {
    {{4, 0, 0, 0}, {1, 0, 2, 0}, {1, 1, 3, 0}, {3, 1, 1, 0}, {2, 2, 4, 0}, {1, 2, 2, 0}, {2, 3, 3, 0}, {3, 4, 4, 0}},
    {{2, 0, 1, 0}, {3, 0, 0, 0}, {2, 1, 2, 0}, {1, 1, 3, 0}, {1, 2, 3, 0}, {1, 2, 2, 0}, {3, 3, 4, 0}, {2, 4, 4, 0}},
    {{2, 0, 1, 0}, {4, 0, 0, 0}, {2, 1, 2, 0}, {2, 1, 3, 0}, {1, 2, 3, 0}, {1, 2, 2, 0}, {3, 3, 5, 0}, {3, 4, 4, 0}},
    {{2, 0, 1, 0}, {2, 0, 0, 0}, {1, 1, 3, 0}, {1, 1, 2, 0}, {1, 2, 3, 0}, {1, 2, 2, 0}, {2, 3, 5, 0}, {2, 4, 4, 0}},
    {{1, 0, 2, 0}, {5, 0, 0, 0}, {1, 1, 3, 0}, {4, 1, 1, 0}, {3, 2, 4, 0}, {1, 2, 2, 0}, {2, 3, 3, 0}, {3, 4, 4, 0}},
};

/* Items that fill `load` bytes at every instruction, so that any gap in a packing shows; fewer than asked at the end.
 */
static uint32_t tight_items(pack_item *items, uint64_t *state, uint32_t most, uint32_t load) {
    uint32_t count = 0, alive = 0, now = 0, free_bytes = load;
    uint32_t living[EXHAUSTIVE_ITEMS];
    for (;; now++) {
        while (free_bytes && count < most) {
            uint32_t bytes =
                random_between(state, 1, free_bytes < 3 ? free_bytes : random_between(state, 3, free_bytes));
            items[count] = (pack_item){.bytes = bytes, .first = now, .last = UINT32_MAX};
            living[alive++] = count++;
            free_bytes -= bytes;
        }
        if (count == most) break;
        for (uint32_t dying = random_between(state, 1, alive); dying > 0; dying--) {
            uint32_t which = random_between(state, 0, alive - 1);
            items[living[which]].last = now;
            free_bytes += (uint32_t)items[living[which]].bytes;
            living[which] = living[--alive];
        }
    }
    for (uint32_t i = 0; i < count; i++)
        if (items[i].last == UINT32_MAX) items[i].last = now;
    return count;
}

static void few_items_are_packed_as_every_order_would(void **test_state) {
    (void)test_state;
    enum { KNOWN = sizeof above_their_bound / sizeof above_their_bound[0] };
    uint64_t state = 7;
    for (uint32_t round = 0; round < 150; round++) {
        pack_item items[EXHAUSTIVE_ITEMS], copy[EXHAUSTIVE_ITEMS];
        uint64_t alignment = round % 3 ? 1 : 64, peak, least = UINT64_MAX;
        uint32_t count = round % 5 ? random_between(&state, 1, EXHAUSTIVE_ITEMS - 1) : EXHAUSTIVE_ITEMS;
        if (round < KNOWN) {
            count = EXHAUSTIVE_ITEMS;
            memcpy(items, above_their_bound[round], sizeof items);
            for (uint32_t i = 0; i < count; i++) items[i].bytes *= alignment;
        } else if (round % 2) {
            tight_items(items, &state, count, random_between(&state, 4, 12));
        } else {
            random_items(items, &state, count, round % 4 ? 9 : 1000, random_between(&state, 2, 12));
        }
        memcpy(copy, items, sizeof copy);
        assert_int_equal(pack_offsets(items, count, alignment, &peak, NULL), LEVEE_OK);
        assert_packed(items, count, alignment, peak);
        try_orders(copy, 0, count, alignment, 0, &least);
        assert_int_equal(peak, least);
        uint64_t bound = pack_lower_bound(items, count, alignment, NULL);
        assert_true(round < KNOWN ? bound < peak : bound <= peak);
    }
}

static void no_packing_is_smaller_for_tiny_sizes(void **test_state) {
    (void)test_state;
    enum { KNOWN = sizeof above_their_bound / sizeof above_their_bound[0] };
    uint64_t state = 99;
    for (uint32_t round = 0; round < 5000; round++) {
        pack_item items[EXHAUSTIVE_ITEMS];
        uint32_t count = EXHAUSTIVE_ITEMS;
        if (round < KNOWN)
            memcpy(items, above_their_bound[round], sizeof items);
        else
            count =
                tight_items(items, &state, random_between(&state, 5, EXHAUSTIVE_ITEMS), random_between(&state, 4, 9));
        uint64_t peak;
        assert_int_equal(pack_offsets(items, count, 1, &peak, NULL), LEVEE_OK);
        assert_packed(items, count, 1, peak);
        if (peak > pack_lower_bound(items, count, 1, NULL)) assert_false(exists_below(items, 0, count, peak - 1));
    }
}

static void bound_is_the_most_alive_at_once(void **test_state) {
    (void)test_state;
    static const pack_item items[] = {{.bytes = 100, .first = 0, .last = 4},
                                      {.bytes = 1, .first = 2, .last = 2},
                                      {.bytes = 64, .first = 3, .last = UINT32_MAX},
                                      {.bytes = 65, .first = 5, .last = 6}};
    uint32_t instruction = 77;
    assert_int_equal(pack_lower_bound(items, 0, 64, &instruction), 0);
    assert_int_equal(instruction, 0);
    assert_int_equal(pack_lower_bound(items, 4, 1, &instruction), 164);
    assert_int_equal(instruction, 3);
    assert_int_equal(pack_lower_bound(items, 4, 64, &instruction), 192);
    assert_int_equal(instruction, 2);
    assert_int_equal(pack_lower_bound(items, 4, 64, NULL), 192);

    uint64_t state = 5;
    for (uint32_t round = 0; round < 200; round++) {
        pack_item many[40];
        uint32_t count = random_items(many, &state, 40, 500, 30);
        uint64_t most = 0, found = pack_lower_bound(many, count, 8, &instruction);
        for (uint32_t t = 0; t < 60; t++) {
            uint64_t live = 0;
            for (uint32_t i = 0; i < count; i++)
                if (many[i].first <= t && t <= many[i].last) live += round_up(many[i].bytes, 8);
            if (t == instruction) assert_int_equal(live, found);
            if (live > most) most = live;
        }
        assert_int_equal(most, found);
    }
}

static void verify_finds_what_overlaps(void **test_state) {
    (void)test_state;
    static const struct {
        const char *what;
        pack_item a, b;
        bool sound;
    } cases[] = {
        {"apart in time", {10, 0, 3, 0}, {10, 4, 9, 0}, true},
        {"apart in place", {10, 0, 3, 0}, {10, 0, 3, 10}, true},
        {"the same place", {10, 0, 3, 0}, {10, 0, 3, 0}, false},
        {"one shared instruction", {10, 0, 4, 0}, {10, 4, 9, 0}, false},
        {"one shared byte", {11, 0, 3, 0}, {10, 0, 3, 10}, false},
        {"one inside the other", {100, 0, 9, 0}, {1, 4, 4, 50}, false},
        {"nothing cannot overlap", {100, 0, 9, 0}, {0, 4, 4, 50}, true},
        {"later, lower", {10, 0, 9, 30}, {31, 9, 9, 0}, false},
        {"dies before it is born", {10, 5, 4, 0}, {10, 20, 21, 0}, false},
        {"past the end of the address space", {10, 0, 4, UINT64_MAX - 5}, {10, 20, 21, 0}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pack_item pair[] = {cases[i].a, cases[i].b}, reversed[] = {cases[i].b, cases[i].a};
        levee_error error = {0};
        levee_status expected = cases[i].sound ? LEVEE_OK : LEVEE_INTERNAL;
        if (pack_verify(pair, 2, &error) != expected || pack_verify(reversed, 2, NULL) != expected)
            fail_msg("%s: %s", cases[i].what, error.message);
    }
    /* A sound packing in which one item is then moved onto another: both are named. */
    pack_item items[] = {{10, 0, 9, 0}, {10, 2, 5, 10}, {10, 3, 8, 20}, {10, 6, 9, 10}};
    levee_error error = {0};
    assert_int_equal(pack_verify(items, 4, &error), LEVEE_OK);
    items[3].offset = 15;
    assert_int_equal(pack_verify(items, 4, &error), LEVEE_INTERNAL);
    assert_non_null(strstr(error.message, "2"));
    assert_non_null(strstr(error.message, "3"));
    assert_int_equal(pack_verify(NULL, 0, NULL), LEVEE_OK);
}

/* Random damage to sound packings: verify says no exactly when a look at all pairs does. */
static void verify_agrees_with_all_pairs(void **test_state) {
    (void)test_state;
    uint64_t state = 31;
    uint32_t broken = 0;
    for (uint32_t round = 0; round < 500; round++) {
        pack_item items[60];
        uint32_t count = random_items(items, &state, 60, 100, 40);
        uint64_t peak;
        assert_int_equal(pack_offsets(items, count, 1, &peak, NULL), LEVEE_OK);
        pack_item *moved = &items[random_between(&state, 0, count - 1)];
        moved->offset = random_between(&state, 0, (uint32_t)peak);
        bool sound = true;
        for (uint32_t i = 0; i < count; i++) {
            const pack_item *other = &items[i];
            bool together = moved->first <= other->last && other->first <= moved->last;
            if (other != moved && together && moved->offset < other->offset + other->bytes &&
                other->offset < moved->offset + moved->bytes)
                sound = false;
        }
        broken += !sound;
        assert_int_equal(pack_verify(items, count, NULL), sound ? LEVEE_OK : LEVEE_INTERNAL);
    }
    assert_true(broken > 50 && broken < 500);
}

static void edges_are_handled(void **test_state) {
    (void)test_state;
    uint64_t peak = 77;
    assert_int_equal(pack_offsets(NULL, 0, 64, &peak, NULL), LEVEE_OK);
    assert_int_equal(peak, 0);

    pack_item empty[] = {{.bytes = 0, .first = 0, .last = 9, .offset = 5}, {.bytes = 3, .first = 2, .last = 2}};
    assert_int_equal(pack_offsets(empty, 2, 64, &peak, NULL), LEVEE_OK);
    assert_int_equal(peak, 64);
    assert_packed(empty, 2, 64, peak);

    static const struct {
        const char *what;
        uint64_t bytes, alignment;
        uint32_t first, last;
        levee_status expected;
    } wrong[] = {
        {"dies before it is born", 10, 64, 3, 2, LEVEE_INTERNAL},
        {"alignment of zero", 10, 0, 0, 0, LEVEE_INTERNAL},
        {"alignment that is no power of two", 10, 48, 0, 0, LEVEE_INTERNAL},
        {"cannot be rounded up", UINT64_MAX - 1, 64, 0, 0, LEVEE_DOES_NOT_FIT},
        {"sum overflows", UINT64_MAX / 2 + 1, 1, 0, UINT32_MAX, LEVEE_DOES_NOT_FIT},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pack_item items[2] = {{.bytes = wrong[i].bytes, .first = wrong[i].first, .last = wrong[i].last}};
        items[1] = items[0];
        levee_error error = {0};
        if (pack_offsets(items, 2, wrong[i].alignment, &peak, &error) != wrong[i].expected)
            fail_msg("%s", wrong[i].what);
        assert_true(error.message[0] && error.status == wrong[i].expected);
    }
    /* As large as can be, and at the last instruction there is. */
    pack_item large = {.bytes = UINT64_MAX - 63, .first = UINT32_MAX, .last = UINT32_MAX};
    assert_int_equal(pack_offsets(&large, 1, 64, &peak, NULL), LEVEE_OK);
    assert_int_equal(peak, UINT64_MAX - 63);
    assert_int_equal(pack_verify(&large, 1, NULL), LEVEE_OK);
    pack_item two[] = {large, large};
    assert_int_equal(pack_lower_bound(two, 2, 64, NULL), UINT64_MAX);
}

static void refused_memory_is_an_error(void **test_state) {
    (void)test_state;
    static const llama_shape small = {"2 layers, LoRA", 2, 64, 32, 192, 4, 100, false, false};
    recorder r = llama_graph(&small);
    uint64_t peak = 0, bound = pack_lower_bound(r.items, r.count, ALIGNMENT, NULL);
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    uint32_t packings_refused = 0, checks_refused = 0, done = 0;
    for (uint64_t more = 0; done < 3; more += 200) {
        levee_error error = {0};
        ledger_set_budget(before + more);
        uint64_t bound_within = pack_lower_bound(r.items, r.count, ALIGNMENT, NULL);
        levee_status packed = pack_offsets(r.items, r.count, ALIGNMENT, &peak, &error);
        levee_status verified = pack_verify(r.items, r.count, NULL);
        ledger_set_budget(UINT64_MAX);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
        assert_int_equal(bound_within, bound);
        if (packed != LEVEE_OK) {
            assert_int_equal(packed, LEVEE_DOES_NOT_FIT);
            assert_true(error.message[0]);
            packings_refused++;
            checks_refused += verified == LEVEE_DOES_NOT_FIT;
        } else {
            assert_int_equal(verified, LEVEE_OK);
            assert_packed(r.items, r.count, ALIGNMENT, peak);
            done++;
        }
    }
    assert_true(checks_refused > 0 && packings_refused > checks_refused);
    free(r.items);
}

static void same_input_gives_same_output(void **test_state) {
    (void)test_state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        recorder a = random_training_graph(seed), b = random_training_graph(seed);
        uint64_t peak_a, peak_b;
        for (uint32_t i = 0; i < b.count; i++) b.items[i].offset = seed * 1000 + i;
        assert_int_equal(pack_offsets(a.items, a.count, ALIGNMENT, &peak_a, NULL), LEVEE_OK);
        assert_int_equal(pack_offsets(b.items, b.count, ALIGNMENT, &peak_b, NULL), LEVEE_OK);
        assert_int_equal(peak_a, peak_b);
        for (uint32_t i = 0; i < a.count; i++) assert_int_equal(a.items[i].offset, b.items[i].offset);
        free(a.items);
        free(b.items);
    }
}

/* Packs, checks, and gives peak / bound. */
static double ratio_of(recorder *r, double *seconds) {
    uint64_t peak, bound = pack_lower_bound(r->items, r->count, ALIGNMENT, NULL);
    levee_error error = {0};
    double start = processor_seconds();
    if (pack_offsets(r->items, r->count, ALIGNMENT, &peak, &error) != LEVEE_OK) fail_msg("%s", error.message);
    *seconds = processor_seconds() - start;
    assert_true(peak >= bound);
    if (r->count <= 3000)
        assert_packed(r->items, r->count, ALIGNMENT, peak);
    else if (pack_verify(r->items, r->count, &error) != LEVEE_OK)
        fail_msg("%s", error.message);
    return (double)peak / (double)bound;
}

static void random_training_graphs_are_packed_tightly(void **test_state) {
    (void)test_state;
    enum { GRAPHS = 200 };
    double sum = 0, worst = 0, total_seconds = 0, slowest = 0;
    uint32_t exact = 0, most_items = 0;
    for (uint64_t seed = 1; seed <= GRAPHS; seed++) {
        recorder r = random_training_graph(seed);
        double seconds, ratio = ratio_of(&r, &seconds);
        sum += ratio;
        exact += ratio == 1;
        if (ratio > worst) worst = ratio;
        total_seconds += seconds;
        if (seconds > slowest) slowest = seconds;
        if (r.count > most_items) most_items = r.count;
        free(r.items);
    }
    print_message("  %d random graphs, up to %u items: peak / bound mean %.4f, worst %.4f, %u exact; %.1f ms mean, "
                  "%.1f ms slowest\n",
                  GRAPHS, most_items, sum / GRAPHS, worst, exact, 1e3 * total_seconds / GRAPHS, 1e3 * slowest);
    assert_true(sum / GRAPHS <= 1.02);
    assert_true(worst <= 1.05);
}

static void llama_graphs_are_packed_tightly(void **test_state) {
    (void)test_state;
    static const llama_shape shapes[] = {
        {"30 layers, LoRA", 30, 576, 192, 1536, 9, 2048, false, false},
        {"30 layers, LoRA, recompute", 30, 576, 192, 1536, 9, 2048, false, true},
        {"30 layers, full", 30, 576, 192, 1536, 9, 2048, true, false},
        {"30 layers, full, recompute", 30, 576, 192, 1536, 9, 2048, true, true},
        {"30 layers, LoRA, 77 tokens", 30, 576, 192, 1536, 9, 77, false, false},
        {"22 layers, LoRA, 1001 tokens", 22, 2048, 256, 5632, 32, 1001, false, false},
        {"32 layers, full, recompute", 32, 4096, 1024, 14336, 32, 333, true, true},
        {"2 layers, LoRA", 2, 64, 32, 192, 4, 100, false, false},
        {"1 layer, full", 1, 64, 32, 192, 4, 100, true, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        recorder r = llama_graph(&shapes[i]);
        double seconds, ratio = ratio_of(&r, &seconds);
        print_message("  %-30s %5u items: peak / bound %.4f in %.1f ms\n", shapes[i].name, r.count, ratio,
                      1e3 * seconds);
        assert_true(ratio <= 1.02);
        free(r.items);
    }
}

/* Several copies of a graph, one after the other, so that the total reaches `count` items. */
static recorder repeated(const llama_shape *shape, uint32_t count) {
    recorder all = {0}, one = llama_graph(shape);
    while (all.count + one.count <= count) {
        for (uint32_t i = 0; i < one.count; i++) {
            uint32_t item = record(&all, one.items[i].bytes);
            all.items[item].first = all.now + one.items[i].first;
            all.items[item].last = all.now + one.items[i].last;
        }
        all.now += one.now + 1;
    }
    free(one.items);
    return all;
}

/* Sanitizers and emulators are slower than what the goals are about: the limit here is wide, the figure is printed.
 */
static void many_items_take_little_time(void **test_state) {
    (void)test_state;
    static const llama_shape deep = {"80 layers, LoRA, recompute", 80, 1024, 256, 2816, 16, 511, false, true};
    static const llama_shape huge = {"280 layers, LoRA, recompute", 280, 1024, 256, 2816, 16, 511, false, true};
    static const llama_shape kept = {"350 layers, LoRA", 350, 1024, 256, 2816, 16, 511, false, false};
    recorder graphs[6] = {llama_graph(&deep), llama_graph(&huge), llama_graph(&kept), repeated(&deep, 20000)};
    const char *names[] = {deep.name, huge.name, kept.name, "80 layers, repeated", "noise", "much noise"};
    uint64_t state = 12;
    for (uint32_t g = 4; g < 6; g++)
        for (uint32_t i = 0; i < (g == 4 ? 3000 : 20000); i++) {
            uint32_t item = record(&graphs[g], random_between(&state, 1, 1000000));
            graphs[g].items[item].first = random_between(&state, 0, g == 4 ? 2000 : 15000);
            graphs[g].items[item].last = graphs[g].items[item].first + random_between(&state, 0, 1000);
        }
    for (uint32_t g = 0; g < 6; g++) {
        double seconds, ratio = ratio_of(&graphs[g], &seconds);
        print_message("  %-30s %5u items: peak / bound %.4f in %.1f ms\n", names[g], graphs[g].count, ratio,
                      1e3 * seconds);
        assert_true(seconds < 15);
        free(graphs[g].items);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_items_are_packed_as_every_order_would),
        cmocka_unit_test(no_packing_is_smaller_for_tiny_sizes),
        cmocka_unit_test(bound_is_the_most_alive_at_once),
        cmocka_unit_test(verify_finds_what_overlaps),
        cmocka_unit_test(verify_agrees_with_all_pairs),
        cmocka_unit_test(edges_are_handled),
        cmocka_unit_test(refused_memory_is_an_error),
        cmocka_unit_test(same_input_gives_same_output),
        cmocka_unit_test(random_training_graphs_are_packed_tightly),
        cmocka_unit_test(llama_graphs_are_packed_tightly),
        cmocka_unit_test(many_items_take_little_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
