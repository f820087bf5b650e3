/* The head and its loss without stored logits: see head_loss.h. Losses and dx are overwritten.
 *
 * One pass over the weight. A slice of the vocabulary is put in order once for all rows; then each thread takes tiles
 * of rows, and for each block of the slice makes their logits [tile, block], which stay in its second cache. A row
 * carries the largest logit so far, and the sum of e^(logit - largest); dx carries the sum of e^(logit - largest)
 * times the weight's row. When the largest rises, both fade by the same factor. At the end they are divided, once.
 *
 * The label's own logit is left out of both sums, for there softmax - 1 is wanted: where the label is all but certain
 * this is the sum of the others over the whole, exact, when a difference of two numbers near 1 would have lost it.
 *
 * Rows without a target take no part: tiles are made of those that have one. dx is summed up where it belongs when a
 * tile's rows lie side by side, else in a tile of its own. Each row has one order of sums, whatever the number of
 * threads. */
#include <math.h>
#include <string.h>

#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/head_loss.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/vector.h"
#include "base/error.h"

/* Rows of the vocabulary that a thread works on at a time. */
enum { MOST_BLOCK = 256, LEAST_BLOCK = BLOCKED_COLUMNS };

/* A row's sums are the same in each tile when the products are oneDNN's tile kernels. In the others they are not
 * (seen with its AVX2 ones), so there tiles may not depend on the number of threads that there are. */
enum { USUAL_THREADS = 8 };

/* A slice, in all its orders: so much that what each tile does once a slice, making operands of x, is nothing. */
static const uint64_t slice_bytes = 4ull * 1024 * 1024;

/* A thread's tile: x, logits and dx; with the block of the weight they fill its second cache. */
static const uint64_t thread_bytes = 1280ull * 1024;

/* What is known of a row before the end. */
typedef struct running_row {
    double others; /* sum of e^(logit - highest) without the label's */
    float highest; /* of all logits so far */
    float at_label;
} running_row;

/* How the operator is cut, and where its scratch lies: what is known of rows, which of them have targets, the slice
 * as columns and as rows of b (or plain), then each thread's: the products' own, x, logits that become weights, dx.
 */
typedef struct streamed_head {
    panels weight; /* in slices */
    bool gradient, blocked;
    uint32_t features, block;
    tiling tiles;
    uint64_t targets_offset, columns_offset, rows_offset, threads_offset, scratch_bytes;
} streamed_head;

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Blocks are of equal width where what is missing of the last can be filled up with zeros. */
static uint32_t width_at(const streamed_head *h, uint64_t v) {
    return h->blocked ? h->block : (uint32_t)smaller(h->block, h->weight.rows - v);
}

static uint32_t last_width(const streamed_head *h) { return width_at(h, (h->weight.rows - 1) / h->block * h->block); }

/* [tile, width] = x weight^T */
static block_product logits_product(const streamed_head *h, uint32_t tile, uint32_t width) {
    return (block_product){.m = tile,
                           .n = width,
                           .k = h->features,
                           .b_plain = !h->blocked,
                           .b_transposed = !h->blocked,
                           .type = h->weight.compute};
}

/* dx [tile, features] += e^(logits - highest) weight */
static block_product sums_product(const streamed_head *h, uint32_t tile, uint32_t width) {
    return (block_product){.m = tile,
                           .n = h->features,
                           .k = width,
                           .accumulate = true,
                           .b_plain = !h->blocked,
                           .type = h->weight.compute};
}

static void cut_vocabulary(streamed_head *h) {
    panels *w = &h->weight;
    uint64_t row_bytes = dtype_bytes(w->compute, w->cols) * (h->blocked && h->gradient ? 2 : 1);
    h->block = MOST_BLOCK;
    while (h->block > LEAST_BLOCK && h->block * row_bytes > slice_bytes) h->block /= 2;
    while (h->block > LEAST_BLOCK && h->block / 2 >= w->rows) h->block /= 2;
    uint64_t blocks = smaller(slice_bytes / (h->block * row_bytes), (w->rows + h->block - 1) / h->block);
    w->panel_rows = h->block * (uint32_t)(blocks ? blocks : 1);
    w->last_rows = (uint32_t)(w->rows % w->panel_rows ? w->rows % w->panel_rows : w->panel_rows);
}

