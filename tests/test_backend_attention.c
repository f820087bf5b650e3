/* The CPU backend's attention against plain double arithmetic: forward, gradient, and generation from a cache, on
 * every instruction path with 1 and 2 threads, and in bf16. The reference's own gradient is checked by finite
 * differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "kernel_calls.h"

/* How a flat batch is cut into sequences. */
typedef enum cut { CUT_NONE, CUT_HALVES, CUT_GROWING /* 1, 2, 3, ... rows */ } cut;

enum { NO_WINDOW = UINT32_MAX };

typedef struct attention_case {
    uint32_t tokens, heads, kv_heads, head_dim, window;
    cut cut;
    float scale; /* 0: 1 / sqrt(head_dim) */
    double bound;
} attention_case;

/* A case in double. The loss is the sum of dy * o. */
typedef struct reference {
    const attention_case *shape;
    const int32_t *starts;
    double scale;
    double *q, *k, *v, *dy;  /* given */
    double *o, *log_sum_exp; /* reference_forward */
    double *dq, *dk, *dv;    /* reference_gradient */
    double *weights;         /* of one row */
} reference;

static kernel_buffer starts_of(const attention_case *c) {
    kernel_buffer starts = token_numbers(c->tokens);
    uint32_t start = 0, length = c->cut == CUT_NONE ? c->tokens : c->cut == CUT_HALVES ? (c->tokens + 1) / 2 : 1;
    for (uint32_t t = 0; t < c->tokens; t++) {
        if (t == start + length) start = t, length += c->cut == CUT_GROWING;
        ((int32_t *)starts.data)[t] = (int32_t)start;
    }
    return starts;
}

static double *zeros(uint64_t count) {
    double *values = guarded(count * sizeof *values, 0);
    for (uint64_t i = 0; i < count; i++) values[i] = 0;
    return values;
}

static reference make_reference(const attention_case *c, double scale, bool rounded, const kernel_buffer *q,
                                const kernel_buffer *k, const kernel_buffer *v, const kernel_buffer *dy,
                                const int32_t *starts) {
    uint64_t q_count = (uint64_t)c->tokens * c->heads * c->head_dim;
    uint64_t kv_count = (uint64_t)c->tokens * c->kv_heads * c->head_dim;
    return (reference){.shape = c,
                       .starts = starts,
                       .scale = scale,
                       .q = elements(q, q_count, rounded),
                       .k = elements(k, kv_count, rounded),
                       .v = elements(v, kv_count, rounded),
                       .dy = elements(dy, q_count, rounded),
                       .o = zeros(q_count),
                       .log_sum_exp = zeros((uint64_t)c->tokens * c->heads),
                       .dq = zeros(q_count),
                       .dk = zeros(kv_count),
                       .dv = zeros(kv_count),
                       .weights = zeros(c->tokens)};
}

static double dot(const double *a, const double *b, uint64_t count) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* to += factor * from */
static void add_scaled(double *to, double factor, const double *from, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) to[i] += factor * from[i];
}

/* The softmax's weights of one row and head; returns the first row that it sees. */
static uint32_t weigh(const reference *r, uint32_t t, uint32_t head, double *log_sum_exp) {
    const attention_case *c = r->shape;
    uint64_t dim = c->head_dim, kv = head / (c->heads / c->kv_heads);
    uint32_t first = (uint32_t)r->starts[t];
    if (c->window <= t && t - c->window + 1 > first) first = t - c->window + 1;
    double highest = -INFINITY, sum = 0;
    for (uint32_t key = first; key <= t; key++) {
        r->weights[key] =
            r->scale * dot(r->q + (t * c->heads + head) * dim, r->k + (key * c->kv_heads + kv) * dim, dim);
        highest = r->weights[key] > highest ? r->weights[key] : highest;
    }
    for (uint32_t key = first; key <= t; key++) sum += exp(r->weights[key] - highest);
    *log_sum_exp = highest + log(sum);
    for (uint32_t key = first; key <= t; key++) r->weights[key] = exp(r->weights[key] - *log_sum_exp);
    return first;
}

