/* The CPU backend's matrix products against plain double arithmetic: linear, LoRA, head with loss, and what carries
 * them.
 *
 * Every kernel runs in exactly the scratch it asked for, between guard bytes; rows beyond T hold NaN and must stay
 * so. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/crew.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/panel.h"
#include "base/random.h"
#include "kernel_calls.h"
#include "memory/ledger.h"

static levee_error error;

/* c [m, n] += factor a b, by element steps: a[i * a_row + l * a_col] b[l * b_row + j * b_col]. */
static void add_product(double *c, const double *a, uint64_t a_row, uint64_t a_col, const double *b, uint64_t b_row,
                        uint64_t b_col, uint64_t m, uint64_t n, uint64_t k, double factor) {
    for (uint64_t i = 0; i < m; i++) {
        for (uint64_t l = 0; l < k && b_col == 1; l++)
            for (uint64_t j = 0; j < n; j++) c[i * n + j] += factor * a[i * a_row + l * a_col] * b[l * b_row + j];
        for (uint64_t j = 0; j < n && b_col != 1; j++) {
            double sum = 0;
            for (uint64_t l = 0; l < k; l++) sum += a[i * a_row + l * a_col] * b[l * b_row + j * b_col];
            c[i * n + j] += factor * sum;
        }
    }
}

/* --- linear --- */

static void linear_case(struct backend_state *state, uint32_t tokens, uint64_t in, uint64_t out, dtype type,
                        bool option, double bound) {
    bool rounded = state->compute == COMPUTE_BF16;
    pass_scalars pass = {.tokens = tokens};
    operator_parameters none = {0};
    kernel_buffer x = token_rows(tokens, in), w = weight_of(type, out, in), dy = token_rows(tokens, out);
    double *xd = elements(&x, tokens * in, rounded), *wd = elements(&w, out * in, rounded);
    double *dyd = elements(&dy, tokens * out, rounded);

    kernel_buffer y = token_rows(tokens, out), bias = weight_of(type, 1, out);
    kernel_call forward = {.parameters = &none, .in = {x, w}, .out = {y}, .pass = &pass};
    double *expected = guarded(tokens * out * sizeof *expected, 0);
    if (option) forward.in[2] = bias;
    for (uint64_t i = 0; i < tokens * out; i++) expected[i] = option ? element(&bias, i % out, false) : 0;
    add_product(expected, xd, in, 1, wd, 1, in, tokens, out, in, 1);
    assert_int_equal(run_kernel(state, OPERATOR_LINEAR, &forward), LEVEE_OK);
    check_close("y", y.data, expected, tokens * out, bound);
    check_spare_rows(&y);

    kernel_buffer dx = token_rows(tokens, in);
    kernel_call input = {.parameters = &none, .in = {dy, w}, .out = {dx}, .pass = &pass};
    if (option) input.in[2] = dx;
    double *dx_expected = elements(&dx, tokens * in, false);
    if (!option) memset(dx_expected, 0, tokens * in * sizeof *dx_expected);
    add_product(dx_expected, dyd, out, 1, wd, in, 1, tokens, in, out, 1);
    assert_int_equal(run_kernel(state, OPERATOR_LINEAR_GRADIENT_INPUT, &input), LEVEE_OK);
    check_close("dx", dx.data, dx_expected, tokens * in, bound);
    check_spare_rows(&dx);

    kernel_buffer dw = weight_of(DTYPE_F32, out, in);
    kernel_call weight = {.parameters = &none, .in = {dy, x}, .out = {dw}, .pass = &pass};
    double *dw_expected = elements(&dw, out * in, false);
    add_product(dw_expected, dyd, 1, out, xd, in, 1, out, in, tokens, 1);
    assert_int_equal(run_kernel(state, OPERATOR_LINEAR_GRADIENT_WEIGHT, &weight), LEVEE_OK);
    check_close("dw", dw.data, dw_expected, out * in, bound);
    free_blocks();
}

static void test_linear(void **unused) {
    (void)unused;
    const uint32_t tokens[] = {1, 7, 33, 129};
    const uint64_t sizes[] = {1, 3, 64, 100, 577};
    for (unsigned variant = 0; variant < 4; variant++) {
        struct backend_state *state = open_backend(1 + variant % 2, variant < 2 ? COMPUTE_F32 : COMPUTE_BF16);
        if (!state) continue;
        unsigned number = 0;
        for (unsigned t = 0; t < 4; t++)
            for (unsigned i = 0; i < 5; i++)
                for (unsigned o = 0; o < 5; o++)
                    for (unsigned option = 0; option < 2; option++)
                        linear_case(state, tokens[t], sizes[i], sizes[o], (dtype)(number++ % 3), option, 2e-6);
        cpu_backend.close(state);
    }
}

