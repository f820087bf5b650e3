/* The product of blocks for AVX2, number by number: small whole numbers, whose sums f32 holds exactly, so that every
 * order of summing gives the same; operands end where their last number does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/block_kernel.h"
#include "backend/cpu/blocked.h"
#include "kernel_calls.h"

static float a_at(uint64_t i, uint64_t k) { return (float)((i * 7 + k * 3) % 31) - 15.0f; }
static float b_at(uint64_t k, uint64_t j) { return (float)((k * 5 + j * 11) % 29) - 14.0f; }
static float c_at(uint64_t i, uint64_t j) { return (float)((i * 13 + j) % 100); }

/* b in order, with the columns and the depth that are filled up holding what may not count. */
static float *make_b(uint64_t k, uint64_t n) {
    float *b = guarded(blocked_bytes(DTYPE_F32, k, n), 0);
    uint64_t depth = up_to(k, 16);
    for (uint64_t j = 0; j < up_to(n, BLOCKED_COLUMNS); j++)
        for (uint64_t l = 0; l < depth; l++)
            b[j / BLOCKED_COLUMNS * BLOCKED_COLUMNS * depth + l * BLOCKED_COLUMNS + j % BLOCKED_COLUMNS] =
                l < k && j < n ? b_at(l, j) : 1e30f;
    return b;
}

static void check_product(uint32_t m, uint32_t n, uint32_t k, bool a_transposed, bool accumulate) {
    float *a = guarded(sizeof(float) * m * k, 0), *c = guarded(sizeof(float) * m * n, 0);
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t l = 0; l < k; l++) a[a_transposed ? l * m + i : i * k + l] = a_at(i, l);
    for (uint32_t i = 0; i < m * n; i++) c[i] = c_at(i / n, i % n);
    block_operands o = {m, n, k, a_transposed, accumulate, a, make_b(k, n), c};
    block_kernel_run(&o);
    for (uint32_t i = 0; i < m; i++)
        for (uint32_t j = 0; j < n; j++) {
            double sum = accumulate ? (double)c_at(i, j) : 0;
            for (uint32_t l = 0; l < k; l++) sum += (double)a_at(i, l) * (double)b_at(l, j);
            if ((double)c[i * n + j] != sum)
                fail_msg("%u x %u x %u: c[%u][%u] is %g, not %g", m, n, k, i, j, (double)c[i * n + j], sum);
        }
    free_blocks();
}

static void test_sizes(void **unused) {
    static const uint32_t widths[] = {1, 7, 8, 9, 16, 17, 40, 64, 65, 130},
                          depths[] = {1, 15, 16, 255, 256, 257, 520};
    (void)unused;
    if (machine_instruction_set() == INSTRUCTIONS_PORTABLE) skip();
    for (uint32_t m = 1; m <= 20; m++)
        for (unsigned n = 0; n < sizeof widths / sizeof *widths; n++)
            for (unsigned k = 0; k < sizeof depths / sizeof *depths; k++)
                for (unsigned how = 0; how < 4; how++) check_product(m, widths[n], depths[k], how & 1, how & 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_sizes, drop_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
