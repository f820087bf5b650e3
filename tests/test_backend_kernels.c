/* The CPU backend's kernels that work row by row or element by element, against plain double arithmetic: RMSNorm,
 * rotary embedding, SwiGLU, embedding, sum, copy, and the optimizer's; their gradients against finite differences. On
 * every instruction path with 1 and 2 threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_calls.h"

static const uint32_t token_counts[] = {1, 2, 3, 7, 15, 16, 17, 33, 65};
enum { TOKEN_COUNTS = sizeof token_counts / sizeof *token_counts };

static const operator_parameters no_parameters;

/* Reads one f32 of a buffer in double. */
static double at(const kernel_buffer *b, uint64_t i) { return (double)((const float *)b->data)[i]; }

/* For arguments so small or large that only each element's own size can judge it. */
static void check_each(const char *what, const float *is, const double *should, uint64_t count, double relative,
                       double absolute) {
    for (uint64_t i = 0; i < count; i++)
        if (!(fabs((double)is[i] - should[i]) <= relative * fabs(should[i]) + absolute))
            fail_msg("%s: element %llu is %g, should be %g", what, (unsigned long long)i, (double)is[i], should[i]);
}

/* --- RMSNorm --- */

/* One row in double; the loss is the sum of dy * y. */
typedef struct norm_row {
    uint64_t cols;
    double epsilon;
    const double *dy;
    double *x, *weight;
} norm_row;

static double norm_inverse(const norm_row *n) {
    double squares = 0;
    for (uint64_t i = 0; i < n->cols; i++) squares += n->x[i] * n->x[i];
    return 1 / sqrt(squares / (double)n->cols + n->epsilon);
}

static double norm_loss(void *context) {
    const norm_row *n = context;
    double inverse = norm_inverse(n), loss = 0;
    for (uint64_t i = 0; i < n->cols; i++) loss += n->dy[i] * n->x[i] * inverse * n->weight[i];
    return loss;
}

static void norm_case(struct backend_state *state, uint32_t tokens, uint64_t groups, uint64_t cols, dtype type,
                      bool add) {
    /* Rows of few elements change little but their sign when they are normalised: there a small epsilon would leave
     * gradients that are nothing but rounding. */
    operator_parameters p = {.epsilon = cols < 8 ? 0.25f : 1e-5f};
    pass_scalars pass = {.tokens = tokens};
    uint64_t rows = tokens * groups, width = groups * cols, count = rows * cols;
    kernel_buffer x = token_rows(tokens, width), dy = token_rows(tokens, width), weight = weight_of(type, 1, cols);
    kernel_buffer y = blank_rows(tokens, width), inverse = blank_rows(tokens, groups);
    kernel_buffer dx = add ? token_rows(tokens, width) : blank_rows(tokens, width);
    kernel_buffer dweight = weight_of(DTYPE_F32, 1, cols);
    double *xd = elements(&x, count, false), *dyd = elements(&dy, count, false), *wd = elements(&weight, cols, false);
    double *y_expected = guarded(count * sizeof(double), 0), *inverse_expected = guarded(rows * sizeof(double), 0);
    double *dx_expected = elements(&dx, count, false), *dweight_expected = elements(&dweight, cols, false);
    double *gradient = guarded(cols * sizeof(double), 0);
    for (uint64_t t = 0; t < rows; t++) {
        norm_row row = {cols, (double)p.epsilon, dyd + t * cols, xd + t * cols, wd};
        inverse_expected[t] = norm_inverse(&row);
        for (uint64_t i = 0; i < cols; i++) y_expected[t * cols + i] = row.x[i] * inverse_expected[t] * wd[i];
        differences(row.x, cols, norm_loss, &row, gradient);
        for (uint64_t i = 0; i < cols; i++)
            dx_expected[t * cols + i] = (add ? dx_expected[t * cols + i] : 0) + gradient[i];
        differences(row.weight, cols, norm_loss, &row, gradient);
        for (uint64_t i = 0; i < cols; i++) dweight_expected[i] += gradient[i];
    }

    kernel_call forward = {.parameters = &p, .in = {x, weight}, .out = {y, inverse}, .pass = &pass};
    expect_kernel(state, OPERATOR_RMSNORM, forward);
    check_close("rmsnorm", y.data, y_expected, count, 1e-6);
    check_close("inverse rms", inverse.data, inverse_expected, rows, 1e-6);
    kernel_call input = {.parameters = &p, .in = {dy, x, weight, inverse}, .out = {dx}, .pass = &pass};
    if (add) input.in[4] = dx;
    expect_kernel(state, OPERATOR_RMSNORM_GRADIENT_INPUT, input);
    check_close("rmsnorm dx", dx.data, dx_expected, count, 2e-6);
    kernel_call weights = {.parameters = &p, .in = {dy, x, inverse}, .out = {dweight}, .pass = &pass};
    expect_kernel(state, OPERATOR_RMSNORM_GRADIENT_WEIGHT, weights);
    check_close("rmsnorm dweight", dweight.data, dweight_expected, cols, 2e-6);
    check_spare_rows(&y);
    check_spare_rows(&inverse);
    check_spare_rows(&dx);
    free_blocks();
}

