/* Panels of weights: see panel.h. */
#include "backend/cpu/panel.h"

#include "backend/cpu/blocked.h"
#include "backend/cpu/gemm.h"

/* A decoded panel stays in the shared cache while all row tiles use it. Measured on Zen 4 (1 MiB L2 per core, 32 MiB
 * L3): products of 128 rows run at 187 GFLOP/s with 1 MiB, 210 with 2, 211 with 4 and 207 with 8. */
static const uint64_t panel_bytes = 4ull * 1024 * 1024;

/* Products of fewer rows read the panel as it is: putting it in order would take as long as they do. */
enum { BLOCKED_TOKENS = 64 };

/* The most rows that fit a panel; a number that divides the weight evenly when there is one above half of that,
 * because then no second set of primitives is needed for a shorter last panel. */
static uint64_t fitting_rows(uint64_t rows, uint64_t row_bytes, uint64_t multiple) {
    uint64_t most = panel_bytes / row_bytes / multiple * multiple;
    if (most < multiple) most = multiple;
    if (rows <= most) return rows;
    for (uint64_t height = most; height > most / 2; height -= multiple)
        if (rows % height == 0) return height;
    return most;
}

panels panels_of(const struct backend_state *state, const kernel_buffer *weight, bool bounded, uint64_t tokens,
                 panel_order wished) {
    dtype compute = product_type(state);
    panels p = {.stored = weight->type, .compute = compute, .rows = weight->rows, .cols = weight->cols};
    if (tokens >= BLOCKED_TOKENS && gemm_reads_blocked(state->products, compute)) p.order = wished;
    bool in_place = p.stored == p.compute && p.order == PANEL_PLAIN;
    uint64_t height = weight->rows, multiple = p.order == PANEL_PLAIN ? 16 : BLOCKED_COLUMNS;
    if (bounded || !in_place) height = fitting_rows(weight->rows, dtype_bytes(compute, weight->cols), multiple);
    p.panel_rows = (uint32_t)height;
    p.last_rows = (uint32_t)(weight->rows % height ? weight->rows % height : height);
    if (p.order == PANEL_BLOCKED_COLUMNS)
        p.scratch_bytes = blocked_bytes(compute, p.cols, height);
    else if (p.order == PANEL_BLOCKED_ROWS)
        p.scratch_bytes = blocked_bytes(compute, height, p.cols);
    else if (!in_place)
        p.scratch_bytes = align64(dtype_bytes(compute, height * p.cols));
    return p;
}

uint32_t panel_height(const panels *p, uint64_t row) {
    return p->rows - row < p->panel_rows ? p->last_rows : p->panel_rows;
}

typedef struct decoding {
    const panels *p;
    const unsigned char *from;
    unsigned char *to;
} decoding;

static void decode_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const decoding *d = context;
    (void)thread;
    uint64_t cols = d->p->cols;
    dtype_convert(d->p->compute, d->to + begin * dtype_bytes(d->p->compute, cols), d->p->stored,
                  d->from + begin * dtype_bytes(d->p->stored, cols), (end - begin) * cols);
}

const void *panel_fetch(const struct backend_state *state, const panels *p, const void *weight, uint64_t row,
                        void *scratch) {
    const unsigned char *from = (const unsigned char *)weight + row * dtype_bytes(p->stored, p->cols);
    if (p->order != PANEL_PLAIN) {
        blocked_source panel = {.stored = p->stored,
                                .type = p->compute,
                                .from = from,
                                .rows = panel_height(p, row),
                                .cols = p->cols,
                                .stride = p->cols,
                                .transposed = p->order == PANEL_BLOCKED_COLUMNS};
        blocked_fill(state, &panel, panel.transposed ? panel.cols : panel.rows, scratch);
        return scratch;
    }
    if (p->stored == p->compute) return from;
    decoding d = {.p = p, .from = from, .to = scratch};
    parallel_for(state, panel_height(p, row), 4, decode_rows, &d);
    return scratch;
}
