/* Attention by products of blocks, backward: see attention_products.h. One sweep, five products a block of scores:
 *
 *   s = q k^T   p = 2^(factor s - log_sum)   dp = do v^T   ds = p (dp - row sum of do o)
 *   dq += ds k   dk^T += q^T ds   dv^T += do^T p
 *
 * An item's queries lie fixed, and the blocks of keys that they see are swept; dq is the item's own. dk and dv of a
 * block of keys are added to by every item that sees it, item after item in the order of their numbers: who comes too
 * early waits. So sums have one order whatever the number of threads. Nobody waits for ever: items are handed out in
 * that order, the first that is not done waits for none, and when the pass is interrupted, and so items are left out,
 * all who wait give up. Nor long: items go through the blocks of keys one behind the other at the same pace.
 *
 * dk and dv are summed turned round, [head_dim, BLOCK] for each block and head; so weights and gradients are read as
 * they were made, and only queries are turned, once an item. */
#include <sched.h>

#include "backend/cpu/attention_blocks.h"
#include "backend/cpu/attention_products.h"
#include "backend/cpu/attention_weights.h"
#include "backend/cpu/transpose.h"

/* All of a run: [blocks, kv_heads]. */
typedef struct key_blocks {
    packed_blocks key_columns, value_columns, key_rows;
    packed_blocks key_sums, value_sums; /* f32, [head_dim filled up to lanes, BLOCK] */
    _Atomic uint32_t *turns;            /* which item is to add next, counted among those of one head of keys */
} key_blocks;

static key_blocks lay_keys(const kernel_call *call, const block_products *p, uintptr_t *next) {
    uint64_t sum_bytes = (uint64_t)attention_width(p->scores.k) * BLOCK * sizeof(float);
    key_blocks k = {.key_columns = block_take_columns(next, call, p),
                    .value_columns = block_take_columns(next, call, p),
                    .key_rows = block_take_rows(next, call, p),
                    .key_sums = block_take_each(next, call, sum_bytes),
                    .value_sums = block_take_each(next, call, sum_bytes)};
    k.turns = (void *)block_take_each(next, call, sizeof *k.turns).data;
    return k;
}

/* Of one thread. */
typedef struct gradient_block {
    void *queries, *gradients;               /* [rows, head_dim] */
    void *turned_queries, *turned_gradients; /* [head_dim, rows] */
    float *sum;                              /* [rows, head_dim] */
    void *own;
    weighed_block weighed;
} gradient_block;

static gradient_block lay_block(const struct backend_state *state, const block_products *p, uintptr_t *next) {
    uint64_t dim = p->scores.k, stacked = block_stacked_bytes(p), turned = block_turned_bytes(p);
    weighed_block w = {.type = p->type,
                       .rows = p->rows,
                       .scores = block_take_floats(next, p->rows * BLOCK),
                       .gradients = block_take_floats(next, p->rows * BLOCK),
                       .log_sums = block_take_floats(next, p->rows),
                       .row_sums = block_take_floats(next, p->rows)};
    w.left = p->type == DTYPE_F32 ? w.gradients : block_take(next, dtype_bytes(p->type, p->rows * BLOCK));
    return (gradient_block){.queries = block_take(next, stacked),
                            .gradients = block_take(next, stacked),
                            .turned_queries = block_take(next, turned),
                            .turned_gradients = block_take(next, turned),
                            .sum = block_take_floats(next, p->rows * dim),
                            .own = block_take_own(next, state, p),
                            .weighed = w};
}

typedef struct gradient_work {
    block_work work;
    key_blocks keys;
    const float *row_sums; /* [tokens, heads] */
    atomic_bool *stopped;  /* items are missing, of all threads */
} gradient_work;

static _Atomic uint32_t *turn_of(const gradient_work *g, uint64_t key, uint64_t kv_head) {
    return &g->keys.turns[key / BLOCK * g->work.shape.kv_heads + kv_head];
}

static uint64_t sets_of_head(const block_work *w) { return w->sets / w->shape.kv_heads; }

/* Items are counted among those of one head of keys: the first of the block of a row. */
static uint32_t first_number(const block_work *w, uint64_t row) { return (uint32_t)(row / BLOCK * sets_of_head(w)); }

static uint32_t item_number(const block_work *w, const query_item *i) {
    return first_number(w, i->first) + (uint32_t)(i->head / w->products.heads % sets_of_head(w));
}