static void norms(struct backend_state *state) {
    static const uint64_t widths[] = {1, 2, 3, 7, 16, 17, 33, 80};
    unsigned number = 0;
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++, number++)
            norm_case(state, token_counts[t], 1, widths[w], (dtype)((number + t) % 3), number % 2);
    /* Around the piece of 256 in which a weight is decoded. */
    norm_case(state, 9, 1, 255, DTYPE_BF16, true);
    norm_case(state, 3, 1, 256, DTYPE_F16, false);
    norm_case(state, 17, 1, 257, DTYPE_F16, true);
    norm_case(state, 2, 1, 577, DTYPE_BF16, false);
    /* Heads, each by itself. */
    norm_case(state, 1, 4, 8, DTYPE_F32, false);
    norm_case(state, 7, 3, 20, DTYPE_BF16, true);
    norm_case(state, 17, 8, 16, DTYPE_F16, false);
    norm_case(state, 33, 2, 80, DTYPE_F32, true);
    norm_case(state, 5, 3, 258, DTYPE_BF16, false);
}

static void test_rmsnorm(void **unused) {
    (void)unused;
    on_every_path(norms);
}

/* A row of zeros, and numbers whose squares are far from 1: epsilon decides in the first, and nothing overflows. */
static void norm_extremes(struct backend_state *state) {
    enum { COLS = 19 };
    operator_parameters p = {.epsilon = 1e-6f};
    pass_scalars pass = {.tokens = 3};
    kernel_buffer x = token_rows(3, COLS), weight = weight_of(DTYPE_F32, 1, COLS);
    kernel_buffer y = blank_rows(3, COLS), inverse = blank_rows(3, 1);
    double expected[3 * COLS];
    for (uint64_t i = 0; i < COLS; i++) {
        ((float *)x.data)[i] = 0;
        ((float *)x.data)[COLS + i] *= 1e15f;
        ((float *)x.data)[2 * COLS + i] *= 1e-4f;
    }
    double *xd = elements(&x, 3 * COLS, false), *wd = elements(&weight, COLS, false);
    for (uint64_t t = 0; t < 3; t++) {
        norm_row row = {COLS, (double)p.epsilon, NULL, xd + t * COLS, wd};
        for (uint64_t i = 0; i < COLS; i++) expected[t * COLS + i] = row.x[i] * norm_inverse(&row) * wd[i];
    }
    kernel_call call = {.parameters = &p, .in = {x, weight}, .out = {y, inverse}, .pass = &pass};
    expect_kernel(state, OPERATOR_RMSNORM, call);
    check_each("rmsnorm", y.data, expected, 3 * COLS, 1e-6, 0);
}

static void test_rmsnorm_extremes(void **unused) {
    (void)unused;
    on_every_path(norm_extremes);
}

/* --- rotary embedding --- */

typedef struct rotation {
    uint64_t rows, dim; /* rows: of all tokens and heads */
    uint64_t heads;
    const double *table, *dy;
    double *x, *y;
} rotation;

static void rotate(const rotation *r) {
    uint64_t half = r->dim / 2;
    for (uint64_t row = 0; row < r->rows; row++) {
        const double *cosines = r->table + row / r->heads * r->dim, *sines = cosines + half, *x = r->x + row * r->dim;
        for (uint64_t i = 0; i < half; i++) {
            r->y[row * r->dim + i] = x[i] * cosines[i] - x[half + i] * sines[i];
            r->y[row * r->dim + half + i] = x[half + i] * cosines[i] + x[i] * sines[i];
        }
    }
}

