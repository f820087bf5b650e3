/* Causal attention, forward: each block of queries walks the blocks of keys that it sees and keeps a running maximum
 * and sum (Milakov and Gimelshein's online softmax, as in FlashAttention), so the score matrix never exists whole.
 * Overwrites. */
#include <math.h>

#include "backend/cpu/attention.h"

/* Scratch of one thread, in floats. */
typedef struct forward_block {
    float *queries, *keys, *values, *scores, *output, *highest, *sum;
} forward_block;

static uint64_t block_floats(uint64_t width) { return ATTENTION_BLOCK * (4 * width + ATTENTION_BLOCK + 2); }

static forward_block block_at(void *scratch, uint64_t width, unsigned thread) {
    float *next = (float *)scratch + thread * block_floats(width);
    forward_block b = {.queries = next};
    b.keys = b.queries + ATTENTION_BLOCK * width;
    b.values = b.keys + ATTENTION_BLOCK * width;
    b.output = b.values + ATTENTION_BLOCK * width;
    b.scores = b.output + ATTENTION_BLOCK * width;
    b.highest = b.scores + ATTENTION_BLOCK * ATTENTION_BLOCK;
    b.sum = b.highest + ATTENTION_BLOCK;
    return b;
}

typedef struct forward_work {
    const kernel_call *call;
    attention_shape shape;
    instruction_set instructions;
    unsigned thread;
} forward_work;

/* Masks one row of a block of scores, then turns it into weights e^(score - highest) and updates the row's state. */
VECTOR_INLINE void absorb_row(const attention_shape *s, forward_block *b, uint64_t row, uint64_t t,
                              uint64_t first_key, uint64_t keys) {
    float *scores = b->scores + row * ATTENTION_BLOCK, *output = b->output + row * s->width;
    uint64_t first = attention_first(s, t);
    for (uint64_t j = 0; j < ATTENTION_BLOCK; j++) {
        uint64_t key = first_key + j;
        if (j >= keys || key < first || key > t) scores[j] = attention_masked;
    }
    lanes highest = lanes_load(scores);
    for (uint64_t j = VECTOR_LANES; j < ATTENTION_BLOCK; j += VECTOR_LANES)
        highest = lanes_maximum(highest, lanes_load(scores + j));
    float now = lanes_highest(highest), before = b->highest[row];
    if (now < before) now = before;
    float fade = expf(before - now);
    lanes sum = lanes_of(0.0f), shift = lanes_of(now);
    for (uint64_t j = 0; j < ATTENTION_BLOCK; j += VECTOR_LANES) {
        lanes e = lanes_exponential(lanes_load(scores + j) - shift);
        lanes_store(scores + j, e);
        sum += e;
    }
    b->sum[row] = b->sum[row] * fade + lanes_sum(sum);
    b->highest[row] = now;
    if (fade != 1.0f)
        for (uint64_t i = 0; i < s->width; i++) output[i] *= fade;
}

/* begin..end count (block of queries, head) pairs, heads fastest. */
VECTOR_INLINE void forward_body(forward_work *w, uint64_t begin, uint64_t end) {
    const kernel_call *call = w->call;
    const attention_shape *s = &w->shape;
    forward_block b = block_at(call->scratch, s->width, w->thread);
    for (uint64_t item = begin; item < end; item++) {
        uint64_t head = item % s->heads, first = item / s->heads * ATTENTION_BLOCK;
        uint64_t kv_head = head / (s->heads / s->kv_heads);
        uint64_t rows = s->tokens - first < ATTENTION_BLOCK ? s->tokens - first : ATTENTION_BLOCK;
        const float *keys = (const float *)call->in[1].data + kv_head * s->head_dim;
        const float *values = (const float *)call->in[2].data + kv_head * s->head_dim;
        attention_pack(b.queries, (const float *)call->in[0].data + first * s->q_stride + head * s->head_dim,
                       s->q_stride, rows, s->head_dim, s->width, s->scale);
        for (uint64_t r = 0; r < ATTENTION_BLOCK; r++) b.highest[r] = attention_lowest, b.sum[r] = 0;
        for (uint64_t i = 0; i < ATTENTION_BLOCK * s->width; i++) b.output[i] = 0;
        for (uint64_t key = attention_first(s, first); key < first + rows; key += ATTENTION_BLOCK) {
            uint64_t count = first + rows - key < ATTENTION_BLOCK ? first + rows - key : ATTENTION_BLOCK;
            attention_pack_transposed(b.keys, keys + key * s->kv_stride, s->kv_stride, count, s->head_dim);
            attention_pack(b.values, values + key * s->kv_stride, s->kv_stride, count, s->head_dim, s->width, 1.0f);
            attention_product(b.queries, s->width, b.keys, ATTENTION_BLOCK, b.scores, ATTENTION_BLOCK, rows,
                              ATTENTION_BLOCK, s->head_dim, false);
            for (uint64_t r = 0; r < rows; r++) absorb_row(s, &b, r, first + r, key, count);
            attention_product(b.scores, ATTENTION_BLOCK, b.values, s->width, b.output, s->width, rows, s->width,
                              count, true);
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

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    const operator_parameters *p = call->parameters;
    forward_work w = {.call = call, .instructions = state->instructions};
    w.shape = (attention_shape){.tokens = call->pass->tokens,
                                .heads = p->heads,
                                .kv_heads = p->kv_heads,
                                .head_dim = p->head_dim,
                                .width = attention_width(p->head_dim),
                                .q_stride = (uint64_t)p->heads * p->head_dim,
                                .kv_stride = (uint64_t)p->kv_heads * p->head_dim,
                                .window = p->window,
                                .scale = p->scale,
                                .starts = call->in[3].data};
    uint64_t blocks = (w.shape.tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    parallel_for_dynamic(state, blocks * p->heads, 1, forward_range, &w);
    return LEVEE_OK;
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
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

const kernel cpu_attention = {.scratch = forward_scratch, .run = forward_run};
const kernel cpu_attention_cached = {.run = cached_run};
