/* LoRA: y = add + scale * u B^T with u = drop(x) A^T, and its gradients. y and dx are overwritten, or added to when
 * `add` is given; the gradients of A and B are added to. Always in f32: the products are small and their sums feed
 * the optimizer.
 *
 * Each thread takes blocks of rows and does all that there is to do with them while they lie in its cache. What
 * blocks add to the gradients is kept for chunks of rows, and added up in their order: so sums do not depend on the
 * threads. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/thin.h"
#include "backend/cpu/vector.h"
#include "base/random.h"

enum { BLOCK_ROWS = 128 };

static uint64_t floats_bytes(uint64_t rows, uint64_t cols) { return align64(rows * cols * sizeof(float)); }

/* One block of rows whose elements are dropped by their random numbers: to = keep ? from / (1 - dropout) : 0, or to
 * += that.
 *
 * The key mixes seed and step; the counter is example, position, site and a number within the row. Of each 64
 * features, feature i takes word i / 16 of counter i % 16, so that a group of 16 counters is computed in vectors and
 * stored as is. */
typedef struct dropping {
    uint64_t key;
    uint32_t site, threshold; /* words below the threshold drop */
    float factor;
    const int32_t *examples, *positions; /* of the block's rows */
    const float *from;
    float *to;
    uint64_t cols;
    bool add;
} dropping;

enum { GROUP_COUNTERS = 16, GROUP_FEATURES = 4 * GROUP_COUNTERS };

VECTOR_INLINE void drop_group(const dropping *d, uint64_t row, uint64_t first, uint64_t count) {
    uint32_t words[GROUP_FEATURES];
    uint32_t example = (uint32_t)d->examples[row], position = (uint32_t)d->positions[row];
    for (uint32_t i = 0; i < GROUP_COUNTERS; i++) {
        random_block block = random_philox(d->key, example, position, d->site, (uint32_t)(first / 4) + i);
        for (uint32_t k = 0; k < 4; k++) words[k * GROUP_COUNTERS + i] = block.words[k];
    }
    const float *from = d->from + row * d->cols + first;
    float *to = d->to + row * d->cols + first;
    if (d->add)
        for (uint64_t i = 0; i < count; i++) to[i] += words[i] >= d->threshold ? from[i] * d->factor : 0.0f;
    else
        for (uint64_t i = 0; i < count; i++) to[i] = words[i] >= d->threshold ? from[i] * d->factor : 0.0f;
}

VECTOR_INLINE void drop_body(dropping *d, uint64_t begin, uint64_t end) {
    for (uint64_t row = begin; row < end; row++) {
        uint64_t i = 0;
        for (; i + GROUP_FEATURES <= d->cols; i += GROUP_FEATURES) drop_group(d, row, i, GROUP_FEATURES);
        if (i < d->cols) drop_group(d, row, i, d->cols - i);
    }
}
VECTOR_PATHS(drop, dropping)

/* The operator at work. Scratch: B^T, then blocks of each thread, then the gradients of chunks. */
typedef struct lora {
    const struct backend_state *state;
    const kernel_call *call;
    uint64_t rank, in, out, tokens;
    const float *x, *a; /* inputs: [T, in], [rank, in] */
    uint64_t chunk_rows;
    bool drops;
    float *b_transposed; /* [rank, out] */
    unsigned char *blocks;
    uint64_t block_bytes; /* of one thread: two of [BLOCK_ROWS, rank], and with dropout one of [BLOCK_ROWS, in] */
    float *chunks;        /* of each chunk: gradients of A [rank, in] and of B^T [rank, out] */
} lora;

/* So many rows that their part of the gradients takes little beside them. */
static uint64_t rows_of_chunk(uint64_t rank) {
    uint64_t blocks = (8 * rank + BLOCK_ROWS - 1) / BLOCK_ROWS;
    return BLOCK_ROWS * (blocks < 1 ? 1 : blocks < 4 ? blocks : 4);
}

static uint64_t chunk_floats(const lora *l) { return l->rank * (l->in + l->out); }

static uint64_t chunks_of(const lora *l, uint64_t rows) { return (rows + l->chunk_rows - 1) / l->chunk_rows; }