/* Weights of several panels, with and without a shorter last one, and all steps of the ladder. */
static void test_linear_panels(void **unused) {
    (void)unused;
    static const struct {
        uint32_t tokens;
        uint64_t in, out;
    } cases[] = {{643, 64, 100}, {37, 577, 3000}, {33, 600, 4096}, {35, 3000, 577},
                 {9, 9000, 260}, {70, 600, 4096}, {67, 3000, 577}, {1100, 130, 200}};
    for (unsigned variant = 0; variant < 2; variant++) {
        struct backend_state *state = open_backend(2, variant ? COMPUTE_BF16 : COMPUTE_F32);
        if (!state) continue;
        for (unsigned c = 0; c < 2 * sizeof cases / sizeof *cases; c++)
            linear_case(state, cases[c / 2].tokens, cases[c / 2].in, cases[c / 2].out,
                        variant == 0 && c % 2 ? DTYPE_BF16 : DTYPE_F16, c % 2, 2e-6);
        cpu_backend.close(state);
    }
}

/* --- LoRA --- */

static const kernel_buffer absent = {0};

typedef struct adapter {
    operator_parameters parameters;
    pass_scalars pass;
    uint64_t in, out, rank;
    kernel_buffer x, weight, a, b, examples, positions;
} adapter;

static adapter make_adapter(uint32_t tokens, uint64_t in, uint64_t out, uint64_t rank, float dropout) {
    adapter l = {.parameters = {.scale = 1.75f, .dropout = dropout, .site = 11},
                 .pass = {.tokens = tokens, .seed = 42, .step = 3},
                 .in = in,
                 .out = out,
                 .rank = rank};
    l.x = token_rows(tokens, in);
    l.weight = weight_of(DTYPE_F32, out, in);
    l.a = weight_of(DTYPE_F32, rank, in), l.b = weight_of(DTYPE_F32, out, rank);
    l.examples = token_numbers(tokens), l.positions = token_numbers(tokens);
    for (uint32_t t = 0; t < tokens; t++) {
        ((int32_t *)l.examples.data)[t] = (int32_t)(t / 50);
        ((int32_t *)l.positions.data)[t] = (int32_t)(t % 50);
    }
    return l;
}

/* The mask that the operator uses, as factors 0 or 1 / (1 - dropout), found by an adapter whose A is one and x ones.
 */
static double *mask_of(struct backend_state *state, const adapter *l) {
    uint32_t tokens = l->pass.tokens;
    kernel_buffer x = token_rows(tokens, l->in), a = weight_of(DTYPE_F32, l->in, l->in);
    kernel_buffer weight = weight_of(DTYPE_F32, 1, l->in), b = weight_of(DTYPE_F32, 1, l->in),
                  y = token_rows(tokens, 1), u = token_rows(tokens, l->in);
    for (uint64_t i = 0; i < tokens * l->in; i++) ((float *)x.data)[i] = 1;
    for (uint64_t i = 0; i < l->in * l->in; i++) ((float *)a.data)[i] = i % (l->in + 1) == 0;
    kernel_call call = {.parameters = &l->parameters,
                        .in = {x, weight, {0}, a, b, l->examples, l->positions},
                        .out = {y, u},
                        .pass = &l->pass};
    assert_int_equal(run_kernel(state, OPERATOR_LORA, &call), LEVEE_OK);
    return elements(&u, tokens * l->in, false);
}

/* u = (x mask) A^T; y += scale u B^T */
static void reference_lora(const adapter *l, const double *masked_x, const double *a, const double *b, double *u,
                           double *y) {
    memset(u, 0, l->pass.tokens * l->rank * sizeof *u);
    add_product(u, masked_x, l->in, 1, a, 1, l->in, l->pass.tokens, l->rank, l->in, 1);
    add_product(y, u, l->rank, 1, b, 1, l->rank, l->pass.tokens, l->out, l->rank, (double)l->parameters.scale);
}

/* Sums of a few terms of either sign may cancel; this is the bound that everything has to serve. */
static const double lora_bound = 1e-5;

