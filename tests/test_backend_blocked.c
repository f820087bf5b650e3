/* Matrices in the order of oneDNN's tile kernels, element by element against the order that blocked.h describes; on
 * every instruction path, with the source at an odd address, wider than it is used, and in every type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/blocked.h"
#include "kernel_calls.h"

/* Where b[k][n] lies, in elements. */
static uint64_t place_of(dtype type, uint64_t depth, uint64_t k, uint64_t n) {
    uint64_t block = n / 64 * up_to(depth, type == DTYPE_BF16 ? 32 : 16) * 64;
    return type == DTYPE_BF16 ? block + k / 2 * 128 + n % 64 * 2 + k % 2 : block + k * 64 + n % 64;
}

/* An element of the result that must be `value`, which both types hold exactly. */
static void check_element(dtype type, const void *b, uint64_t at, float value) {
    float is;
    dtype_convert(DTYPE_F32, &is, type, (const unsigned char *)b + dtype_bytes(type, at), 1);
    if (memcmp(&is, &value, sizeof is)) fail_msg("element %llu is %g, not %g", (unsigned long long)at, is, value);
}

/* Small whole numbers with a sign: exact in all types. */
static float value_at(uint64_t row, uint64_t col) { return (float)((row * 37 + col * 11) % 255) - 127.0f; }

static unsigned char *make_source(dtype stored, uint64_t rows, uint64_t stride) {
    unsigned char *source = guarded(dtype_bytes(stored, rows * stride), stored == DTYPE_F32 ? 0 : 1);
    for (uint64_t i = 0; i < rows * stride; i++) {
        float value = value_at(i / stride, i % stride);
        dtype_convert(stored, source + dtype_bytes(stored, i), DTYPE_F32, &value, 1);
    }
    return source;
}

/* All of [depth, width] of b is what the source has, or zero. */
static void check_all(const blocked_source *s, const void *b, uint64_t depth, uint64_t width) {
    for (uint64_t k = 0; k < up_to(depth, s->type == DTYPE_BF16 ? 32 : 16); k++)
        for (uint64_t n = 0; n < up_to(width, 64); n++) {
            uint64_t row = s->transposed ? n : k, col = s->transposed ? k : n;
            check_element(s->type, b, place_of(s->type, depth, k, n),
                          row < s->rows && col < s->cols ? value_at(row, col) : 0);
        }
}

static void whole_matrices(struct backend_state *state) {
    static const uint64_t sizes[][2] = {{1, 1}, {3, 70}, {64, 64}, {65, 31}, {100, 200}, {130, 33}, {16, 300}};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (unsigned stored = DTYPE_F32; stored <= DTYPE_BF16; stored++)
            for (unsigned kind = 0; kind < 4; kind++) {
                blocked_source s = {.stored = (dtype)stored,
                                    .type = kind & 1 ? DTYPE_BF16 : DTYPE_F32,
                                    .rows = sizes[i][0],
                                    .cols = sizes[i][1],
                                    .stride = sizes[i][1] + 3 * (kind / 2),
                                    .transposed = kind & 2};
                s.from = make_source(s.stored, s.rows, s.stride);
                /* Rows that are missing, where they are b's. */
                uint64_t depth = s.transposed ? s.cols : s.rows + 5, width = s.transposed ? s.rows : s.cols;
                void *b = guarded(blocked_bytes(s.type, depth, width), 0);
                blocked_fill(state, &s, depth, b);
                check_all(&s, b, depth, width);
                free_blocks();
            }
}

static void test_whole_matrices(void **unused) {
    (void)unused;
    on_every_path(whole_matrices);
}

/* Two blocks of rows put into one matrix, the second of them short. */
static void parts(struct backend_state *state) {
    enum { ROWS = 64 + 40, WIDTH = 80 };
    for (unsigned kind = 0; kind < 4; kind++) {
        blocked_source s = {.stored = DTYPE_F32,
                            .type = kind & 1 ? DTYPE_BF16 : DTYPE_F32,
                            .rows = ROWS,
                            .cols = WIDTH,
                            .stride = WIDTH,
                            .transposed = kind & 2};
        const unsigned char *source = make_source(DTYPE_F32, ROWS, WIDTH);
        uint64_t depth = s.transposed ? WIDTH : 128, width = s.transposed ? 128 : WIDTH;
        void *b = guarded(blocked_bytes(s.type, depth, width), 0);
        for (uint64_t at = 0; at < ROWS; at += 64) {
            blocked_source part = s;
            part.from = source + dtype_bytes(DTYPE_F32, at * WIDTH);
            part.rows = ROWS - at < 64 ? ROWS - at : 64;
            blocked_put(state->instructions, &part, at, depth, b);
        }
        check_all(&s, b, depth, width);
        free_blocks();
    }
}

static void test_parts(void **unused) {
    (void)unused;
    on_every_path(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_whole_matrices, drop_blocks),
        cmocka_unit_test_teardown(test_parts, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