/* begin..end count blocks of keys and their heads. The first to add to a block are its own queries. */
static void pack_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const gradient_work *g = context;
    const block_work *w = &g->work;
    (void)thread;
    for (uint64_t at = begin; at < end; at++) {
        uint64_t first = at / w->shape.kv_heads * BLOCK, kv_head = at % w->shape.kv_heads;
        block_pack_columns(w, &g->keys.key_columns, &w->call->in[2], first, kv_head);
        block_pack_columns(w, &g->keys.value_columns, &w->call->in[3], first, kv_head);
        block_pack_rows(w, &g->keys.key_rows, &w->call->in[2], first, kv_head);
        atomic_init(turn_of(g, first, kv_head), first_number(w, first));
    }
}

/* Log-sum-exps and row sums of an item's queries; of those that are missing 0. */
static void fetch_sums(const gradient_work *g, const query_item *i, const weighed_block *b) {
    const float *log_sum_exps = g->work.call->in[5].data;
    for (uint64_t r = 0; r < b->rows; r++) {
        uint64_t at = (i->first + r % BLOCK) * g->work.shape.heads + i->head + r / BLOCK;
        bool is = r % BLOCK < i->rows;
        b->log_sums[r] = is ? attention_factor(log_sum_exps[at]) : 0;
        b->row_sums[r] = is ? g->row_sums[at] : 0;
    }
}

/* False: an item that is to come before was left out. */
static bool await_turn(const gradient_work *g, _Atomic uint32_t *turn, uint32_t number) {
    enum { TRIES = 1000 }; /* some microseconds; then the thread that is waited for may want this processor */
    for (unsigned tries = 0; atomic_load_explicit(turn, memory_order_acquire) != number; tries++) {
        if (atomic_load_explicit(g->stopped, memory_order_relaxed)) return false;
        if (tries >= TRIES) sched_yield();
    }
    return true;
}

/* What an item adds to dk and dv of a block of keys, in its turn. */
static void add_to_keys(const gradient_work *g, const gradient_block *b, const query_item *i, uint64_t key,
                        unsigned thread) {
    const block_work *w = &g->work;
    const block_product *p = &w->products.key_sums;
    float *key_sum = packed_block(w, &g->keys.key_sums, key, i->kv_head);
    float *value_sum = packed_block(w, &g->keys.value_sums, key, i->kv_head);
    _Atomic uint32_t *turn = turn_of(g, key, i->kv_head);
    uint32_t number = item_number(w, i);
    if (!await_turn(g, turn, number)) return;
    if (number == first_number(w, key)) {
        memset(key_sum, 0, g->keys.key_sums.bytes);
        memset(value_sum, 0, g->keys.value_sums.bytes);
    }
    block_multiply(w, p, thread, b->turned_queries, b->weighed.gradients, key_sum, b->own);
    block_multiply(w, p, thread, b->turned_gradients, b->weighed.scores, value_sum, b->own);
    atomic_store_explicit(turn, number + 1, memory_order_release);
}

/* One item and one block of keys. */
static void add_keys(const gradient_work *g, const gradient_block *b, const query_item *i, uint64_t key,
                     unsigned thread) {
    const block_work *w = &g->work;
    const block_products *p = &w->products;
    attention_view v;
    block_multiply(w, &p->scores, thread, b->queries, packed_block(w, &g->keys.key_columns, key, i->kv_head),
                   b->weighed.scores, b->own);
    block_multiply(w, &p->scores, thread, b->gradients, packed_block(w, &g->keys.value_columns, key, i->kv_head),
                   b->weighed.gradients, b->own);
    block_view(&v, w, i, key);
    attention_weigh(w->state->instructions, &b->weighed, &v);
    block_multiply(w, &p->sums, thread, b->weighed.left, packed_block(w, &g->keys.key_rows, key, i->kv_head), b->sum,
                   b->own);
    add_to_keys(g, b, i, key, thread);
}

static void pack_queries(const gradient_work *g, const gradient_block *b, const query_item *i) {
    const block_work *w = &g->work;
    block_stack(w, b->queries, &w->call->in[1], i);
    block_stack(w, b->gradients, &w->call->in[0], i);
    block_turn(w, b->turned_queries, b->queries);
    block_turn(w, b->turned_gradients, b->gradients);
    fetch_sums(g, i, &b->weighed);
    memset(b->sum, 0, w->products.rows * w->shape.head_dim * sizeof *b->sum);
}

static void write_queries(const gradient_work *g, const gradient_block *b, const query_item *i) {
    const block_work *w = &g->work;
    uint64_t dim = w->shape.head_dim;
    for (uint64_t r = 0; r < i->rows; r++)
        for (uint64_t h = 0; h < w->products.heads; h++) {
            const float *sum = b->sum + (h * BLOCK + r) * dim;
            float *dq = block_head(&w->call->out[0], i->first + r, i->head + h, dim);
            for (uint64_t d = 0; d < dim; d++) dq[d] = sum[d] * w->shape.scale;
        }
}

