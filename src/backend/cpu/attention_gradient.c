/* Causal attention, backward. Scores are computed again from q, k and the log-sum-exp, block by block. Two sweeps:
 * over blocks of queries for dq, and over blocks of keys for dk and dv; so each result has one writer, nothing races,
 * and sums have one order whatever the number of threads. Overwrites.
 *
 *   p = e^(scale q k - log_sum_exp)   dv = p^T do   dp = do v^T   ds = p (dp - row sum of do o)   dq = scale ds k
 *   dk = scale ds^T q */
#include "backend/cpu/attention.h"
#include "backend/cpu/attention_products.h"

/* Scratch of one thread, in floats. */
typedef struct gradient_block {
    float *fixed, *fixed_gradient;   /* transposed: queries and do, or keys and values */
    float *spare, *spare_gradient;   /* for what is swept */
    float *sum, *second_sum;         /* results */
    float *scores, *score_gradients; /* then weights, and their gradients */
    float *log_sums, *row_sums;      /* of fixed queries */
} gradient_block;

static uint64_t block_floats(uint64_t width) { return ATTENTION_BLOCK * (6 * width + 2 * ATTENTION_BLOCK + 2); }

typedef struct gradient_work {
    const kernel_call *call;
    attention_shape shape;
    instruction_set instructions;
    unsigned thread;
    float *row_sums; /* [tokens, heads]: of do o */
    float *blocks;
} gradient_work;

static gradient_block block_of(const gradient_work *w) {
    uint64_t matrix = ATTENTION_BLOCK * w->shape.width;
    float *next = w->blocks + w->thread * block_floats(w->shape.width);
    float *scores = next + 6 * matrix, *rows = scores + 2 * ATTENTION_BLOCK * ATTENTION_BLOCK;
    return (gradient_block){.fixed = next,
                            .fixed_gradient = next + matrix,
                            .spare = next + 2 * matrix,
                            .spare_gradient = next + 3 * matrix,
                            .sum = next + 4 * matrix,
                            .second_sum = next + 5 * matrix,
                            .scores = scores,
                            .score_gradients = scores + ATTENTION_BLOCK * ATTENTION_BLOCK,
                            .log_sums = rows,
                            .row_sums = rows + ATTENTION_BLOCK};
}

VECTOR_INLINE const float *rows_of(const kernel_buffer *buffer, uint64_t row, uint64_t stride, uint64_t head,
                                   uint64_t head_dim) {
    return (const float *)buffer->data + row * stride + head * head_dim;
}

/* With scores and, in score_gradients, dp: the gradients of the scores; rows are keys, columns fixed queries. */
VECTOR_INLINE void weigh_keys(gradient_block *b, const attention_view *v, uint64_t keys) {
    for (uint64_t c = 0; c < keys; c++)
        for (uint64_t j = attention_lanes_first(v, c); j < attention_lanes_end(v, c); j += VECTOR_LANES) {
            float *ds = b->score_gradients + c * ATTENTION_BLOCK + j;
            lanes score = lanes_load(b->scores + c * ATTENTION_BLOCK + j);
            lanes weight = lanes_exponential(score - lanes_load(b->log_sums + j));
            lanes gradient = weight * (lanes_load(ds) - lanes_load(b->row_sums + j));
            lanes_store(ds, lanes_select(attention_sees(v, c, j), gradient, lanes_of(0.0f)));
        }
}

/* The same where rows are queries, columns fixed keys; leaves the weights in scores too. */
VECTOR_INLINE void weigh_queries(const gradient_work *w, gradient_block *b, const attention_view *v, uint64_t head,
                                 uint64_t query, uint64_t queries) {
    for (uint64_t c = 0; c < queries; c++) {
        uint64_t at = (query + c) * w->shape.heads + head;
        lanes log_sum = lanes_of(((const float *)w->call->in[5].data)[at]), row_sum = lanes_of(w->row_sums[at]);
        for (uint64_t j = attention_lanes_first(v, c); j < attention_lanes_end(v, c); j += VECTOR_LANES) {
            float *p = b->scores + c * ATTENTION_BLOCK + j, *ds = b->score_gradients + c * ATTENTION_BLOCK + j;
            integer_lanes sees = attention_sees(v, c, j);
            lanes weight = lanes_exponential(lanes_load(p) - log_sum);
            lanes gradient = weight * (lanes_load(ds) - row_sum);
            lanes_store(p, lanes_select(sees, weight, lanes_of(0.0f)));
            lanes_store(ds, lanes_select(sees, gradient, lanes_of(0.0f)));
        }
    }
}

