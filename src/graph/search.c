/* The search for a plan that fits: see search.h. */
#include "graph/search.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

/* Rows of logits at once, the largest first; where none are stored there is nothing to choose. */
enum { MOST_CHUNKS = 6 };
static const uint32_t chunks_of_logits[MOST_CHUNKS] = {512, 256, 128, 64, 32, 16}, no_chunks[1] = {0};

typedef struct search {
    const search_request *request;
    candidate_list candidates;
    bool *recompute;             /* a value's flag in the graph being tried */
    graph tried;                 /* the last variant that was estimated; its lists serve the next one */
    double weight_bytes_decoded; /* per pass, forward and backward */
    double head_bytes;           /* of the head's weight */
    const uint32_t *chunks;      /* of the head, to try */
    uint32_t chunk_count;
    bool nothing_fits; /* the search's own verdict */
} search;

/* What each pass reads of weights, whatever is recomputed. An element is read, put in order and read for each tile of
 * rows: measured, four passes of 512 tokens instead of one of 2048 cost SmolLM2-135M 0.7 s a step more, as much as 24
 * bytes an element at the rate of an addition (two threads, AMX). */
static void add_weights(search *s) {
    static const double element_bytes = 24;
    const graph *g = s->request->g;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->in[1] == NO_VALUE) continue;
        double bytes = element_bytes * (double)g->values[n->in[1]].rows * (double)g->values[n->in[1]].cols;
        bool decoded = operator_is_linear(n->kind) || n->kind == OPERATOR_LINEAR_GRADIENT_INPUT ||
                       n->kind == OPERATOR_LORA_GRADIENT;
        if (decoded) s->weight_bytes_decoded += bytes;
        if (n->kind == OPERATOR_HEAD_LOSS_GRADIENT || n->kind == OPERATOR_HEAD_LOSS) s->head_bytes = bytes;
    }
}

/* Builds the graph in which the first `taken` candidates are computed again: what is in reach of the operators. */
static levee_status build_tried(search *s, uint32_t taken, levee_error *error) {
    const graph *g = s->request->g;
    for (value_id v = 0; v < g->value_count; v++) s->recompute[v] = s->candidates.of_value[v] < taken;
    return graph_recompute_again(&s->tried, g, s->recompute, error);
}

/* The same with the head's rows, and with copies where something is out of reach; closed by the caller. */
static levee_status build_variant(search *s, uint32_t taken, uint32_t chunk, graph *variant, levee_error *error) {
    levee_status status = build_tried(s, taken, error);
    if (status != LEVEE_OK) return status;
    uint32_t head = graph_head(&s->tried);
    if (head != NO_NODE) s->tried.nodes[head].parameters.chunk_tokens = chunk;
    return graph_insert_copies(variant, &s->tried, error);
}

static uint64_t total_bytes(const search *s, const plan *p) {
    uint64_t total = 0;
    for (unsigned space = 0; space < SPACE_COUNT; space++)
        total += s->request->lasting->total_bytes[space] + p->arena_bytes[space];
    return total;
}

static const plan_bound *recall(const search *s, uint32_t taken, uint32_t capacity) {
    const search_memory *m = s->request->memory;
    for (uint32_t i = 0; m && i < m->count; i++)
        if (m->known[i].taken == taken && m->known[i].capacity_tokens == capacity) return &m->known[i].bound;
    return NULL;
}

static void remember(search *s, uint32_t taken, uint32_t capacity, const plan_bound *bound) {
    search_memory *m = s->request->memory;
    if (!m || m->count == REMEMBERED_ESTIMATES) return;
    m->known[m->count].taken = taken;
    m->known[m->count].capacity_tokens = capacity;
    m->known[m->count++].bound = *bound;
}

static levee_status find_bound(search *s, uint32_t taken, uint32_t capacity, plan_bound *bound, levee_error *error) {
    const search_request *r = s->request;
    const plan_bound *known = recall(s, taken, capacity);
    if (known) {
        *bound = *known;
        return LEVEE_OK;
    }
    levee_status status = build_tried(s, taken, error);
    if (status != LEVEE_OK) return status;
    graph copied = {0};
    bool within_reach = graph_is_within_reach(&s->tried);
    if (!within_reach) status = graph_insert_copies(&copied, &s->tried, error);
    if (status == LEVEE_OK)
        status = plan_estimate(bound, within_reach ? &s->tried : &copied, capacity, r->kernels, r->state, error);
    graph_close(&copied);
    if (status == LEVEE_OK) remember(s, taken, capacity, bound);
    return status;
}