static void reference_forward(reference *r) {
    const attention_case *c = r->shape;
    uint64_t dim = c->head_dim, group = c->heads / c->kv_heads;
    for (uint32_t t = 0; t < c->tokens; t++)
        for (uint32_t head = 0; head < c->heads; head++) {
            uint64_t row = t * c->heads + head;
            uint32_t first = weigh(r, t, head, &r->log_sum_exp[row]);
            for (uint64_t i = 0; i < dim; i++) r->o[row * dim + i] = 0;
            for (uint32_t key = first; key <= t; key++)
                add_scaled(r->o + row * dim, r->weights[key], r->v + (key * c->kv_heads + head / group) * dim, dim);
        }
}

/* From dy and the weights alone, not from o: the softmax's gradient is p (dp - sum of p dp). */
static void reference_gradient(reference *r) {
    const attention_case *c = r->shape;
    uint64_t dim = c->head_dim, group = c->heads / c->kv_heads;
    for (uint32_t t = 0; t < c->tokens; t++)
        for (uint32_t head = 0; head < c->heads; head++) {
            uint64_t row = (t * c->heads + head) * dim;
            double unused, mean = 0;
            uint32_t first = weigh(r, t, head, &unused);
            for (uint32_t key = first; key <= t; key++)
                mean += r->weights[key] * dot(r->dy + row, r->v + (key * c->kv_heads + head / group) * dim, dim);
            for (uint32_t key = first; key <= t; key++) {
                uint64_t at = (key * c->kv_heads + head / group) * dim;
                double ds = r->weights[key] * (dot(r->dy + row, r->v + at, dim) - mean) * r->scale;
                add_scaled(r->dq + row, ds, r->k + at, dim);
                add_scaled(r->dk + at, ds, r->q + row, dim);
                add_scaled(r->dv + at, r->weights[key], r->dy + row, dim);
            }
        }
}

static double reference_loss(void *context) {
    reference *r = context;
    reference_forward(r);
    return dot(r->dy, r->o, (uint64_t)r->shape->tokens * r->shape->heads * r->shape->head_dim);
}

static operator_parameters parameters_of(const attention_case *c) {
    return (operator_parameters){.scale = c->scale > 0 ? c->scale : 1 / sqrtf((float)c->head_dim),
                                 .heads = c->heads,
                                 .kv_heads = c->kv_heads,
                                 .head_dim = c->head_dim,
                                 .window = c->window};
}

/* Runs forward and gradient, and compares both; with `each`, every element of the gradient also with the reference's
 * finite differences. */