VECTOR_INLINE void clear(float *values, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) values[i] = 0;
}

static inline uint64_t at_most_block(uint64_t rows) { return rows < ATTENTION_BLOCK ? rows : ATTENTION_BLOCK; }

VECTOR_INLINE void sum_rows_body(gradient_work *w, uint64_t begin, uint64_t end) {
    const attention_shape *s = &w->shape;
    for (uint64_t t = begin; t < end; t++)
        for (uint64_t h = 0; h < s->heads; h++) {
            const float *d = rows_of(&w->call->in[0], t, s->q_stride, h, s->head_dim);
            const float *o = rows_of(&w->call->in[4], t, s->q_stride, h, s->head_dim);
            uint64_t i = 0;
            lanes sums = lanes_of(0.0f);
            for (; i + VECTOR_LANES <= s->head_dim; i += VECTOR_LANES) sums += lanes_load(d + i) * lanes_load(o + i);
            float sum = lanes_sum(sums);
            for (; i < s->head_dim; i++) sum += d[i] * o[i];
            w->row_sums[t * s->heads + h] = sum;
        }
}
VECTOR_PATHS(sum_rows, gradient_work)

/* begin..end count (block of queries, head) pairs. */
VECTOR_INLINE void queries_body(gradient_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    gradient_block b = block_of(w);
    attention_view v;
    for (uint64_t item = begin; item < end; item++) {
        uint64_t head = item % s->heads, first = item / s->heads * ATTENTION_BLOCK;
        uint64_t kv_head = head / (s->heads / s->kv_heads), rows = at_most_block(s->tokens - first);
        attention_pack_transposed(b.fixed, rows_of(&call->in[1], first, s->q_stride, head, s->head_dim), s->q_stride,
                                  rows, s->head_dim, s->scale);
        attention_pack_transposed(b.fixed_gradient, rows_of(&call->in[0], first, s->q_stride, head, s->head_dim),
                                  s->q_stride, rows, s->head_dim, 1.0f);
        for (uint64_t r = 0; r < ATTENTION_BLOCK; r++) {
            uint64_t at = (first + (r < rows ? r : 0)) * s->heads + head;
            b.log_sums[r] = ((const float *)call->in[5].data)[at];
            b.row_sums[r] = w->row_sums[at];
        }
        clear(b.sum, ATTENTION_BLOCK * s->width);
        for (uint64_t key = attention_first(s, first); key < first + rows; key += ATTENTION_BLOCK) {
            uint64_t count = at_most_block(first + rows - key);
            const float *k = rows_of(&call->in[2], key, s->kv_stride, kv_head, s->head_dim);
            const float *value = rows_of(&call->in[3], key, s->kv_stride, kv_head, s->head_dim);
            attention_rows keys = attention_rows_at(s, k, s->kv_stride, count, b.spare);
            attention_view_of_keys(&v, s, key, count, first, rows);
            attention_scores(b.scores, keys, b.fixed, s->head_dim, &v);
            attention_scores(b.score_gradients, attention_rows_at(s, value, s->kv_stride, count, b.spare_gradient),
                             b.fixed_gradient, s->head_dim, &v);
            weigh_keys(&b, &v, count);
            attention_add_weighted(b.sum, b.score_gradients, keys, s->width, rows, &v);
        }
        for (uint64_t r = 0; r < rows; r++) {
            float *dq = (float *)call->out[0].data + (first + r) * s->q_stride + head * s->head_dim;
            for (uint64_t i = 0; i < s->head_dim; i++) dq[i] = b.sum[r * s->width + i] * s->scale;
        }
    }
}
VECTOR_PATHS(queries, gradient_work)

