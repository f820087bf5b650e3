/* See attention_blocks.h. */
#include "backend/cpu/attention_blocks.h"

#include "backend/cpu/blocked.h"
#include "backend/cpu/transpose.h"
#include "base/error.h"

enum { MOST_HEADS = 4 };

block_products block_products_of(const struct backend_state *state, const operator_parameters *p, bool gradient) {
    uint32_t group = p->heads / p->kv_heads, heads = MOST_HEADS;
    while (group % heads) heads--;
    uint32_t rows = heads * BLOCK, dim = p->head_dim;
    dtype type = product_type(state);
    return (block_products){
        .type = type,
        .gradient = gradient,
        .heads = heads,
        .rows = rows,
        .scores = {.m = rows, .n = BLOCK, .k = dim, .type = type},
        .sums = {.m = rows, .n = dim, .k = BLOCK, .accumulate = true, .type = type},
        .key_sums = {.m = dim, .n = BLOCK, .k = rows, .accumulate = true, .type = type},
    };
}

block_work block_work_of(struct backend_state *state, const kernel_call *call, const kernel_buffer *starts,
                         bool gradient) {
    block_work w = {.state = state, .call = call, .shape = attention_shape_of(call, starts)};
    w.products = block_products_of(state, call->parameters, gradient);
    w.sets = w.shape.heads / w.products.heads;
    return w;
}

query_item block_item(const block_work *w, uint64_t number) {
    uint64_t head = number % w->sets * w->products.heads, first = number / w->sets * BLOCK;
    return (query_item){.head = head,
                        .kv_head = head / (w->shape.heads / w->shape.kv_heads),
                        .first = first,
                        .rows = block_rows(w, first)};
}

void block_view(attention_view *v, const block_work *w, const query_item *i, uint64_t key) {
    attention_view_of_queries(v, &w->shape, i->first, i->rows, key, block_rows(w, key));
    for (uint64_t c = i->rows; c < BLOCK; c++) v->low[c] = v->high[c] = 0;
}

void *block_take_own(uintptr_t *next, const struct backend_state *state, const block_products *p) {
    uint64_t most =
        larger(gemm_block_scratch(state->products, &p->scores), gemm_block_scratch(state->products, &p->sums));
    return block_take(next, p->gradient ? larger(most, gemm_block_scratch(state->products, &p->key_sums)) : most);
}

packed_blocks block_take_each(uintptr_t *next, const kernel_call *call, uint64_t bytes) {
    uint64_t count = blocks_of(call->in[0].rows) * call->parameters->kv_heads;
    return (packed_blocks){block_take(next, count * bytes), bytes};
}

packed_blocks block_take_columns(uintptr_t *next, const kernel_call *call, const block_products *p) {
    return block_take_each(next, call, blocked_bytes(p->type, p->scores.k, BLOCK));
}

packed_blocks block_take_rows(uintptr_t *next, const kernel_call *call, const block_products *p) {
    return block_take_each(next, call, blocked_bytes(p->type, BLOCK, p->scores.k));
}

static void pack(const block_work *w, const packed_blocks *to, const kernel_buffer *from, uint64_t first,
                 uint64_t kv_head, bool columns) {
    blocked_source source = {.stored = DTYPE_F32,
                             .type = w->products.type,
                             .from = block_head(from, first, kv_head, w->shape.head_dim),
                             .rows = block_rows(w, first),
                             .cols = w->shape.head_dim,
                             .stride = from->cols,
                             .transposed = columns};
    blocked_put(w->state->instructions, &source, 0, columns ? w->shape.head_dim : BLOCK,
                packed_block(w, to, first, kv_head));
}

void block_pack_columns(const block_work *w, const packed_blocks *to, const kernel_buffer *from, uint64_t first,
                        uint64_t kv_head) {
    pack(w, to, from, first, kv_head, true);
}

void block_pack_rows(const block_work *w, const packed_blocks *to, const kernel_buffer *from, uint64_t first,
                     uint64_t kv_head) {
    pack(w, to, from, first, kv_head, false);
}

