/* Causal attention, backward. Scores are computed again from q, k and the log-sum-exp, block by block. Two sweeps:
 * over blocks of queries for dq, and over blocks of keys for dk and dv; so each result has one writer, nothing races,
 * and sums have one order whatever the number of threads. Overwrites.
 *
 *   p = e^(scale q k - log_sum_exp)   dv = p^T do   dp = do v^T   ds = p (dp - row sum of do o)   dq = scale ds k
 *   dk = scale ds^T q */
#include "backend/cpu/attention.h"

enum { BLOCK_MATRICES = 10 }; /* blocks of [ATTENTION_BLOCK, width] that the larger sweep needs */

typedef struct gradient_block {
    float *left, *left_gradient;     /* rows of the swept side */
    float *across, *across_gradient; /* transposed, of the other side */
    float *dense, *dense_gradient;   /* the other side as it lies */
    float *sum, *second_sum;         /* results */
    float *scores, *score_gradients;
} gradient_block;

static uint64_t block_floats(uint64_t width) {
    return ATTENTION_BLOCK * (BLOCK_MATRICES - 2) * width + 2 * ATTENTION_BLOCK * ATTENTION_BLOCK;
}

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
    return (gradient_block){.left = next,
                            .left_gradient = next + matrix,
                            .across = next + 2 * matrix,
                            .across_gradient = next + 3 * matrix,
                            .dense = next + 4 * matrix,
                            .dense_gradient = next + 5 * matrix,
                            .sum = next + 6 * matrix,
                            .second_sum = next + 7 * matrix,
                            .scores = next + 8 * matrix,
                            .score_gradients = next + 8 * matrix + ATTENTION_BLOCK * ATTENTION_BLOCK};
}

VECTOR_INLINE const float *rows_of(const kernel_buffer *buffer, uint64_t row, uint64_t stride, uint64_t head,
                                   uint64_t head_dim) {
    return (const float *)buffer->data + row * stride + head * head_dim;
}

/* Of a block of scores (rows: queries): the weights, and with dp in score_gradients the gradients of the scores. */
VECTOR_INLINE void weigh_queries(const gradient_work *w, gradient_block *b, uint64_t head, uint64_t first_query,
                                 uint64_t queries, uint64_t first_key, uint64_t keys) {
    const attention_shape *s = &w->shape;
    const float *log_sums = w->call->in[5].data;
    for (uint64_t r = 0; r < queries; r++) {
        uint64_t t = first_query + r, first = attention_first(s, t);
        float *p = b->scores + r * ATTENTION_BLOCK, *ds = b->score_gradients + r * ATTENTION_BLOCK;
        for (uint64_t j = 0; j < ATTENTION_BLOCK; j++)
            if (j >= keys || first_key + j < first || first_key + j > t) p[j] = attention_masked;
        lanes shift = lanes_of(log_sums[t * s->heads + head]), row_sum = lanes_of(w->row_sums[t * s->heads + head]);
        for (uint64_t j = 0; j < ATTENTION_BLOCK; j += VECTOR_LANES) {
            lanes weight = lanes_exponential(lanes_load(p + j) - shift);
            lanes_store(ds + j, weight * (lanes_load(ds + j) - row_sum));
        }
    }
}