static void lora_case(struct backend_state *state, uint32_t tokens, uint64_t in, uint64_t out, uint64_t rank,
                      float dropout, bool add) {
    adapter l = make_adapter(tokens, in, out, rank, dropout);
    bool rounded = state->compute == COMPUTE_BF16; /* the product with the weight; what LoRA adds is in f32 */
    double *mask = mask_of(state, &l), *x = elements(&l.x, tokens * in, false);
    double *a = elements(&l.a, rank * in, false), *b = elements(&l.b, out * rank, false);
    double *seen_x = elements(&l.x, tokens * in, rounded), *weight = elements(&l.weight, out * in, rounded);
    double scale = (double)l.parameters.scale;
    kernel_buffer y = token_rows(tokens, out), u = token_rows(tokens, rank), bias = weight_of(DTYPE_F32, 1, out);
    double *u_expected = guarded(tokens * rank * sizeof(double), 0), *y_expected = elements(&y, tokens * out, false);
    for (uint64_t i = 0; i < tokens * in; i++) x[i] *= mask[i];
    for (uint64_t i = 0; i < tokens * out; i++) y_expected[i] = add ? element(&bias, i % out, false) : 0;
    add_product(y_expected, seen_x, in, 1, weight, 1, in, tokens, out, in, 1);
    reference_lora(&l, x, a, b, u_expected, y_expected);
    kernel_call forward = {.parameters = &l.parameters,
                           .in = {l.x, l.weight, add ? bias : absent, l.a, l.b, l.examples, l.positions},
                           .out = {y, u},
                           .pass = &l.pass};
    assert_int_equal(run_kernel(state, OPERATOR_LORA, &forward), LEVEE_OK);
    check_close("lora y", y.data, y_expected, tokens * out, lora_bound);
    check_close("lora u", u.data, u_expected, tokens * rank, lora_bound);
    check_spare_rows(&y);
    check_spare_rows(&u);

    kernel_buffer dy = token_rows(tokens, out), dx = token_rows(tokens, in);
    kernel_buffer ga = weight_of(DTYPE_F32, rank, in), gb = weight_of(DTYPE_F32, out, rank);
    double *dx_expected = elements(&dx, tokens * in, false), *dyd = elements(&dy, tokens * out, false);
    double *seen_dy = elements(&dy, tokens * out, rounded);
    double *ga_expected = elements(&ga, rank * in, false), *gb_expected = elements(&gb, out * rank, false);
    double *du = guarded(tokens * rank * sizeof(double), 0), *product = guarded(tokens * in * sizeof(double), 0);
    memset(du, 0, tokens * rank * sizeof *du);
    memset(product, 0, tokens * in * sizeof *product);
    if (!add) memset(dx_expected, 0, tokens * in * sizeof *dx_expected);
    add_product(dx_expected, seen_dy, out, 1, weight, in, 1, tokens, in, out, 1);
    add_product(du, dyd, out, 1, b, rank, 1, tokens, rank, out, scale);
    add_product(product, du, rank, 1, a, in, 1, tokens, in, rank, 1);
    add_product(ga_expected, du, 1, rank, x, in, 1, rank, in, tokens, 1);
    add_product(gb_expected, dyd, 1, out, u_expected, rank, 1, out, rank, tokens, scale);
    for (uint64_t i = 0; i < tokens * in; i++) dx_expected[i] += product[i] * mask[i];
    kernel_call backward = {.parameters = &l.parameters,
                            .in = {dy, l.weight, add ? dx : absent, l.x, u, l.a, l.b, l.examples, l.positions},
                            .out = {dx, ga, gb},
                            .pass = &l.pass};
    assert_int_equal(run_kernel(state, OPERATOR_LORA_GRADIENT, &backward), LEVEE_OK);
    check_close("lora dx", dx.data, dx_expected, tokens * in, lora_bound);
    check_close("lora gradient of A", ga.data, ga_expected, rank * in, lora_bound);
    check_close("lora gradient of B", gb.data, gb_expected, out * rank, lora_bound);
    check_spare_rows(&dx);

    /* Without dx, and with gradients that are there already: they are added to. */
    add_product(ga_expected, du, 1, rank, x, in, 1, rank, in, tokens, 1);
    backward.out[0] = backward.in[1] = backward.in[2] = absent;
    assert_int_equal(run_kernel(state, OPERATOR_LORA_GRADIENT, &backward), LEVEE_OK);
    check_close("lora gradient of A, twice", ga.data, ga_expected, rank * in, lora_bound);
    free_blocks();
}

