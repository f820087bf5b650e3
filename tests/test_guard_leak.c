/* The leak estimator: its parts against values worked out by hand, and the whole on made memory with fixed seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "guard/leak.h"
#include "guard/trend.h"
#include "memory_trace.h"

static const double megabyte = 1e6;

static void assert_near(double a, double b, double tolerance) {
    if (!(fabs(a - b) <= tolerance)) fail_msg("%.9g instead of %.9g", a, b);
}

static trend_series series_of(unsigned count, const double *bytes, const uint32_t *segments) {
    trend_series s = {.count = count};
    memcpy(s.bytes, bytes, count * sizeof *bytes);
    if (segments) memcpy(s.segments, segments, count * sizeof *segments);
    return s;
}

static void trend_of_a_straight_line(void **state) {
    (void)state;
    const double line[] = {3, 5, 7, 9, 11, 13, 15, 17};
    trend_series s = series_of(8, line, NULL);
    trend t;
    assert_true(trend_fit(&s, &t));
    assert_near(t.score, 28, 0);
    assert_near(t.deviation, sqrt(8 * 7 * 21 / 18.0), 1e-12);
    assert_near(t.slope, 2, 0);
    assert_near(t.low, 2, 0);
    assert_near(t.high, 2, 0);
    assert_near(t.rise, 14, 0);
    assert_near(t.largest_jump, 1 / 7.0, 1e-12);
    assert_near(t.least_quarter, 1, 1e-12);
}

/* Sen's own kind of example: slopes of 1, 2, 3 / 2, ..., ordered by hand. */
static void trend_of_four_values(void **state) {
    (void)state;
    const double values[] = {0, 1, 0, 4};
    trend_series s = series_of(4, values, NULL);
    trend t;
    assert_true(trend_fit(&s, &t));
    assert_near(t.score, 3, 0);                     /* + 0 + - + + of six pairs */
    assert_near(t.slope, (1 + 4 / 3.0) / 2, 1e-12); /* -1 0 1 4/3 3/2 4 */
    assert_near(t.low, -1, 0);
    assert_near(t.high, 4, 0);
    assert_near(t.largest_jump, 1, 1e-12);
}

static void trend_compares_within_segments_only(void **state) {
    (void)state;
    const double values[] = {100, 101, 102, 103, 4, 5, 6, 7};
    const uint32_t two[] = {0, 0, 0, 0, 1, 1, 1, 1}, alone[] = {0, 1, 2, 3, 4, 5, 6, 7};
    trend_series s = series_of(8, values, two);
    trend t;
    assert_true(trend_fit(&s, &t));
    assert_near(t.score, 12, 0);
    assert_near(t.deviation, sqrt(2 * 4 * 3 * 13 / 18.0), 1e-12);
    assert_near(t.slope, 1, 0);
    assert_near(t.least_quarter, 1, 1e-12);
    assert_near(t.rise, 7, 1e-12);
    s = series_of(8, values, NULL);
    assert_true(trend_fit(&s, &t));
    assert_true(t.score < 0 && t.slope < 0);
    s = series_of(8, values, alone);
    assert_false(trend_fit(&s, &t));
}

static void pyramid_merges_by_minimum_and_then_by_mean(void **state) {
    (void)state;
    static pyramid p;
    memset(&p, 0, sizeof p);
    const double samples[] = {5, 3, 9, 4, 8, 8, 7, 6};
    const unsigned completed[] = {1, 2, 1, 3, 1, 2, 1, 4};
    for (unsigned i = 0; i < 8; i++) assert_int_equal(pyramid_add(&p, samples[i]), completed[i]);
    double bytes[PYRAMID_BLOCKS];
    uint32_t segments[PYRAMID_BLOCKS];
    assert_true(pyramid_window(&p, 0, 8, bytes, segments));
    assert_memory_equal(bytes, samples, sizeof samples);
    assert_true(pyramid_window(&p, 1, 4, bytes, segments));
    const double pairs[] = {3, 4, 8, 6};
    assert_memory_equal(bytes, pairs, sizeof pairs);
    assert_true(pyramid_window(&p, 2, 2, bytes, segments));
    assert_near(bytes[0], 3, 0);
    assert_near(bytes[1], 6, 0);
    assert_true(pyramid_window(&p, 3, 1, bytes, segments));
    assert_near(bytes[0], 4.5, 0);
    assert_false(pyramid_window(&p, 3, 2, bytes, segments));
    assert_near(pyramid_noise(&p, 0), 5, 0); /* from 9 to 4 */
    assert_near(pyramid_noise(&p, 1), 2.5, 0);
    assert_near(pyramid_noise(&p, 2), 1.25, 0);
}

