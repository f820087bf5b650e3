/* Panels of weights: see panel.h. */
#include "backend/cpu/panel.h"

/* A decoded panel stays in the shared cache while all row tiles use it. */
static const uint64_t panel_bytes = 4ull * 1024 * 1024;
enum { PANEL_ROWS_MULTIPLE = 64 };

panels panels_of(const struct backend_state *state, const kernel_buffer *weight) {
    dtype compute = state->compute == COMPUTE_BF16 ? DTYPE_BF16 : DTYPE_F32;
    panels p = {.stored = weight->type, .compute = compute, .rows = weight->rows, .cols = weight->cols};
    uint64_t fitting = panel_bytes / dtype_bytes(compute, weight->cols) / PANEL_ROWS_MULTIPLE * PANEL_ROWS_MULTIPLE;
    if (fitting < PANEL_ROWS_MULTIPLE) fitting = PANEL_ROWS_MULTIPLE;
    p.panel_rows = (uint32_t)(fitting < weight->rows ? fitting : weight->rows);
    if (p.stored != p.compute) p.scratch_bytes = (dtype_bytes(compute, p.panel_rows * p.cols) + 63) & ~63ull;
    return p;
}

uint32_t panel_height(const panels *p, uint64_t row) {
    return (uint32_t)(p->rows - row < p->panel_rows ? p->rows - row : p->panel_rows);
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
    if (p->stored == p->compute) return from;
    decoding d = {.p = p, .from = from, .to = scratch};
    parallel_for(state, panel_height(p, row), 1, decode_rows, &d);
    return scratch;
}