static void test_lora(void **unused) {
    (void)unused;
    static const struct {
        uint32_t tokens;
        uint64_t in, out, rank;
    } cases[] = {{1, 1, 1, 1},       {7, 3, 64, 8},     {33, 100, 3, 1},     {129, 64, 100, 16}, {300, 577, 100, 8},
                 {128, 130, 577, 5}, {700, 20, 30, 40}, {1100, 100, 300, 8}, {70, 600, 4096, 4}, {67, 3000, 577, 3}};
    for (unsigned variant = 0; variant < 4; variant++) {
        struct backend_state *state = open_backend(1 + variant % 2, variant == 3 ? COMPUTE_BF16 : COMPUTE_F32);
        if (!state) continue;
        if (variant == 2) state->instructions = INSTRUCTIONS_PORTABLE;
        for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++)
            for (unsigned option = 0; option < 4; option++)
                lora_case(state, cases[c].tokens, cases[c].in, cases[c].out, cases[c].rank, option & 1 ? 0.25f : 0,
                          option & 2);
        cpu_backend.close(state);
    }
}

/* The mask keeps the right share, at the right size, and depends on all of its key but not on the row or the path. */
static void test_dropout_mask(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(2, COMPUTE_F32);
    enum { TOKENS = 200, IN = 300 };
    adapter l = make_adapter(TOKENS, IN, 4, 4, 0.1f);
    double *mask = mask_of(state, &l), kept = 0;
    for (unsigned i = 0; i < TOKENS * IN; i++) {
        assert_true(mask[i] == 0 || fabs(mask[i] - 1 / 0.9) < 1e-6);
        kept += mask[i] != 0;
    }
    /* Five standard deviations of the share of 60,000 draws; the mean of the factors is then 1. */
    assert_true(fabs(kept / (TOKENS * IN) - 0.9) < 5 * sqrt(0.09 / (TOKENS * IN)));
    for (unsigned change = 0; change < 5; change++) {
        adapter other = l;
        if (change == 0) other.pass.seed++;
        if (change == 1) other.pass.step++;
        if (change == 2) other.parameters.site++;
        for (uint32_t t = 0; t < TOKENS && change > 2; t++)
            ((int32_t *)(change == 3 ? l.examples : l.positions).data)[t] += 1000;
        double *changed = mask_of(state, &other), same = 0;
        for (unsigned i = 0; i < TOKENS * IN; i++) same += changed[i] == mask[i];
        assert_true(fabs(same / (TOKENS * IN) - 0.82) < 0.01); /* both keep or both drop */
        for (uint32_t t = 0; t < TOKENS && change > 2; t++)
            ((int32_t *)(change == 3 ? l.examples : l.positions).data)[t] -= 1000;
    }
    /* The same tokens one row further down, and on the other paths: the same mask. */
    adapter moved = make_adapter(TOKENS, IN, 4, 4, 0.1f);
    for (uint32_t t = 1; t < TOKENS; t++) {
        ((int32_t *)moved.examples.data)[t] = ((int32_t *)l.examples.data)[t - 1];
        ((int32_t *)moved.positions.data)[t] = ((int32_t *)l.positions.data)[t - 1];
    }
    instruction_set widest = state->instructions;
    for (int set = INSTRUCTIONS_PORTABLE; set <= (int)widest; set++) {
        state->instructions = (instruction_set)set;
        double *shifted = mask_of(state, &moved);
        assert_memory_equal(shifted + IN, mask, (TOKENS - 1) * IN * sizeof *mask);
    }
    free_blocks();
    cpu_backend.close(state);
}

