/* The CPU backend's kernels of DoRA and of biases against plain double arithmetic, their gradients against finite
 * differences in which the norm is a constant. On every instruction path with 1 and 2 threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kernel_calls.h"

static const uint32_t token_counts[] = {1, 3, 16, 33};
enum { TOKEN_COUNTS = sizeof token_counts / sizeof *token_counts };

/* --- the norm of an adapted weight --- */

static void norm_case(struct backend_state *state, uint64_t in, uint64_t out, uint64_t rank, dtype type) {
    const operator_parameters p = {.scale = 1.75f};
    pass_scalars pass = {.tokens = 1};
    kernel_buffer weight = weight_of(type, out, in), a = weight_of(DTYPE_F32, rank, in),
                  b = weight_of(DTYPE_F32, out, rank), inverse = weight_of(DTYPE_F32, 1, out);
    double *expected = guarded(out * sizeof *expected, 0);
    for (uint64_t j = 0; j < out; j++) {
        double squares = 0;
        for (uint64_t i = 0; i < in; i++) {
            double sum = 0;
            for (uint64_t k = 0; k < rank; k++)
                sum += element(&b, j * rank + k, false) * element(&a, k * in + i, false);
            sum = element(&weight, j * in + i, false) + (double)p.scale * sum;
            squares += sum * sum;
        }
        expected[j] = sqrt(squares);
    }
    kernel_call call = {.parameters = &p, .in = {weight, a, b}, .out = {inverse}, .pass = &pass};
    expect_kernel(state, OPERATOR_ADAPTED_NORM, call);
    /* Compared as norms: what is left of a row whose terms cancel is nothing but their rounding. */
    float *norm = guarded(out * sizeof *norm, 0);
    for (uint64_t j = 0; j < out; j++) norm[j] = 1 / ((float *)inverse.data)[j];
    check_close("norm", norm, expected, out, 1e-6);
    free_blocks();
}

static void norms(struct backend_state *state) {
    static const uint64_t widths[] = {1, 7, 16, 33, 255, 256, 257, 600}, heights[] = {1, 5, 16, 35},
                          ranks[] = {1, 4, 9};
    for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++)
        for (unsigned h = 0; h < sizeof heights / sizeof *heights; h++)
            norm_case(state, widths[w], heights[h], ranks[(w + h) % 3], (dtype)((w + 2 * h) % 3));
    /* A row of zeros has no direction: it is left at zero, and nothing becomes infinite. */
    pass_scalars pass = {.tokens = 1};
    kernel_buffer weight = weight_of(DTYPE_F32, 2, 3), a = weight_of(DTYPE_F32, 1, 3), b = weight_of(DTYPE_F32, 2, 1),
                  inverse = weight_of(DTYPE_F32, 1, 2);
    for (uint64_t i = 0; i < 3; i++) ((float *)weight.data)[i] = 0;
    ((float *)b.data)[0] = 0;
    const operator_parameters p = {.scale = 1};
    kernel_call call = {.parameters = &p, .in = {weight, a, b}, .out = {inverse}, .pass = &pass};
    expect_kernel(state, OPERATOR_ADAPTED_NORM, call);
    assert_true(((float *)inverse.data)[0] == 0 && ((float *)inverse.data)[1] > 0);
}

static void test_norm(void **unused) {
    (void)unused;
    on_every_path(norms);
}

/* --- the magnitude --- */

/* In double; the loss is the sum of dy * y, and the norm does not move. */
typedef struct scaling {
    uint64_t tokens, cols;
    const double *dy, *inverse, *bias; /* bias: NULL for none */
    double *x, *magnitude;
} scaling;

static double scaled(const scaling *s, uint64_t t, uint64_t i) {
    return s->x[t * s->cols + i] * s->magnitude[i] * s->inverse[i] + (s->bias ? s->bias[i] : 0);
}

static double scaling_loss(void *context) {
    const scaling *s = context;
    double loss = 0;
    for (uint64_t t = 0; t < s->tokens; t++)
        for (uint64_t i = 0; i < s->cols; i++) loss += s->dy[t * s->cols + i] * scaled(s, t, i);
    return loss;
}