/* Bytes that a variant needs at least: the lower bound of its packing. */
static levee_status estimate(search *s, uint32_t taken, uint32_t chunk, uint32_t capacity, uint64_t *bytes,
                             levee_error *error) {
    const search_request *r = s->request;
    plan_bound bound;
    uint32_t head = graph_head(r->g);
    uint64_t scratch = 0;
    levee_status status = find_bound(s, taken, capacity, &bound, error);
    if (status != LEVEE_OK) return status;
    if (head != NO_NODE) {
        node n = r->g->nodes[head];
        n.parameters.chunk_tokens = chunk;
        scratch = plan_scratch_bytes(r->g, &n, capacity, r->kernels, r->state);
    }
    *bytes = plan_bound_bytes(&bound, scratch);
    for (unsigned space = 0; space < SPACE_COUNT; space++) *bytes += r->lasting->total_bytes[space];
    return LEVEE_OK;
}

/* Bytes that a variant needs exactly; the plan is kept. */
static levee_status measure(search *s, uint32_t taken, uint32_t chunk, uint32_t capacity, plan *kept, uint64_t *bytes,
                            levee_error *error) {
    const search_request *r = s->request;
    graph variant;
    levee_status status = build_variant(s, taken, chunk, &variant, error);
    if (status != LEVEE_OK) return status;
    status = plan_make(kept, &variant, r->lasting, capacity, r->kernels, r->state, error);
    graph_close(&variant);
    if (status == LEVEE_OK) *bytes = total_bytes(s, kept);
    return status;
}

/* The smallest number of candidates with which a capacity fits; *fits says whether any does. */
static levee_status fewest_recomputed(search *s, uint32_t chunk, uint32_t capacity, uint32_t *taken, bool *fits,
                                      uint64_t *least_bytes, levee_error *error) {
    recompute_choice choice = s->request->recompute;
    uint32_t low = choice == RECOMPUTE_ALL ? s->candidates.count : 0;
    uint32_t high = choice == RECOMPUTE_OFF ? 0 : s->candidates.count;
    levee_status status = estimate(s, high, chunk, capacity, least_bytes, error);
    *fits = status == LEVEE_OK && *least_bytes <= s->request->budget_bytes;
    while (status == LEVEE_OK && *fits && low < high) {
        uint32_t middle = (low + high) / 2;
        uint64_t bytes = UINT64_MAX;
        status = estimate(s, middle, chunk, capacity, &bytes, error);
        if (bytes <= s->request->budget_bytes)
            high = middle;
        else
            low = middle + 1;
    }
    *taken = high;
    return status;
}

/* Sequences are not cut, so a pass has room for whole ones: of the longest, at worst. */
static uint32_t passes_for(const search *s, uint32_t capacity) {
    uint32_t longest = s->request->longest_tokens, whole = capacity;
    if (longest && capacity >= longest) whole = capacity / longest * longest;
    uint32_t passes = whole ? (s->request->step_tokens + whole - 1) / whole : 1;
    return passes ? passes : 1;
}

static double recompute_seconds(const search *s, uint32_t taken) {
    double seconds = 0;
    for (uint32_t i = 0; i < taken; i++) seconds += s->candidates.items[i].seconds_token;
    return seconds * s->request->step_tokens;
}

/* What a step costs beyond the work that every plan shares. */
static double extra_seconds(const search *s, uint32_t taken, uint32_t chunk, uint32_t capacity) {
    uint32_t filled = capacity < s->request->step_tokens ? capacity : s->request->step_tokens;
    double passes = passes_for(s, capacity);
    uint32_t head_reads = chunk ? 2 * ((filled + chunk - 1) / chunk) : 1; /* each chunk reads the weight twice */
    return recompute_seconds(s, taken) +
           passes * (s->weight_bytes_decoded + head_reads * s->head_bytes) / s->request->rates.bytes;
}

static uint32_t largest_capacity(const search_request *r) {
    if (r->fixed.capacity_tokens) return r->fixed.capacity_tokens;
    return r->step_tokens > r->longest_tokens ? r->step_tokens : r->longest_tokens;
}

static uint32_t smallest_capacity(const search_request *r) {
    return r->fixed.capacity_tokens ? r->fixed.capacity_tokens : r->longest_tokens;
}

/* The next smaller capacity worth trying, which holds whole sequences; below the smallest when there is none. */
static uint32_t next_capacity(const search *s, uint32_t capacity) {
    uint32_t longest = s->request->longest_tokens, smaller = (uint32_t)(capacity / 1.5);
    if (s->request->fixed.capacity_tokens || capacity == longest) return 0;
    return smaller > longest ? smaller / longest * longest : longest;
}

static void choose_chunks(search *s) {
    const search_request *r = s->request;
    bool stored = graph_head_stores_logits(r->g), fixed = stored && r->fixed.head_chunk_tokens;
    s->chunks = fixed ? &r->fixed.head_chunk_tokens : stored ? chunks_of_logits : no_chunks;
    s->chunk_count = stored && !fixed ? MOST_CHUNKS : 1;
}