/* The same of a transposed block (rows: keys); leaves the weights in scores too. */
VECTOR_INLINE void weigh_keys(const gradient_work *w, gradient_block *b, uint64_t head, uint64_t first_query,
                              uint64_t queries, uint64_t first_key, uint64_t keys) {
    const attention_shape *s = &w->shape;
    float shifts[ATTENTION_BLOCK], sums[ATTENTION_BLOCK];
    uint64_t firsts[ATTENTION_BLOCK];
    for (uint64_t j = 0; j < ATTENTION_BLOCK; j++) {
        uint64_t t = first_query + (j < queries ? j : 0);
        shifts[j] = ((const float *)w->call->in[5].data)[t * s->heads + head];
        sums[j] = w->row_sums[t * s->heads + head];
        firsts[j] = attention_first(s, t);
    }
    for (uint64_t r = 0; r < keys; r++) {
        uint64_t key = first_key + r;
        float *p = b->scores + r * ATTENTION_BLOCK, *ds = b->score_gradients + r * ATTENTION_BLOCK;
        for (uint64_t j = 0; j < ATTENTION_BLOCK; j++)
            if (j >= queries || key < firsts[j] || key > first_query + j) p[j] = attention_masked;
        for (uint64_t j = 0; j < ATTENTION_BLOCK; j += VECTOR_LANES) {
            lanes weight = lanes_exponential(lanes_load(p + j) - lanes_load(shifts + j));
            lanes_store(p + j, weight);
            lanes_store(ds + j, weight * (lanes_load(ds + j) - lanes_load(sums + j)));
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
            float sum = 0;
            for (uint64_t i = 0; i < s->head_dim; i++) sum += d[i] * o[i];
            w->row_sums[t * s->heads + h] = sum;
        }
}
VECTOR_PATHS(sum_rows, gradient_work)

/* begin..end count (block of queries, head) pairs. */
VECTOR_INLINE void queries_body(gradient_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    gradient_block b = block_of(w);
    for (uint64_t item = begin; item < end; item++) {
        uint64_t head = item % s->heads, first = item / s->heads * ATTENTION_BLOCK;
        uint64_t kv_head = head / (s->heads / s->kv_heads), rows = at_most_block(s->tokens - first);
        attention_pack(b.left, rows_of(&call->in[1], first, s->q_stride, head, s->head_dim), s->q_stride, rows,
                       s->head_dim, s->width, s->scale);
        attention_pack(b.left_gradient, rows_of(&call->in[0], first, s->q_stride, head, s->head_dim), s->q_stride,
                       rows, s->head_dim, s->width, 1.0f);
        clear(b.sum, ATTENTION_BLOCK * s->width);
        for (uint64_t key = attention_first(s, first); key < first + rows; key += ATTENTION_BLOCK) {
            uint64_t count = at_most_block(first + rows - key);
            const float *k = rows_of(&call->in[2], key, s->kv_stride, kv_head, s->head_dim);
            const float *v = rows_of(&call->in[3], key, s->kv_stride, kv_head, s->head_dim);
            attention_pack_transposed(b.across, k, s->kv_stride, count, s->head_dim);
            attention_pack_transposed(b.across_gradient, v, s->kv_stride, count, s->head_dim);
            attention_pack(b.dense, k, s->kv_stride, count, s->head_dim, s->width, 1.0f);
            attention_product(b.left, s->width, b.across, ATTENTION_BLOCK, b.scores, ATTENTION_BLOCK, rows,
                              ATTENTION_BLOCK, s->head_dim, false);
            attention_product(b.left_gradient, s->width, b.across_gradient, ATTENTION_BLOCK, b.score_gradients,
                              ATTENTION_BLOCK, rows, ATTENTION_BLOCK, s->head_dim, false);
            weigh_queries(w, &b, head, first, rows, key, count);
            attention_product(b.score_gradients, ATTENTION_BLOCK, b.dense, s->width, b.sum, s->width, rows, s->width,
                              count, true);
        }
        for (uint64_t r = 0; r < rows; r++) {
            float *dq = (float *)call->out[0].data + (first + r) * s->q_stride + head * s->head_dim;
            for (uint64_t i = 0; i < s->head_dim; i++) dq[i] = b.sum[r * s->width + i] * s->scale;
        }
    }
}
VECTOR_PATHS(queries, gradient_work)

/* One past the last query that may see a key of this block: the end of the sequence of the block's last key, or of
 * the window. */
VECTOR_INLINE uint64_t last_query(const attention_shape *s, uint64_t last_key) {
    uint64_t t = last_key + 1;
    while (t < s->tokens && attention_first(s, t) <= last_key) t++;
    return t;
}

/* begin..end count (block of keys, kv head) pairs. */
VECTOR_INLINE void keys_body(gradient_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    gradient_block b = block_of(w);
    uint64_t group = s->heads / s->kv_heads;
    for (uint64_t item = begin; item < end; item++) {
        uint64_t kv_head = item % s->kv_heads, first = item / s->kv_heads * ATTENTION_BLOCK;
        uint64_t rows = at_most_block(s->tokens - first), stop = last_query(s, first + rows - 1);
        attention_pack(b.left, rows_of(&call->in[2], first, s->kv_stride, kv_head, s->head_dim), s->kv_stride, rows,
                       s->head_dim, s->width, s->scale);
        attention_pack(b.left_gradient, rows_of(&call->in[3], first, s->kv_stride, kv_head, s->head_dim),
                       s->kv_stride, rows, s->head_dim, s->width, 1.0f);
        clear(b.sum, ATTENTION_BLOCK * s->width);
        clear(b.second_sum, ATTENTION_BLOCK * s->width);
        for (uint64_t head = kv_head * group; head < (kv_head + 1) * group; head++)
            for (uint64_t query = first; query < stop; query += ATTENTION_BLOCK) {
                uint64_t count = at_most_block(stop - query);
                const float *q = rows_of(&call->in[1], query, s->q_stride, head, s->head_dim);
                const float *d = rows_of(&call->in[0], query, s->q_stride, head, s->head_dim);
                attention_pack_transposed(b.across, q, s->q_stride, count, s->head_dim);
                attention_pack_transposed(b.across_gradient, d, s->q_stride, count, s->head_dim);
                attention_pack(b.dense, q, s->q_stride, count, s->head_dim, s->width, 1.0f);
                attention_pack(b.dense_gradient, d, s->q_stride, count, s->head_dim, s->width, 1.0f);
                attention_product(b.left, s->width, b.across, ATTENTION_BLOCK, b.scores, ATTENTION_BLOCK, rows,
                                  ATTENTION_BLOCK, s->head_dim, false);
                attention_product(b.left_gradient, s->width, b.across_gradient, ATTENTION_BLOCK, b.score_gradients,
                                  ATTENTION_BLOCK, rows, ATTENTION_BLOCK, s->head_dim, false);
                weigh_keys(w, &b, head, query, count, first, rows);
                attention_product(b.score_gradients, ATTENTION_BLOCK, b.dense, s->width, b.sum, s->width, rows,
                                  s->width, count, true);
                attention_product(b.scores, ATTENTION_BLOCK, b.dense_gradient, s->width, b.second_sum, s->width, rows,
                                  s->width, count, true);
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
    return (call->in[0].rows * call->parameters->heads * sizeof(float) + 63) & ~63ull;
}

static uint64_t scratch(const struct backend_state *state, const kernel_call *call) {
    return row_sums_bytes(call) +
           state->threads * block_floats(attention_width(call->parameters->head_dim)) * sizeof(float);
}

static levee_status run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    const operator_parameters *p = call->parameters;
    gradient_work w = {.call = call, .instructions = state->instructions, .row_sums = call->scratch};
    w.blocks = (float *)(void *)((unsigned char *)call->scratch + row_sums_bytes(call));
    w.shape = (attention_shape){.tokens = call->pass->tokens,
                                .heads = p->heads,
                                .kv_heads = p->kv_heads,
                                .head_dim = p->head_dim,
                                .width = attention_width(p->head_dim),
                                .q_stride = (uint64_t)p->heads * p->head_dim,
                                .kv_stride = (uint64_t)p->kv_heads * p->head_dim,
                                .window = p->window,
                                .scale = p->scale,
                                .starts = call->in[6].data};
    uint64_t blocks = (w.shape.tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    parallel_for(state, w.shape.tokens, 16, sum_rows_range, &w);
    parallel_for_dynamic(state, blocks * p->heads, 1, queries_range, &w);
    parallel_for_dynamic(state, blocks * p->kv_heads, 1, keys_range, &w);
    return LEVEE_OK;
}

const kernel cpu_attention_gradient = {.scratch = scratch, .run = run};