static double rotation_loss(void *context) {
    const rotation *r = context;
    double loss = 0;
    rotate(r);
    for (uint64_t i = 0; i < r->rows * r->dim; i++) loss += r->dy[i] * r->y[i];
    return loss;
}

static void rope_case(struct backend_state *state, uint32_t tokens, uint32_t heads, uint32_t dim, bool in_place) {
    operator_parameters p = {.heads = heads, .head_dim = dim};
    pass_scalars pass = {.tokens = tokens};
    uint64_t half = dim / 2, cols = (uint64_t)heads * dim, count = tokens * cols;
    kernel_buffer positions = token_numbers(tokens), frequencies = weight_of(DTYPE_F32, 1, half);
    kernel_buffer table = blank_rows(tokens, dim);
    double *table_expected = guarded(tokens * dim * sizeof(double), 0);
    for (uint64_t i = 0; i < half; i++) ((float *)frequencies.data)[i] = powf(10000.0f, -(float)i / (float)half);
    for (uint32_t t = 0; t < tokens; t++) {
        /* Two sequences; the second begins anew and goes far. */
        int32_t position = ((int32_t *)positions.data)[t] = (int32_t)(t < tokens / 2 ? t : (t - tokens / 2) * 1237);
        for (uint64_t i = 0; i < half; i++) {
            float angle = (float)position * ((float *)frequencies.data)[i]; /* rounded: so models were trained */
            table_expected[t * dim + i] = cos((double)angle);
            table_expected[t * dim + half + i] = sin((double)angle);
        }
    }
    kernel_call tables = {.parameters = &p, .in = {positions, frequencies}, .out = {table}, .pass = &pass};
    expect_kernel(state, OPERATOR_ROPE_TABLE, tables);
    check_each("rope table", table.data, table_expected, tokens * dim, 2e-7, 0);
    check_spare_rows(&table);

    kernel_buffer x = token_rows(tokens, cols), y = in_place ? x : blank_rows(tokens, cols);
    double *gradient = guarded(count * sizeof(double), 0), *y_expected = guarded(count * sizeof(double), 0);
    kernel_buffer dy = token_rows(tokens, cols), dx = in_place ? dy : blank_rows(tokens, cols);
    rotation r = {tokens * heads,
                  dim,
                  heads,
                  elements(&table, tokens * dim, false),
                  elements(&dy, count, false),
                  elements(&x, count, false),
                  y_expected};
    rotate(&r);
    kernel_call forward = {.parameters = &p, .in = {x, table}, .out = {y}, .pass = &pass};
    expect_kernel(state, OPERATOR_ROPE, forward);
    check_close("rope", y.data, y_expected, count, 5e-7);
    check_spare_rows(&y);
    /* Rows do not mix, so finite differences of one row at a time are those of all. */
    for (uint64_t row = 0; row < r.rows; row++) {
        rotation one = {1, dim, 1, r.table + row / heads * dim, r.dy + row * dim, r.x + row * dim, r.y + row * dim};
        differences(one.x, dim, rotation_loss, &one, gradient + row * dim);
    }
    p.inverse = true;
    kernel_call backward = {.parameters = &p, .in = {dy, table}, .out = {dx}, .pass = &pass};
    expect_kernel(state, OPERATOR_ROPE, backward);
    check_close("rope dx", dx.data, gradient, count, 5e-7);
    check_spare_rows(&dx);
    free_blocks();
}

static void ropes(struct backend_state *state) {
    static const uint32_t dims[] = {2, 6, 8, 16, 24, 34, 64, 80}, heads[] = {1, 3, 4};
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned d = 0; d < sizeof dims / sizeof *dims; d++)
            rope_case(state, token_counts[t], heads[(t + d) % 3], dims[d], (t + d) % 2);
}

static void test_rope(void **unused) {
    (void)unused;
    on_every_path(ropes);
}

/* --- SwiGLU, and the sum of two --- */

static double swiglu(double gate, double up) { return gate / (1 + exp(-gate)) * up; }

/* By a central difference: each element depends on its own gate alone. */
static double swiglu_slope(double gate, double up) {
    const double step = 1e-5;
    return (swiglu(gate + step, up) - swiglu(gate - step, up)) / (2 * step);
}

