/* The head without a gradient of its weight, which stores no logits, row by row against plain double arithmetic: on
 * every path, in both types, where neither rows nor vocabulary fill what they are cut into. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "kernel_calls.h"

typedef struct head_case {
    uint32_t capacity, tokens;
    uint64_t features, vocabulary;
    dtype type; /* in which the weight is stored */
    enum {
        PLAIN,
        RISING, /* the largest logit rises all the way to the end of the vocabulary */
        CERTAIN /* all but certain of the label: softmax - 1 there is far below what an f32 near 1 can tell */
    } logits;
    enum { MOST, ALL, NONE, ONE } targets;
} head_case;

static const float loss_scale = 0.125f;
static const double nothing = 1e-36; /* e^x is taken for zero below -87 */

/* One case's data; x, weight and labels are the same on every path. */
typedef struct head_data {
    kernel_buffer x, weight, labels;
    double *losses, *dx; /* as they should be */
    double *sizes;       /* the sum of the absolute values of the terms of which each element of dx is the sum */
} head_data;

static void set_weight(kernel_buffer *w, uint64_t row, uint64_t col, double value) {
    float single = (float)value;
    dtype_convert(w->type, (unsigned char *)w->data + dtype_bytes(w->type, row * w->cols + col), DTYPE_F32, &single,
                  1);
}

static int32_t label_of(const head_case *h, uint32_t t) {
    bool is = h->targets == ALL || (h->targets == MOST && t % 5 != 3 && (t < 20 || t >= 60)) ||
              (h->targets == ONE && t == h->tokens - 1);
    if (!is) return t % 2 ? -1 : -100;
    return t ? (int32_t)(random_bits(7, t, 0, 0, 0) % h->vocabulary) : (int32_t)h->vocabulary - 1;
}

static void shape_logits(const head_case *h, head_data *d) {
    float *x = d->x.data;
    for (uint32_t t = 0; t < h->tokens; t++) ((int32_t *)d->labels.data)[t] = label_of(h, t);
    if (h->logits == RISING) {
        /* The first feature of x is 1, that of the weight 120 v / V. */
        for (uint32_t t = 0; t < h->tokens; t++) x[t * h->features] = 1;
        for (uint64_t v = 0; v < h->vocabulary; v++)
            set_weight(&d->weight, v, 0, 120.0 * (double)v / (double)h->vocabulary);
    }
    for (uint32_t t = 0; t < h->tokens && h->logits == CERTAIN; t++) {
        /* x is so much of the label's row that its logit is 25, which leaves about 1e-8 for all others, or 1000. */
        int32_t label = ((const int32_t *)d->labels.data)[t];
        double square = 0, logit = t % 4 ? 25 : 1000;
        for (uint64_t i = 0; i < h->features && label >= 0; i++)
            square += pow(element(&d->weight, (uint64_t)label * h->features + i, false), 2);
        for (uint64_t i = 0; i < h->features && label >= 0; i++)
            x[t * h->features + i] =
                (float)(logit / square * element(&d->weight, (uint64_t)label * h->features + i, false));
    }
}

/* Losses and dx, in double. What rounds operands to bf16 sees them so. */
static void expect_row(const head_case *h, const double *x, const double *w, int32_t label, double *logits,
                       double *loss, double *dx, double *sizes) {
    double highest = -INFINITY, others = 0;
    memset(dx, 0, h->features * sizeof *dx);
    memset(sizes, 0, h->features * sizeof *sizes);
    *loss = 0;
    if (label < 0) return;
    for (uint64_t v = 0; v < h->vocabulary; v++) {
        logits[v] = 0;
        for (uint64_t i = 0; i < h->features; i++) logits[v] += x[i] * w[v * h->features + i];
        highest = fmax(highest, logits[v]);
    }
    for (uint64_t v = 0; v < h->vocabulary; v++) others += v == (uint64_t)label ? 0 : exp(logits[v] - highest);
    double whole = others + exp(logits[label] - highest);
    *loss = log(whole) + highest - logits[label];
    for (uint64_t v = 0; v < h->vocabulary; v++) {
        double factor = v == (uint64_t)label ? -others / whole : exp(logits[v] - highest) / whole;
        for (uint64_t i = 0; i < h->features; i++) {
            double term = (double)loss_scale * factor * w[v * h->features + i];
            dx[i] += term;
            sizes[i] += fabs(term);
        }
    }
}

