/* The search for a plan that fits: see search.h. */
#include "graph/search.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

/* What a tensor of a layer is, as far as computing it again goes. */
typedef enum tensor_class {
    CLASS_NORM,    /* normalised rows */
    CLASS_SWIGLU,  /* the product that feeds the down projection */
    CLASS_GATE_UP, /* the two projections that feed it */
    CLASS_QUERY_KEY_VALUE,
    CLASS_ATTENTION, /* its output and log-sum-exp */
    CLASS_RESIDUAL,  /* the sum between attention and the feed-forward part */
    CLASS_COUNT,
    CLASS_NONE = CLASS_COUNT
} tensor_class;

enum { MOST_CHUNKS = 4 };
static const uint32_t head_chunks[MOST_CHUNKS] = {128, 64, 32, 16};

/* One thing that can be decided: all tensors of a class in a layer. */
typedef struct candidate {
    tensor_class class;
    int32_t layer;
    double seconds_token; /* to compute them again */
    double bytes_token;   /* saved */
} candidate;

typedef struct search {
    const search_request *request;
    tensor_class *class_of; /* a value's */
    bool *recompute;        /* a value's flag in the graph being tried */
    candidate *candidates;  /* in the order in which they are taken */
    uint32_t candidate_count;
    double weight_bytes_decoded; /* per pass, forward and backward */
    double head_bytes;           /* of the head's weight, read for each chunk */
} search;

static double product_flops_token(const graph *g, const node *n) {
    if (n->kind != OPERATOR_LINEAR && n->kind != OPERATOR_LORA) return 0;
    const value *weight = &g->values[n->in[1]];
    double width = (double)weight->cols;
    if (n->kind == OPERATOR_LORA) width += (double)g->values[n->out[0]].cols;
    return 2.0 * (double)weight->rows * width;
}

static double seconds_token(const search_request *request, const node *n) {
    const graph *g = request->g;
    double flops = product_flops_token(g, n), bytes = 0;
    /* Half of the longest sequence is seen on average; two products of head_dim per pair. */
    if (n->kind == OPERATOR_ATTENTION)
        flops = 2.0 * n->parameters.heads * n->parameters.head_dim * request->longest_tokens;
    for (unsigned i = 0; i < KERNEL_INPUTS; i++)
        if (n->in[i] != NO_VALUE && g->values[n->in[i]].per_token) bytes += 4.0 * (double)g->values[n->in[i]].cols;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++)
        if (n->out[i] != NO_VALUE && g->values[n->out[i]].per_token) bytes += 4.0 * (double)g->values[n->out[i]].cols;
    return flops / request->rates.products + bytes / request->rates.bytes;
}

/* Marks v and the projections, adapters and rotations that lead to it. */
static void mark_chain(search *s, value_id v, tensor_class class) {
    const graph *g = s->request->g;
    while (v != NO_VALUE && g->values[v].producer != NO_NODE && s->class_of[v] == CLASS_NONE) {
        const node *n = &g->nodes[g->values[v].producer];
        if (n->kind != OPERATOR_LINEAR && n->kind != OPERATOR_LORA && n->kind != OPERATOR_ROPE) return;
        s->class_of[v] = class;
        if (n->kind == OPERATOR_LORA) s->class_of[n->out[1]] = class;
        v = n->kind == OPERATOR_LORA ? n->in[3] : n->kind == OPERATOR_ROPE ? n->in[0] : NO_VALUE;
    }
}

