/* What attention by products of blocks shares forward and backward: how it is cut up, how its blocks lie in scratch,
 * and the products.
 *
 * Rows of tokens are cut into blocks of BLOCK, counted from the first row of the pass. Scores are made for all
 * queries of a block, of as many heads that share their keys as there may be together, and one block of keys. Such
 * queries are an item; they are stacked, head by head, into one tall block: so products are large, and keys are read
 * once for all of these heads.
 *
 * Keys and values are put into the order that products read once a run, by all threads; each item packs its own
 * queries once. */
#ifndef LEVEE_BACKEND_CPU_ATTENTION_BLOCKS_H
#define LEVEE_BACKEND_CPU_ATTENTION_BLOCKS_H

#include <stdatomic.h>

#include "backend/cpu/attention.h"
#include "backend/cpu/gemm.h"

enum { BLOCK = ATTENTION_BLOCK };

typedef struct block_products {
    dtype type;
    bool gradient;          /* key_sums are needed too */
    uint32_t heads, rows;   /* heads that are worked on together, and their queries: heads * BLOCK */
    block_product scores;   /* [rows, BLOCK] = queries keys^T, or do values^T */
    block_product sums;     /* [rows, head_dim] += weights values, or the scores' gradients keys */
    block_product key_sums; /* [head_dim, BLOCK] += queries^T gradients, or do^T weights: keys lie along rows */
} block_products;

/* A run, as all threads see it. */
typedef struct block_work {
    struct backend_state *state;
    const kernel_call *call;
    attention_shape shape;
    block_products products;
    uint64_t sets;       /* of heads that are worked on together, among all heads */
    _Atomic int *status; /* the first failure of a product */
    unsigned char *own;  /* scratch of the threads, one after the other */
    uint64_t own_bytes;  /* of each */
} block_work;

block_products block_products_of(const struct backend_state *state, const operator_parameters *p, bool gradient);
block_work block_work_of(struct backend_state *state, const kernel_call *call, const kernel_buffer *starts,
                         bool gradient);

static inline uint64_t blocks_of(uint64_t tokens) { return (tokens + BLOCK - 1) / BLOCK; }

/* How many rows there are of the block that begins at `first`. */
static inline uint64_t block_rows(const block_work *w, uint64_t first) {
    return w->shape.tokens - first < BLOCK ? w->shape.tokens - first : BLOCK;
}

/* Which queries an item is about: `rows` rows from `first` on, of products.heads heads from `head` on. Items are
 * numbered block by block. */
typedef struct query_item {
    uint64_t head, kv_head, first, rows;
} query_item;

query_item block_item(const block_work *w, uint64_t number);

/* The first block of keys that an item's queries see: it begins at this row. */
static inline uint64_t block_first_key(const block_work *w, const query_item *i) {
    return attention_first(&w->shape, i->first) / BLOCK * BLOCK;
}

/* What the item's queries see of the block of keys from `key` on; rows that are missing see nothing. */
void block_view(attention_view *v, const block_work *w, const query_item *i, uint64_t key);

/* Rows of one head of a matrix of tokens. */
static inline float *block_head(const kernel_buffer *b, uint64_t row, uint64_t head, uint64_t head_dim) {
    return (float *)b->data + row * b->cols + head * head_dim;
}

/* --- scratch --- */

/* Scratch is given out piece by piece; from NULL, to know how much it takes. */
static inline void *block_take(uintptr_t *next, uint64_t bytes) {
    uintptr_t here = *next;
    *next += align64(bytes);
    return (void *)here;
}

static inline float *block_take_floats(uintptr_t *next, uint64_t count) {
    return block_take(next, count * sizeof(float));
}

/* What products take of their own, each thread anew. */
void *block_take_own(uintptr_t *next, const struct backend_state *state, const block_products *p);

/* Blocks of keys or values, of all blocks of rows and heads of a call. */
typedef struct packed_blocks {
    unsigned char *data;
    uint64_t bytes; /* of each */
} packed_blocks;

packed_blocks block_take_each(uintptr_t *next, const kernel_call *call, uint64_t bytes);
packed_blocks block_take_columns(uintptr_t *next, const kernel_call *call, const block_products *p);
packed_blocks block_take_rows(uintptr_t *next, const kernel_call *call, const block_products *p);

static inline void *packed_block(const block_work *w, const packed_blocks *b, uint64_t first, uint64_t kv_head) {
    return b->data + (first / BLOCK * w->shape.kv_heads + kv_head) * b->bytes;
}

/* --- packing, from f32 --- */

/* A block of one head of keys or values, as columns of a product's right side or as its rows. What is missing is
 * zero. */
void block_pack_columns(const block_work *w, const packed_blocks *to, const kernel_buffer *from, uint64_t first,
                        uint64_t kv_head);
void block_pack_rows(const block_work *w, const packed_blocks *to, const kernel_buffer *from, uint64_t first,
                     uint64_t kv_head);

/* An item's rows of a matrix of queries, stacked, as a product's left side: [rows, head_dim]. Missing ones are zero.
 */
void block_stack(const block_work *w, void *to, const kernel_buffer *from, const query_item *i);

/* The same turned round, [head_dim, rows], from what block_stack made. */
void block_turn(const block_work *w, void *to, const void *stacked);

/* Bytes of both; eight columns are read and turned at a time, the last of which may not be there. */
static inline uint64_t block_stacked_bytes(const block_products *p) {
    return dtype_bytes(p->type, (uint64_t)p->scores.k * p->rows + VECTOR_LANES);
}

static inline uint64_t block_turned_bytes(const block_products *p) {
    return dtype_bytes(p->type, attention_width(p->scores.k) * p->rows);
}

/* --- products --- */

/* On the calling thread. A failure is kept for block_result. */
void block_multiply(const block_work *w, const block_product *p, unsigned thread, const void *a, const void *b,
                    float *c, void *own);

levee_status block_prepare(struct backend_state *state, const block_products *p, levee_error *error);
levee_status block_result(const block_work *w, levee_status status, levee_error *error);

#endif
