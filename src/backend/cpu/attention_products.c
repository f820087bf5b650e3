/* Attention by products of blocks, forward: see attention_products.h. An item's queries lie fixed, and the blocks of
 * keys that they see are swept, with a running maximum and sum. So each result has one writer, and sums have one
 * order whatever the number of threads. */
#include "backend/cpu/attention_products.h"

#include "backend/cpu/attention_blocks.h"
#include "backend/cpu/attention_weights.h"

bool attention_has_products(const struct backend_state *state) {
    return gemm_reads_blocked(state->products, product_type(state));
}

/* All of a run: [blocks, kv_heads]. */
typedef struct packed_inputs {
    packed_blocks keys, values;
} packed_inputs;

static packed_inputs lay_inputs(const kernel_call *call, const block_products *p, uintptr_t *next) {
    return (packed_inputs){block_take_columns(next, call, p), block_take_rows(next, call, p)};
}

/* Of one thread. */
typedef struct forward_block {
    void *queries, *own;
    absorbed_block absorbed;
} forward_block;

static forward_block lay_block(const struct backend_state *state, const block_products *p, uintptr_t *next) {
    uint64_t dim = p->scores.k;
    absorbed_block a = {.type = p->type,
                        .rows = p->rows,
                        .head_dim = dim,
                        .scores = block_take_floats(next, p->rows * BLOCK),
                        .output = block_take_floats(next, p->rows * dim),
                        .highest = block_take_floats(next, p->rows),
                        .sum = block_take_floats(next, p->rows)};
    return (forward_block){.queries = block_take(next, dtype_bytes(p->type, p->rows * dim)),
                           .own = block_take_own(next, state, p),
                           .absorbed = a};
}

typedef struct forward_work {
    block_work work;
    packed_inputs inputs;
} forward_work;

/* begin..end count blocks of keys and their heads. */
static void pack_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const forward_work *f = context;
    const block_work *w = &f->work;
    (void)thread;
    for (uint64_t at = begin; at < end; at++) {
        uint64_t first = at / w->shape.kv_heads * BLOCK, kv_head = at % w->shape.kv_heads;
        block_pack_columns(w, &f->inputs.keys, &w->call->in[1], first, kv_head);
        block_pack_rows(w, &f->inputs.values, &w->call->in[2], first, kv_head);
    }
}

/* begin..end count items. */
static void forward_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const forward_work *f = context;
    const block_work *w = &f->work;
    const block_products *p = &w->products;
    uintptr_t next = (uintptr_t)w->own + thread * w->own_bytes;
    forward_block b = lay_block(w->state, p, &next);
    b.absorbed.factor = attention_factor(w->shape.scale);
    attention_view v;
    for (uint64_t number = begin; number < end; number++) {
        query_item i = block_item(w, number);
        block_stack(w, b.queries, &w->call->in[0], &i);
        attention_absorb_nothing(&b.absorbed);
        for (uint64_t key = block_first_key(w, &i); key <= i.first; key += BLOCK) {
            block_multiply(w, &p->scores, thread, b.queries, packed_block(w, &f->inputs.keys, key, i.kv_head),
                           b.absorbed.scores, b.own);
            block_view(&v, w, &i, key);
            attention_absorb(w->state->instructions, &b.absorbed, &v);
            block_multiply(w, &p->sums, thread, b.absorbed.scores, packed_block(w, &f->inputs.values, key, i.kv_head),
                           b.absorbed.output, b.own);
        }
        for (uint64_t r = 0; r < i.rows; r++)
            for (uint64_t h = 0; h < p->heads; h++) {
                uint64_t t = i.first + r, head = i.head + h;
                ((float *)w->call->out[1].data)[t * w->shape.heads + head] =
                    attention_conclude(w->state->instructions, &b.absorbed, h * BLOCK + r,
                                       block_head(&w->call->out[0], t, head, w->shape.head_dim));
            }
    }
}

static uint64_t inputs_bytes(const kernel_call *call, const block_products *p) {
    uintptr_t next = 0;
    lay_inputs(call, p, &next);
    return next;
}

static uint64_t block_bytes(const struct backend_state *state, const block_products *p) {
    uintptr_t next = 0;
    lay_block(state, p, &next);
    return next;
}

uint64_t attention_products_scratch(const struct backend_state *state, const kernel_call *call) {
    block_products p = block_products_of(state, call->parameters, false);
    return inputs_bytes(call, &p) + block_bytes(state, &p) * state->threads;
}

levee_status attention_products_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    block_products p = block_products_of(state, call->parameters, false);
    return block_prepare(state, &p, error);
}

levee_status attention_products_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    _Atomic int failed = LEVEE_OK;
    uintptr_t next = (uintptr_t)call->scratch;
    forward_work f = {.work = block_work_of(state, call, &call->in[3], false)};
    f.inputs = lay_inputs(call, &f.work.products, &next);
    f.work.own = (unsigned char *)next;
    f.work.own_bytes = block_bytes(state, &f.work.products);
    f.work.status = &failed;
    uint64_t blocks = blocks_of(f.work.shape.tokens);
    parallel_for(state, blocks * f.work.shape.kv_heads, 1, pack_range, &f);
    return block_result(&f.work, parallel_for_dynamic(state, call->pass, blocks * f.work.sets, 1, forward_range, &f),
                        error);
}