/* begin..end count (block of keys, kv head) pairs. */
VECTOR_INLINE void keys_body(gradient_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    gradient_block b = block_of(w);
    attention_view v;
    uint64_t group = s->heads / s->kv_heads;
    for (uint64_t item = begin; item < end; item++) {
        uint64_t kv_head = item % s->kv_heads, first = item / s->kv_heads * ATTENTION_BLOCK;
        uint64_t rows = at_most_block(s->tokens - first), stop = attention_last_query(s, first + rows - 1);
        attention_pack_transposed(b.fixed, rows_of(&call->in[2], first, s->kv_stride, kv_head, s->head_dim),
                                  s->kv_stride, rows, s->head_dim, s->scale);
        attention_pack_transposed(b.fixed_gradient, rows_of(&call->in[3], first, s->kv_stride, kv_head, s->head_dim),
                                  s->kv_stride, rows, s->head_dim, 1.0f);
        clear(b.sum, ATTENTION_BLOCK * s->width);
        clear(b.second_sum, ATTENTION_BLOCK * s->width);
        for (uint64_t query = first; query < stop; query += ATTENTION_BLOCK) {
            uint64_t count = at_most_block(stop - query);
            attention_view_of_queries(&v, s, query, count, first, rows);
            for (uint64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
                const float *q = rows_of(&call->in[1], query, s->q_stride, head, s->head_dim);
                const float *d = rows_of(&call->in[0], query, s->q_stride, head, s->head_dim);
                attention_rows queries = attention_rows_at(s, q, s->q_stride, count, b.spare);
                attention_rows gradients = attention_rows_at(s, d, s->q_stride, count, b.spare_gradient);
                attention_scores(b.scores, queries, b.fixed, s->head_dim, &v);
                attention_scores(b.score_gradients, gradients, b.fixed_gradient, s->head_dim, &v);
                weigh_queries(w, &b, &v, head, query, count);
                attention_add_weighted(b.sum, b.score_gradients, queries, s->width, rows, &v);
                attention_add_weighted(b.second_sum, b.scores, gradients, s->width, rows, &v);
            }
        }
        for (uint64_t r = 0; r < rows; r++) {
            float *dk = (float *)call->out[1].data + (first + r) * s->kv_stride + kv_head * s->head_dim;
            float *dv = (float *)call->out[2].data + (first + r) * s->kv_stride + kv_head * s->head_dim;
            for (uint64_t i = 0; i < s->head_dim; i++) {
                dk[i] = b.sum[r * s->width + i] * s->scale;
                dv[i] = b.second_sum[r * s->width + i];
            }
        }
    }
}
VECTOR_PATHS(keys, gradient_work)

#define RANGE(name)                                                                                                  \
    static void name##_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {                         \
        gradient_work own = *(const gradient_work *)context;                                                         \
        own.thread = thread;                                                                                         \
        name(own.instructions, &own, begin, end);                                                                    \
    }
RANGE(sum_rows)
RANGE(queries)
RANGE(keys)

static uint64_t row_sums_bytes(const kernel_call *call) {
    return align64(call->in[0].rows * call->parameters->heads * sizeof(float));
}

static uint64_t scratch(const struct backend_state *state, const kernel_call *call) {
    if (attention_has_products(state)) return row_sums_bytes(call) + attention_products_gradient_scratch(state, call);
    return row_sums_bytes(call) +
           state->threads * block_floats(attention_width(call->parameters->head_dim)) * sizeof(float);
}

static levee_status prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    return attention_has_products(state) ? attention_products_gradient_prepare(state, call, error) : LEVEE_OK;
}

static levee_status run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const operator_parameters *p = call->parameters;
    gradient_work w = {.call = call, .instructions = state->instructions, .row_sums = call->scratch};
    unsigned char *blocks = (unsigned char *)call->scratch + row_sums_bytes(call);
    w.blocks = (float *)(void *)blocks;
    w.shape = attention_shape_of(call, &call->in[6]);
    parallel_for(state, w.shape.tokens, 16, sum_rows_range, &w);
    if (attention_has_products(state)) return attention_products_gradient_run(state, call, w.row_sums, blocks, error);
    uint64_t count = (w.shape.tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    levee_status status = parallel_for_dynamic(state, call->pass, count * p->heads, 1, queries_range, &w);
    if (status == LEVEE_OK) status = parallel_for_dynamic(state, call->pass, count * p->kv_heads, 1, keys_range, &w);
    return status;
}

const kernel cpu_attention_gradient = {.scratch = scratch, .prepare = prepare, .run = run};
