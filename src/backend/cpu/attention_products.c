/* Attention by products of blocks: see attention_products.h. Every thread works on blocks of its own.
 *
 * Forward, and dq: a block of queries, of several heads that share their keys, lies fixed; the blocks of keys that
 * they see are swept. dk and dv: a block of keys lies fixed, and the blocks of queries that see it are swept. So each
 * result has one writer, and sums have one order whatever the number of threads.
 *
 * A view (attention.h) says what each row of a block of scores sees; what is not seen is computed and becomes zero.
 */
#include "backend/cpu/attention_products.h"

#include <math.h>
#include <stdatomic.h>

#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm.h"
#include "base/error.h"

enum { BLOCK = ATTENTION_BLOCK, MOST_HEADS = 4 };

bool attention_has_products(const struct backend_state *state) {
    return gemm_reads_blocked(state->products, product_type(state));
}

typedef struct block_products {
    dtype type;
    uint32_t heads, rows; /* heads that are worked on together, and their queries: heads * BLOCK */
    /* With fixed queries. */
    block_product scores; /* [rows, BLOCK] = queries keys^T */
    block_product sums;   /* [rows, head_dim] += weights values */
    /* With fixed keys, all turned round. */
    block_product key_scores; /* [BLOCK, rows] = keys queries^T */
    block_product key_sums;   /* [BLOCK, head_dim] += weights^T do */
} block_products;

static block_products products_of(const struct backend_state *state, const operator_parameters *p) {
    uint32_t group = p->heads / p->kv_heads, heads = MOST_HEADS;
    while (group % heads) heads--;
    uint32_t rows = heads * BLOCK, dim = p->head_dim;
    dtype type = product_type(state);
    return (block_products){
        .type = type,
        .heads = heads,
        .rows = rows,
        .scores = {.m = rows, .n = BLOCK, .k = dim, .type = type},
        .sums = {.m = rows, .n = dim, .k = BLOCK, .accumulate = true, .type = type},
        .key_scores = {.m = BLOCK, .n = rows, .k = dim, .type = type},
        .key_sums = {.m = BLOCK, .n = dim, .k = rows, .accumulate = true, .type = type},
    };
}

/* Scratch is given out piece by piece; from NULL, to know how much it takes. */
static void *take(uintptr_t *next, uint64_t bytes) {
    uintptr_t here = *next;
    *next += align64(bytes);
    return (void *)here;
}

static float *take_floats(uintptr_t *next, uint64_t count) { return take(next, count * sizeof(float)); }

