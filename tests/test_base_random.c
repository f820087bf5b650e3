/* Philox-4x32-10 against its published vectors, and the uniform and normal numbers made of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

typedef struct known_answer {
    uint64_t key;
    uint32_t counter[4];
    uint32_t answer[4];
} known_answer;

/* From the known-answer file of the Random123 library. The key's low word is its first. */
static const known_answer known_answers[] = {
    {0, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {UINT64_MAX, {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {0x299f31d0a4093822,
     {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void matches_known_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof known_answers / sizeof known_answers[0]; i++) {
        const known_answer *known = &known_answers[i];
        const uint32_t *at = known->counter;
        random_block block = random_philox(known->key, at[0], at[1], at[2], at[3]);
        assert_memory_equal(block.words, known->answer, sizeof block.words);
        assert_int_equal(random_bits(known->key, at[0], at[1], at[2], at[3]), known->answer[0]);
        assert_true(random_uniform(known->key, at[0], at[1], at[2], at[3]) == random_unit(known->answer[0]));
    }
}

static void unit_stays_below_one(void **state) {
    (void)state;
    assert_true(random_unit(0) == 0.0f);
    assert_true(random_unit(UINT32_MAX) < 1.0f);
    assert_true(random_unit(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(random_unit(UINT32_C(1) << 31) == 0.5f);
}

/* Sums of powers over many numbers; the bounds are 5 standard errors. */
static void has_the_moments(void **state) {
    (void)state;
    enum { COUNT = 1 << 20 };
    double uniform_sum = 0, uniform_squares = 0, normal_sum = 0, normal_squares = 0, normal_fourths = 0,
           within_one = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        double uniform = random_uniform(7, i, 1, 2, 3);
        double normal = random_normal(7, i, 4, 5, 6);
        assert_true(uniform >= 0 && uniform < 1);
        assert_true(isfinite(normal));
        uniform_sum += uniform;
        uniform_squares += uniform * uniform;
        normal_sum += normal;
        normal_squares += normal * normal;
        normal_fourths += normal * normal * normal * normal;
        within_one += fabs(normal) < 1;
    }
    double error = 5 / sqrt(COUNT);
    assert_true(fabs(uniform_sum / COUNT - 1.0 / 2) < error * sqrt(1.0 / 12));
    assert_true(fabs(uniform_squares / COUNT - 1.0 / 3) < error * sqrt(4.0 / 45));
    assert_true(fabs(normal_sum / COUNT) < error);
    assert_true(fabs(normal_squares / COUNT - 1) < error * sqrt(2));
    assert_true(fabs(normal_fourths / COUNT - 3) < error * sqrt(96));
    assert_true(fabs(within_one / COUNT - 0.682689492) < error * sqrt(0.682689492 * 0.317310508));
}

/* Changing any one argument by one bit changes about half of the bits. */
static void every_argument_counts(void **state) {
    (void)state;
    for (int argument = 0; argument < 6; argument++) {
        uint64_t changed_bits = 0;
        enum { TRIALS = 4096 };
        for (uint32_t i = 0; i < TRIALS; i++) {
            uint32_t flip[6] = {0};
            flip[argument] = UINT32_C(1) << (i % 32);
            uint64_t seed = (uint64_t)flip[5] << 32 | flip[4];
            uint32_t before = random_bits(0, i, i, i, i);
            uint32_t after = random_bits(seed, i ^ flip[0], i ^ flip[1], i ^ flip[2], i ^ flip[3]);
            changed_bits += (uint64_t)__builtin_popcount(before ^ after);
        }
        double share = (double)changed_bits / (32.0 * TRIALS);
        assert_true(fabs(share - 0.5) < 0.01);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_known_answers),
        cmocka_unit_test(unit_stays_below_one),
        cmocka_unit_test(has_the_moments),
        cmocka_unit_test(every_argument_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