/* The loss of a small adapter, sum of y squared / 2, differentiated numerically in double. */
static void test_lora_finite_differences(void **unused) {
    (void)unused;
    enum { TOKENS = 9, IN = 10, OUT = 6, RANK = 3 };
    struct backend_state *state = open_backend(2, COMPUTE_F32);
    adapter l = make_adapter(TOKENS, IN, OUT, RANK, 0.3f);
    double *mask = mask_of(state, &l), parameters[TOKENS * IN + RANK * IN + OUT * RANK];
    double *x = parameters, *a = x + TOKENS * IN, *b = a + RANK * IN;
    for (unsigned i = 0; i < TOKENS * IN; i++) x[i] = element(&l.x, i, false);
    for (unsigned i = 0; i < RANK * IN; i++) a[i] = element(&l.a, i, false);
    for (unsigned i = 0; i < OUT * RANK; i++) b[i] = element(&l.b, i, false);
    double *weight = elements(&l.weight, OUT * IN, false);
    kernel_buffer y = token_rows(TOKENS, OUT), u = token_rows(TOKENS, RANK), dx = token_rows(TOKENS, IN);
    kernel_buffer ga = weight_of(DTYPE_F32, RANK, IN), gb = weight_of(DTYPE_F32, OUT, RANK);
    memset(ga.data, 0, RANK * IN * sizeof(float));
    memset(gb.data, 0, OUT * RANK * sizeof(float));
    kernel_call forward = {.parameters = &l.parameters,
                           .in = {l.x, l.weight, absent, l.a, l.b, l.examples, l.positions},
                           .out = {y, u},
                           .pass = &l.pass};
    assert_int_equal(run_kernel(state, OPERATOR_LORA, &forward), LEVEE_OK);
    kernel_call backward = {.parameters = &l.parameters,
                            .in = {y, l.weight, absent, l.x, u, l.a, l.b, l.examples, l.positions},
                            .out = {dx, ga, gb},
                            .pass = &l.pass};
    assert_int_equal(run_kernel(state, OPERATOR_LORA_GRADIENT, &backward), LEVEE_OK);
    for (unsigned i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        double loss[2], kept = parameters[i], step = 1e-4;
        for (unsigned side = 0; side < 2; side++) {
            double masked[TOKENS * IN], ur[TOKENS * RANK], yr[TOKENS * OUT] = {0};
            parameters[i] = kept + (side ? step : -step);
            for (unsigned k = 0; k < TOKENS * IN; k++) masked[k] = x[k] * mask[k];
            add_product(yr, x, IN, 1, weight, 1, IN, TOKENS, OUT, IN, 1);
            reference_lora(&l, masked, a, b, ur, yr);
            loss[side] = 0;
            for (unsigned k = 0; k < TOKENS * OUT; k++) loss[side] += yr[k] * yr[k] / 2;
        }
        parameters[i] = kept;
        const float *gradient = i < TOKENS * IN               ? (float *)dx.data + i
                                : i < TOKENS * IN + RANK * IN ? (float *)ga.data + (i - TOKENS * IN)
                                                              : (float *)gb.data + (i - TOKENS * IN - RANK * IN);
        assert_true(fabs((loss[1] - loss[0]) / (2 * step) - (double)*gradient) < 2e-5);
    }
    free_blocks();
    cpu_backend.close(state);
}

/* --- head and loss --- */

typedef struct head_case {
    uint32_t tokens, chunk;
    uint64_t features, vocabulary;
    dtype type;
} head_case;

/* losses and, in place, the logits' gradients, in double. */
static void reference_head(const double *x, const double *w, const int32_t *labels, const head_case *h,
                           double loss_scale, double *logits, double *losses) {
    memset(logits, 0, h->tokens * h->vocabulary * sizeof *logits);
    add_product(logits, x, h->features, 1, w, 1, h->features, h->tokens, h->vocabulary, h->features, 1);
    for (uint32_t t = 0; t < h->tokens; t++) {
        double *row = logits + t * h->vocabulary, highest = row[0], sum = 0;
        for (uint64_t v = 0; v < h->vocabulary; v++) highest = row[v] > highest ? row[v] : highest;
        for (uint64_t v = 0; v < h->vocabulary; v++) sum += exp(row[v] - highest);
        losses[t] = labels[t] < 0 ? 0 : highest + log(sum) - row[labels[t]];
        for (uint64_t v = 0; v < h->vocabulary; v++)
            row[v] = labels[t] < 0
                         ? 0
                         : loss_scale * (exp(row[v] - highest) / sum - ((uint64_t)labels[t] == v ? 1.0 : 0.0));
    }
}

/* Labels: some without a target, and a stretch of them that makes whole chunks skippable. */
static kernel_buffer make_labels(const head_case *h) {
    kernel_buffer labels = token_numbers(h->tokens);
    for (uint32_t t = 0; t < h->tokens; t++)
        ((int32_t *)labels.data)[t] =
            t % 5 == 3 || (t >= 20 && t < 60) ? -1 : (int32_t)(random_bits(1, t, 0, 0, 0) % h->vocabulary);
    ((int32_t *)labels.data)[0] = (int32_t)h->vocabulary - 1;
    return labels;
}