static void pyramid_keeps_segments_apart(void **state) {
    (void)state;
    static pyramid p;
    memset(&p, 0, sizeof p);
    pyramid_add(&p, 100);
    pyramid_begin_segment(&p);
    assert_int_equal(pyramid_add(&p, 1), 1); /* no pair for it from before */
    assert_int_equal(pyramid_add(&p, 2), 2);
    double bytes[PYRAMID_BLOCKS];
    uint32_t segments[PYRAMID_BLOCKS];
    assert_true(pyramid_window(&p, 0, 3, bytes, segments));
    assert_true(segments[0] != segments[1] && segments[1] == segments[2]);
    assert_near(pyramid_noise(&p, 0), 0, 0); /* the fall from 100 to 1 is no noise */
    for (unsigned i = 0; i < 100; i++) pyramid_add(&p, i);
    assert_true(pyramid_window(&p, 0, PYRAMID_BLOCKS, bytes, segments));
    assert_near(bytes[0], 84, 0);
    assert_near(bytes[15], 99, 0);
}

/* When a leak that begins after some clean steps was suspected and confirmed, counted from there; -1: never. */
typedef struct found {
    int suspected, confirmed;
    leak_slope slope;
    int64_t began;
} found;

static found look(trace_family family, uint64_t seed, int clean, int steps, double leak, double offset) {
    static leak_estimator e;
    memory_trace trace;
    found f = {.suspected = -1, .confirmed = -1};
    trace_begin(&trace, family, seed, (uint64_t)(clean + steps));
    leak_reset(&e, leak_least_rise_bytes);
    for (int step = 0; step < clean + steps && f.confirmed < 0; step++) {
        double leaked = step > clean ? leak * (step - clean) : 0;
        leak_verdict verdict = leak_add(&e, (int64_t)(trace_next(&trace) + (leaked + offset) * megabyte));
        if (step <= clean && verdict != LEAK_NONE) leak_dismiss(&e); /* of what was before the leak */
        if (step <= clean) continue;
        if (verdict != LEAK_NONE && f.suspected < 0) f.suspected = step - clean;
        if (verdict != LEAK_CONFIRMED) continue;
        f.confirmed = step - clean;
        f.began = (int64_t)leak_began(&e) - clean;
        assert_true(leak_estimate(&e, &f.slope));
    }
    return f;
}

typedef struct expectation {
    trace_family family;
    double leak;              /* MB a step */
    int suspected, confirmed; /* at the latest */
} expectation;

/* The bounds leave the spread over seeds; the medians are in docs/guard.md. */
static const expectation expected[] = {
    {TRACE_LEDGER, 1, 8, 30},        {TRACE_LEDGER, 0.1, 60, 160},    {TRACE_LEDGER, 100, 8, 30},
    {TRACE_WHITE, 1, 160, 500},      {TRACE_WHITE, 10, 40, 80},       {TRACE_WHITE, 0.1, 700, 2500},
    {TRACE_CORRELATED, 1, 300, 700}, {TRACE_CORRELATED, 10, 40, 80},  {TRACE_SPIKES, 10, 180, 450},
    {TRACE_SPIKES, 100, 40, 120},    {TRACE_SAWTOOTH, 1, 1500, 3000}, {TRACE_SAWTOOTH, 10, 250, 520},
    {TRACE_SAWTOOTH, 100, 20, 45},   {TRACE_STUDENT, 10, 120, 450},   {TRACE_NESTED_SAWTOOTH, 10, 300, 700},
};