static uint32_t smallest_chunk(const search *s) { return s->chunks[s->chunk_count - 1]; }

typedef struct variant_choice {
    bool found;
    uint32_t taken, chunk, capacity;
    double seconds;
} variant_choice;

static levee_status find_best(search *s, variant_choice *best, uint64_t *smallest_bytes, levee_error *error) {
    const search_request *r = s->request;
    for (uint32_t capacity = largest_capacity(r); capacity >= smallest_capacity(r);
         capacity = next_capacity(s, capacity)) {
        for (unsigned c = 0; c < s->chunk_count; c++) {
            uint32_t taken, chunk = s->chunks[c];
            uint64_t least;
            bool fits;
            levee_status status = fewest_recomputed(s, chunk, capacity, &taken, &fits, &least, error);
            if (status != LEVEE_OK) return status;
            if (least < *smallest_bytes) *smallest_bytes = least;
            if (!fits) continue;
            double seconds = extra_seconds(s, taken, chunk, capacity);
            if (!best->found || seconds < best->seconds)
                *best = (variant_choice){true, taken, chunk, capacity, seconds};
            if (!taken) break; /* nothing to win by a smaller chunk */
        }
        if (best->found && best->taken == 0 && best->chunk == s->chunks[0]) break;
    }
    return LEVEE_OK;
}

/* Makes the chosen plan exactly; packing can take a little more than the bound, and then more is recomputed. */
static levee_status make_exact(search *s, variant_choice *best, search_result *result, uint64_t *bytes,
                               levee_error *error) {
    for (;;) {
        levee_status status = measure(s, best->taken, best->chunk, best->capacity, &result->chosen, bytes, error);
        if (status != LEVEE_OK || *bytes <= s->request->budget_bytes) return status;
        plan_close(&result->chosen);
        if (s->request->recompute == RECOMPUTE_AUTO && best->taken < s->candidates.count)
            best->taken++;
        else if (best->chunk > smallest_chunk(s))
            best->chunk /= 2;
        else if (best->capacity > smallest_capacity(s->request))
            best->capacity = next_capacity(s, best->capacity);
        else
            break;
    }
    s->nothing_fits = true;
    return error_set(error, LEVEE_DOES_NOT_FIT, "the job needs %llu bytes", (unsigned long long)*bytes);
}

static levee_status run_search(search *s, search_result *result, uint64_t *smallest_bytes, levee_error *error) {
    variant_choice best = {0};
    levee_status status = find_best(s, &best, smallest_bytes, error);
    if (status != LEVEE_OK) return status;
    uint64_t bytes = 0;
    if (best.found) {
        status = make_exact(s, &best, result, &bytes, error);
        if (s->nothing_fits && bytes > *smallest_bytes) *smallest_bytes = bytes;
    } else {
        /* The remedy names a budget that truly does: the exact plan of the smallest variant. */
        plan smallest = {0};
        uint32_t taken = s->request->recompute == RECOMPUTE_OFF ? 0 : s->candidates.count;
        status =
            measure(s, taken, smallest_chunk(s), smallest_capacity(s->request), &smallest, smallest_bytes, error);
        plan_close(&smallest);
        s->nothing_fits = status == LEVEE_OK;
        if (s->nothing_fits)
            status = error_set(error, LEVEE_DOES_NOT_FIT, "the job needs at least %llu bytes",
                               (unsigned long long)*smallest_bytes);
    }
    if (status != LEVEE_OK) return status;
    result->recomputed_tensors = best.taken;
    result->candidate_tensors = s->candidates.count;
    result->head_chunk_tokens = best.chunk;
    result->passes = passes_for(s, best.capacity);
    return LEVEE_OK;
}

levee_status plan_search(search_result *result, const search_request *request, uint64_t *smallest_bytes,
                         levee_error *error) {
    memset(result, 0, sizeof *result);
    *smallest_bytes = UINT64_MAX;
    search s = {.request = request};
    uint64_t count = request->g->value_count ? request->g->value_count : 1;
    levee_status status = candidates_find(&s.candidates, request->g, &request->rates, request->longest_tokens, error);
    s.recompute = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.recompute);
    if (status == LEVEE_OK && !s.recompute)
        status = error_out_of_memory(error, "the search for a plan", count * sizeof *s.recompute);
    if (status == LEVEE_OK) {
        add_weights(&s);
        choose_chunks(&s);
        status = run_search(&s, result, smallest_bytes, error);
    }
    if (status != LEVEE_OK && !s.nothing_fits) *smallest_bytes = UINT64_MAX;
    graph_close(&s.tried);
    candidates_close(&s.candidates);
    ledger_free(s.recompute);
    return status;
}
