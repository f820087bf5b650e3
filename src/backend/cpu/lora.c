/* LoRA's part of linear operators: see lora.h. */
#include "backend/cpu/lora.h"

#include <math.h>
#include <string.h>

#include "backend/cpu/thin.h"
#include "backend/cpu/vector.h"
#include "base/random.h"

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

/* Rows that are decoded or dropped at a time: they stay in the second cache. */
enum { WIDE_ROWS = 32 };

static uint64_t floats_bytes(uint64_t rows, uint64_t cols) { return align64(rows * cols * sizeof(float)); }

/* So many rows that their part of the gradients takes little beside them, and that there are few chunks; fewer where
 * there are few rows for threads to share. */
static uint64_t rows_of_chunk(uint64_t rank, uint64_t rows) {
    enum { MOST_CHUNKS = 32 };
    uint64_t enough = 128 * (rank > 32 ? 4 : rank > 16 ? 2 : 1), chunk = WIDE_ROWS;
    while ((chunk < enough && chunk * 8 < rows) || chunk * MOST_CHUNKS < rows) chunk *= 2;
    return chunk;
}

static uint64_t chunk_floats(const lora *l) { return l->rank * (l->in + l->out); }

static uint64_t chunks_of(const lora *l, uint64_t rows) { return (rows + l->chunk_rows - 1) / l->chunk_rows; }

static void describe(lora *l, const struct backend_state *state, const kernel_call *call, unsigned adapter) {
    const kernel_buffer *a = &call->in[adapter], *b = &call->in[adapter + 1];
    l->state = state, l->call = call;
    l->rank = a->rows, l->in = a->cols, l->out = b->rows;
    l->a = a->data, l->b = b->data;
    l->drops = call->parameters->dropout > 0;
    l->examples = call->in[adapter + 2].data, l->positions = call->in[adapter + 3].data;
    l->tokens = call->pass ? call->pass->tokens : 0;
}

/* Of a thread. */
static uint64_t wide_bytes(const lora *l) {
    uint64_t of_x = l->drops || l->x->type != DTYPE_F32 ? floats_bytes(WIDE_ROWS, l->in) : 0;
    uint64_t of_dy = l->dy && l->dy->type != DTYPE_F32 ? floats_bytes(WIDE_ROWS, l->out) : 0;
    return of_x > of_dy ? of_x : of_dy;
}

/* scratch is NULL when only sizes are asked for, so addresses are numbers. */
static void lay(lora *l, void *scratch, uint64_t backward_rows) {
    uintptr_t at = (uintptr_t)scratch;
    l->scaled_b = (float *)at, at += floats_bytes(l->rank, l->out);
    l->wide = (float *)at, at += l->state->threads * wide_bytes(l);
    if (backward_rows) {
        l->chunk_rows = rows_of_chunk(l->rank, backward_rows);
        l->du = (float *)at, at += floats_bytes(backward_rows, l->rank);
        l->chunks = (float *)at, at += align64(chunks_of(l, backward_rows) * chunk_floats(l) * sizeof(float));
    }
    l->scratch_bytes = at - (uintptr_t)scratch;
    if (!scratch) return;
    float scale = l->call->parameters->scale;
    for (uint64_t o = 0; o < l->out; o++)
        for (uint64_t k = 0; k < l->rank; k++) l->scaled_b[k * l->out + o] = scale * l->b[o * l->rank + k];
}

lora lora_forward(const struct backend_state *state, const kernel_call *call, void *scratch) {
    lora l = {.x = &call->in[0], .u = call->out[1].data};
    describe(&l, state, call, 3);
    lay(&l, scratch, 0);
    return l;
}

lora lora_backward(const struct backend_state *state, const kernel_call *call, void *scratch) {
    lora l = {.dy = &call->in[0], .x = &call->in[3], .u = call->in[4].data};
    describe(&l, state, call, 5);
    lay(&l, scratch, call->in[0].rows);
    return l;
}

static float *wide_rows(const lora *l, unsigned thread) { return l->wide + thread * (wide_bytes(l) / sizeof(float)); }

/* to = drop(from), or to += that, for rows from `row` on. */
static void drop_rows(const lora *l, uint64_t row, uint64_t rows, const float *from, float *to, bool add) {
    const pass_scalars *pass = l->call->pass;
    random_block key = random_philox(pass->seed, pass->step, 0x41526f4c, 0, 0); /* "LoRA" */
    dropping d = {.key = key.words[0] | (uint64_t)key.words[1] << 32,
                  .site = l->call->parameters->site,
                  .threshold = (uint32_t)ceil(l->call->parameters->dropout * 0x1p32),
                  .factor = 1.0f / (1.0f - l->call->parameters->dropout),
                  .examples = l->examples + row,
                  .positions = l->positions + row,
                  .from = from,
                  .to = to,
                  .cols = l->in,
                  .add = add};
    drop(l->state->instructions, &d, 0, rows);
}