static void finds_leaks_in_noise(void **state) {
    (void)state;
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        const expectation *x = &expected[i];
        for (uint64_t seed = 1; seed <= 5; seed++) {
            found f = look(x->family, seed, 2000, x->confirmed + 1, x->leak, 0);
            if (f.suspected < 0 || f.suspected > x->suspected || f.confirmed < 0 || f.confirmed > x->confirmed)
                fail_msg("%s, %g MB a step, seed %u: suspected after %d, confirmed after %d", trace_name(x->family),
                         x->leak, (unsigned)seed, f.suspected, f.confirmed);
            double error = fabs(f.slope.bytes / (x->leak * megabyte) - 1);
            if (error > 0.3) fail_msg("%s: the slope is off by %g", trace_name(x->family), error);
            assert_true(f.slope.low <= f.slope.bytes && f.slope.bytes <= f.slope.high);
            assert_true(f.began >= -x->suspected && f.began <= x->suspected);
        }
    }
}

static void intervals_hold_the_slope(void **state) {
    (void)state;
    unsigned held = 0, runs = 0;
    for (uint64_t seed = 1; seed <= 40; seed++)
        for (trace_family family = TRACE_LEDGER; family <= TRACE_SAWTOOTH; family++, runs++) {
            found f = look(family, 100 + seed, 500, 3000, 10, 0);
            held += f.confirmed >= 0 && f.slope.low <= 10 * megabyte && 10 * megabyte <= f.slope.high;
        }
    print_message("%u of %u intervals hold the slope\n", held, runs);
    assert_true(held >= runs * 9 / 10 && held <= runs);
}

static void confirms_nothing_that_does_not_grow(void **state) {
    (void)state;
    static leak_estimator e;
    for (trace_family family = 0; family < TRACE_NEVER_GROWS; family++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            memory_trace trace;
            trace_begin(&trace, family, seed, 20000);
            leak_reset(&e, leak_least_rise_bytes);
            for (unsigned step = 0; step < 20000; step++)
                if (leak_add(&e, (int64_t)trace_next(&trace)) == LEAK_CONFIRMED)
                    fail_msg("%s, seed %u: confirmed at step %u", trace_name(family), (unsigned)seed, step);
        }
}

/* Memory that rises for ever, and ever more slowly, is growth; one that rises evenly is a leak. */
static void rises_that_slow_down_are_growth(void **state) {
    (void)state;
    static leak_estimator e;
    static const trace_family slowing[] = {TRACE_LOGARITHM, TRACE_SQUARE_ROOT};
    for (unsigned f = 0; f < 2; f++)
        for (uint64_t seed = 1; seed <= 10; seed++) {
            memory_trace trace;
            unsigned long growing = 0;
            trace_begin(&trace, slowing[f], seed, 20000);
            leak_reset(&e, leak_least_rise_bytes);
            for (unsigned step = 0; step < 20000; step++) {
                leak_verdict verdict = leak_add(&e, (int64_t)trace_next(&trace));
                if (verdict == LEAK_CONFIRMED)
                    fail_msg("%s, seed %u: confirmed at step %u", trace_name(slowing[f]), (unsigned)seed, step);
                growing += verdict == LEAK_GROWTH;
            }
            assert_true(growing > 10000);
        }
    memory_trace trace;
    trace_begin(&trace, TRACE_WHITE, 3, 20000);
    leak_reset(&e, leak_least_rise_bytes);
    unsigned long growing = 0;
    for (unsigned step = 0; step < 20000; step++)
        growing += leak_add(&e, (int64_t)(trace_next(&trace) + step * megabyte)) == LEAK_GROWTH;
    assert_int_equal(e.verdict, LEAK_CONFIRMED);
    assert_in_range(growing, 0, 200);
}