static void cut_rows(streamed_head *h, const struct backend_state *state, uint64_t rows) {
    tiling *t = &h->tiles;
    *t = (tiling){.rows = (uint32_t)rows,
                  .copies_first = true,
                  .first_row_bytes = dtype_bytes(h->weight.compute, h->features) + h->block * sizeof(float),
                  .second_row_bytes = h->gradient ? h->features * sizeof(float) : 0};
    uint32_t share = (uint32_t)rows / (h->blocked ? state->threads : USUAL_THREADS);
    choose_tiles(t, share < LEAST_SHARED_TILE ? LEAST_SHARED_TILE : share, thread_bytes);
}

enum { MOST_PRODUCTS = LADDER_STEPS * 4 };

/* Every product that a run may need. */
static unsigned list_products(const streamed_head *h, block_product list[MOST_PRODUCTS]) {
    uint32_t widths[2] = {width_at(h, 0), last_width(h)};
    unsigned count = 0;
    for (unsigned i = 0; i < LADDER_STEPS; i++)
        for (unsigned w = 0; w < 2 && uses_tile(&h->tiles, tile_ladder[i]); w++) {
            list[count++] = logits_product(h, tile_ladder[i], widths[w]);
            if (h->gradient) list[count++] = sums_product(h, tile_ladder[i], widths[w]);
        }
    return count;
}

static uint64_t own_bytes(const struct backend_state *state, const streamed_head *h) {
    block_product list[MOST_PRODUCTS];
    uint64_t most = 0;
    for (unsigned i = 0, count = list_products(h, list); i < count; i++) {
        uint64_t bytes = gemm_block_scratch(state->products, &list[i]);
        if (bytes > most) most = bytes;
    }
    return most;
}

static void lay_scratch(streamed_head *h, const struct backend_state *state, uint64_t rows) {
    dtype type = h->weight.compute;
    uint64_t slice = h->weight.panel_rows, columns = 0, weight_rows = 0;
    if (h->blocked)
        columns = blocked_bytes(type, h->features, slice);
    else if (h->weight.stored != type)
        columns = align64(dtype_bytes(type, slice * h->features));
    if (h->blocked && h->gradient) weight_rows = slice / h->block * blocked_bytes(type, h->block, h->features);
    h->tiles.own_bytes = own_bytes(state, h);
    h->targets_offset = align64(rows * sizeof(running_row));
    h->columns_offset = h->targets_offset + align64(rows * sizeof(uint32_t));
    h->rows_offset = h->columns_offset + columns;
    h->threads_offset = h->rows_offset + weight_rows;
    h->scratch_bytes = h->threads_offset + state->threads * tiles_bytes(&h->tiles);
}

static streamed_head describe(const struct backend_state *state, const kernel_call *call) {
    const kernel_buffer *x = &call->in[0], *weight = &call->in[1];
    dtype compute = product_type(state);
    streamed_head h = {
        .weight = {.stored = weight->type, .compute = compute, .rows = weight->rows, .cols = weight->cols},
        .gradient = call->out[1].present,
        .blocked = gemm_reads_blocked(state->products, compute),
        .features = (uint32_t)weight->cols};
    cut_vocabulary(&h);
    cut_rows(&h, state, x->rows);
    lay_scratch(&h, state, x->rows);
    return h;
}

uint64_t head_streamed_scratch(const struct backend_state *state, const kernel_call *call) {
    return describe(state, call).scratch_bytes;
}

levee_status head_streamed_prepare(struct backend_state *state, const kernel_call *call, levee_error *error) {
    streamed_head h = describe(state, call);
    block_product list[MOST_PRODUCTS];
    levee_status status = LEVEE_OK;
    for (unsigned i = 0, count = list_products(&h, list); i < count && status == LEVEE_OK; i++)
        status = gemm_prepare_block(state->products, &list[i], error);
    return status;
}

/* One run, and the slice at hand. */
typedef struct streaming {
    struct backend_state *state;
    const kernel_call *call;
    const streamed_head *h;
    const int32_t *labels;
    running_row *running;          /* of each row of the pass */
    const uint32_t *targets;       /* the rows that have one, in order */
    uint64_t slice, slice_end;     /* rows of the vocabulary */
    unsigned char *columns, *rows; /* the slice's scratch */
    const unsigned char *plain;    /* the slice where it is not blocked */
    unsigned char *threads;
    first_failure failure;
} streaming;