/* Lays out the scratch from `memory` on; NULL when only sizes are asked for, so addresses are numbers. */
static void lay(lora *l, unsigned char *memory) {
    l->drops = l->call->parameters->dropout > 0;
    l->chunk_rows = rows_of_chunk(l->rank);
    l->block_bytes = 2 * floats_bytes(BLOCK_ROWS, l->rank) + (l->drops ? floats_bytes(BLOCK_ROWS, l->in) : 0);
    uintptr_t b_transposed = (uintptr_t)memory, blocks = b_transposed + floats_bytes(l->rank, l->out);
    l->b_transposed = (float *)b_transposed;
    l->blocks = (unsigned char *)blocks;
    l->chunks = (float *)(blocks + l->state->threads * l->block_bytes);
}

static lora describe(const struct backend_state *state, const kernel_call *call, const kernel_buffer *x,
                     const kernel_buffer *a, uint64_t out) {
    lora l = {.state = state,
              .call = call,
              .rank = a->rows,
              .in = a->cols,
              .out = out,
              .tokens = call->pass ? call->pass->tokens : 0,
              .x = x->data,
              .a = a->data};
    lay(&l, call->scratch);
    return l;
}

static lora forward_of(const struct backend_state *state, const kernel_call *call) {
    return describe(state, call, &call->in[0], &call->in[1], call->out[0].cols);
}

static lora backward_of(const struct backend_state *state, const kernel_call *call) {
    return describe(state, call, &call->in[1], &call->in[3], call->in[0].cols);
}

static uint64_t scratch_before_chunks(const lora *l) {
    return floats_bytes(l->rank, l->out) + l->state->threads * l->block_bytes;
}

static void transpose_b(const lora *l, const float *b) {
    for (uint64_t o = 0; o < l->out; o++)
        for (uint64_t k = 0; k < l->rank; k++) l->b_transposed[k * l->out + o] = b[o * l->rank + k];
}

static float *block_of(const lora *l, unsigned thread, unsigned which) {
    return (float *)(void *)(l->blocks + thread * l->block_bytes + which * floats_bytes(BLOCK_ROWS, l->rank));
}

/* to = drop(from), or to += that, for rows from `row` on; `positions` is the input after `examples`. */
static void drop_rows(const lora *l, const kernel_buffer *examples, const kernel_buffer *positions, uint64_t row,
                      uint64_t rows, const float *from, float *to, bool add) {
    const pass_scalars *pass = l->call->pass;
    random_block key = random_philox(pass->seed, pass->step, 0x41526f4c, 0, 0); /* "LoRA" */
    dropping d = {.key = key.words[0] | (uint64_t)key.words[1] << 32,
                  .site = l->call->parameters->site,
                  .threshold = (uint32_t)ceil(l->call->parameters->dropout * 0x1p32),
                  .factor = 1.0f / (1.0f - l->call->parameters->dropout),
                  .examples = (const int32_t *)examples->data + row,
                  .positions = (const int32_t *)positions->data + row,
                  .from = from,
                  .to = to,
                  .cols = l->in,
                  .add = add};
    drop(l->state->instructions, &d, 0, rows);
}

static void scale_block(float *to, const float *from, float scale, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) to[i] = scale * from[i];
}

static uint64_t forward_scratch(const struct backend_state *state, const kernel_call *call) {
    lora l = forward_of(state, call);
    return scratch_before_chunks(&l);
}

static void forward_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const lora *l = context;
    const kernel_call *call = l->call;
    instruction_set set = l->state->instructions;
    uint64_t rows = end - begin;
    const float *x = l->x + begin * l->in;
    float *scaled = block_of(l, thread, 0), *u = block_of(l, thread, 1);
    if (call->out[1].present) u = (float *)call->out[1].data + begin * l->rank;
    if (l->drops) {
        float *dropped = block_of(l, thread, 2);
        drop_rows(l, &call->in[4], &call->in[5], begin, rows, x, dropped, false);
        x = dropped;
    }
    thin_narrow(set, x, l->a, u, rows, l->in, l->rank);
    scale_block(scaled, u, call->parameters->scale, rows * l->rank);
    thin_widen(set, scaled, l->b_transposed, (float *)call->out[0].data + begin * l->out, call->in[3].present, rows,
               l->out, l->rank);
}