/* A cache that fills, ever more slowly, in a run whose memory was flat for long: suspected, and no more. */
static void growth_that_slows_down_is_not_confirmed(void **state) {
    (void)state;
    static leak_estimator e;
    leak_verdict worst = LEAK_NONE;
    memory_trace trace;
    trace_begin(&trace, TRACE_LEDGER, 4, 3000);
    leak_reset(&e, leak_least_rise_bytes);
    for (int step = 0; step < 3000; step++) {
        double filled = step > 1000 ? 400 * (1 - exp(-(step - 1000) / 25.0)) : 0;
        leak_verdict verdict = leak_add(&e, (int64_t)(trace_next(&trace) + filled * megabyte));
        if (verdict > worst) worst = verdict;
    }
    assert_int_equal(worst, LEAK_SUSPECTED);
    assert_int_equal(e.verdict, LEAK_NONE);
}

static void constant_memory_is_never_suspected(void **state) {
    (void)state;
    static leak_estimator e;
    leak_reset(&e, leak_least_rise_bytes);
    for (unsigned step = 0; step < 5000; step++) {
        assert_int_equal(leak_add(&e, 12345678), LEAK_NONE);
        assert_true(isinf(leak_time_left(&e, 0).fewest));
    }
    leak_slope none;
    assert_false(leak_estimate(&e, &none));
}

/* The case that such a guard exists for: a leak from the first step, and memory for 40 steps. */
static void warns_in_time_of_a_leak_from_the_first_step(void **state) {
    (void)state;
    enum { HEADROOM_STEPS = 40, HORIZON = 12 };
    for (double leak = 50; leak <= 100; leak += 25)
        for (uint64_t seed = 1; seed <= 100; seed++) {
            static leak_estimator e;
            memory_trace trace;
            int suspected = -1, warned = -1;
            trace_begin(&trace, TRACE_LEDGER, seed, HEADROOM_STEPS);
            leak_reset(&e, leak_least_rise_bytes);
            for (int sample = 1; sample <= HEADROOM_STEPS; sample++) {
                leak_verdict verdict = leak_add(&e, (int64_t)(trace_next(&trace) + leak * megabyte * sample));
                double headroom = (HEADROOM_STEPS - sample) * leak * megabyte;
                if (verdict == LEAK_SUSPECTED && suspected < 0) suspected = sample;
                if (leak_time_left(&e, headroom).fewest < HORIZON && warned < 0) warned = sample;
            }
            assert_int_equal(suspected, 8);
            assert_in_range(warned, HEADROOM_STEPS - HORIZON, HEADROOM_STEPS - 10);
        }
}

/* A plan that changes every 60 steps moves memory by 500 MB, down and up. */
static int confirmed_across_plans(double leak, double rise_a_plan, bool told) {
    static leak_estimator e;
    memory_trace trace;
    trace_begin(&trace, TRACE_LEDGER, 3, 2000);
    leak_reset(&e, leak_least_rise_bytes);
    for (int step = 0; step < 2000; step++) {
        int plan = step / 60;
        double level = (plan % 2 ? -500 : 0) + rise_a_plan * plan;
        if (told && step % 60 == 0) leak_begin_segment(&e);
        if (leak_add(&e, (int64_t)(trace_next(&trace) + (level + leak * step) * megabyte)) == LEAK_CONFIRMED)
            return step;
    }
    return -1;
}

static void compares_within_plans_only(void **state) {
    (void)state;
    assert_int_equal(confirmed_across_plans(1, 0, false), -1); /* hidden by falls of 500 */
    int found_at = confirmed_across_plans(1, 0, true);
    print_message("a leak across plans is confirmed after %d steps\n", found_at);
    assert_in_range(found_at, 255, 400);
    assert_true(confirmed_across_plans(0, 600, false) >= 0); /* each plan larger: looks like growth */
    assert_int_equal(confirmed_across_plans(0, 600, true), -1);
}

