/* Causal attention, forward: past each block of queries the blocks of keys that it sees are swept, with a running
 * maximum and sum (Milakov and Gimelshein's online softmax, as in FlashAttention), so the score matrix never exists
 * whole. Overwrites. */
#include <math.h>

#include "backend/cpu/attention.h"
#include "backend/cpu/attention_products.h"

/* Scratch of one thread, in floats. */
typedef struct forward_block {
    float *queries; /* transposed, scaled */
    float *scores, *output;
    float *highest, *sum, *fade; /* of each query */
    float *spare;
} forward_block;

static uint64_t block_floats(uint64_t width) { return ATTENTION_BLOCK * (3 * width + ATTENTION_BLOCK + 3); }

static forward_block block_at(void *scratch, uint64_t width, unsigned thread) {
    forward_block b = {.queries = (float *)scratch + thread * block_floats(width)};
    b.scores = b.queries + ATTENTION_BLOCK * width;
    b.output = b.scores + ATTENTION_BLOCK * ATTENTION_BLOCK;
    b.spare = b.output + ATTENTION_BLOCK * width;
    b.highest = b.spare + ATTENTION_BLOCK * width;
    b.sum = b.highest + ATTENTION_BLOCK;
    b.fade = b.sum + ATTENTION_BLOCK;
    return b;
}

typedef struct forward_work {
    const kernel_call *call;
    attention_shape shape;
    instruction_set instructions;
    unsigned thread;
} forward_work;

/* Turns scores into weights e^(score - highest), and what was summed before into what it would be with the new
 * highest score. A query that has seen nothing yet keeps the lowest. */
VECTOR_INLINE void absorb_scores(forward_block *b, const attention_view *v, uint64_t keys, uint64_t width) {
    uint64_t first = attention_lanes_first(v, 0), stop = attention_lanes_end(v, keys - 1);
    for (uint64_t j = first; j < stop; j += VECTOR_LANES) {
        lanes before = lanes_load(b->highest + j), highest = before;
        for (uint64_t c = 0; c < keys; c++)
            if (attention_lanes_first(v, c) <= j && j < attention_lanes_end(v, c))
                highest = lanes_maximum(highest, lanes_select(attention_sees(v, c, j),
                                                              lanes_load(b->scores + c * ATTENTION_BLOCK + j),
                                                              lanes_of(attention_lowest)));
        lanes fade = lanes_exponential(before - highest), sum = lanes_load(b->sum + j) * fade;
        for (uint64_t c = 0; c < keys; c++) {
            if (attention_lanes_first(v, c) > j || j >= attention_lanes_end(v, c)) continue;
            float *at = b->scores + c * ATTENTION_BLOCK + j;
            lanes weight =
                lanes_select(attention_sees(v, c, j), lanes_exponential(lanes_load(at) - highest), lanes_of(0.0f));
            lanes_store(at, weight);
            sum += weight;
        }
        lanes_store(b->highest + j, highest);
        lanes_store(b->sum + j, sum);
        lanes_store(b->fade + j, fade);
    }
    for (uint64_t r = first; r < stop; r++) {
        lanes fade = lanes_of(b->fade[r]);
        float *output = b->output + r * width;
        for (uint64_t i = 0; i < width && b->fade[r] != 1.0f; i += VECTOR_LANES)
            lanes_store(output + i, lanes_load(output + i) * fade);
    }
}

/* begin..end count (block of queries, head) pairs, heads fastest. */
VECTOR_INLINE void forward_body(forward_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    forward_block b = block_at(call->scratch, s->width, w->thread);
    attention_view v;
    for (uint64_t item = begin; item < end; item++) {
        uint64_t head = item % s->heads, first = item / s->heads * ATTENTION_BLOCK;
        uint64_t kv_head = head / (s->heads / s->kv_heads);
        uint64_t rows = s->tokens - first < ATTENTION_BLOCK ? s->tokens - first : ATTENTION_BLOCK;
        const float *keys = (const float *)call->in[1].data + kv_head * s->head_dim;
        const float *values = (const float *)call->in[2].data + kv_head * s->head_dim;
        attention_pack_transposed(b.queries,
                                  (const float *)call->in[0].data + first * s->q_stride + head * s->head_dim,
                                  s->q_stride, rows, s->head_dim, s->scale);
        for (uint64_t r = 0; r < ATTENTION_BLOCK; r++) b.highest[r] = attention_lowest, b.sum[r] = 0;
        for (uint64_t i = 0; i < ATTENTION_BLOCK * s->width; i++) b.output[i] = 0;
        for (uint64_t key = attention_first(s, first); key < first + rows; key += ATTENTION_BLOCK) {
            uint64_t count = first + rows - key < ATTENTION_BLOCK ? first + rows - key : ATTENTION_BLOCK;
            attention_view_of_keys(&v, s, key, count, first, rows);
            attention_scores(b.scores, attention_rows_at(s, keys + key * s->kv_stride, s->kv_stride, count, b.spare),
                             b.queries, s->head_dim, &v);
            absorb_scores(&b, &v, count, s->width);
            attention_add_weighted(b.output, b.scores,
                                   attention_rows_at(s, values + key * s->kv_stride, s->kv_stride, count, b.spare),
                                   s->width, rows, &v);
        }
        for (uint64_t r = 0; r < rows; r++) {
            float *o = (float *)call->out[0].data + (first + r) * s->q_stride + head * s->head_dim;
            float inverse = 1.0f / b.sum[r];
            for (uint64_t i = 0; i < s->head_dim; i++) o[i] = b.output[r * s->width + i] * inverse;
            ((float *)call->out[1].data)[(first + r) * s->heads + head] = b.highest[r] + logf(b.sum[r]);
        }
    }
}
VECTOR_PATHS(forward, forward_work)

