/* Tiles of rows: see gemm_tile.h. */
#include "backend/cpu/gemm_tile.h"

#include <stdatomic.h>
#include <string.h>

#include "backend/cpu/vector.h"

/* Measured for 576 x 1536 on Zen 4: tiles of 8, 32, 128 and 512 rows run at 130, 195, 223 and 225 GFLOP/s in f32 and
 * at 230, 372, 435 and 449 in bf16, so larger ones gain nothing. With 512 rows oneDNN's AVX2 products also take a MiB
 * and more inside each call (measured on Zen 3), with 128 nothing. */
const uint32_t tile_ladder[LADDER_STEPS] = {128, 32, SMALLEST_TILE};

bool uses_tile(const tiling *t, uint32_t tile) {
    return tile == SMALLEST_TILE || (tile <= t->largest && tile <= t->rows) ||
           (tile <= t->padded && 3ull * tile <= 4ull * t->rows);
}

uint32_t next_tile(const tiling *t, uint32_t rows) {
    uint32_t whole = 0, padded = 0;
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        if (!whole && tile_ladder[i] <= t->largest && tile_ladder[i] <= rows) whole = tile_ladder[i];
        if (tile_ladder[i] <= t->padded && tile_ladder[i] >= rows) padded = tile_ladder[i];
    }
    if (padded && (!whole || 4ull * rows >= 3ull * padded)) return padded;
    return whole;
}

void choose_tiles(tiling *t, uint32_t most_rows, uint64_t most_bytes) {
    uint64_t copied = (t->copies_first ? t->first_row_bytes : 0) + (t->copies_second ? t->second_row_bytes : 0);
    t->largest = t->padded = SMALLEST_TILE;
    for (unsigned i = LADDER_STEPS; i-- > 0;) {
        if (tile_ladder[i] > most_rows) continue;
        if (tile_ladder[i] * copied <= most_bytes) t->largest = tile_ladder[i];
        if (tile_ladder[i] * (t->first_row_bytes + t->second_row_bytes) <= most_bytes) t->padded = tile_ladder[i];
    }
    uint32_t most_padded = SMALLEST_TILE, most = SMALLEST_TILE;
    for (unsigned i = 0; i < LADDER_STEPS; i++) {
        if (!uses_tile(t, tile_ladder[i])) continue;
        if (tile_ladder[i] > most) most = tile_ladder[i];
        if (tile_ladder[i] > most_padded && tile_ladder[i] <= t->padded) most_padded = tile_ladder[i];
    }
    t->first_bytes = align64((t->copies_first ? most : most_padded) * t->first_row_bytes);
    t->second_bytes = align64((t->copies_second ? most : most_padded) * t->second_row_bytes);
}

void first_failure_note(first_failure *f, levee_status status, const levee_error *error) {
    int none = LEVEE_OK;
    if (status != LEVEE_OK && atomic_compare_exchange_strong(&f->status, &none, (int)status) && f->error)
        *f->error = *error;
}

/* Copies rows between a matrix with a leading dimension and a dense tile. */
typedef struct tile_copy {
    dtype type; /* of what is written; what is read is f32 */
    unsigned char *to;
    const float *from;
    uint64_t to_row_bytes, leading;
    uint64_t cols;
    uint64_t filled; /* rows from here on are set to zero */
} tile_copy;

static void copy_rows(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const tile_copy *t = context;
    (void)thread;
    for (uint64_t r = begin; r < end; r++) {
        if (r < t->filled)
            vector_operands(t->type, t->to + r * t->to_row_bytes, t->from + r * t->leading, t->cols);
        else
            memset(t->to + r * t->to_row_bytes, 0, dtype_bytes(t->type, t->cols));
    }
}

/* Waking a thread costs a few microseconds: the time for about this many elements. */
enum { ELEMENTS_PER_THREAD = 16384 };

static void copy_tile(const struct gemm *g, bool single, tile_copy *t, uint64_t rows) {
    uint64_t grain = ELEMENTS_PER_THREAD / t->cols + 1;
    if (single || rows <= grain)
        copy_rows(t, 0, rows, 0);
    else
        parallel_for(g->state, rows, grain, copy_rows, t);
}

void fill_tile(const struct gemm *g, bool single, void *tile, dtype type, const float *from, uint64_t leading,
               uint32_t rows, uint32_t tile_rows, uint64_t cols) {
    tile_copy t = {.type = type,
                   .to = tile,
                   .from = from,
                   .to_row_bytes = dtype_bytes(type, cols),
                   .leading = leading,
                   .cols = cols,
                   .filled = rows};
    copy_tile(g, single, &t, tile_rows);
}

void empty_tile(const struct gemm *g, const float *tile, float *to, uint64_t leading, uint32_t rows, uint64_t cols) {
    tile_copy t = {.type = DTYPE_F32,
                   .to = (unsigned char *)to,
                   .from = tile,
                   .to_row_bytes = leading * sizeof(float),
                   .leading = cols,
                   .cols = cols,
                   .filled = rows};
    copy_tile(g, false, &t, rows);
}