static void run_case(struct backend_state *state, const attention_case *c, bool each) {
    bool rounded = state->compute == COMPUTE_BF16;
    operator_parameters p = parameters_of(c);
    pass_scalars pass = {.tokens = c->tokens};
    uint64_t q_cols = (uint64_t)c->heads * c->head_dim, kv_cols = (uint64_t)c->kv_heads * c->head_dim;
    kernel_buffer q = token_rows(c->tokens, q_cols), k = token_rows(c->tokens, kv_cols),
                  v = token_rows(c->tokens, kv_cols), dy = token_rows(c->tokens, q_cols), starts = starts_of(c);
    kernel_buffer o = blank_rows(c->tokens, q_cols), log_sum_exp = blank_rows(c->tokens, c->heads);
    kernel_buffer dq = blank_rows(c->tokens, q_cols), dk = blank_rows(c->tokens, kv_cols),
                  dv = blank_rows(c->tokens, kv_cols);
    kernel_call forward = {.parameters = &p, .in = {q, k, v, starts}, .out = {o, log_sum_exp}, .pass = &pass};
    expect_kernel(state, OPERATOR_ATTENTION, forward);
    kernel_call backward = {
        .parameters = &p, .in = {dy, q, k, v, o, log_sum_exp, starts}, .out = {dq, dk, dv}, .pass = &pass};
    expect_kernel(state, OPERATOR_ATTENTION_GRADIENT, backward);

    reference r = make_reference(c, (double)p.scale, rounded, &q, &k, &v, &dy, starts.data);
    reference_forward(&r);
    reference_gradient(&r);
    uint64_t q_count = c->tokens * q_cols, kv_count = c->tokens * kv_cols;
    char label[96];
    snprintf(label, sizeof label, "%u tokens, %u / %u heads of %u, window %u, cut %d", c->tokens, c->heads,
             c->kv_heads, c->head_dim, c->window, (int)c->cut);
    check_close(label, o.data, r.o, q_count, c->bound);
    check_close(label, log_sum_exp.data, r.log_sum_exp, (uint64_t)c->tokens * c->heads, c->bound);
    /* Where every row sees itself alone, dq and dk are 0 but for rounding; so the three are one vector. */
    float *gradients = guarded((q_count + 2 * kv_count) * sizeof *gradients, 0);
    double *expected = zeros(q_count + 2 * kv_count);
    memcpy(gradients, dq.data, q_count * sizeof *gradients);
    memcpy(gradients + q_count, dk.data, kv_count * sizeof *gradients);
    memcpy(gradients + q_count + kv_count, dv.data, kv_count * sizeof *gradients);
    memcpy(expected, r.dq, q_count * sizeof *expected);
    memcpy(expected + q_count, r.dk, kv_count * sizeof *expected);
    memcpy(expected + q_count + kv_count, r.dv, kv_count * sizeof *expected);
    check_close(label, gradients, expected, q_count + 2 * kv_count, 2 * c->bound);
    const kernel_buffer *written[] = {&o, &log_sum_exp, &dq, &dk, &dv};
    for (unsigned i = 0; i < sizeof written / sizeof *written; i++) check_spare_rows(written[i]);
    if (each) {
        differences(r.q, q_count, reference_loss, &r, expected);
        differences(r.k, kv_count, reference_loss, &r, expected + q_count);
        differences(r.v, kv_count, reference_loss, &r, expected + q_count + kv_count);
        check_close("finite differences", gradients, expected, q_count + 2 * kv_count, 2 * c->bound);
    }
    free_blocks();
}

static void sweep(struct backend_state *state) {
    static const uint32_t tokens[] = {1, 2, 3, 7, 15, 16, 17, 33, 65}, dims[] = {8, 16, 24, 64, 80};
    static const uint32_t heads[][2] = {{2, 2}, {3, 1}, {8, 2}}; /* groups of 1, 3, 4 */
    unsigned number = 0;
    for (unsigned t = 0; t < sizeof tokens / sizeof *tokens; t++)
        for (unsigned d = 0; d < sizeof dims / sizeof *dims; d++)
            for (unsigned h = 0; h < sizeof heads / sizeof *heads; h++, number++) {
                /* Windows and cuts go round, so that each meets every kind of shape. */
                static const uint32_t windows[] = {NO_WINDOW, 1, 5, 16};
                attention_case c = {.tokens = tokens[t],
                                    .heads = heads[h][0],
                                    .kv_heads = heads[h][1],
                                    .head_dim = dims[d],
                                    .window = windows[number % 4],
                                    .cut = (cut)((number + t + d) % 3),
                                    .bound = 1e-6};
                run_case(state, &c, false);
            }
}

static void test_sweep(void **unused) {
    (void)unused;
    on_every_path(sweep);
}

/* Several blocks of queries and keys; sequences and windows that begin and end inside of blocks, at their edges, and
 * blocks that a row sees nothing of. */
static void blocks_of_rows(struct backend_state *state) {
    static const attention_case cases[] = {
        {64, 2, 1, 16, NO_WINDOW, CUT_NONE, 0, 1e-6},     {128, 2, 1, 24, NO_WINDOW, CUT_HALVES, 0, 1e-6},
        {129, 3, 1, 8, NO_WINDOW, CUT_NONE, 0, 1e-6},     {129, 2, 2, 16, 64, CUT_NONE, 0, 1e-6},
        {130, 2, 1, 80, 65, CUT_HALVES, 0, 1e-6},         {200, 1, 1, 5, 3, CUT_NONE, 0, 1e-6},
        {200, 4, 1, 8, NO_WINDOW, CUT_GROWING, 0, 1e-6},  {193, 2, 2, 24, 17, CUT_GROWING, 0, 1e-6},
        {257, 2, 1, 1, 100, CUT_HALVES, 0, 1e-6},         {300, 1, 1, 40, 1, CUT_NONE, 0, 1e-6},
        {257, 3, 3, 33, NO_WINDOW, CUT_GROWING, 0, 1e-6},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) run_case(state, &cases[i], false);
}