/* At most WIDE_ROWS rows of a value, as floats. */
static const float *rows_as_floats(const lora *l, const kernel_buffer *value, uint64_t row, uint64_t rows,
                                   unsigned thread) {
    const unsigned char *from = (const unsigned char *)value->data + dtype_bytes(value->type, row * value->cols);
    if (value->type == DTYPE_F32) return (const float *)(const void *)from;
    vector_floats(l->state->instructions, wide_rows(l, thread), value->type, from, rows * value->cols);
    return wide_rows(l, thread);
}

/* At most WIDE_ROWS rows of x as the adapter sees them. */
static const float *seen_rows(const lora *l, uint64_t row, uint64_t rows, unsigned thread) {
    const float *x = rows_as_floats(l, l->x, row, rows, thread);
    if (!l->drops) return x;
    drop_rows(l, row, rows, x, wide_rows(l, thread), false);
    return wide_rows(l, thread);
}

static uint64_t next_rows(uint64_t row, uint64_t end) { return end - row < WIDE_ROWS ? end - row : WIDE_ROWS; }

void lora_narrow(const lora *l, uint64_t row, uint64_t rows, unsigned thread) {
    for (uint64_t end = row + rows; row < end; row += WIDE_ROWS) {
        uint64_t count = next_rows(row, end);
        const float *x = seen_rows(l, row, count, thread);
        thin_narrow(l->state->instructions, x, l->a, l->u + row * l->rank, count, l->in, l->rank);
    }
}

void lora_add_output(const lora *l, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *y) {
    thin_widen(l->state->instructions, l->u + row * l->rank, l->scaled_b + first, l->out, y, true, rows, cols,
               l->rank);
}

/* The gradients of the chunk that a row is in; zero at its first row. */
static float *chunk_at(const lora *l, uint64_t row, uint64_t offset, uint64_t count) {
    float *part = l->chunks + row / l->chunk_rows * chunk_floats(l) + offset;
    if (row % l->chunk_rows == 0) memset(part, 0, count * sizeof *part);
    return part;
}

/* Adds u^T x of rows, which are of one chunk, to the part of it that begins at `offset`. */
static void reduce_rows(const lora *l, uint64_t row, uint64_t rows, const float *u, const float *x, uint64_t width,
                        uint64_t offset) {
    thin_reduce(l->state->instructions, u + row * l->rank, x, chunk_at(l, row, offset, l->rank * width), rows, width,
                l->rank);
}

static bool has_gradients(const lora *l) { return l->call->out[1].present; }

void lora_take_output(const lora *l, uint64_t row, uint64_t rows, unsigned thread) {
    for (uint64_t end = row + rows; row < end; row += WIDE_ROWS) {
        uint64_t count = next_rows(row, end);
        const float *dy = rows_as_floats(l, l->dy, row, count, thread);
        thin_narrow(l->state->instructions, dy, l->scaled_b, l->du + row * l->rank, count, l->out, l->rank);
        if (has_gradients(l)) reduce_rows(l, row, count, l->u, dy, l->out, l->rank * l->in);
    }
}

void lora_add_input(const lora *l, uint64_t row, uint64_t rows, uint64_t first, uint64_t cols, float *dx) {
    thin_widen(l->state->instructions, l->du + row * l->rank, l->a + first, l->in, dx, true, rows, cols, l->rank);
}

void lora_take_input(const lora *l, uint64_t row, uint64_t rows, float *dx, unsigned thread) {
    instruction_set set = l->state->instructions;
    for (uint64_t end = row + rows; row < end; row += WIDE_ROWS) {
        uint64_t count = next_rows(row, end);
        if (has_gradients(l)) reduce_rows(l, row, count, l->du, seen_rows(l, row, count, thread), l->in, 0);
        if (!dx || !l->drops) continue;
        float *wide = wide_rows(l, thread);
        thin_widen(set, l->du + row * l->rank, l->a, l->in, wide, false, count, l->in, l->rank);
        drop_rows(l, row, count, wide, dx, true);
        dx += count * l->in;
    }
}

/* begin..end count elements of a chunk's gradients. */
static void add_chunks(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const lora *l = context;
    uint64_t of_a = l->rank * l->in, count = chunks_of(l, l->tokens);
    float *gradient_a = l->call->out[1].data, *gradient_b = l->call->out[2].data;
    float scale = l->call->parameters->scale;
    (void)thread;
    for (uint64_t c = 1; c < count; c++) {
        float *sum = l->chunks, *more = l->chunks + c * chunk_floats(l);
        for (uint64_t i = begin; i < end; i++) sum[i] += more[i];
    }
    for (uint64_t i = begin; i < end && i < of_a; i++) gradient_a[i] += l->chunks[i];
    for (uint64_t i = begin > of_a ? begin : of_a; i < end; i++)
        gradient_b[(i - of_a) % l->out * l->rank + (i - of_a) / l->out] += scale * l->chunks[i];
}

void lora_finish(const lora *l) {
    lora at_work = *l;
    if (has_gradients(l)) parallel_for(l->state, chunk_floats(l), 4096, add_chunks, &at_work);
}
