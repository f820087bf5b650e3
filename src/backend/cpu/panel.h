/* A linear operator works on panels of a weight's output features: fetch, decode to the compute type into planned
 * scratch, product. Where the stored type is the compute type, decoding is the identity and the bytes are used in
 * place. */
#ifndef LEVEE_BACKEND_CPU_PANEL_H
#define LEVEE_BACKEND_CPU_PANEL_H

#include "backend/cpu/cpu.h"

typedef struct panels {
    dtype stored, compute;
    uint64_t rows, cols; /* of the weight */
    uint32_t panel_rows; /* of each panel but the last */
    uint32_t
        last_rows; /* of the last panel: rows = whole panels * panel_rows + last_rows, 0 < last_rows <= panel_rows */
    uint64_t scratch_bytes;
} panels;

/* How a weight is cut. A weight that is used in place is one panel, unless `bounded` asks for small panels all the
 * same (because the product's result is bounded by the panel). */
panels panels_of(const struct backend_state *state, const kernel_buffer *weight, bool bounded);

/* The number of rows of the panel that starts at `row`. */
uint32_t panel_height(const panels *p, uint64_t row);

/* The panel that starts at `row`, in the compute type: in the weight itself, or decoded into scratch by all threads.
 */
const void *panel_fetch(const struct backend_state *state, const panels *p, const void *weight, uint64_t row,
                        void *scratch);

#endif