/* begin..end count items. What is asked for may be taken back meanwhile, so it is remembered that one is missing. */
static void queries_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const gradient_work *g = context;
    const block_work *w = &g->work;
    uintptr_t next = (uintptr_t)w->own + thread * w->own_bytes;
    gradient_block b = lay_block(w->state, &w->products, &next);
    b.weighed.factor = attention_factor(w->shape.scale);
    for (uint64_t number = begin; number < end; number++) {
        if (atomic_load(g->stopped) || pass_is_interrupted(w->call->pass)) {
            atomic_store(g->stopped, true);
            return;
        }
        query_item i = block_item(w, number);
        pack_queries(g, &b, &i);
        for (uint64_t key = block_first_key(w, &i); key <= i.first; key += BLOCK) add_keys(g, &b, &i, key, thread);
        write_queries(g, &b, &i);
    }
}

/* A block of a sum that lies turned round, times a factor: to rows of a head. */
VECTOR_INLINE void write_sum(const block_work *w, const kernel_buffer *to, const float *sum, uint64_t first,
                             uint64_t kv_head, float factor) {
    uint64_t dim = w->shape.head_dim, rows = block_rows(w, first);
    for (uint64_t d = 0; d < dim; d += 8)
        for (uint64_t row = 0; row < rows; row += 8) {
            integer_lanes words[8];
            for (uint64_t i = 0; i < 8; i++) words[i] = words_load(sum + (d + i) * BLOCK + row);
            transpose_words(words);
            for (uint64_t i = 0; i < 8 && row + i < rows; i++) {
                lanes result = (lanes)words[i] * lanes_of(factor);
                float *at = block_head(to, first + row + i, kv_head, dim) + d;
                if (d + 8 <= dim)
                    lanes_store(at, result);
                else
                    lanes_store_some(at, result, dim - d);
            }
        }
}

/* dk and dv. begin..end count blocks of keys and their heads. */
VECTOR_INLINE void write_keys_body(const gradient_work *g, uint64_t begin, uint64_t end) {
    const block_work *w = &g->work;
    for (uint64_t at = begin; at < end; at++) {
        uint64_t first = at / w->shape.kv_heads * BLOCK, kv_head = at % w->shape.kv_heads;
        write_sum(w, &w->call->out[1], packed_block(w, &g->keys.key_sums, first, kv_head), first, kv_head,
                  w->shape.scale);
        write_sum(w, &w->call->out[2], packed_block(w, &g->keys.value_sums, first, kv_head), first, kv_head, 1.0f);
    }
}
VECTOR_PATHS(write_keys, const gradient_work)

static void write_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const gradient_work *g = context;
    (void)thread;
    write_keys(g->work.state->instructions, g, begin, end);
}

static uint64_t keys_bytes(const kernel_call *call, const block_products *p) {
    uintptr_t next = 0;
    lay_keys(call, p, &next);
    return next;
}

static uint64_t block_bytes(const struct backend_state *state, const block_products *p) {
    uintptr_t next = 0;
    lay_block(state, p, &next);
    return next;
}

uint64_t attention_products_gradient_scratch(const struct backend_state *state, const kernel_call *call) {
    block_products p = block_products_of(state, call->parameters, true);
    return keys_bytes(call, &p) + block_bytes(state, &p) * state->threads;
}

levee_status attention_products_gradient_prepare(struct backend_state *state, const kernel_call *call,
                                                 levee_error *error) {
    block_products p = block_products_of(state, call->parameters, true);
    return block_prepare(state, &p, error);
}

levee_status attention_products_gradient_run(struct backend_state *state, const kernel_call *call,
                                             const float *row_sums, void *scratch, levee_error *error) {
    _Atomic int failed = LEVEE_OK;
    atomic_bool stopped = false;
    uintptr_t next = (uintptr_t)scratch;
    gradient_work g = {.work = block_work_of(state, call, &call->in[6], true)};
    g.row_sums = row_sums;
    g.stopped = &stopped;
    g.keys = lay_keys(call, &g.work.products, &next);
    g.work.own = (unsigned char *)next;
    g.work.own_bytes = block_bytes(state, &g.work.products);
    g.work.status = &failed;
    uint64_t blocks = blocks_of(g.work.shape.tokens), of_keys = blocks * g.work.shape.kv_heads;
    parallel_for(state, of_keys, 1, pack_range, &g);
    parallel_for_dynamic(state, NULL, blocks * g.work.sets, 1, queries_range, &g);
    if (!stopped) parallel_for(state, of_keys, 1, write_range, &g);
    return block_result(&g.work, stopped ? LEVEE_STOPPED : LEVEE_OK, error);
}