static head_data make_case(const head_case *h, bool rounded) {
    head_data d = {.x = token_rows(h->tokens, h->features),
                   .weight = weight_of(h->type, h->vocabulary, h->features),
                   .labels = token_numbers(h->tokens),
                   .losses = guarded(h->tokens * sizeof(double), 0),
                   .dx = guarded(h->tokens * h->features * sizeof(double), 0),
                   .sizes = guarded(h->tokens * h->features * sizeof(double), 0)};
    shape_logits(h, &d);
    double *x = elements(&d.x, h->tokens * h->features, rounded);
    double *w = elements(&d.weight, h->vocabulary * h->features, rounded);
    double *logits = guarded(h->vocabulary * sizeof *logits, 0);
    for (uint32_t t = 0; t < h->tokens; t++)
        expect_row(h, x + t * h->features, w, ((const int32_t *)d.labels.data)[t], logits, &d.losses[t],
                   d.dx + t * h->features, d.sizes + t * h->features);
    d.x.rows = h->capacity;
    return d;
}

static void check_element(const head_case *h, const head_data *d, uint32_t t, uint64_t i, float is, double bound) {
    uint64_t at = t * h->features + i;
    if (!(fabs((double)is - d->dx[at]) <= bound * d->sizes[at] + nothing))
        fail_msg("dx of row %u, feature %llu: %.9g, not %.9g, of terms of %.9g", t, (unsigned long long)i, (double)is,
                 d->dx[at], d->sizes[at]);
}

/* A loss by itself, and an element of dx by the terms that it is the sum of: so a row with a small gradient counts as
 * much as the others. */
static void check_rows(const head_case *h, const head_data *d, const float *losses, const float *dx, bool rounded) {
    /* The absolute error of a logit is that of up to two thousand sums near 20, or, where logits rise so high, of
     * some hundred near 120; it is the relative one of e^logit, and of a loss below 1. Weights of bf16 are rounded to
     * 2^-9. */
    double logit_error = h->logits == RISING ? 3e-4 : 5e-5, bound = rounded ? 4e-3 : logit_error;
    for (uint32_t t = 0; t < h->tokens; t++) {
        double expected = d->losses[t], most = logit_error * fmin(expected, 1) + 1e-6 * expected + nothing;
        if (!(fabs((double)losses[t] - expected) <= most))
            fail_msg("loss of row %u: %.9g, not %.9g", t, (double)losses[t], expected);
        for (uint64_t i = 0; dx && i < h->features; i++) check_element(h, d, t, i, dx[t * h->features + i], bound);
    }
}

static void run_case(struct backend_state *state, const head_case *h, const head_data *d, kernel_buffer *losses,
                     kernel_buffer *dx) {
    bool rounded = state->compute == COMPUTE_BF16;
    operator_parameters parameters = {0};
    pass_scalars pass = {.tokens = h->tokens, .loss_scale = loss_scale};
    kernel_call call = {.parameters = &parameters, .in = {d->x, d->weight, d->labels}, .pass = &pass};
    *losses = blank_rows(h->tokens, 1);
    *dx = blank_rows(h->tokens, h->features);
    call.out[0] = *losses;
    call.out[0].rows = h->capacity;
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS, &call), LEVEE_OK);
    check_rows(h, d, losses->data, NULL, rounded);
    call.out[1] = *dx;
    call.out[1].rows = h->capacity;
    memset(losses->data, 0xff, h->tokens * sizeof(float));
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_OK);
    check_rows(h, d, losses->data, dx->data, rounded);
    check_spare_rows(losses);
    check_spare_rows(dx);
}