static leak_estimator suspicious(double a_step, unsigned *step) {
    leak_estimator e;
    leak_reset(&e, leak_least_rise_bytes);
    for (*step = 0; leak_add(&e, (int64_t)(a_step * megabyte * *step)) == LEAK_NONE; ++*step)
        assert_true(*step < 100);
    return e;
}

static void drops_a_suspicion_when_memory_falls_back(void **state) {
    (void)state;
    unsigned step;
    leak_estimator e = suspicious(5, &step);
    assert_int_equal(leak_add(&e, (int64_t)(5 * megabyte * step * 0.8)), LEAK_SUSPECTED);
    assert_int_equal(leak_add(&e, (int64_t)(5 * megabyte * step * 0.4)), LEAK_NONE);
}

static void drops_a_suspicion_when_memory_stays_flat(void **state) {
    (void)state;
    unsigned step, flat = 0;
    leak_estimator e = suspicious(5, &step);
    while (leak_add(&e, (int64_t)(5 * megabyte * step)) != LEAK_NONE) assert_true(flat++ < 40);
    assert_in_range(flat, 8, 24);
}

/* A confirmed leak that ends is over, too. */
static void a_confirmed_leak_can_end(void **state) {
    (void)state;
    static leak_estimator e;
    leak_reset(&e, leak_least_rise_bytes);
    unsigned step = 0, flat = 0;
    while (leak_add(&e, (int64_t)(5 * megabyte * step)) != LEAK_CONFIRMED) assert_true(step++ < 400);
    while (leak_add(&e, (int64_t)(5 * megabyte * step)) != LEAK_NONE) assert_true(flat++ < 2000);
    assert_true(flat > 0);
}

static void only_differences_count(void **state) {
    (void)state;
    found plain = look(TRACE_WHITE, 9, 500, 400, 5, 0), negative = look(TRACE_WHITE, 9, 500, 400, 5, -20000);
    assert_true(plain.confirmed > 0);
    assert_int_equal(plain.suspected, negative.suspected);
    assert_int_equal(plain.confirmed, negative.confirmed);
    assert_near(plain.slope.bytes, negative.slope.bytes, 1);
}

static void dismissing_keeps_the_history_and_resetting_does_not(void **state) {
    (void)state;
    unsigned step;
    leak_estimator e = suspicious(5, &step);
    leak_dismiss(&e);
    assert_int_equal(e.verdict, LEAK_NONE);
    assert_int_equal(leak_began(&e), 0);
    assert_int_equal(leak_add(&e, (int64_t)(5 * megabyte * ++step)), LEAK_SUSPECTED);
    leak_reset(&e, leak_least_rise_bytes);
    assert_int_equal(leak_add(&e, (int64_t)(5 * megabyte * ++step)), LEAK_NONE);
    assert_true(isinf(leak_time_left(&e, 1).expected));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trend_of_a_straight_line),
        cmocka_unit_test(trend_of_four_values),
        cmocka_unit_test(trend_compares_within_segments_only),
        cmocka_unit_test(pyramid_merges_by_minimum_and_then_by_mean),
        cmocka_unit_test(pyramid_keeps_segments_apart),
        cmocka_unit_test(finds_leaks_in_noise),
        cmocka_unit_test(intervals_hold_the_slope),
        cmocka_unit_test(confirms_nothing_that_does_not_grow),
        cmocka_unit_test(rises_that_slow_down_are_growth),
        cmocka_unit_test(growth_that_slows_down_is_not_confirmed),
        cmocka_unit_test(constant_memory_is_never_suspected),
        cmocka_unit_test(warns_in_time_of_a_leak_from_the_first_step),
        cmocka_unit_test(compares_within_plans_only),
        cmocka_unit_test(drops_a_suspicion_when_memory_falls_back),
        cmocka_unit_test(drops_a_suspicion_when_memory_stays_flat),
        cmocka_unit_test(a_confirmed_leak_can_end),
        cmocka_unit_test(only_differences_count),
        cmocka_unit_test(dismissing_keeps_the_history_and_resetting_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
