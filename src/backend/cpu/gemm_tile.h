/* Tiles of rows: how products over a varying number of rows are cut into primitives of fixed ones. Used by gemm.c and
 * gemm_reduction.c, and by head_streamed.c, which makes its products of such tiles itself. */
#ifndef LEVEE_BACKEND_CPU_GEMM_TILE_H
#define LEVEE_BACKEND_CPU_GEMM_TILE_H

#include "backend/cpu/gemm_primitive.h"

enum { LADDER_STEPS = 3, SMALLEST_TILE = 8 };
extern const uint32_t tile_ladder[LADDER_STEPS];

/* Where threads share out the rows, tiles are smaller rather than one thread idle, but not smaller than this. */
enum { LEAST_SHARED_TILE = 32 };

/* Tiles that go through scratch are chosen no larger than this in all. */
static const uint64_t tile_scratch_bytes = 4ull * 1024 * 1024;

/* Which tiles a product uses, and its scratch: oneDNN's own, then the tiles of the first and second matrix that are
 * copied (a and c of a row product, a and b of a reduction, x with its logits and dx of the head). */
typedef struct tiling {
    uint32_t rows;                    /* the most that a run has */
    uint32_t largest;                 /* tile of whole rows */
    uint32_t padded;                  /* largest tile that may be zero-filled */
    bool copies_first, copies_second; /* whole tiles too go through scratch */
    uint64_t first_row_bytes, second_row_bytes;
    uint64_t own_bytes, first_bytes, second_bytes;
} tiling;

/* Scratch of one thread, or of all that work on the same tile. */
static inline uint64_t tiles_bytes(const tiling *t) { return t->own_bytes + t->first_bytes + t->second_bytes; }

/* The first failure of threads that work on one product; only it may write to `error`. */
typedef struct first_failure {
    _Atomic int status;
    levee_error *error;
} first_failure;

void first_failure_note(first_failure *f, levee_status status, const levee_error *error);

/* Whole tiles are used up to `largest`; padded ones when at least three quarters of their rows are filled, for then
 * one padded tile costs less than the smaller ones that would fill it. */
bool uses_tile(const tiling *t, uint32_t tile);

/* The tile for the next `rows` rows (> 0). */
uint32_t next_tile(const tiling *t, uint32_t rows);

/* Chooses the tiles: of at most `most_rows`, as large as their copies fit `most_bytes`, and never below the smallest.
 */
void choose_tiles(tiling *t, uint32_t most_rows, uint64_t most_bytes);

/* Fills a dense tile of `tile_rows` rows, in the type of the product, from `rows` rows of f32; on the calling thread
 * alone when `single`. */
void fill_tile(const struct gemm *g, bool single, void *tile, dtype type, const float *from, uint64_t leading,
               uint32_t rows, uint32_t tile_rows, uint64_t cols);

/* Copies `rows` rows of a dense tile of f32 to where they belong. */
void empty_tile(const struct gemm *g, const float *tile, float *to, uint64_t leading, uint32_t rows, uint64_t cols);

#endif