static void forward_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    forward_work own = *(const forward_work *)context;
    own.thread = thread;
    forward(own.instructions, &own, begin, end);
}

static levee_status forward_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    return attention_has_products(state) ? attention_products_prepare(state, call, error) : LEVEE_OK;
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    if (attention_has_products(state)) return attention_products_run(state, call, error);
    const operator_parameters *p = call->parameters;
    forward_work w = {.call = call, .instructions = state->instructions};
    w.shape = attention_shape_of(call, &call->in[3]);
    uint64_t blocks = (w.shape.tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    return parallel_for_dynamic(state, call->pass, blocks * p->heads, 1, forward_range, &w);
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    if (attention_has_products(state)) return attention_products_scratch(state, call);
    return state->threads * block_floats(attention_width(call->parameters->head_dim)) * sizeof(float);
}

/* Generation: one row at a time against the cache; the threads split the heads. */
static void cached_heads(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const kernel_call *call = context;
    (void)thread;
    const operator_parameters *p = call->parameters;
    const int32_t *positions = call->in[3].data;
    uint64_t dim = p->head_dim, kv_stride = (uint64_t)p->kv_heads * dim, q_stride = (uint64_t)p->heads * dim;
    for (uint64_t head = begin; head < end; head++) {
        uint64_t kv = head / (p->heads / p->kv_heads) * dim;
        for (uint64_t t = 0; t < call->pass->tokens; t++) {
            const float *q = (const float *)call->in[0].data + t * q_stride + head * dim;
            float *o = (float *)call->out[0].data + t * q_stride + head * dim;
            uint64_t last = (uint64_t)positions[t], first = last + 1 > p->window ? last + 1 - p->window : 0;
            float highest = attention_lowest, sum = 0;
            for (uint64_t i = 0; i < dim; i++) o[i] = 0;
            for (uint64_t key = first; key <= last; key++) {
                const float *k = (const float *)call->in[4].data + key * kv_stride + kv;
                const float *v = (const float *)call->in[5].data + key * kv_stride + kv;
                float score = 0;
                for (uint64_t i = 0; i < dim; i++) score += q[i] * k[i];
                score *= p->scale;
                float now = score > highest ? score : highest, fade = expf(highest - now), weight = expf(score - now);
                for (uint64_t i = 0; i < dim; i++) o[i] = o[i] * fade + weight * v[i];
                sum = sum * fade + weight;
                highest = now;
            }
            for (uint64_t i = 0; i < dim; i++) o[i] /= sum;
        }
    }
}

static levee_status cached_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    const int32_t *positions = call->in[3].data;
    uint64_t row_bytes = call->in[1].cols * sizeof(float);
    (void)error;
    for (uint64_t t = 0; t < call->pass->tokens; t++) {
        uint64_t row = (uint64_t)positions[t];
        memcpy((unsigned char *)call->out[1].data + row * row_bytes,
               (const unsigned char *)call->in[1].data + t * row_bytes, row_bytes);
        memcpy((unsigned char *)call->out[2].data + row * row_bytes,
               (const unsigned char *)call->in[2].data + t * row_bytes, row_bytes);
    }
    kernel_call own = *call;
    parallel_for(state, call->parameters->heads, 1, cached_heads, &own);
    return LEVEE_OK;
}

const kernel cpu_attention = {.scratch = forward_scratch, .prepare = forward_prepare, .run = forward_run};
const kernel cpu_attention_cached = {.run = cached_run};