/* Row by row, because a row's heads lie side by side. */
void block_stack(const block_work *w, void *to, const kernel_buffer *from, const query_item *i) {
    uint64_t dim = w->shape.head_dim, bytes = dtype_bytes(w->products.type, dim);
    for (uint64_t r = 0; r < BLOCK; r++)
        for (uint64_t h = 0; h < w->products.heads; h++) {
            unsigned char *row = (unsigned char *)to + (h * BLOCK + r) * bytes;
            if (r < i->rows)
                vector_operands(w->products.type, row, block_head(from, i->first + r, i->head + h, dim), dim);
            else
                memset(row, 0, bytes);
        }
}

typedef struct turning {
    const unsigned char *from;
    unsigned char *to;
    uint64_t rows, dim;
    dtype type;
} turning;

/* Eight columns of a row; of bf16 those of two rows, as pairs. */
VECTOR_INLINE integer_lanes turned_words(const unsigned char *at, uint64_t row_bytes, bool bf16) {
    if (!bf16) return words_load(at);
    half_lanes first, second;
    memcpy(&first, at, sizeof first);
    memcpy(&second, at + row_bytes, sizeof second);
    return __builtin_convertvector(first, integer_lanes) | __builtin_convertvector(second, integer_lanes) << 16;
}

VECTOR_INLINE void turn_eights(const turning *t, uint64_t begin, uint64_t end, bool bf16) {
    uint64_t bytes = bf16 ? sizeof(uint16_t) : sizeof(float), row_bytes = t->dim * bytes;
    uint64_t word_bytes = row_bytes * sizeof(uint32_t) / bytes, to_bytes = t->rows * bytes;
    for (uint64_t eight = begin; eight < end; eight++)
        for (uint64_t column = 0; column < t->dim; column += 8) {
            const unsigned char *from = t->from + eight * 8 * word_bytes + column * bytes;
            unsigned char *to = t->to + column * to_bytes + eight * 8 * sizeof(uint32_t);
            integer_lanes r[8];
            for (uint64_t i = 0; i < 8; i++) r[i] = turned_words(from + i * word_bytes, row_bytes, bf16);
            transpose_words(r);
            for (uint64_t i = 0; i < 8; i++) words_store(to + i * to_bytes, r[i]);
        }
}

/* begin..end count words of rows, eight at a time. */
VECTOR_INLINE void turn_body(turning *t, uint64_t begin, uint64_t end) {
    if (t->type == DTYPE_BF16)
        turn_eights(t, begin, end, true);
    else
        turn_eights(t, begin, end, false);
}
VECTOR_PATHS(turn, turning)

void block_turn(const block_work *w, void *to, const void *stacked) {
    turning t = {stacked, to, w->products.rows, w->shape.head_dim, w->products.type};
    turn(w->state->instructions, &t, 0, t.rows / (t.type == DTYPE_F32 ? 8 : 16));
}

void block_multiply(const block_work *w, const block_product *p, unsigned thread, const void *a, const void *b,
                    float *c, void *own) {
    int none = LEVEE_OK, status = (int)gemm_block(w->state->products, p, thread, a, b, c, own, NULL);
    if (status != LEVEE_OK) atomic_compare_exchange_strong(w->status, &none, status);
}

levee_status block_prepare(struct backend_state *state, const block_products *p, levee_error *error) {
    levee_status status = gemm_prepare_block(state->products, &p->scores, error);
    if (status == LEVEE_OK) status = gemm_prepare_block(state->products, &p->sums, error);
    if (status == LEVEE_OK && p->gradient) status = gemm_prepare_block(state->products, &p->key_sums, error);
    return status;
}

levee_status block_result(const block_work *w, levee_status status, levee_error *error) {
    int failed = atomic_load(w->status);
    if (failed != LEVEE_OK) return error_set(error, (levee_status)failed, "attention: a product of blocks failed");
    return status;
}