static void classify(search *s) {
    const graph *g = s->request->g;
    for (value_id v = 0; v < g->value_count; v++) s->class_of[v] = CLASS_NONE;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->backward || n->layer < 0) continue;
        if (n->kind == OPERATOR_RMSNORM) {
            s->class_of[n->out[0]] = CLASS_NORM;
            value_id x = n->in[0];
            const value *described = &g->values[x];
            bool within_layer = described->producer != NO_NODE && described->layer == n->layer &&
                                g->nodes[described->producer].kind == OPERATOR_ADD;
            if (within_layer) {
                s->class_of[x] = CLASS_RESIDUAL;
                mark_chain(s, g->nodes[described->producer].in[1], CLASS_RESIDUAL);
            }
        } else if (n->kind == OPERATOR_SWIGLU) {
            s->class_of[n->out[0]] = CLASS_SWIGLU;
            mark_chain(s, n->in[0], CLASS_GATE_UP);
            mark_chain(s, n->in[1], CLASS_GATE_UP);
        } else if (n->kind == OPERATOR_ATTENTION) {
            s->class_of[n->out[0]] = s->class_of[n->out[1]] = CLASS_ATTENTION;
            for (unsigned k = 0; k < 3; k++) mark_chain(s, n->in[k], CLASS_QUERY_KEY_VALUE);
        }
    }
}

static bool read_in_backward(const graph *g, value_id v) {
    for (uint32_t i = g->node_count; i-- > 0 && g->nodes[i].backward;)
        for (unsigned k = 0; k < KERNEL_INPUTS; k++)
            if (g->nodes[i].in[k] == v) return true;
    return false;
}

static candidate *find_candidate(search *s, tensor_class class, int32_t layer) {
    for (uint32_t i = 0; i < s->candidate_count; i++)
        if (s->candidates[i].class == class && s->candidates[i].layer == layer) return &s->candidates[i];
    s->candidates[s->candidate_count] = (candidate){.class = class, .layer = layer};
    return &s->candidates[s->candidate_count++];
}

static double gain(const candidate *c) { return c->bytes_token / (c->seconds_token + 1e-12); }

/* Best gain first; among equals, the first layer first. An insertion sort: a few hundred candidates, once. */
static void sort_candidates(search *s) {
    for (uint32_t i = 1; i < s->candidate_count; i++) {
        candidate moving = s->candidates[i];
        uint32_t to = i;
        for (; to > 0; to--) {
            double before = gain(&s->candidates[to - 1]), own = gain(&moving);
            bool equal = fabs(before - own) <= 1e-9 * own;
            if (equal ? s->candidates[to - 1].layer <= moving.layer : before > own) break;
            s->candidates[to] = s->candidates[to - 1];
        }
        s->candidates[to] = moving;
    }
}

static void collect_candidates(search *s) {
    const graph *g = s->request->g;
    for (value_id v = 0; v < g->value_count; v++) {
        if (s->class_of[v] == CLASS_NONE) continue;
        candidate *c = find_candidate(s, s->class_of[v], g->values[v].layer);
        const node *n = &g->nodes[g->values[v].producer];
        if (n->out[0] == v) c->seconds_token += seconds_token(s->request, n);
        if (read_in_backward(g, v)) c->bytes_token += 4.0 * (double)g->values[v].cols;
    }
    uint32_t kept = 0; /* what the backward part does not read costs nothing already */
    for (uint32_t i = 0; i < s->candidate_count; i++)
        if (s->candidates[i].bytes_token > 0) s->candidates[kept++] = s->candidates[i];
    s->candidate_count = kept;
    sort_candidates(s);
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        if (n->in[1] == NO_VALUE) continue;
        double bytes = 4.0 * (double)g->values[n->in[1]].rows * (double)g->values[n->in[1]].cols;
        if (n->kind == OPERATOR_LINEAR || n->kind == OPERATOR_LINEAR_GRADIENT_INPUT) s->weight_bytes_decoded += bytes;
        if (n->kind == OPERATOR_HEAD_LOSS_GRADIENT || n->kind == OPERATOR_HEAD_LOSS) s->head_bytes = bytes;
    }
}