/* A block of weights as the products read them: f32 ones stay where they are. */
static void *take_weights(uintptr_t *next, dtype type, const float *weights, uint64_t count) {
    if (type == DTYPE_F32) return (void *)(uintptr_t)weights;
    return take(next, dtype_bytes(type, count));
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void *take_own(uintptr_t *next, struct gemm *g, const block_product *a, const block_product *b) {
    return take(next, larger(gemm_block_scratch(g, a), gemm_block_scratch(g, b)));
}

typedef struct forward_block {
    void *queries, *keys, *values, *weights, *own;
    float *scores, *output, *highest, *sum;
} forward_block;

/* Of one thread; *next goes on to where it ends. */
static forward_block lay_forward(struct gemm *g, const block_products *p, uintptr_t *next) {
    uint64_t dim = p->scores.k;
    forward_block b = {.queries = take(next, dtype_bytes(p->type, p->rows * dim)),
                       .keys = take(next, blocked_bytes(p->type, dim, BLOCK)),
                       .values = take(next, blocked_bytes(p->type, BLOCK, dim)),
                       .scores = take_floats(next, p->rows * BLOCK),
                       .output = take_floats(next, p->rows * dim),
                       .highest = take_floats(next, p->rows),
                       .sum = take_floats(next, p->rows)};
    b.weights = take_weights(next, p->type, b.scores, p->rows * BLOCK);
    b.own = take_own(next, g, &p->scores, &p->sums);
    return b;
}

typedef struct query_block {
    void *queries, *gradients, *keys, *values, *key_rows, *weights, *own;
    float *scores, *score_gradients, *sum, *log_sums, *row_sums;
} query_block;

static query_block lay_queries(struct gemm *g, const block_products *p, uintptr_t *next) {
    uint64_t dim = p->scores.k;
    query_block b = {.queries = take(next, dtype_bytes(p->type, p->rows * dim)),
                     .gradients = take(next, dtype_bytes(p->type, p->rows * dim)),
                     .keys = take(next, blocked_bytes(p->type, dim, BLOCK)),
                     .values = take(next, blocked_bytes(p->type, dim, BLOCK)),
                     .key_rows = take(next, blocked_bytes(p->type, BLOCK, dim)),
                     .scores = take_floats(next, p->rows * BLOCK),
                     .score_gradients = take_floats(next, p->rows * BLOCK),
                     .sum = take_floats(next, p->rows * dim),
                     .log_sums = take_floats(next, p->rows),
                     .row_sums = take_floats(next, p->rows)};
    b.weights = take_weights(next, p->type, b.score_gradients, p->rows * BLOCK);
    b.own = take_own(next, g, &p->scores, &p->sums);
    return b;
}

typedef struct key_block {
    void *keys, *values, *queries, *gradients, *query_rows, *gradient_rows, *weights, *weight_gradients, *own;
    float *scores, *score_gradients, *sum, *value_sum, *log_sums, *row_sums;
} key_block;

static key_block lay_keys(struct gemm *g, const block_products *p, uintptr_t *next) {
    uint64_t dim = p->scores.k;
    key_block b = {.keys = take(next, dtype_bytes(p->type, BLOCK * dim)),
                   .values = take(next, dtype_bytes(p->type, BLOCK * dim)),
                   .queries = take(next, blocked_bytes(p->type, dim, p->rows)),
                   .gradients = take(next, blocked_bytes(p->type, dim, p->rows)),
                   .query_rows = take(next, blocked_bytes(p->type, p->rows, dim)),
                   .gradient_rows = take(next, blocked_bytes(p->type, p->rows, dim)),
                   .scores = take_floats(next, p->rows * BLOCK),
                   .score_gradients = take_floats(next, p->rows * BLOCK),
                   .sum = take_floats(next, BLOCK * dim),
                   .value_sum = take_floats(next, BLOCK * dim),
                   .log_sums = take_floats(next, p->rows),
                   .row_sums = take_floats(next, p->rows)};
    b.weights = take_weights(next, p->type, b.scores, p->rows * BLOCK);
    b.weight_gradients = take_weights(next, p->type, b.score_gradients, p->rows * BLOCK);
    b.own = take_own(next, g, &p->key_scores, &p->key_sums);
    return b;
}

typedef struct products_work {
    struct backend_state *state;
    const kernel_call *call;
    attention_shape shape;
    block_products products;
    const float *row_sums; /* gradient */
    unsigned char *blocks; /* of all threads */
    uint64_t block_bytes;  /* of each */
    _Atomic int *status;   /* of all threads: the first failure */
    unsigned thread;
} products_work;

static uintptr_t thread_blocks(const products_work *w) { return (uintptr_t)w->blocks + w->thread * w->block_bytes; }

static void multiply(const products_work *w, const block_product *p, const void *a, const void *b, float *c,
                     void *own) {
    int none = LEVEE_OK, status = (int)gemm_block(w->state->products, p, w->thread, a, b, c, own, NULL);
    if (status != LEVEE_OK) atomic_compare_exchange_strong(w->status, &none, status);
}

static levee_status result_of(levee_status status, _Atomic int *products, levee_error *error) {
    if (*products != LEVEE_OK)
        return error_set(error, (levee_status)*products, "attention: a product of blocks failed");
    return status;
}

static const float *rows_of(const kernel_buffer *buffer, uint64_t row, uint64_t stride, uint64_t head,
                            uint64_t head_dim) {
    return (const float *)buffer->data + row * stride + head * head_dim;
}

/* Rows of one head, dense and in the type of the products; those that are missing of a block are zero. */
static void put_dense(const products_work *w, void *to, const float *from, uint64_t stride, uint64_t rows) {
    uint64_t dim = w->shape.head_dim, bytes = dtype_bytes(w->products.type, dim);
    for (uint64_t r = 0; r < rows; r++)
        vector_operands(w->products.type, (unsigned char *)to + r * bytes, from + r * stride, dim);
    memset((unsigned char *)to + rows * bytes, 0, (BLOCK - rows) * bytes);
}

/* The same rows as columns of a blocked matrix from `at` on, or as its rows from `at` on of `k`. */
static void put_blocked(const products_work *w, void *to, const float *from, uint64_t stride, uint64_t rows,
                        bool columns, uint64_t at, uint64_t k) {
    blocked_source source = {.stored = DTYPE_F32,
                             .type = w->products.type,
                             .from = from,
                             .rows = rows,
                             .cols = w->shape.head_dim,
                             .stride = stride,
                             .transposed = columns};
    blocked_put(w->state->instructions, &source, at, k, to);
}

static void put_columns(const products_work *w, void *to, const float *from, uint64_t stride, uint64_t rows,
                        uint64_t at) {
    put_blocked(w, to, from, stride, rows, true, at, w->shape.head_dim);
}

static void put_rows(const products_work *w, void *to, const float *from, uint64_t stride, uint64_t rows, uint64_t at,
                     uint64_t k) {
    put_blocked(w, to, from, stride, rows, false, at, k);
}

static inline uint64_t at_most_block(uint64_t rows) { return rows < BLOCK ? rows : BLOCK; }

VECTOR_INLINE bool sees_all(const attention_view *v, uint64_t c) { return v->low[c] == 0 && v->high[c] == BLOCK; }

/* Turns a row of scores into weights e^(scale score - highest), with the highest that it has seen by now; returns by
 * what all that was summed before is to be multiplied. */
VECTOR_INLINE float absorb_row(float *scores, const attention_view *v, uint64_t c, float scale, float *highest,
                               float *sum) {
    lanes top = lanes_of(attention_lowest), factor = lanes_of(scale), total = lanes_of(0.0f);
    bool all = sees_all(v, c);
    for (uint64_t j = 0; j < BLOCK; j += VECTOR_LANES) {
        lanes score = lanes_load(scores + j) * factor;
        if (!all) score = lanes_select(attention_sees(v, c, j), score, lanes_of(attention_masked));
        lanes_store(scores + j, score);
        top = lanes_maximum(top, score);
    }
    float before = *highest, now = lanes_highest(top);
    if (now < before) now = before;
    for (uint64_t j = 0; j < BLOCK; j += VECTOR_LANES) {
        lanes weight = lanes_exponential(lanes_load(scores + j) - lanes_of(now));
        lanes_store(scores + j, weight);
        total += weight;
    }
    float fade = now > before ? expf(before - now) : 1.0f;
    *sum = *sum * fade + lanes_sum(total);
    *highest = now;
    return fade;
}

VECTOR_INLINE void fade_row(float *output, uint64_t dim, float fade) {
    for (uint64_t i = 0; i < dim; i++) output[i] *= fade;
}

static void as_weights(const products_work *w, void *weights, const float *values) {
    if (w->products.type != DTYPE_F32)
        vector_operands(w->products.type, weights, values, (uint64_t)w->products.rows * BLOCK);
}

/* Which queries an item is about: `heads` heads from `head` on, `rows` rows from `first` on. */
typedef struct query_item {
    uint64_t head, kv_head, first, rows;
} query_item;

static query_item query_item_of(const products_work *w, uint64_t item) {
    uint64_t sets = w->shape.heads / w->products.heads, head = item % sets * w->products.heads;
    uint64_t first = item / sets * BLOCK;
    return (query_item){.head = head,
                        .kv_head = head / (w->shape.heads / w->shape.kv_heads),
                        .first = first,
                        .rows = at_most_block(w->shape.tokens - first)};
}

/* begin..end count blocks of queries and sets of heads, sets fastest. */
VECTOR_INLINE void forward_body(products_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    const block_products *p = &w->products;
    uintptr_t next = thread_blocks(w);
    forward_block b = lay_forward(w->state->products, p, &next);
    attention_view v;
    for (uint64_t item = begin; item < end; item++) {
        query_item i = query_item_of(w, item);
        for (uint64_t h = 0; h < p->heads; h++)
            put_dense(w, (unsigned char *)b.queries + dtype_bytes(p->type, h * BLOCK * s->head_dim),
                      rows_of(&call->in[0], i.first, s->q_stride, i.head + h, s->head_dim), s->q_stride, i.rows);
        for (uint64_t r = 0; r < p->rows; r++) b.highest[r] = attention_lowest, b.sum[r] = 0;
        memset(b.output, 0, p->rows * s->head_dim * sizeof(float));
        for (uint64_t key = attention_first(s, i.first); key < i.first + i.rows; key += BLOCK) {
            uint64_t count = at_most_block(i.first + i.rows - key);
            put_columns(w, b.keys, rows_of(&call->in[1], key, s->kv_stride, i.kv_head, s->head_dim), s->kv_stride,
                        count, 0);
            put_rows(w, b.values, rows_of(&call->in[2], key, s->kv_stride, i.kv_head, s->head_dim), s->kv_stride,
                     count, 0, BLOCK);
            multiply(w, &p->scores, b.queries, b.keys, b.scores, b.own);
            attention_view_of_queries(&v, s, i.first, i.rows, key, count);
            for (uint64_t r = 0; r < p->rows; r++) {
                float *scores = b.scores + r * BLOCK;
                uint64_t c = r % BLOCK;
                if (c >= i.rows || v.high[c] <= v.low[c]) {
                    memset(scores, 0, BLOCK * sizeof *scores);
                    continue;
                }
                float fade = absorb_row(scores, &v, c, s->scale, &b.highest[r], &b.sum[r]);
                if (fade != 1.0f) fade_row(b.output + r * s->head_dim, s->head_dim, fade);
            }
            as_weights(w, b.weights, b.scores);
            multiply(w, &p->sums, b.weights, b.values, b.output, b.own);
        }
        for (uint64_t r = 0; r < p->rows; r++) {
            uint64_t t = i.first + r % BLOCK, head = i.head + r / BLOCK;
            if (r % BLOCK >= i.rows) continue;
            float *o = (float *)call->out[0].data + t * s->q_stride + head * s->head_dim, inverse = 1.0f / b.sum[r];
            for (uint64_t d = 0; d < s->head_dim; d++) o[d] = b.output[r * s->head_dim + d] * inverse;
            ((float *)call->out[1].data)[t * s->heads + head] = b.highest[r] + logf(b.sum[r]);
        }
    }
}
VECTOR_PATHS(forward, products_work)

/* The gradients of a row of scores from the scores and the gradients of the weights; the weights stay in `scores`.
 * Column j has the log-sum-exp and row sum of log_sums[j * step] and row_sums[j * step]: of its own (1), or the row's
 * (0). */
VECTOR_INLINE void weigh_row(float *scores, float *gradients, const attention_view *v, uint64_t c, float scale,
                             const float *log_sums, const float *row_sums, unsigned step) {
    lanes factor = lanes_of(scale), log_sum = lanes_of(log_sums[0]), row_sum = lanes_of(row_sums[0]);
    bool all = sees_all(v, c);
    for (uint64_t j = 0; j < BLOCK; j += VECTOR_LANES) {
        if (step) log_sum = lanes_load(log_sums + j), row_sum = lanes_load(row_sums + j);
        lanes weight = lanes_exponential(lanes_load(scores + j) * factor - log_sum);
        lanes gradient = weight * (lanes_load(gradients + j) - row_sum);
        if (!all) {
            integer_lanes sees = attention_sees(v, c, j);
            weight = lanes_select(sees, weight, lanes_of(0.0f));
            gradient = lanes_select(sees, gradient, lanes_of(0.0f));
        }
        lanes_store(scores + j, weight);
        lanes_store(gradients + j, gradient);
    }
}

/* The log-sum-exps and row sums of a block's queries; those that are missing repeat the first. */
static void fetch_sums(const products_work *w, const query_item *i, float *log_sums, float *row_sums) {
    for (uint64_t r = 0; r < w->products.rows; r++) {
        uint64_t c = r % BLOCK < i->rows ? r % BLOCK : 0, at = (i->first + c) * w->shape.heads + i->head + r / BLOCK;
        log_sums[r] = ((const float *)w->call->in[5].data)[at];
        row_sums[r] = w->row_sums[at];
    }
}

/* dq. begin..end count blocks of queries and sets of heads. */
VECTOR_INLINE void queries_body(products_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    const block_products *p = &w->products;
    uintptr_t next = thread_blocks(w);
    query_block b = lay_queries(w->state->products, p, &next);
    attention_view v;
    for (uint64_t item = begin; item < end; item++) {
        query_item i = query_item_of(w, item);
        for (uint64_t h = 0; h < p->heads; h++) {
            uint64_t at = dtype_bytes(p->type, h * BLOCK * s->head_dim);
            put_dense(w, (unsigned char *)b.queries + at,
                      rows_of(&call->in[1], i.first, s->q_stride, i.head + h, s->head_dim), s->q_stride, i.rows);
            put_dense(w, (unsigned char *)b.gradients + at,
                      rows_of(&call->in[0], i.first, s->q_stride, i.head + h, s->head_dim), s->q_stride, i.rows);
        }
        fetch_sums(w, &i, b.log_sums, b.row_sums);
        memset(b.sum, 0, p->rows * s->head_dim * sizeof(float));
        for (uint64_t key = attention_first(s, i.first); key < i.first + i.rows; key += BLOCK) {
            uint64_t count = at_most_block(i.first + i.rows - key);
            const float *keys = rows_of(&call->in[2], key, s->kv_stride, i.kv_head, s->head_dim);
            put_columns(w, b.keys, keys, s->kv_stride, count, 0);
            put_columns(w, b.values, rows_of(&call->in[3], key, s->kv_stride, i.kv_head, s->head_dim), s->kv_stride,
                        count, 0);
            put_rows(w, b.key_rows, keys, s->kv_stride, count, 0, BLOCK);
            multiply(w, &p->scores, b.queries, b.keys, b.scores, b.own);
            multiply(w, &p->scores, b.gradients, b.values, b.score_gradients, b.own);
            attention_view_of_queries(&v, s, i.first, i.rows, key, count);
            for (uint64_t r = 0; r < p->rows; r++) {
                float *gradients = b.score_gradients + r * BLOCK;
                if (r % BLOCK >= i.rows)
                    memset(gradients, 0, BLOCK * sizeof *gradients);
                else
                    weigh_row(b.scores + r * BLOCK, gradients, &v, r % BLOCK, s->scale, b.log_sums + r,
                              b.row_sums + r, 0);
            }
            as_weights(w, b.weights, b.score_gradients);
            multiply(w, &p->sums, b.weights, b.key_rows, b.sum, b.own);
        }
        for (uint64_t r = 0; r < p->rows; r++) {
            if (r % BLOCK >= i.rows) continue;
            float *dq =
                (float *)call->out[0].data + (i.first + r % BLOCK) * s->q_stride + (i.head + r / BLOCK) * s->head_dim;
            for (uint64_t d = 0; d < s->head_dim; d++) dq[d] = b.sum[r * s->head_dim + d] * s->scale;
        }
    }
}
VECTOR_PATHS(queries, products_work)

/* What one block of queries, of one set of heads, adds to dk and dv of fixed keys. */
VECTOR_INLINE void add_queries(products_work *w, key_block *b, const query_item *i, uint64_t key, uint64_t keys) {
    const attention_shape *s = &w->shape;
    const block_products *p = &w->products;
    attention_view v;
    for (uint64_t h = 0; h < p->heads; h++) {
        const float *q = rows_of(&w->call->in[1], i->first, s->q_stride, i->head + h, s->head_dim);
        const float *d = rows_of(&w->call->in[0], i->first, s->q_stride, i->head + h, s->head_dim);
        put_columns(w, b->queries, q, s->q_stride, i->rows, h * BLOCK);
        put_columns(w, b->gradients, d, s->q_stride, i->rows, h * BLOCK);
        put_rows(w, b->query_rows, q, s->q_stride, i->rows, h * BLOCK, p->rows);
        put_rows(w, b->gradient_rows, d, s->q_stride, i->rows, h * BLOCK, p->rows);
    }
    fetch_sums(w, i, b->log_sums, b->row_sums);
    multiply(w, &p->key_scores, b->keys, b->queries, b->scores, b->own);
    multiply(w, &p->key_scores, b->values, b->gradients, b->score_gradients, b->own);
    attention_view_of_keys(&v, s, key, keys, i->first, i->rows);
    for (uint64_t c = 0; c < keys; c++)
        for (uint64_t h = 0; h < p->heads; h++)
            weigh_row(b->scores + c * p->rows + h * BLOCK, b->score_gradients + c * p->rows + h * BLOCK, &v, c,
                      s->scale, b->log_sums + h * BLOCK, b->row_sums + h * BLOCK, 1);
    as_weights(w, b->weights, b->scores);
    as_weights(w, b->weight_gradients, b->score_gradients);
    multiply(w, &p->key_sums, b->weight_gradients, b->query_rows, b->sum, b->own);
    multiply(w, &p->key_sums, b->weights, b->gradient_rows, b->value_sum, b->own);
}

/* dk and dv. begin..end count blocks of keys and their heads, heads fastest. */
VECTOR_INLINE void keys_body(products_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    const block_products *p = &w->products;
    uint64_t group = s->heads / s->kv_heads;
    uintptr_t next = thread_blocks(w);
    key_block b = lay_keys(w->state->products, p, &next);
    for (uint64_t item = begin; item < end; item++) {
        uint64_t kv_head = item % s->kv_heads, first = item / s->kv_heads * BLOCK;
        uint64_t rows = at_most_block(s->tokens - first), stop = attention_last_query(s, first + rows - 1);
        put_dense(w, b.keys, rows_of(&call->in[2], first, s->kv_stride, kv_head, s->head_dim), s->kv_stride, rows);
        put_dense(w, b.values, rows_of(&call->in[3], first, s->kv_stride, kv_head, s->head_dim), s->kv_stride, rows);
        memset(b.sum, 0, BLOCK * s->head_dim * sizeof(float));
        memset(b.value_sum, 0, BLOCK * s->head_dim * sizeof(float));
        for (uint64_t query = first; query < stop; query += BLOCK)
            for (uint64_t head = kv_head * group; head < (kv_head + 1) * group; head += p->heads) {
                query_item i = {head, kv_head, query, at_most_block(stop - query)};
                add_queries(w, &b, &i, first, rows);
            }
        for (uint64_t r = 0; r < rows; r++) {
            uint64_t at = (first + r) * s->kv_stride + kv_head * s->head_dim;
            float *dk = (float *)call->out[1].data + at, *dv = (float *)call->out[2].data + at;
            for (uint64_t d = 0; d < s->head_dim; d++) {
                dk[d] = b.sum[r * s->head_dim + d] * s->scale;
                dv[d] = b.value_sum[r * s->head_dim + d];
            }
        }
    }
}
VECTOR_PATHS(keys, products_work)

#define RANGE(name)                                                                                                  \
    static void name##_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {                         \
        products_work own = *(const products_work *)context;                                                         \
        own.thread = thread;                                                                                         \
        name(own.state->instructions, &own, begin, end);                                                             \
    }
