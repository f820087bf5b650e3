/* Learning rates against the closed forms that mlx publishes, with and without mlx_lm.lora's warm-up. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "train/schedule.h"

static const double pi = 3.14159265358979323846;

enum { LAST_UPDATE = 300 };

static double constant_rate(const double *a, double n) {
    (void)n;
    return a[0];
}

/* linear_schedule(init, end, steps) */
static double linear_rate(const double *a, double n) { return fmin(n, a[2]) * ((a[1] - a[0]) / a[2]) + a[0]; }

/* cosine_decay(init, decay_steps, end = 0) */
static double cosine_rate(const double *a, double n) {
    return a[2] + 0.5 * (1 + cos(pi / a[1] * fmin(n, a[1]))) * (a[0] - a[2]);
}

/* step_decay(init, decay_rate, step_size) */
static double step_rate(const double *a, double n) { return a[0] * pow(a[1], floor(n / a[2])); }

/* exponential_decay(init, decay_rate) */
static double exponential_rate(const double *a, double n) { return a[0] * pow(a[1], n); }

static const struct {
    schedule curve;
    double (*formula)(const double *arguments, double n);
} cases[] = {
    {{.kind = SCHEDULE_CONSTANT, .arguments = {3e-4}, .argument_count = 1}, constant_rate},
    {{.kind = SCHEDULE_LINEAR, .arguments = {1e-3, 1e-5, 100}, .argument_count = 3}, linear_rate},
    {{.kind = SCHEDULE_LINEAR, .arguments = {0, 1e-1, 101}, .argument_count = 3}, linear_rate},
    {{.kind = SCHEDULE_COSINE, .arguments = {1e-5, 200, 1e-7}, .argument_count = 3}, cosine_rate},
    {{.kind = SCHEDULE_COSINE, .arguments = {1e-1, 1000}, .argument_count = 2}, cosine_rate},
    {{.kind = SCHEDULE_STEP, .arguments = {1e-1, 0.9, 10}, .argument_count = 3}, step_rate},
    {{.kind = SCHEDULE_STEP, .arguments = {1e-1, 0.5, 1}, .argument_count = 3}, step_rate},
    {{.kind = SCHEDULE_EXPONENTIAL, .arguments = {1e-1, 0.99}, .argument_count = 2}, exponential_rate},
};

enum { CASES = sizeof cases / sizeof *cases };

static void assert_rate(const schedule *s, uint64_t update, double expected) {
    double rate = schedule_rate(s, update);
    if (!(fabs(rate - expected) <= 1e-12 * fabs(expected) + 1e-18))
        fail_msg("kind %d, update %u: %.17g instead of %.17g", (int)s->kind, (unsigned)update, rate, expected);
}

static void follows_the_curves(void **state) {
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        assert_null(schedule_problem(&cases[i].curve));
        assert_true(schedule_rate(&cases[i].curve, 0) == cases[i].curve.arguments[0]);
        for (uint64_t n = 0; n < LAST_UPDATE; n++)
            assert_rate(&cases[i].curve, n, cases[i].formula(cases[i].curve.arguments, (double)n));
    }
}

/* mlx_lm.lora: join_schedules([linear_schedule(warmup_init, arguments[0], warmup), curve], [warmup + 1]). */
static void joins_the_warm_up(void **state) {
    (void)state;
    static const uint32_t lengths[] = {1, 2, 20, LAST_UPDATE};
    for (size_t i = 0; i < CASES; i++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            schedule s = cases[i].curve;
            s.warmup = lengths[l];
            s.warmup_init = 1e-7;
            const double rise[] = {s.warmup_init, s.arguments[0], s.warmup};
            for (uint64_t n = 0; n < 2 * LAST_UPDATE; n++) {
                bool rising = n < (uint64_t)s.warmup + 1;
                double expected =
                    rising ? linear_rate(rise, (double)n) : cases[i].formula(s.arguments, (double)(n - s.warmup - 1));
                assert_rate(&s, n, expected);
            }
        }
}

/* The values in the documentation of mlx: the optimizer's rate after so many updates. */
static void matches_published_values(void **state) {
    (void)state;
    const struct {
        schedule s;
        uint64_t update;
        double rate;
    } published[] = {
        {{.kind = SCHEDULE_LINEAR, .arguments = {0, 1e-1, 100}, .argument_count = 3}, 100, 0.1},
        {{.kind = SCHEDULE_COSINE, .arguments = {1e-1, 1000}, .argument_count = 2}, 4, 0.0999961},
        {{.kind = SCHEDULE_STEP, .arguments = {1e-1, 0.9, 10}, .argument_count = 3}, 20, 0.081},
        {{.kind = SCHEDULE_EXPONENTIAL, .arguments = {1e-1, 0.9}, .argument_count = 2}, 4, 0.06561},
    };
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        assert_true(fabs(schedule_rate(&published[i].s, published[i].update) - published[i].rate) < 5e-8);
}

static void stays_finite_far_out(void **state) {
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        double rate = schedule_rate(&cases[i].curve, UINT32_MAX);
        assert_true(isfinite(rate) && rate >= 0);
    }
}

static void finds_names(void **state) {
    (void)state;
    static const struct {
        const char *plain, *mlx;
        schedule_kind kind;
    } names[] = {
        {"constant", "constant", SCHEDULE_CONSTANT},
        {"linear", "linear_schedule", SCHEDULE_LINEAR},
        {"cosine", "cosine_decay", SCHEDULE_COSINE},
        {"step", "step_decay", SCHEDULE_STEP},
        {"exponential", "exponential_decay", SCHEDULE_EXPONENTIAL},
    };
    schedule_kind kind;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(schedule_find(names[i].plain, &kind));
        assert_int_equal(kind, names[i].kind);
        assert_true(schedule_find(names[i].mlx, &kind));
        assert_int_equal(kind, names[i].kind);
        assert_string_equal(schedule_name(kind), names[i].mlx);
    }
    assert_false(schedule_find("cosine_annealing", &kind));
    assert_false(schedule_find("", &kind));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_curves),
        cmocka_unit_test(joins_the_warm_up),
        cmocka_unit_test(matches_published_values),
        cmocka_unit_test(stays_finite_far_out),
        cmocka_unit_test(finds_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