static levee_status forward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    lora l = forward_of(state, call);
    transpose_b(&l, call->in[2].data);
    return parallel_for_dynamic(state, NULL, l.tokens, BLOCK_ROWS, forward_rows, &l);
}

static uint64_t backward_scratch(const struct backend_state *state, const kernel_call *call) {
    lora l = backward_of(state, call);
    return scratch_before_chunks(&l) + chunks_of(&l, call->in[0].rows) * chunk_floats(&l) * sizeof(float);
}

/* dx of a block, and what it adds to the gradients of its chunk. */
static void backward_block(const lora *l, uint64_t begin, uint64_t rows, float *chunk, unsigned thread) {
    const kernel_call *call = l->call;
    instruction_set set = l->state->instructions;
    const float *dy = (const float *)call->in[0].data + begin * l->out, *x = l->x + begin * l->in;
    float *du = block_of(l, thread, 0), *scaled = block_of(l, thread, 1), *wide = block_of(l, thread, 2);
    thin_narrow(set, dy, l->b_transposed, du, rows, l->out, l->rank);
    scale_block(du, du, call->parameters->scale, rows * l->rank);
    if (call->out[1].present) {
        scale_block(scaled, (const float *)call->in[2].data + begin * l->rank, call->parameters->scale,
                    rows * l->rank);
        thin_reduce(set, scaled, dy, chunk + l->rank * l->in, rows, l->out, l->rank);
        if (l->drops) {
            drop_rows(l, &call->in[6], &call->in[7], begin, rows, x, wide, false);
            x = wide;
        }
        thin_reduce(set, du, x, chunk, rows, l->in, l->rank);
    }
    if (!call->out[0].present) return;
    float *dx = (float *)call->out[0].data + begin * l->in;
    if (l->drops) {
        thin_widen(set, du, l->a, wide, false, rows, l->in, l->rank);
        drop_rows(l, &call->in[6], &call->in[7], begin, rows, wide, dx, call->in[5].present);
    } else {
        thin_widen(set, du, l->a, dx, call->in[5].present, rows, l->in, l->rank);
    }
}

/* begin..end count chunks. */
static void backward_chunks(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const lora *l = context;
    for (uint64_t c = begin; c < end; c++) {
        float *chunk = l->chunks + c * chunk_floats(l);
        uint64_t row = c * l->chunk_rows, stop = row + l->chunk_rows < l->tokens ? row + l->chunk_rows : l->tokens;
        if (l->call->out[1].present) memset(chunk, 0, chunk_floats(l) * sizeof *chunk);
        for (; row < stop; row += BLOCK_ROWS)
            backward_block(l, row, stop - row < BLOCK_ROWS ? stop - row : BLOCK_ROWS, chunk, thread);
    }
}

/* begin..end count elements of a chunk's gradients. */
static void add_chunks(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const lora *l = context;
    uint64_t of_a = l->rank * l->in, count = chunks_of(l, l->tokens);
    float *gradient_a = l->call->out[1].data, *gradient_b = l->call->out[2].data;
    (void)thread;
    for (uint64_t c = 1; c < count; c++) {
        float *sum = l->chunks, *more = l->chunks + c * chunk_floats(l);
        for (uint64_t i = begin; i < end; i++) sum[i] += more[i];
    }
    for (uint64_t i = begin; i < end && i < of_a; i++) gradient_a[i] += l->chunks[i];
    for (uint64_t i = begin > of_a ? begin : of_a; i < end; i++)
        gradient_b[(i - of_a) % l->out * l->rank + (i - of_a) / l->out] += l->chunks[i];
}

static levee_status backward_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    (void)error;
    lora l = backward_of(state, call);
    transpose_b(&l, call->in[4].data);
    parallel_for_dynamic(state, NULL, chunks_of(&l, l.tokens), 1, backward_chunks, &l);
    if (call->out[1].present) parallel_for(state, chunk_floats(&l), 4096, add_chunks, &l);
    return LEVEE_OK;
}

const kernel cpu_lora = {.scratch = forward_scratch, .run = forward_run};
const kernel cpu_lora_gradient = {.scratch = backward_scratch, .run = backward_run};