static void element_case(struct backend_state *state, uint32_t tokens, uint64_t cols, bool in_place) {
    pass_scalars pass = {.tokens = tokens};
    uint64_t count = tokens * cols;
    kernel_buffer gate = token_rows(tokens, cols), up = token_rows(tokens, cols), dy = token_rows(tokens, cols);
    for (uint64_t i = 0; i < count; i++) ((float *)gate.data)[i] *= 6;
    kernel_buffer y = blank_rows(tokens, cols), sum = blank_rows(tokens, cols);
    double *y_expected = guarded(count * sizeof(double), 0), *sum_expected = guarded(count * sizeof(double), 0);
    double *dgate_expected = guarded(count * sizeof(double), 0), *dup_expected = guarded(count * sizeof(double), 0);
    for (uint64_t i = 0; i < count; i++) {
        y_expected[i] = swiglu(at(&gate, i), at(&up, i));
        sum_expected[i] = (double)(((float *)gate.data)[i] + ((float *)up.data)[i]);
        dgate_expected[i] = at(&dy, i) * swiglu_slope(at(&gate, i), at(&up, i));
        /* It is linear in up, so a difference over any step is the derivative. */
        dup_expected[i] = at(&dy, i) * (swiglu(at(&gate, i), at(&up, i) + 1) - y_expected[i]);
    }
    if (in_place) { /* y and sum take the place of gates of their own */
        memcpy(y.data, gate.data, count * sizeof(float));
        memcpy(sum.data, gate.data, count * sizeof(float));
    }
    kernel_call forward = {.parameters = &no_parameters, .in = {in_place ? y : gate, up}, .out = {y}, .pass = &pass};
    expect_kernel(state, OPERATOR_SWIGLU, forward);
    check_close("swiglu", y.data, y_expected, count, 1e-6);
    kernel_call add = {.parameters = &no_parameters, .in = {in_place ? sum : gate, up}, .out = {sum}, .pass = &pass};
    expect_kernel(state, OPERATOR_ADD, add);
    check_close("add", sum.data, sum_expected, count, 0);
    kernel_buffer dgate = in_place ? gate : blank_rows(tokens, cols), dup = in_place ? up : blank_rows(tokens, cols);
    kernel_call backward = {.parameters = &no_parameters, .in = {dy, gate, up}, .out = {dgate, dup}, .pass = &pass};
    expect_kernel(state, OPERATOR_SWIGLU_GRADIENT, backward);
    check_close("swiglu dgate", dgate.data, dgate_expected, count, 1e-6);
    check_close("swiglu dup", dup.data, dup_expected, count, 1e-6);
    const kernel_buffer *written[] = {&y, &sum, &dgate, &dup};
    for (unsigned i = 0; i < 4; i++) check_spare_rows(written[i]);
    free_blocks();
}

static void element_kernels(struct backend_state *state) {
    static const uint64_t widths[] = {1, 3, 7, 16, 17, 33, 100, 577};
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++)
            element_case(state, token_counts[t], widths[w], (t + w) % 2);
    /* Gates at which the exponential vanishes or would overflow: there is no infinity and no NaN. The absolute bound
     * is above what remains of a gate whose e^-gate is held at e^88. */
    enum { GATES = 16 };
    static const float gates[GATES] = {0,      1e-30f, -1e-30f, 20,   -20, 86.9f, -86.9f, 87.1f,
                                       -87.1f, 88.1f,  -88.1f,  -127, 127, -1e4f, 1e4f,   1e30f};
    pass_scalars pass = {.tokens = 1};
    kernel_buffer gate = blank_rows(1, GATES), up = blank_rows(1, GATES), dy = blank_rows(1, GATES);
    kernel_buffer y = blank_rows(1, GATES), dgate = blank_rows(1, GATES), dup = blank_rows(1, GATES);
    double y_expected[GATES], dgate_expected[GATES];
    for (unsigned i = 0; i < GATES; i++) {
        ((float *)gate.data)[i] = gates[i], ((float *)up.data)[i] = ((float *)dy.data)[i] = 1;
        double g = (double)gates[i];
        y_expected[i] = swiglu(g, 1);
        dgate_expected[i] = (1 + g / (1 + exp(g))) / (1 + exp(-g));
    }
    kernel_call forward = {.parameters = &no_parameters, .in = {gate, up}, .out = {y}, .pass = &pass};
    expect_kernel(state, OPERATOR_SWIGLU, forward);
    check_each("swiglu", y.data, y_expected, GATES, 1e-6, 1e-33);
    kernel_call backward = {.parameters = &no_parameters, .in = {dy, gate, up}, .out = {dgate, dup}, .pass = &pass};
    expect_kernel(state, OPERATOR_SWIGLU_GRADIENT, backward);
    check_each("swiglu dgate", dgate.data, dgate_expected, GATES, 1e-6, 1e-33);
    check_each("swiglu dup", dup.data, y_expected, GATES, 1e-6, 1e-33);
}