static void run_head_case(struct backend_state *state, const head_case *h) {
    bool rounded = state->compute == COMPUTE_BF16;
    /* In bf16 the logits' gradients are rounded before their products, which the reference does not do. */
    double loss_bound = 2e-6, gradient_bound = rounded ? 4e-3 : 4e-6;
    operator_parameters parameters = {.chunk_tokens = h->chunk};
    pass_scalars pass = {.tokens = h->tokens, .loss_scale = 0.125f};
    kernel_buffer x = token_rows(h->tokens, h->features), w = weight_of(h->type, h->vocabulary, h->features);
    kernel_buffer labels = make_labels(h), losses = token_rows(h->tokens, 1);
    double *xd = elements(&x, h->tokens * h->features, rounded);
    double *wd = elements(&w, h->vocabulary * h->features, rounded);
    double *dlogits = guarded(h->tokens * h->vocabulary * sizeof(double), 0);
    double *expected = guarded(h->tokens * sizeof(double), 0);
    reference_head(xd, wd, labels.data, h, 0.125, dlogits, expected);

    kernel_call call = {.parameters = &parameters, .in = {x, w, labels}, .out = {losses}, .pass = &pass};
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS, &call), LEVEE_OK);
    check_close("losses alone", losses.data, expected, h->tokens, loss_bound);
    check_spare_rows(&losses);

    kernel_buffer dx = token_rows(h->tokens, h->features), dw = weight_of(DTYPE_F32, h->vocabulary, h->features);
    double *dx_expected = guarded(h->tokens * h->features * sizeof(double), 0);
    double *dw_expected = elements(&dw, h->vocabulary * h->features, false);
    memset(dx_expected, 0, h->tokens * h->features * sizeof(double));
    add_product(dx_expected, dlogits, h->vocabulary, 1, wd, h->features, 1, h->tokens, h->features, h->vocabulary, 1);
    for (unsigned outputs = 1; outputs < 4; outputs++) { /* dx, dw, both */
        call.out[1] = outputs & 1 ? dx : (kernel_buffer){0};
        call.out[2] = outputs & 2 ? dw : (kernel_buffer){0};
        assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_OK);
        if (outputs & 2)
            add_product(dw_expected, dlogits, 1, h->vocabulary, xd, h->features, 1, h->vocabulary, h->features,
                        h->tokens, 1);
        check_close("losses", losses.data, expected, h->tokens, loss_bound);
        if (outputs & 1) check_close("head dx", dx.data, dx_expected, h->tokens * h->features, gradient_bound);
        check_close("head dw", dw.data, dw_expected, h->vocabulary * h->features, gradient_bound);
        check_spare_rows(&losses);
        check_spare_rows(&dx);
    }
    free_blocks();
}

static void test_head(void **unused) {
    (void)unused;
    static const head_case cases[] = {
        {1, 64, 3, 320, DTYPE_F32},     {33, 8, 64, 320, DTYPE_BF16},    {129, 50, 100, 320, DTYPE_F16},
        {23, 9, 577, 5000, DTYPE_F16},  {129, 512, 20, 5000, DTYPE_F32}, {27, 32, 600, 5000, DTYPE_BF16},
        {30, 16, 300, 4096, DTYPE_F32},
    };
    for (unsigned variant = 0; variant < 4; variant++) {
        struct backend_state *state = open_backend(1 + variant % 2, variant < 3 ? COMPUTE_F32 : COMPUTE_BF16);
        if (!state) continue;
        if (variant == 2) state->instructions = INSTRUCTIONS_PORTABLE;
        for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) run_head_case(state, &cases[c]);
        cpu_backend.close(state);
    }
}

/* Logits far apart: the largest and the label in different panels, exponentials that vanish, losses near 0 and near
 * 100. */
static void test_head_extremes(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(2, COMPUTE_F32);
    head_case h = {.tokens = 12, .chunk = 5, .features = 600, .vocabulary = 5000, .type = DTYPE_F32};
    operator_parameters parameters = {.chunk_tokens = h.chunk};
    pass_scalars pass = {.tokens = h.tokens, .loss_scale = 1};
    kernel_buffer x = token_rows(h.tokens, h.features), w = weight_of(h.type, h.vocabulary, h.features);
    kernel_buffer labels = token_numbers(h.tokens), losses = token_rows(h.tokens, 1),
                  dx = token_rows(h.tokens, h.features);
    for (uint32_t t = 0; t < h.tokens; t++) {
        ((int32_t *)labels.data)[t] = (int32_t)(t * 400);
        /* The row points at one vocabulary row: its own label, or one elsewhere. */
        for (uint64_t i = 0; i < h.features; i++)
            ((float *)x.data)[t * h.features + i] =
                ((float *)w.data)[(t % 2 ? t * 400 : 4999 - t) * h.features + i] * (t % 3 ? 0.1f : 0.5f);
    }
    double *xd = elements(&x, h.tokens * h.features, false), *wd = elements(&w, h.vocabulary * h.features, false);
    double *dlogits = guarded(h.tokens * h.vocabulary * sizeof(double), 0),
           *expected = guarded(12 * sizeof(double), 0);
    reference_head(xd, wd, labels.data, &h, 1, dlogits, expected);
    kernel_call call = {.parameters = &parameters, .in = {x, w, labels}, .out = {losses}, .pass = &pass};
    for (unsigned round = 0; round < 2; round++) {
        if (round) call.out[1] = dx;
        assert_int_equal(run_kernel(state, round ? OPERATOR_HEAD_LOSS_GRADIENT : OPERATOR_HEAD_LOSS, &call),
                         LEVEE_OK);
        for (uint32_t t = 0; t < h.tokens; t++)
            assert_true(fabs((double)((float *)losses.data)[t] - expected[t]) <= 2e-6 * fabs(expected[t]) + 2e-5);
    }
    free_blocks();
    cpu_backend.close(state);
}