static void magnitude_case(struct backend_state *state, uint32_t tokens, uint64_t cols, dtype type, bool biased,
                           bool in_place) {
    const operator_parameters p = {0};
    pass_scalars pass = {.tokens = tokens};
    uint64_t count = tokens * cols;
    kernel_buffer x = token_rows(tokens, cols), dy = token_rows(tokens, cols), bias = weight_of(type, 1, cols);
    kernel_buffer magnitude = weight_of(DTYPE_F32, 1, cols), inverse = weight_of(DTYPE_F32, 1, cols);
    scaling s = {.tokens = tokens, .cols = cols};
    s.x = elements(&x, count, false), s.dy = elements(&dy, count, false);
    s.magnitude = elements(&magnitude, cols, false), s.inverse = elements(&inverse, cols, false);
    s.bias = biased ? elements(&bias, cols, false) : NULL;
    double *y_expected = guarded(count * sizeof(double), 0), *dx_expected = guarded(count * sizeof(double), 0);
    kernel_buffer gradient = weight_of(DTYPE_F32, 1, cols);
    double *gradient_expected = elements(&gradient, cols, false), *slopes = guarded(cols * sizeof(double), 0);
    for (uint64_t i = 0; i < count; i++) y_expected[i] = scaled(&s, i / cols, i % cols);
    differences(s.x, count, scaling_loss, &s, dx_expected);
    differences(s.magnitude, cols, scaling_loss, &s, slopes);
    for (uint64_t i = 0; i < cols; i++) gradient_expected[i] += slopes[i];

    kernel_buffer y = blank_rows(tokens, cols), dx = in_place ? dy : blank_rows(tokens, cols);
    kernel_call forward = {.parameters = &p, .in = {x, magnitude, inverse}, .out = {y}, .pass = &pass};
    if (biased) forward.in[3] = bias;
    expect_kernel(state, OPERATOR_MAGNITUDE, forward);
    check_close("magnitude", y.data, y_expected, count, 1e-6);
    check_spare_rows(&y);
    kernel_call backward = {
        .parameters = &p, .in = {dy, x, magnitude, inverse}, .out = {dx, gradient}, .pass = &pass};
    kernel_call again = backward; /* without the gradient, as in a pass that is done again */
    again.out[0] = blank_rows(tokens, cols);
    again.out[1] = (kernel_buffer){0};
    expect_kernel(state, OPERATOR_MAGNITUDE_GRADIENT, again);
    check_close("dx alone", again.out[0].data, dx_expected, count, 1e-6);
    expect_kernel(state, OPERATOR_MAGNITUDE_GRADIENT, backward);
    check_close("dx", dx.data, dx_expected, count, 1e-6);
    check_close("gradient of the magnitude", gradient.data, gradient_expected, cols, 1e-6);
    check_spare_rows(&dx);
    if (in_place) { /* forward too */
        forward.out[0] = x;
        expect_kernel(state, OPERATOR_MAGNITUDE, forward);
        check_close("magnitude in place", x.data, y_expected, count, 1e-6);
    }
    free_blocks();
}

static void magnitudes(struct backend_state *state) {
    static const uint64_t widths[] = {1, 7, 16, 17, 100, 255, 256, 257};
    unsigned number = 0;
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned w = 0; w < sizeof widths / sizeof *widths && token_counts[t] * widths[w] < 1000; w++, number++)
            magnitude_case(state, token_counts[t], widths[w], (dtype)((t + w) % 3), number % 3 != 0, number % 2);
}

static void test_magnitude(void **unused) {
    (void)unused;
    on_every_path(magnitudes);
}

/* --- the gradient of a bias --- */

static void biases(struct backend_state *state) {
    static const uint64_t widths[] = {1, 15, 16, 17, 130};
    const operator_parameters p = {0};
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++) {
            pass_scalars pass = {.tokens = token_counts[t]};
            kernel_buffer dy = token_rows(pass.tokens, widths[w]), gradient = weight_of(DTYPE_F32, 1, widths[w]);
            double *expected = elements(&gradient, widths[w], false);
            for (uint64_t i = 0; i < pass.tokens * widths[w]; i++) expected[i % widths[w]] += element(&dy, i, false);
            kernel_call call = {.parameters = &p, .in = {dy}, .out = {gradient}, .pass = &pass};
            expect_kernel(state, OPERATOR_LINEAR_GRADIENT_BIAS, call);
            check_close("gradient of the bias", gradient.data, expected, widths[w], 1e-6);
            free_blocks();
        }
}

static void test_bias(void **unused) {
    (void)unused;
    on_every_path(biases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_norm, drop_blocks),
        cmocka_unit_test_teardown(test_magnitude, drop_blocks),
        cmocka_unit_test_teardown(test_bias, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