/* Builds the graph in which the first `taken` candidates are computed again and the head works on `chunk` rows. */
static levee_status build_variant(search *s, uint32_t taken, uint32_t chunk, graph *variant, levee_error *error) {
    const graph *g = s->request->g;
    for (value_id v = 0; v < g->value_count; v++) {
        s->recompute[v] = false;
        for (uint32_t i = 0; i < taken && s->class_of[v] != CLASS_NONE; i++)
            if (s->candidates[i].class == s->class_of[v] && s->candidates[i].layer == g->values[v].layer)
                s->recompute[v] = true;
    }
    graph unplaced;
    levee_status status = graph_recompute(&unplaced, g, s->recompute, error);
    if (status != LEVEE_OK) return status;
    for (uint32_t i = 0; i < unplaced.node_count; i++)
        if (unplaced.nodes[i].kind == OPERATOR_HEAD_LOSS || unplaced.nodes[i].kind == OPERATOR_HEAD_LOSS_GRADIENT)
            unplaced.nodes[i].parameters.chunk_tokens = chunk;
    status = graph_insert_copies(variant, &unplaced, error);
    graph_close(&unplaced);
    return status;
}

static uint64_t total_bytes(const search *s, const plan *p) {
    uint64_t total = 0;
    for (unsigned space = 0; space < SPACE_COUNT; space++)
        total += s->request->lasting->total_bytes[space] + p->arena_bytes[space];
    return total;
}

/* Bytes that a variant needs: exact, with the plan kept in *kept, when `kept` is given, else the lower bound. */
static levee_status measure(search *s, uint32_t taken, uint32_t chunk, uint32_t capacity, plan *kept, uint64_t *bytes,
                            levee_error *error) {
    const search_request *r = s->request;
    graph variant;
    plan estimate = {0}, *p = kept ? kept : &estimate;
    levee_status status = build_variant(s, taken, chunk, &variant, error);
    if (status != LEVEE_OK) return status;
    status = (kept ? plan_make : plan_estimate)(p, &variant, r->lasting, capacity, r->kernels, r->state, error);
    graph_close(&variant);
    if (status != LEVEE_OK) return status;
    *bytes = total_bytes(s, p);
    plan_close(&estimate);
    return LEVEE_OK;
}

/* The smallest number of candidates with which a capacity fits; *fits says whether any does. */
static levee_status fewest_recomputed(search *s, uint32_t chunk, uint32_t capacity, uint32_t *taken, bool *fits,
                                      uint64_t *least_bytes, levee_error *error) {
    recompute_choice choice = s->request->recompute;
    uint32_t low = choice == RECOMPUTE_ALL ? s->candidate_count : 0;
    uint32_t high = choice == RECOMPUTE_OFF ? 0 : s->candidate_count;
    levee_status status = measure(s, high, chunk, capacity, NULL, least_bytes, error);
    *fits = status == LEVEE_OK && *least_bytes <= s->request->budget_bytes;
    while (status == LEVEE_OK && *fits && low < high) {
        uint32_t middle = (low + high) / 2;
        uint64_t bytes = UINT64_MAX;
        status = measure(s, middle, chunk, capacity, NULL, &bytes, error);
        if (bytes <= s->request->budget_bytes)
            high = middle;
        else
            low = middle + 1;
    }
    *taken = high;
    return status;
}

static uint32_t passes_for(const search *s, uint32_t capacity) {
    uint32_t passes = (s->request->step_tokens + capacity - 1) / capacity;
    return passes ? passes : 1;
}

static double recompute_seconds(const search *s, uint32_t taken) {
    double seconds = 0;
    for (uint32_t i = 0; i < taken; i++) seconds += s->candidates[i].seconds_token;
    return seconds * s->request->step_tokens;
}

/* What a step costs beyond the work that every plan shares. */
static double extra_seconds(const search *s, uint32_t taken, uint32_t chunk, uint32_t capacity) {
    uint32_t filled = capacity < s->request->step_tokens ? capacity : s->request->step_tokens;
    double passes = passes_for(s, capacity);
    uint32_t chunks_pass = (filled + chunk - 1) / chunk;
    double chunks = passes * chunks_pass;
    return recompute_seconds(s, taken) +
           (passes * s->weight_bytes_decoded + chunks * 2 * s->head_bytes) / s->request->rates.bytes;
}

/* The next smaller capacity worth trying. */
static uint32_t next_capacity(const search *s, uint32_t capacity) {
    uint32_t smaller = (uint32_t)(capacity / 1.5);
    return smaller > s->request->longest_tokens || capacity == s->request->longest_tokens
               ? smaller
               : s->request->longest_tokens;
}