static void test_elements(void **unused) {
    (void)unused;
    on_every_path(element_kernels);
}

/* --- embedding and copy --- */

enum { VOCABULARY = 11 };

typedef struct lookup {
    uint32_t tokens;
    uint64_t cols;
    const int32_t *ids;
    const double *dx;
    double *table;
} lookup;

static double lookup_loss(void *context) {
    const lookup *l = context;
    double loss = 0;
    for (uint32_t t = 0; t < l->tokens; t++)
        for (uint64_t i = 0; i < l->cols; i++)
            loss += l->dx[t * l->cols + i] * l->table[(uint64_t)l->ids[t] * l->cols + i];
    return loss;
}

static void embedding_case(struct backend_state *state, uint32_t tokens, uint64_t cols, dtype type) {
    pass_scalars pass = {.tokens = tokens};
    kernel_buffer ids = token_numbers(tokens), table = weight_of(type, VOCABULARY, cols);
    kernel_buffer x = blank_rows(tokens, cols), dx = token_rows(tokens, cols);
    kernel_buffer gradient = weight_of(DTYPE_F32, VOCABULARY, cols);
    double *expected = guarded(tokens * cols * sizeof(double), 0),
           *slopes = guarded(VOCABULARY * cols * sizeof(double), 0);
    /* The last row and, in longer passes, every other but row 3, which nothing may touch. */
    for (uint32_t t = 0; t < tokens; t++) {
        int32_t id = (int32_t)((t * t + VOCABULARY - 1) % VOCABULARY);
        ((int32_t *)ids.data)[t] = id == 3 ? 4 : id;
        for (uint64_t i = 0; i < cols; i++)
            expected[t * cols + i] = element(&table, (uint64_t)((int32_t *)ids.data)[t] * cols + i, false);
    }
    kernel_call forward = {.parameters = &no_parameters, .in = {ids, table}, .out = {x}, .pass = &pass};
    expect_kernel(state, OPERATOR_EMBEDDING, forward);
    check_close("embedding", x.data, expected, tokens * cols, 0);
    check_spare_rows(&x);

    double *before = elements(&gradient, VOCABULARY * cols, false);
    lookup l = {tokens, cols, ids.data, elements(&dx, tokens * cols, false),
                elements(&table, VOCABULARY * cols, false)};
    differences(l.table, VOCABULARY * cols, lookup_loss, &l, slopes);
    for (uint64_t i = 0; i < VOCABULARY * cols; i++) slopes[i] += before[i];
    kernel_call backward = {.parameters = &no_parameters, .in = {ids, dx}, .out = {gradient}, .pass = &pass};
    expect_kernel(state, OPERATOR_EMBEDDING_GRADIENT, backward);
    check_close("embedding gradient", gradient.data, slopes, VOCABULARY * cols, 1e-6);
    for (uint64_t i = 3 * cols; i < 4 * cols; i++) assert_true(at(&gradient, i) == before[i]);

    kernel_buffer copy = weight_of(type, VOCABULARY, cols);
    kernel_call whole = {.parameters = &no_parameters, .in = {table}, .out = {copy}, .pass = &pass};
    expect_kernel(state, OPERATOR_COPY, whole);
    assert_memory_equal(copy.data, table.data, dtype_bytes(type, VOCABULARY * cols));
    free_blocks();
}

static void embeddings(struct backend_state *state) {
    static const uint64_t widths[] = {1, 3, 16, 17, 33, 65};
    for (unsigned t = 0; t < TOKEN_COUNTS; t++)
        for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++)
            embedding_case(state, token_counts[t], widths[w], (dtype)((t + w) % 3));
}