static void test_head_finite_differences(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(1, COMPUTE_F32);
    head_case h = {.tokens = 6, .chunk = 4, .features = 5, .vocabulary = 9, .type = DTYPE_F32};
    operator_parameters parameters = {.chunk_tokens = h.chunk};
    pass_scalars pass = {.tokens = h.tokens, .loss_scale = 0.5f};
    kernel_buffer x = token_rows(h.tokens, h.features), w = weight_of(h.type, h.vocabulary, h.features);
    kernel_buffer labels = token_numbers(h.tokens), losses = token_rows(h.tokens, 1);
    kernel_buffer dx = token_rows(h.tokens, h.features), dw = weight_of(DTYPE_F32, h.vocabulary, h.features);
    for (int32_t t = 0; t < 6; t++) ((int32_t *)labels.data)[t] = t == 2 ? -100 : t;
    memset(dw.data, 0, 45 * sizeof(float));
    kernel_call call = {.parameters = &parameters, .in = {x, w, labels}, .out = {losses, dx, dw}, .pass = &pass};
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_OK);
    double *both[2] = {elements(&x, 30, false), elements(&w, 45, false)}, logits[54], each[6];
    const float *gradients[2] = {dx.data, dw.data};
    for (unsigned which = 0; which < 2; which++)
        for (unsigned i = 0; i < (which ? 45 : 30); i++) {
            double loss[2], kept = both[which][i], step = 1e-4;
            for (unsigned side = 0; side < 2; side++) {
                both[which][i] = kept + (side ? step : -step);
                reference_head(both[0], both[1], labels.data, &h, 1, logits, each);
                loss[side] = 0;
                for (unsigned t = 0; t < 6; t++) loss[side] += 0.5 * each[t];
            }
            both[which][i] = kept;
            assert_true(fabs((loss[1] - loss[0]) / (2 * step) - (double)gradients[which][i]) < 1e-6);
        }
    ((int32_t *)labels.data)[4] = 9;
    assert_int_equal(run_kernel(state, OPERATOR_HEAD_LOSS_GRADIENT, &call), LEVEE_INTERNAL);
    free_blocks();
    cpu_backend.close(state);
}

/* --- what carries them --- */

static void test_unprepared(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(1, COMPUTE_F32);
    row_product product = {.rows = 8, .n = 8, .k = 8, .lda = 8, .ldc = 8};
    reduction_product reduction = {.rows = 8, .m = 8, .n = 8};
    float a[64] = {0}, b[64] = {0}, c[64] = {0};
    assert_int_equal(gemm_rows(state->products, &product, 8, a, b, NULL, c, NULL, &error), LEVEE_INTERNAL);
    assert_int_equal(gemm_reduction(state->products, &reduction, 8, a, b, c, NULL, &error), LEVEE_INTERNAL);
    cpu_backend.close(state);
}