typedef struct variant_choice {
    bool found;
    uint32_t taken, chunk, capacity;
    double seconds;
} variant_choice;

static levee_status find_best(search *s, variant_choice *best, uint64_t *smallest_bytes, levee_error *error) {
    const search_request *r = s->request;
    uint32_t capacity = r->step_tokens > r->longest_tokens ? r->step_tokens : r->longest_tokens;
    for (; capacity >= r->longest_tokens; capacity = next_capacity(s, capacity)) {
        for (unsigned c = 0; c < MOST_CHUNKS; c++) {
            uint32_t taken;
            uint64_t least;
            bool fits;
            levee_status status = fewest_recomputed(s, head_chunks[c], capacity, &taken, &fits, &least, error);
            if (status != LEVEE_OK) return status;
            if (least < *smallest_bytes) *smallest_bytes = least;
            if (!fits) continue;
            double seconds = extra_seconds(s, taken, head_chunks[c], capacity);
            if (!best->found || seconds < best->seconds)
                *best = (variant_choice){true, taken, head_chunks[c], capacity, seconds};
            if (!taken) break; /* nothing to win by a smaller chunk */
        }
        if (best->found && best->taken == 0 && best->chunk == head_chunks[0]) break;
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
        if (s->request->recompute == RECOMPUTE_AUTO && best->taken < s->candidate_count)
            best->taken++;
        else if (best->chunk > head_chunks[MOST_CHUNKS - 1])
            best->chunk /= 2;
        else if (best->capacity > s->request->longest_tokens)
            best->capacity = next_capacity(s, best->capacity);
        else
            return error_set(error, LEVEE_DOES_NOT_FIT, "the job needs %llu bytes", (unsigned long long)*bytes);
    }
}

static levee_status run_search(search *s, search_result *result, uint64_t *smallest_bytes, levee_error *error) {
    variant_choice best = {0};
    levee_status status = find_best(s, &best, smallest_bytes, error);
    if (status != LEVEE_OK) return status;
    uint64_t bytes = 0;
    if (best.found) {
        status = make_exact(s, &best, result, &bytes, error);
        if (status == LEVEE_DOES_NOT_FIT && bytes > *smallest_bytes) *smallest_bytes = bytes;
    } else {
        /* The remedy names a budget that truly does: the exact plan of the smallest variant. */
        plan smallest = {0};
        uint32_t taken = s->request->recompute == RECOMPUTE_OFF ? 0 : s->candidate_count;
        status = measure(s, taken, head_chunks[MOST_CHUNKS - 1], s->request->longest_tokens, &smallest,
                         smallest_bytes, error);
        plan_close(&smallest);
        if (status == LEVEE_OK)
            status = error_set(error, LEVEE_DOES_NOT_FIT, "the job needs at least %llu bytes",
                               (unsigned long long)*smallest_bytes);
    }
    if (status != LEVEE_OK) return status;
    result->recomputed_tensors = best.taken;
    result->candidate_tensors = s->candidate_count;
    result->head_chunk_tokens = best.chunk;
    result->passes = passes_for(s, best.capacity);
    result->recompute_seconds_step = recompute_seconds(s, best.taken);
    return LEVEE_OK;
}

levee_status plan_search(search_result *result, const search_request *request, uint64_t *smallest_bytes,
                         levee_error *error) {
    memset(result, 0, sizeof *result);
    *smallest_bytes = UINT64_MAX;
    search s = {.request = request};
    uint64_t count = request->g->value_count ? request->g->value_count : 1;
    s.class_of = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.class_of);
    s.recompute = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.recompute);
    s.candidates = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *s.candidates);
    levee_status status;
    if (!s.class_of || !s.recompute || !s.candidates) {
        status = error_out_of_memory(error, "the search for a plan", count * sizeof *s.candidates);
    } else {
        classify(&s);
        collect_candidates(&s);
        status = run_search(&s, result, smallest_bytes, error);
    }
    ledger_free(s.class_of);
    ledger_free(s.recompute);
    ledger_free(s.candidates);
    return status;
}