/* begin..end count blocks of 64 rows of the slice. Those that are read once become columns and rows of b. */
static void put_slice(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const streaming *s = context;
    const streamed_head *h = s->h;
    const panels *w = &h->weight;
    (void)thread;
    for (uint64_t i = begin; i < end; i++) {
        uint64_t at = i * BLOCKED_COLUMNS, row = s->slice + at, block = at / h->block;
        bool is = row < s->slice_end;
        blocked_source source = {.stored = w->stored,
                                 .type = w->compute,
                                 .from = (const unsigned char *)s->call->in[1].data +
                                         dtype_bytes(w->stored, (is ? row : 0) * w->cols),
                                 .rows = is ? smaller(s->slice_end - row, BLOCKED_COLUMNS) : 0,
                                 .cols = w->cols,
                                 .stride = w->cols,
                                 .transposed = true};
        blocked_put(s->state->instructions, &source, at, h->features, s->columns);
        if (!h->gradient) continue;
        source.transposed = false;
        blocked_put(s->state->instructions, &source, at % h->block, h->block,
                    s->rows + block * blocked_bytes(w->compute, h->block, h->features));
    }
}

static void fetch_slice(streaming *s) {
    const streamed_head *h = s->h;
    if (h->blocked)
        parallel_for(s->state, up_to(s->slice_end - s->slice, h->block) / BLOCKED_COLUMNS, 1, put_slice, s);
    else
        s->plain = panel_fetch(s->state, &h->weight, s->call->in[1].data, s->slice, s->columns);
}

/* The block from vocabulary row v on as columns of b, and as its rows. */
static const unsigned char *block_columns(const streaming *s, uint64_t v) {
    const streamed_head *h = s->h;
    if (!h->blocked) return s->plain + dtype_bytes(h->weight.compute, (v - s->slice) * h->features);
    return s->columns + blocked_bytes(h->weight.compute, h->features, v - s->slice);
}

static const unsigned char *block_rows(const streaming *s, uint64_t v) {
    const streamed_head *h = s->h;
    if (!h->blocked) return block_columns(s, v);
    return s->rows + (v - s->slice) / h->block * blocked_bytes(h->weight.compute, h->block, h->features);
}

/* A tile of rows that have targets, and where a thread works on it. */
typedef struct tile {
    const streaming *s;
    const uint32_t *targets;
    uint32_t rows, filled; /* the rows beyond `filled` are zeros */
    bool in_place;
    void *own, *x;
    float *logits, *dx;
    uint64_t v;            /* the block at hand, from this row of the vocabulary on */
    uint32_t width, count; /* its columns, and those of the vocabulary among them */
} tile;

/* Takes a row of logits into the row's sums, and makes weights e^(logit - highest) of it, which may be in their
 * place; returns by what all that was summed up before is to be multiplied. */
VECTOR_INLINE float absorb_row(float *weights, const float *logits, uint32_t count, running_row *row) {
    lanes top = lanes_of(-INFINITY), total = lanes_of(0.0f);
    uint32_t i = 0;
    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES) top = lanes_maximum(top, lanes_load(logits + i));
    if (i < count) top = lanes_maximum(top, lanes_load_some(logits + i, count - i, -INFINITY));
    float before = row->highest, now = lanes_highest(top);
    if (now < row->at_label) now = row->at_label;
    if (now < before) now = before;
    lanes shift = lanes_of(now);
    for (i = 0; i + VECTOR_LANES <= count; i += VECTOR_LANES) {
        lanes weight = lanes_exponential(lanes_load(logits + i) - shift);
        lanes_store(weights + i, weight);
        total += weight;
    }
    if (i < count) {
        lanes weight = lanes_exponential(lanes_load_some(logits + i, count - i, -INFINITY) - shift);
        lanes_store_some(weights + i, weight, count - i);
        total += weight;
    }
    double fade = now > before ? exp((double)before - (double)now) : 1;
    row->others = row->others * fade + (double)lanes_sum(total);
    row->highest = now;
    return (float)fade;
}

/* Takes a row of the tile that has a target into its sums; its weights go to `weights`, and dx fades. */
VECTOR_INLINE void absorb_target(const tile *t, uint64_t r, float *weights) {
    const streaming *s = t->s;
    float *logits = t->logits + r * t->width;
    running_row *row = &s->running[t->targets[r]];
    uint64_t label = (uint64_t)s->labels[t->targets[r]];
    if (label >= t->v && label < t->v + t->count) {
        row->at_label = logits[label - t->v];
        logits[label - t->v] = -INFINITY;
    }
    float fade = absorb_row(weights, logits, t->count, row);
    if (!s->h->gradient || fade == 1.0f) return;
    float *dx = t->dx + r * s->h->features;
    for (uint64_t i = 0; i < s->h->features; i++) dx[i] *= fade;
}

