/* A linear operator works on panels of a weight's output features: fetch, decode to the compute type into planned
 * scratch, product. Where the stored type is the compute type, decoding is the identity and the bytes are used in
 * place. For products of many rows a panel is put in the order of blocked.h on the way, because that costs less than
 * what the products would do with each tile of rows. */
#ifndef LEVEE_BACKEND_CPU_PANEL_H
#define LEVEE_BACKEND_CPU_PANEL_H

#include "backend/cpu/cpu.h"

typedef enum panel_order {
    PANEL_PLAIN,
    PANEL_BLOCKED_COLUMNS, /* blocked; the panel's rows are columns of b: y = x weight^T */
    PANEL_BLOCKED_ROWS     /* blocked; the panel's rows are rows of b: dx = dy weight */
} panel_order;

typedef struct panels {
    dtype stored, compute;
    panel_order order;
    uint64_t rows, cols; /* of the weight */
    uint32_t panel_rows; /* of each panel but the last */
    uint32_t
        last_rows; /* of the last panel: rows = whole panels * panel_rows + last_rows, 0 < last_rows <= panel_rows */
    uint64_t scratch_bytes;
} panels;

/* How a weight is cut. A weight that is used in place is one panel, unless `bounded` asks for small panels all the
 * same (because the product's result is bounded by the panel). `tokens` is how many rows a product has at most;
 * `wished` is the order that many of them want, and PANEL_PLAIN stays plain. */
panels panels_of(const struct backend_state *state, const kernel_buffer *weight, bool bounded, uint64_t tokens,
                 panel_order wished);

/* The number of rows of the panel that starts at `row`. */
uint32_t panel_height(const panels *p, uint64_t row);

/* The panel that starts at `row`, in the compute type and in `order`: in the weight itself, or put into scratch by
 * all threads. */
const void *panel_fetch(const struct backend_state *state, const panels *p, const void *weight, uint64_t row,
                        void *scratch);

#endif
