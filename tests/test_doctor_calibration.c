/* What a step is estimated to take: the operators' work against sums made by hand, and the file of measured rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/calibration.h"
#include "fake_kernel.h"
#include "platform/headroom.h"
#include "scratch.h"

enum { IN = 8, OUT = 12, RANK = 2, WORDS = 40 };

static value_id row_of(graph *g, uint64_t cols) {
    return graph_value(g, VALUE_ACTIVATION, DTYPE_F32, 0, cols, 0, "row of %u", (unsigned)cols);
}

static value_id weight_of(graph *g, dtype type, uint64_t rows, uint64_t cols) {
    return graph_value(g, VALUE_WEIGHT, type, rows, cols, 0, "weight");
}

static node blank(operator_kind kind) {
    node n = {.kind = kind};
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) n.in[i] = NO_VALUE;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) n.out[i] = NO_VALUE;
    return n;
}

/* The work of a graph of one node, over 10 tokens in sequences of 5. */
static work work_of(graph *g, const node *n) {
    work sum = {0};
    graph_node(g, n);
    assert_int_equal(graph_status(g, NULL), LEVEE_OK);
    work_add_pass(&sum, g, 10, 5);
    graph_close(g);
    return sum;
}

static void a_linear_operator(void **state) {
    (void)state;
    graph g;
    graph_open(&g, SPACE_HOST);
    node n = blank(OPERATOR_LINEAR);
    n.in[0] = row_of(&g, IN), n.in[1] = weight_of(&g, DTYPE_BF16, OUT, IN), n.out[0] = row_of(&g, OUT);
    work w = work_of(&g, &n);
    assert_true(w.amount[WORK_PRODUCTS] == 2.0 * 10 * IN * OUT);
    /* rows in and out; the weight of two bytes, and its decoded form written and read */
    assert_true(w.amount[WORK_BYTES] == 10 * 4 * (IN + OUT) + IN * OUT * (2 + 8));
    assert_true(w.amount[WORK_THIN_PRODUCTS] == 0 && w.amount[WORK_ATTENTION] == 0);
}

static void lora_and_its_gradient(void **state) {
    (void)state;
    graph g;
    graph_open(&g, SPACE_HOST);
    node n = blank(OPERATOR_LORA);
    n.in[0] = row_of(&g, IN), n.out[0] = row_of(&g, OUT), n.out[1] = row_of(&g, RANK);
    n.in[1] = weight_of(&g, DTYPE_BF16, OUT, IN);
    n.in[3] = weight_of(&g, DTYPE_F32, RANK, IN), n.in[4] = weight_of(&g, DTYPE_F32, OUT, RANK);
    work w = work_of(&g, &n);
    assert_true(w.amount[WORK_PRODUCTS] == 2.0 * 10 * IN * OUT);
    assert_true(w.amount[WORK_THIN_PRODUCTS] == 2.0 * 10 * RANK * (IN + OUT));
    for (unsigned with_input = 0; with_input < 2; with_input++) {
        graph_open(&g, SPACE_HOST);
        n = blank(OPERATOR_LORA_GRADIENT);
        n.in[0] = row_of(&g, OUT), n.in[3] = row_of(&g, IN), n.in[4] = row_of(&g, RANK);
        n.in[5] = weight_of(&g, DTYPE_F32, RANK, IN), n.in[6] = weight_of(&g, DTYPE_F32, OUT, RANK);
        if (with_input) n.in[1] = weight_of(&g, DTYPE_BF16, OUT, IN), n.out[0] = row_of(&g, IN);
        w = work_of(&g, &n);
        assert_true(w.amount[WORK_PRODUCTS] == with_input * 2.0 * 10 * IN * OUT);
        assert_true(w.amount[WORK_THIN_PRODUCTS] == 2.0 * 10 * RANK * (2 * OUT + IN + with_input * IN));
    }
}

static void attention_and_head(void **state) {
    (void)state;
    graph g;
    graph_open(&g, SPACE_HOST);
    node n = blank(OPERATOR_ATTENTION);
    n.parameters.heads = 4, n.parameters.head_dim = 2, n.parameters.window = UINT32_MAX;
    n.out[0] = row_of(&g, IN);
    work w = work_of(&g, &n);
    assert_true(w.amount[WORK_ATTENTION] == 2.0 * 10 * 8 * 5);
    /* With a window of 10, the rows of a sequence of 100 see 1, 2, ... 9, and from then on 10. */
    assert_true(work_rows_seen(10, 100) == 9.5);
    assert_true(work_rows_seen(UINT32_MAX, 100) == 50 && work_rows_seen(100, 100) == 50);
    for (unsigned with_weight = 0; with_weight < 2; with_weight++) { /* for whose gradient logits are stored */
        graph_open(&g, SPACE_HOST);
        n = blank(OPERATOR_HEAD_LOSS_GRADIENT);
        n.in[0] = row_of(&g, IN), n.in[1] = weight_of(&g, DTYPE_F32, WORDS, IN);
        n.out[0] = row_of(&g, 1), n.out[1] = row_of(&g, IN);
        if (with_weight) n.out[2] = weight_of(&g, DTYPE_F32, WORDS, IN);
        w = work_of(&g, &n);
        assert_true(w.amount[WORK_PRODUCTS] == (2 + with_weight) * 2.0 * 10 * IN * WORDS);
        assert_true(w.amount[WORK_BYTES] ==
                    10 * 4 * (2 * IN + 1) + (1 + with_weight) * 4 * WORDS * IN + with_weight * 16 * 10 * WORDS);
    }
}