RANGE(forward)
RANGE(queries)
RANGE(keys)

static levee_status prepare_all(struct backend_state *state, const block_product *const *list, unsigned count,
                                levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < count && status == LEVEE_OK; i++)
        status = gemm_prepare_block(state->products, list[i], error);
    return status;
}

static uint64_t forward_bytes(const struct backend_state *state, const block_products *p) {
    uintptr_t next = 0;
    lay_forward(state->products, p, &next);
    return next;
}

uint64_t attention_products_scratch(const struct backend_state *state, const kernel_call *call) {
    block_products p = products_of(state, call->parameters);
    return forward_bytes(state, &p) * state->threads;
}

levee_status attention_products_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    block_products p = products_of(state, call->parameters);
    return prepare_all(state, (const block_product *[]){&p.scores, &p.sums}, 2, error);
}

levee_status attention_products_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    _Atomic int failed = LEVEE_OK;
    products_work w = {.state = state,
                       .call = call,
                       .shape = attention_shape_of(call, &call->in[3]),
                       .products = products_of(state, call->parameters),
                       .blocks = call->scratch,
                       .status = &failed};
    w.block_bytes = forward_bytes(state, &w.products);
    uint64_t blocks = (w.shape.tokens + BLOCK - 1) / BLOCK, sets = w.shape.heads / w.products.heads;
    return result_of(parallel_for_dynamic(state, call->pass, blocks * sets, 1, forward_range, &w), &failed, error);
}