/* With 1 thread and with 3, which cut rows otherwise: the results must be the same. */
static void run_threads(const head_case *h, compute_type compute, instruction_set instructions) {
    kernel_buffer losses[2], dx[2];
    head_data d = make_case(h, compute == COMPUTE_BF16);
    for (unsigned i = 0; i < 2; i++) {
        struct backend_state *state = open_backend(i ? 3 : 1, compute);
        if (!state) break;
        if (instructions < state->instructions) state->instructions = instructions;
        run_case(state, h, &d, &losses[i], &dx[i]);
        cpu_backend.close(state);
        if (!i) continue;
        assert_memory_equal(losses[0].data, losses[1].data, h->tokens * sizeof(float));
        assert_memory_equal(dx[0].data, dx[1].data, h->tokens * h->features * sizeof(float));
    }
    free_blocks();
}

static void run_all(compute_type compute, instruction_set instructions) {
    static const head_case cases[] = {
        {1, 1, 3, 9, DTYPE_F32, PLAIN, ALL},
        {40, 33, 64, 320, DTYPE_BF16, PLAIN, MOST},
        {512, 129, 100, 321, DTYPE_F16, PLAIN, MOST},
        {301, 301, 48, 1000, DTYPE_F32, RISING, ALL},
        {200, 190, 577, 5000, DTYPE_BF16, RISING, MOST},
        {250, 240, 2310, 700, DTYPE_F16, PLAIN, MOST},
        {130, 130, 96, 2000, DTYPE_BF16, CERTAIN, ALL},
        {400, 300, 70, 6000, DTYPE_F32, PLAIN, ONE},
        {70, 70, 32, 130, DTYPE_F32, PLAIN, NONE},
    };
    for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) run_threads(&cases[c], compute, instructions);
}

static void test_f32(void **unused) {
    (void)unused;
    run_all(COMPUTE_F32, INSTRUCTIONS_AVX512);
}

static void test_bf16(void **unused) {
    (void)unused;
    run_all(COMPUTE_BF16, INSTRUCTIONS_AVX512);
}

/* By products of our own. */
static void test_avx2(void **unused) {
    (void)unused;
    run_all(COMPUTE_F32, INSTRUCTIONS_AVX2);
}

/* Without products that read blocked weights. */
static void test_plain(void **unused) {
    (void)unused;
    run_all(COMPUTE_F32, INSTRUCTIONS_PORTABLE);
    run_all(COMPUTE_BF16, INSTRUCTIONS_PORTABLE);
}

static bool always(void *context) {
    (void)context;
    return true;
}

/* A pass without targets reads no weight; one that is interrupted stops; a label must be in the vocabulary. */
static void test_what_does_not_run(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(2, COMPUTE_F32);
    head_case h = {100, 100, 64, 500, DTYPE_F32, PLAIN, NONE};
    head_data d = make_case(&h, false);
    kernel_buffer losses = blank_rows(h.tokens, 1), dx = blank_rows(h.tokens, h.features);
    operator_parameters parameters = {0};
    pass_scalars pass = {.tokens = h.tokens, .loss_scale = loss_scale};
    kernel_call call = {
        .parameters = &parameters, .in = {d.x, d.weight, d.labels}, .out = {losses, dx}, .pass = &pass};
    call.in[1].data = NULL;
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_OK);
    check_rows(&h, &d, losses.data, dx.data, false);
    call.in[1] = d.weight;
    ((int32_t *)d.labels.data)[50] = 499;
    pass.interrupt = always;
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_STOPPED);
    pass.interrupt = NULL;
    ((int32_t *)d.labels.data)[50] = 500;
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_INTERNAL);
    free_blocks();
    cpu_backend.close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_f32, drop_blocks),
        cmocka_unit_test_teardown(test_bf16, drop_blocks),
        cmocka_unit_test_teardown(test_avx2, drop_blocks),
        cmocka_unit_test_teardown(test_plain, drop_blocks),
        cmocka_unit_test_teardown(test_what_does_not_run, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