/* Primitives are booked, once each, and given back; scratch does not grow beyond a bound with the capacity. */
static void test_booking(void **unused) {
    (void)unused;
    uint64_t before = ledger_booked(LEVEE_RUNTIME);
    struct backend_state *state = open_backend(2, COMPUTE_AUTO);
    assert_true(cpu_backend.compute(state) != COMPUTE_AUTO);
    uint64_t opened = ledger_booked(LEVEE_RUNTIME);
    row_product product = {.rows = 600, .n = 64, .k = 32, .lda = 32, .ldc = 64};
    assert_int_equal(gemm_prepare_rows(state->products, &product, &error), LEVEE_OK);
    uint64_t prepared = ledger_booked(LEVEE_RUNTIME), scratch = gemm_rows_scratch(state->products, &product);
    assert_true(prepared > opened);
    product.rows = 1u << 20;
    assert_true(gemm_rows_scratch(state->products, &product) == scratch);
    assert_true(ledger_booked(LEVEE_RUNTIME) == prepared);
    gemm_clear(state->products);
    assert_true(ledger_booked(LEVEE_RUNTIME) == opened);
    cpu_backend.close(state);
    assert_true(ledger_booked(LEVEE_RUNTIME) == before);
    ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + 1000);
    backend_options options = {.threads = 1, .compute = COMPUTE_F32};
    assert_int_equal(cpu_backend.open(&state, &options, &error), LEVEE_DOES_NOT_FIT);
    ledger_set_budget(UINT64_MAX);
    assert_true(ledger_booked(LEVEE_RUNTIME) == before);
}

typedef struct visits {
    unsigned char count[1000];
    unsigned threads;
    uint64_t grain;
    bool bad;
} visits;

static void visit(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    visits *v = context;
    if (thread >= v->threads || begin % v->grain || begin >= end) v->bad = true;
    for (uint64_t i = begin; i < end; i++) v->count[i]++;
}

static void test_parallel(void **unused) {
    (void)unused;
    for (unsigned threads = 1; threads <= 5; threads++) {
        struct backend_state state = {.threads = threads};
        assert_int_equal(crew_open(&state.crew, threads, &error), LEVEE_OK);
        for (uint64_t count = 0; count < 1000; count += 37)
            for (uint64_t grain = 1; grain < 200; grain = grain * 3 + 1)
                for (unsigned dynamic = 0; dynamic < 2; dynamic++) {
                    visits v = {.threads = threads, .grain = grain};
                    static const pass_scalars pass = {.tokens = 1};
                    if (!dynamic)
                        parallel_for(&state, count, grain, visit, &v);
                    else
                        assert_int_equal(parallel_for_dynamic(&state, &pass, count, grain, visit, &v), LEVEE_OK);
                    assert_false(v.bad);
                    for (uint64_t i = 0; i < 1000; i++) assert_int_equal(v.count[i], i < count);
                }
        crew_close(state.crew);
    }
}

typedef struct patience {
    atomic_uint asked;
    unsigned most;
} patience;

/* Interrupts at one question only, as a request does that is taken back at once. */
static bool runs_out(void *context) {
    patience *p = context;
    return atomic_fetch_add(&p->asked, 1) == p->most;
}

/* A pass that is interrupted leaves ranges out, and says so; none is done twice. */
static void test_interrupted(void **unused) {
    (void)unused;
    enum { COUNT = 1000, GRAIN = 10 };
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct backend_state state = {.threads = threads};
        assert_int_equal(crew_open(&state.crew, threads, &error), LEVEE_OK);
        for (unsigned most = 0; most <= COUNT / GRAIN; most += 7) {
            patience p = {.most = most};
            visits v = {.threads = threads, .grain = GRAIN};
            const pass_scalars pass = {.tokens = 1, .interrupt = runs_out, .interrupt_context = &p};
            unsigned done = 0;
            levee_status status = parallel_for_dynamic(&state, &pass, COUNT, GRAIN, visit, &v);
            assert_int_equal(status, most < COUNT / GRAIN ? LEVEE_STOPPED : LEVEE_OK);
            for (unsigned i = 0; i < COUNT; i++) {
                assert_in_range(v.count[i], 0, 1);
                done += v.count[i];
            }
            assert_true(status == LEVEE_OK ? done == COUNT : done < COUNT);
            if (threads == 1 && status == LEVEE_STOPPED) assert_int_equal(done, most * GRAIN);
        }
        crew_close(state.crew);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_parallel, drop_blocks),
        cmocka_unit_test_teardown(test_interrupted, drop_blocks),
        cmocka_unit_test_teardown(test_unprepared, drop_blocks),
        cmocka_unit_test_teardown(test_booking, drop_blocks),
        cmocka_unit_test_teardown(test_linear, drop_blocks),
        cmocka_unit_test_teardown(test_linear_panels, drop_blocks),
        cmocka_unit_test_teardown(test_lora, drop_blocks),
        cmocka_unit_test_teardown(test_dropout_mask, drop_blocks),
        cmocka_unit_test_teardown(test_lora_finite_differences, drop_blocks),
        cmocka_unit_test_teardown(test_head, drop_blocks),
        cmocka_unit_test_teardown(test_head_extremes, drop_blocks),
        cmocka_unit_test_teardown(test_head_finite_differences, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