static void test_blocks(void **unused) {
    (void)unused;
    on_every_path(blocks_of_rows);
}

/* Scores of hundreds: weights of 0 and 1, and a highest score that moves from block to block. Rounding of a score is
 * then as large as these bounds. */
static void sharp(struct backend_state *state) {
    static const attention_case cases[] = {
        {70, 2, 1, 64, NO_WINDOW, CUT_NONE, 8, 2e-5},
        {150, 3, 1, 24, 90, CUT_HALVES, 64, 1e-4},
        {200, 1, 1, 16, NO_WINDOW, CUT_GROWING, 32, 1e-4},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) run_case(state, &cases[i], false);
}

static void test_sharp(void **unused) {
    (void)unused;
    on_every_path(sharp);
}

/* Around the sizes of blocks, with one to eight heads a head of keys, of which at most four are worked on together;
 * in bf16 queries, keys, values and gradients are rounded in the reference too, and what is left is the rounding of
 * the weights and of their gradients, a part in 2^9 each. */
static void stacked_heads(struct backend_state *state) {
    static const attention_case cases[] = {
        {1, 2, 1, 64, NO_WINDOW, CUT_NONE, 0, 1e-6},
        {63, 3, 1, 64, NO_WINDOW, CUT_HALVES, 0, 1e-6},
        {64, 4, 1, 16, NO_WINDOW, CUT_NONE, 0, 1e-6},
        {65, 3, 1, 80, NO_WINDOW, CUT_NONE, 0, 1e-6},
        {127, 8, 1, 64, NO_WINDOW, CUT_HALVES, 0, 1e-6},
        {129, 9, 3, 64, NO_WINDOW, CUT_NONE, 0, 1e-6},
        {257, 10, 2, 80, NO_WINDOW, CUT_GROWING, 0, 1e-6},
        {300, 4, 4, 24, 65, CUT_HALVES, 0, 1e-6},
        {200, 8, 1, 128, 16, CUT_GROWING, 0, 1e-6},
        {192, 6, 2, 5, 64, CUT_NONE, 0, 1e-6},
        {320, 3, 1, 16, 63, CUT_NONE, 0, 1e-6},
        {193, 16, 2, 33, 129, CUT_HALVES, 0, 1e-6},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        attention_case c = cases[i];
        if (state->compute == COMPUTE_BF16) c.bound = 4e-3;
        run_case(state, &c, false);
    }
    /* One head of keys and one sequence: all threads add to the same gradients of keys, and wait for each other. */
    run_case(state,
             &(attention_case){900, 8, 1, 16, NO_WINDOW, CUT_NONE, 0, state->compute == COMPUTE_BF16 ? 4e-3 : 1e-6},
             false);
}

static void test_stacked_heads(void **unused) {
    (void)unused;
    assert_true(on_many_threads(COMPUTE_F32, stacked_heads));
}

static void test_bf16(void **unused) {
    (void)unused;
    if (!on_many_threads(COMPUTE_BF16, stacked_heads)) skip();
}

/* Interrupts at one question, after a while in which other threads come to wait for what is not done then. */
typedef struct patience {
    atomic_uint asked;
    unsigned most;
} patience;

static bool runs_out(void *context) {
    patience *p = context;
    if (atomic_fetch_add(&p->asked, 1) != p->most) return false;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return true;
}