static void test_embedding(void **unused) {
    (void)unused;
    on_every_path(embeddings);
}

/* --- the optimizer's --- */

static float *floats(uint64_t count) {
    float *values = guarded(count * sizeof *values, 0);
    for (uint64_t i = 0; i < count; i++) values[i] = draw();
    return values;
}

/* Three updates, as a run makes them: moments from zero, a correction for each step, every ninth gradient zero. */
static void adamw_case(struct backend_state *state, uint64_t count, float weight_decay, float gradient_scale) {
    adamw_update u = {.parameters = floats(count),
                      .gradients = floats(count),
                      .first_moments = floats(count),
                      .second_moments = floats(count),
                      .count = count,
                      .learning_rate = 0.05f,
                      .beta1 = 0.9f,
                      .beta2 = 0.95f,
                      .epsilon = 1e-3f,
                      .weight_decay = weight_decay,
                      .gradient_scale = gradient_scale};
    double *p = guarded(count * sizeof *p, 0), *m = guarded(count * sizeof *m, 0), *v = guarded(count * sizeof *v, 0);
    for (uint64_t i = 0; i < count; i++)
        p[i] = (double)u.parameters[i], m[i] = v[i] = (double)(u.first_moments[i] = u.second_moments[i] = 0);
    double beta1 = (double)u.beta1, beta2 = (double)u.beta2, rate = (double)u.learning_rate;
    for (int step = 1; step <= 3; step++) {
        u.first_correction = (float)(1 - pow(beta1, step)), u.second_correction = (float)(1 - pow(beta2, step));
        for (uint64_t i = 0; i < count; i++) {
            u.gradients[i] = i % 9 ? draw() : 0;
            double g = (double)u.gradients[i] * (double)gradient_scale;
            m[i] = beta1 * m[i] + (1 - beta1) * g;
            v[i] = beta2 * v[i] + (1 - beta2) * g * g;
            p[i] -= rate * (double)weight_decay * p[i];
            p[i] -= rate * (m[i] / (double)u.first_correction) /
                    (sqrt(v[i] / (double)u.second_correction) + (double)u.epsilon);
        }
        levee_error error;
        assert_int_equal(cpu_backend.adamw(state, &u, &error), LEVEE_OK);
        check_guards();
        check_close("first moments", u.first_moments, m, count, 1e-6);
        check_close("second moments", u.second_moments, v, count, 1e-6);
        check_close("parameters", u.parameters, p, count, 1e-6);
        for (uint64_t i = 0; i < count; i++) assert_true(u.gradients[i] == 0);
        digest_bytes(u.parameters, count * sizeof(float));
        digest_bytes(u.first_moments, count * sizeof(float));
        digest_bytes(u.second_moments, count * sizeof(float));
    }
    free_blocks();
}

static void optimizer(struct backend_state *state) {
    static const uint64_t counts[] = {1, 2, 15, 16, 17, 577, 16384, 2 * 16384 + 3};
    for (unsigned c = 0; c < sizeof counts / sizeof *counts; c++)
        adamw_case(state, counts[c], c % 2 ? 0.1f : 0, c % 3 ? 1 : 0.25f);
    double none = cpu_backend.sum_of_squares(state, NULL, 0);
    assert_true(none == 0);
    for (unsigned c = 0; c < sizeof counts / sizeof *counts; c++) {
        float *values = floats(counts[c]);
        double expected = 0, sum = cpu_backend.sum_of_squares(state, values, counts[c]);
        for (uint64_t i = 0; i < counts[c]; i++) expected += (double)values[i] * (double)values[i];
        assert_true(fabs(sum - expected) <= 1e-6 * expected);
        digest_bytes(&sum, sizeof sum);
        free_blocks();
    }
}

static void test_optimizer(void **unused) {
    (void)unused;
    on_every_path(optimizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_rmsnorm, drop_blocks),
        cmocka_unit_test_teardown(test_rmsnorm_extremes, drop_blocks),
        cmocka_unit_test_teardown(test_rope, drop_blocks),
        cmocka_unit_test_teardown(test_elements, drop_blocks),
        cmocka_unit_test_teardown(test_embedding, drop_blocks),
        cmocka_unit_test_teardown(test_optimizer, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
