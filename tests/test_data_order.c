/* The order of the rows: that it is a permutation, that it is a fair one, and that a run's examples follow it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "data/cursor.h"
#include "data/order.h"

/* Every index of [0, count) is hit once. */
static void assert_bijection(uint64_t seed, uint64_t epoch, uint64_t count) {
    unsigned char *seen = calloc(count ? count : 1, 1);
    assert_non_null(seen);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t to = order_permute(seed, epoch, count, i);
        assert_true(to < count);
        assert_int_equal(seen[to], 0);
        seen[to] = 1;
    }
    free(seen);
}

static void is_a_bijection(void **state) {
    (void)state;
    for (uint64_t count = 1; count <= 300; count++) {
        for (uint64_t epoch = 0; epoch < 3; epoch++) assert_bijection(count * 31, epoch, count);
    }
    /* Both sides of each change of the domain's size, and some between. */
    static const uint64_t counts[] = {1023, 1024, 1025, 4095, 4096, 4097, 5000, 65535, 65536, 65537, 100003, 262145};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_bijection(i, 0, counts[i]);
        assert_bijection(UINT64_MAX - i, UINT64_MAX, counts[i]);
    }
}

/* Too many to visit: results stay in range and a sample of them has no two alike. */
static int compare_numbers(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void works_for_huge_counts(void **state) {
    (void)state;
    static const uint64_t counts[] = {UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, (UINT64_C(1) << 62) + 1,
                                      UINT64_MAX};
    enum { SAMPLE = 2000 };
    uint64_t results[SAMPLE];
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        for (uint64_t i = 0; i < SAMPLE; i++) {
            uint64_t index = i % 2 ? i : counts[c] - 1 - i;
            results[i] = order_permute(11, 5, counts[c], index);
            assert_true(results[i] < counts[c]);
        }
        qsort(results, SAMPLE, sizeof results[0], compare_numbers);
        for (size_t i = 1; i < SAMPLE; i++) assert_true(results[i - 1] < results[i]);
    }
}

/* How many of `count` indices go to the same place under two keys; a fair shuffle has 1 in the mean. */
static uint64_t agreements(uint64_t seed_a, uint64_t epoch_a, uint64_t seed_b, uint64_t epoch_b, uint64_t count) {
    uint64_t same = 0;
    for (uint64_t i = 0; i < count; i++) {
        same += order_permute(seed_a, epoch_a, count, i) == order_permute(seed_b, epoch_b, count, i);
    }
    return same;
}

static void keys_give_different_orders(void **state) {
    (void)state;
    assert_int_equal(agreements(1, 0, 1, 0, 1000), 1000);
    for (uint64_t i = 1; i < 20; i++) {
        assert_true(agreements(1, 0, 1, i, 1000) < 12);
        assert_true(agreements(1, 0, 1, i << 32, 1000) < 12);
        assert_true(agreements(1, 0, 1 + i, 0, 1000) < 12);
    }
    uint64_t fixed_points = 0;
    for (uint64_t i = 0; i < 1000; i++) fixed_points += order_permute(9, 0, 1000, i) == i;
    assert_true(fixed_points < 12);
}

/* Over many epochs each index goes everywhere equally often: chi-squared within 5 standard deviations of its mean. */
static void is_fair(void **state) {
    (void)state;
    enum { LARGEST = 20, EPOCHS = 4000 };
    for (uint64_t count = 2; count <= LARGEST; count++) {
        uint64_t times[LARGEST][LARGEST] = {{0}};
        for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
            for (uint64_t i = 0; i < count; i++) times[i][order_permute(3, epoch, count, i)]++;
        }
        double chi_squared = 0, expected = (double)EPOCHS / (double)count;
        for (uint64_t i = 0; i < count; i++) {
            for (uint64_t j = 0; j < count; j++) {
                double difference = (double)times[i][j] - expected;
                chi_squared += difference * difference / expected;
            }
        }
        /* Rows and columns both sum to EPOCHS, so (count - 1)^2 are free and the statistic is scaled by
         * count / (count - 1). */
        double freedom = (double)((count - 1) * (count - 1));
        chi_squared *= (double)(count - 1) / (double)count;
        assert_true(chi_squared < freedom + 5 * sqrt(2 * freedom) + 5);
    }
}

static void small_orders_all_occur(void **state) {
    (void)state;
    uint64_t times[27] = {0};
    enum { EPOCHS = 6000 };
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint64_t code = 0;
        for (uint64_t i = 0; i < 3; i++) code = code * 3 + order_permute(3, epoch, 3, i);
        times[code]++;
    }
    uint64_t orders = 0;
    for (size_t i = 0; i < 27; i++) {
        if (times[i] == 0) continue;
        orders++;
        assert_true(fabs((double)times[i] - EPOCHS / 6.0) < 5 * sqrt(EPOCHS / 6.0));
    }
    assert_int_equal(orders, 6);
}

/* Each run of `rows` examples visits every row once, whatever the batch size is. */
static void cursor_visits_each_row_once_an_epoch(void **state) {
    (void)state;
    static const uint32_t batch_sizes[] = {1, 3, 7, 10, 64};
    enum { ROWS = 10, EPOCHS = 6 };
    uint64_t first_order[ROWS * EPOCHS];
    for (size_t b = 0; b < sizeof batch_sizes / sizeof batch_sizes[0]; b++) {
        cursor position = {.seed = 5, .rows = ROWS, .batch_size = batch_sizes[b]};
        uint64_t step = 0;
        uint32_t example = 0;
        for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
            unsigned seen = 0;
            for (uint64_t i = 0; i < ROWS; i++) {
                uint64_t row = cursor_row(&position, step, example);
                assert_true(row < ROWS);
                seen |= 1u << row;
                if (b == 0) first_order[epoch * ROWS + i] = row;
                assert_int_equal(row, first_order[epoch * ROWS + i]);
                if (++example == position.batch_size) {
                    example = 0;
                    step++;
                }
            }
            assert_int_equal(seen, (1u << ROWS) - 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_a_bijection),
        cmocka_unit_test(works_for_huge_counts),
        cmocka_unit_test(keys_give_different_orders),
        cmocka_unit_test(is_fair),
        cmocka_unit_test(small_orders_all_occur),
        cmocka_unit_test(cursor_visits_each_row_once_an_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