/* A gradient that is interrupted ends and says so, wherever; done again it is what it would have been. */
static void test_interrupted(void **unused) {
    (void)unused;
    attention_case c = {.tokens = 330, .heads = 8, .kv_heads = 1, .head_dim = 16, .window = NO_WINDOW};
    operator_parameters p = parameters_of(&c);
    struct backend_state *state = open_backend(4, COMPUTE_F32);
    uint64_t q_cols = (uint64_t)c.heads * c.head_dim, kv_cols = (uint64_t)c.kv_heads * c.head_dim;
    pass_scalars pass = {.tokens = c.tokens};
    kernel_buffer q = token_rows(c.tokens, q_cols), k = token_rows(c.tokens, kv_cols),
                  v = token_rows(c.tokens, kv_cols), dy = token_rows(c.tokens, q_cols), starts = starts_of(&c);
    kernel_buffer o = blank_rows(c.tokens, q_cols), log_sum_exp = blank_rows(c.tokens, c.heads);
    kernel_buffer dq = blank_rows(c.tokens, q_cols), dk = blank_rows(c.tokens, kv_cols),
                  dv = blank_rows(c.tokens, kv_cols);
    kernel_call forward = {.parameters = &p, .in = {q, k, v, starts}, .out = {o, log_sum_exp}, .pass = &pass};
    expect_kernel(state, OPERATOR_ATTENTION, forward);
    kernel_call backward = {
        .parameters = &p, .in = {dy, q, k, v, o, log_sum_exp, starts}, .out = {dq, dk, dv}, .pass = &pass};
    expect_kernel(state, OPERATOR_ATTENTION_GRADIENT, backward);
    kernel_buffer *results[] = {&dq, &dk, &dv};
    void *whole[3];
    for (unsigned i = 0; i < 3; i++) {
        uint64_t bytes = c.tokens * results[i]->cols * sizeof(float);
        whole[i] = guarded(bytes, 0);
        memcpy(whole[i], results[i]->data, bytes);
    }
    unsigned most = 0;
    for (levee_status status = LEVEE_STOPPED; status == LEVEE_STOPPED; most++) {
        patience asked = {.most = most};
        pass = (pass_scalars){.tokens = c.tokens, .interrupt = runs_out, .interrupt_context = &asked};
        kernel_call call = backward;
        status = run_kernel(state, OPERATOR_ATTENTION_GRADIENT, &call);
        assert_true(status == LEVEE_STOPPED ? asked.asked > most : status == LEVEE_OK);
        pass = (pass_scalars){.tokens = c.tokens};
        expect_kernel(state, OPERATOR_ATTENTION_GRADIENT, backward);
        for (unsigned i = 0; i < 3; i++)
            assert_memory_equal(results[i]->data, whole[i], c.tokens * results[i]->cols * sizeof(float));
    }
    assert_true(most > 6); /* it is asked for each block of rows at least */
    free_blocks();
    cpu_backend.close(state);
}

static void each_element(struct backend_state *state) {
    static const attention_case cases[] = {
        {1, 1, 1, 8, NO_WINDOW, CUT_NONE, 0, 1e-6}, {7, 3, 1, 5, NO_WINDOW, CUT_NONE, 0, 1e-6},
        {9, 4, 1, 3, 4, CUT_NONE, 0, 1e-6},         {13, 2, 2, 2, NO_WINDOW, CUT_GROWING, 0, 1e-6},
        {17, 3, 1, 8, 5, CUT_HALVES, 0, 1e-6},      {66, 2, 1, 1, NO_WINDOW, CUT_NONE, 0, 1e-6},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) run_case(state, &cases[i], true);
}

static void test_finite_differences(void **unused) {
    (void)unused;
    on_every_path(each_element);
}

/* --- generation --- */

/* The rows of one sequence, given to the cache in pieces of growing length, are what attention over all of them at
 * once gives; and the cache holds them, bit for bit, and nothing else. */