static void seconds_are_work_by_rate(void **state) {
    (void)state;
    work w = {.amount = {10, 20, 30, 40}};
    const double rates[WORK_KINDS] = {10, 10, 10, 20};
    assert_true(work_seconds(&w, rates) == 1 + 2 + 3 + 2);
    work update = {0};
    work_add_update(&update, 3);
    assert_true(update.amount[WORK_BYTES] == 3 * 4 * 4 * 2);
}

static const char *place(const char *directory) {
    static char path[FILE_PATH_BYTES];
    setenv("XDG_CACHE_HOME", directory, 1);
    assert_int_equal(calibration_path(path, NULL), LEVEE_OK);
    return path;
}

static calibration known(const char *name, unsigned threads) {
    calibration c = {.threads = threads, .f32 = 4e10, .thin = 2e10, .attention = 5e9, .bytes = 1e10};
    snprintf(c.processor, sizeof c.processor, "%s", name);
    return c;
}

static void what_was_stored_is_found(void **state) {
    const char *path = place(*state);
    calibration a = known("Made Processor 1", 4), b = known("Made Processor 1", 8), again = {.threads = 4};
    double rates[WORK_KINDS];
    b.bf16 = 9e10;
    assert_false(calibration_find(path, &a));
    assert_int_equal(calibration_store(path, &a, NULL), LEVEE_OK);
    assert_int_equal(calibration_store(path, &b, NULL), LEVEE_OK);
    a.f32 = 5e10; /* measured again: instead of the first */
    assert_int_equal(calibration_store(path, &a, NULL), LEVEE_OK);
    snprintf(again.processor, sizeof again.processor, "Made Processor 1");
    assert_true(calibration_find(path, &again));
    assert_true(again.f32 == 5e10 && again.bytes == 1e10 && again.bf16 == 0);
    assert_true(calibration_rates(&again, COMPUTE_F32, rates));
    assert_false(calibration_rates(&again, COMPUTE_BF16, rates)); /* was not measured */
    again.threads = 8;
    assert_true(calibration_find(path, &again));
    assert_true(calibration_rates(&again, COMPUTE_BF16, rates) && rates[WORK_PRODUCTS] == 9e10);
    again.threads = 16;
    assert_false(calibration_find(path, &again));
}

static void what_is_no_entry_is_not_found(void **state) {
    static const char *const texts[] = {
        "",
        "garbage",
        "- processor: \"P\"\n  threads: 1\n",
        "- processor: \"P\"\n  threads: 1\n  products_f32: -1\n  products_thin: 1\n  attention: 1\n  bytes: 1\n",
        "- processor: \"P\"\n  threads: 1\n  products_f32: nan\n  products_thin: 1\n  attention: 1\n  bytes: 1\n",
        "- processor: \"P\"\n  threads: 1\n  products_f32: 1\n  products_thin: 1\n  attention: 1\n  bytes: 1", /* cut
                                                                                                                */
        "  threads: 1\n  products_f32: 1\n  products_thin: 1\n  attention: 1\n  bytes: 1\n"};
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, *state, "calibration.yaml"));
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        calibration c = {.processor = "P", .threads = 1};
        scratch_text(*state, "calibration.yaml", texts[i]);
        if (calibration_find(path, &c)) fail_msg("found in '%s'", texts[i]);
        assert_int_equal(calibration_store(path, &(calibration){.processor = "Q"}, NULL), LEVEE_OK);
    }
}

static void a_machine_is_measured(void **state) {
    fake_kernel k;
    calibration c;
    double rates[WORK_KINDS];
    kernel_roots roots = fake_kernel_make(&k, *state);
    fake_kernel_text(&k, "proc/cpuinfo", "model name\t: Made \"Processor\" 1\nflags\t\t: fpu\n");
    calibration_identify(&c, roots, 1);
    assert_string_equal(c.processor, "Made ?Processor? 1");
    assert_int_equal(calibration_measure(&c, 0, NULL), LEVEE_OK);
    assert_true(calibration_rates(&c, COMPUTE_F32, rates));
    levee_error error;
    assert_int_equal(calibration_measure(&c, (uint64_t)1 << 60, &error), LEVEE_DOES_NOT_FIT);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_operator),  cmocka_unit_test(lora_and_its_gradient),
        cmocka_unit_test(attention_and_head), cmocka_unit_test(seconds_are_work_by_rate),
        IN_SCRATCH(what_was_stored_is_found), IN_SCRATCH(what_is_no_entry_is_not_found),
        IN_SCRATCH(a_machine_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