static uint64_t gradient_bytes(const struct backend_state *state, const block_products *p) {
    uintptr_t of_queries = 0, of_keys = 0;
    lay_queries(state->products, p, &of_queries);
    lay_keys(state->products, p, &of_keys);
    return larger(of_queries, of_keys);
}

uint64_t attention_products_gradient_scratch(const struct backend_state *state, const kernel_call *call) {
    block_products p = products_of(state, call->parameters);
    return gradient_bytes(state, &p) * state->threads;
}

levee_status attention_products_gradient_prepare(struct backend_state *state, const kernel_call *call,
                                                 levee_error *error) {
    block_products p = products_of(state, call->parameters);
    return prepare_all(state, (const block_product *[]){&p.scores, &p.sums, &p.key_scores, &p.key_sums}, 4, error);
}

levee_status attention_products_gradient_run(struct backend_state *state, const kernel_call *call,
                                             const float *row_sums, void *scratch, levee_error *error) {
    _Atomic int failed = LEVEE_OK;
    products_work w = {.state = state,
                       .call = call,
                       .shape = attention_shape_of(call, &call->in[6]),
                       .products = products_of(state, call->parameters),
                       .row_sums = row_sums,
                       .blocks = scratch,
                       .status = &failed};
    w.block_bytes = gradient_bytes(state, &w.products);
    uint64_t blocks = (w.shape.tokens + BLOCK - 1) / BLOCK, sets = w.shape.heads / w.products.heads;
    levee_status status = parallel_for_dynamic(state, call->pass, blocks * sets, 1, queries_range, &w);
    if (status == LEVEE_OK)
        status = parallel_for_dynamic(state, call->pass, blocks * w.shape.kv_heads, 1, keys_range, &w);
    return result_of(status, &failed, error);
}