/* begin..end count rows of the tile. Weights of bf16 lie dense from where the logits begin, behind what was read. */
VECTOR_INLINE void absorb_body(tile *t, uint64_t begin, uint64_t end) {
    dtype type = t->s->h->weight.compute;
    _Alignas(64) float piece[MOST_BLOCK];
    for (uint64_t r = begin; r < end; r++) {
        float *weights = type == DTYPE_F32 ? t->logits + r * t->width : piece;
        uint64_t count = r < t->filled ? t->count : 0;
        if (count) absorb_target(t, r, weights);
        memset(weights + count, 0, (t->width - count) * sizeof *weights);
        if (type == DTYPE_F32 || !t->s->h->gradient) continue;
        vector_operands(type, (unsigned char *)t->logits + dtype_bytes(type, r * t->width), weights, t->width);
    }
}
VECTOR_PATHS(absorb, tile)

static levee_status run_block(tile *t, uint64_t v, unsigned thread, levee_error *error) {
    const streaming *s = t->s;
    const streamed_head *h = s->h;
    t->v = v;
    t->width = width_at(h, v);
    t->count = (uint32_t)smaller(t->width, s->slice_end - v);
    block_product logits = logits_product(h, t->rows, t->width), sums = sums_product(h, t->rows, t->width);
    levee_status status =
        gemm_block(s->state->products, &logits, thread, t->x, block_columns(s, v), t->logits, t->own, error);
    if (status != LEVEE_OK) return status;
    absorb(s->state->instructions, t, 0, h->gradient ? t->rows : t->filled);
    if (!h->gradient) return LEVEE_OK;
    return gemm_block(s->state->products, &sums, thread, t->logits, block_rows(s, v), t->dx, t->own, error);
}

static float *dx_row(const streaming *s, uint32_t row) {
    return (float *)s->call->out[1].data + (uint64_t)row * s->h->features;
}

/* x as operands; dx, unless this is the first slice, as it is by now. */
static void fill_rows(const tile *t) {
    const streaming *s = t->s;
    const streamed_head *h = s->h;
    uint64_t row_bytes = dtype_bytes(h->weight.compute, h->features), dx_bytes = h->features * sizeof(float);
    for (uint32_t r = 0; r < t->rows; r++) {
        unsigned char *x = (unsigned char *)t->x + r * row_bytes;
        float *dx = h->gradient ? t->dx + (uint64_t)r * h->features : NULL;
        bool is = r < t->filled;
        if (is)
            vector_operands(h->weight.compute, x,
                            (const float *)s->call->in[0].data + (uint64_t)t->targets[r] * h->features, h->features);
        else
            memset(x, 0, row_bytes);
        if (dx && (!is || s->slice == 0))
            memset(dx, 0, dx_bytes);
        else if (dx && !t->in_place)
            memcpy(dx, dx_row(s, t->targets[r]), dx_bytes);
    }
}

static void empty_rows(const tile *t) {
    for (uint32_t r = 0; r < t->filled; r++)
        memcpy(dx_row(t->s, t->targets[r]), t->dx + (uint64_t)r * t->s->h->features,
               t->s->h->features * sizeof(float));
}

/* The tile of the next rows, at most `left`. One whose rows do not lie side by side must fit a thread's scratch. */
static tile next_rows(const streaming *s, uint64_t first, uint32_t left, unsigned thread) {
    const streamed_head *h = s->h;
    const tiling *tiles = &h->tiles;
    unsigned char *memory = s->threads + thread * tiles_bytes(tiles);
    tile t = {.s = s, .targets = s->targets + first, .rows = next_tile(tiles, left), .own = memory};
    t.filled = left < t.rows ? left : t.rows;
    t.in_place = h->gradient && t.filled == t.rows && t.targets[t.rows - 1] - t.targets[0] == t.rows - 1;
    if (h->gradient && !t.in_place && t.rows > tiles->padded) t.filled = t.rows = tiles->padded;
    t.x = memory + tiles->own_bytes;
    t.logits = (float *)(void *)((unsigned char *)t.x +
                                 align64(dtype_bytes(h->weight.compute, (uint64_t)t.rows * h->features)));
    if (h->gradient)
        t.dx =
            t.in_place ? dx_row(s, t.targets[0]) : (float *)(void *)(memory + tiles->own_bytes + tiles->first_bytes);
    return t;
}