static void cached_case(struct backend_state *state, const attention_case *c, uint32_t piece_step) {
    operator_parameters p = parameters_of(c);
    uint64_t q_cols = (uint64_t)c->heads * c->head_dim, kv_cols = (uint64_t)c->kv_heads * c->head_dim;
    kernel_buffer q = token_rows(c->tokens, q_cols), k = token_rows(c->tokens, kv_cols),
                  v = token_rows(c->tokens, kv_cols), o = blank_rows(c->tokens, q_cols), starts = starts_of(c);
    kernel_buffer keys = blank_rows(c->tokens, kv_cols), values = blank_rows(c->tokens, kv_cols);
    reference r = make_reference(c, (double)p.scale, false, &q, &k, &v, &q, starts.data);
    reference_forward(&r);
    for (uint32_t done = 0, piece = 1; done < c->tokens; done += piece, piece += piece_step) {
        if (piece > c->tokens - done) piece = c->tokens - done;
        pass_scalars pass = {.tokens = piece};
        kernel_buffer some_q = blank_rows(piece, q_cols), some_k = blank_rows(piece, kv_cols),
                      some_v = blank_rows(piece, kv_cols), some_o = blank_rows(piece, q_cols),
                      positions = token_numbers(piece);
        memcpy(some_q.data, (float *)q.data + done * q_cols, piece * q_cols * sizeof(float));
        memcpy(some_k.data, (float *)k.data + done * kv_cols, piece * kv_cols * sizeof(float));
        memcpy(some_v.data, (float *)v.data + done * kv_cols, piece * kv_cols * sizeof(float));
        for (uint32_t t = 0; t < piece; t++) ((int32_t *)positions.data)[t] = (int32_t)(done + t);
        kernel_call call = {.parameters = &p,
                            .in = {some_q, some_k, some_v, positions, keys, values},
                            .out = {some_o, keys, values},
                            .pass = &pass};
        expect_kernel(state, OPERATOR_ATTENTION_CACHED, call);
        check_spare_rows(&some_o);
        memcpy((float *)o.data + done * q_cols, some_o.data, piece * q_cols * sizeof(float));
        assert_memory_equal(keys.data, k.data, (done + piece) * kv_cols * sizeof(float));
        assert_memory_equal(values.data, v.data, (done + piece) * kv_cols * sizeof(float));
        for (uint64_t i = (done + piece) * kv_cols; i < keys.rows * kv_cols; i++)
            assert_true(isnan(((float *)keys.data)[i]) && isnan(((float *)values.data)[i]));
    }
    check_close("cached", o.data, r.o, c->tokens * q_cols, c->bound);
    free_blocks();
}

static void cached(struct backend_state *state) {
    static const uint32_t dims[] = {1, 5, 8, 16, 24, 64, 80}, heads[][2] = {{2, 2}, {3, 1}, {8, 2}};
    static const uint32_t windows[] = {NO_WINDOW, 1, 7, 40};
    unsigned number = 0;
    for (unsigned d = 0; d < sizeof dims / sizeof *dims; d++)
        for (unsigned h = 0; h < sizeof heads / sizeof *heads; h++)
            for (unsigned w = 0; w < sizeof windows / sizeof *windows; w++, number++) {
                static const uint32_t tokens[] = {1, 2, 17, 33, 66};
                attention_case c = {.tokens = tokens[number % 5],
                                    .heads = heads[h][0],
                                    .kv_heads = heads[h][1],
                                    .head_dim = dims[d],
                                    .window = windows[w],
                                    .bound = 2e-6};
                cached_case(state, &c, 3);
            }
    /* As generation goes: one row a call. And scores of hundreds. */
    cached_case(
        state, &(attention_case){.tokens = 12, .heads = 3, .kv_heads = 1, .head_dim = 24, .window = 5, .bound = 1e-6},
        0);
    cached_case(state, &(attention_case){40, 2, 1, 16, NO_WINDOW, CUT_NONE, 64, 1e-4}, 5);
}

static void test_cached(void **unused) {
    (void)unused;
    on_every_path(cached);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_sweep, drop_blocks),
        cmocka_unit_test_teardown(test_blocks, drop_blocks),
        cmocka_unit_test_teardown(test_sharp, drop_blocks),
        cmocka_unit_test_teardown(test_stacked_heads, drop_blocks),
        cmocka_unit_test_teardown(test_bf16, drop_blocks),
        cmocka_unit_test_teardown(test_interrupted, drop_blocks),
        cmocka_unit_test_teardown(test_finite_differences, drop_blocks),
        cmocka_unit_test_teardown(test_cached, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