/* begin..end count rows that have targets. */
static void run_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    streaming *s = context;
    levee_error error = {0};
    for (uint64_t first = begin; first < end && s->failure.status == LEVEE_OK;) {
        tile t = next_rows(s, first, (uint32_t)(end - first), thread);
        levee_status status = LEVEE_OK;
        fill_rows(&t);
        for (uint64_t v = s->slice; v < s->slice_end && status == LEVEE_OK; v += s->h->block)
            status = run_block(&t, v, thread, &error);
        if (s->h->gradient && !t.in_place) empty_rows(&t);
        first_failure_note(&s->failure, status, &error);
        first += t.filled;
    }
}

/* dx = loss_scale (sums / whole + (softmax - 1 at the label) weight[label]). */
static void finish_dx(const streaming *s, uint64_t r, double whole) {
    const streamed_head *h = s->h;
    double scale = (double)s->call->pass->loss_scale;
    float factor = (float)(scale / whole), at_label = (float)(-scale * s->running[r].others / whole);
    float *dx = dx_row(s, (uint32_t)r), piece[MOST_BLOCK];
    const unsigned char *weight = (const unsigned char *)s->call->in[1].data +
                                  dtype_bytes(h->weight.stored, (uint64_t)s->labels[r] * h->features);
    for (uint64_t i = 0; i < h->features; i += MOST_BLOCK) {
        uint64_t count = smaller(h->features - i, MOST_BLOCK);
        dtype_convert(DTYPE_F32, piece, h->weight.stored, weight + dtype_bytes(h->weight.stored, i), count);
        for (uint64_t j = 0; j < count; j++) dx[i + j] = dx[i + j] * factor + piece[j] * at_label;
    }
}

static void finish_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const streaming *s = context;
    float *losses = s->call->out[0].data;
    (void)thread;
    for (uint64_t r = begin; r < end; r++) {
        const running_row *row = &s->running[r];
        if (s->labels[r] < 0) {
            losses[r] = 0;
            if (s->h->gradient) memset(dx_row(s, (uint32_t)r), 0, s->h->features * sizeof(float));
            continue;
        }
        double below = (double)row->at_label - (double)row->highest, whole = row->others + exp(below);
        losses[r] = (float)(log(whole) - below);
        if (s->h->gradient) finish_dx(s, r, whole);
    }
}

static levee_status run_slices(streaming *s, uint32_t targets, levee_error *error) {
    const streamed_head *h = s->h;
    s->failure.error = error;
    for (s->slice = 0; targets && s->slice < h->weight.rows; s->slice = s->slice_end) {
        if (pass_is_interrupted(s->call->pass)) return LEVEE_STOPPED;
        s->slice_end = smaller(s->slice + h->weight.panel_rows, h->weight.rows);
        fetch_slice(s);
        levee_status status = parallel_for_dynamic(s->state, s->call->pass, targets, h->tiles.largest, run_rows, s);
        if (s->failure.status != LEVEE_OK) return (levee_status)s->failure.status;
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

levee_status head_streamed_run(struct backend_state *state, const kernel_call *call, levee_error *error) {
    streamed_head h = describe(state, call);
    unsigned char *memory = call->scratch;
    uint32_t *targets = (uint32_t *)(void *)(memory + h.targets_offset), count = 0;
    streaming s = {.state = state,
                   .call = call,
                   .h = &h,
                   .labels = call->in[2].data,
                   .running = (running_row *)(void *)memory,
                   .targets = targets,
                   .columns = memory + h.columns_offset,
                   .rows = memory + h.rows_offset,
                   .threads = memory + h.threads_offset};
    levee_status status = head_check_labels(call, error);
    if (status != LEVEE_OK) return status;
    for (uint32_t r = 0; r < call->pass->tokens; r++) {
        s.running[r] = (running_row){.highest = -INFINITY, .at_label = -INFINITY};
        if (s.labels[r] >= 0) targets[count++] = r;
    }
    status = run_slices(&s, count, error);
    if (status == LEVEE_OK) parallel_for(state, call->pass->tokens, 1, finish_rows, &s);
    return status;
}
