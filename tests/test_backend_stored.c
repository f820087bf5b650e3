/* Values that are stored in bf16: operators give what they give for floats of the same values, and what they write is
 * that, rounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kernel_calls.h"

/* The same rows as bf16; the floats become what that holds, so that both are the same values. */
static kernel_buffer stored(kernel_buffer *floats) {
    kernel_buffer b = *floats;
    uint64_t count = b.rows * b.cols;
    b.type = DTYPE_BF16;
    b.data = guarded(count * sizeof(uint16_t), 0);
    dtype_convert(DTYPE_BF16, b.data, DTYPE_F32, floats->data, count);
    uint64_t filled = (b.rows - SPARE_ROWS) * b.cols;
    dtype_convert(DTYPE_F32, floats->data, DTYPE_BF16, b.data, filled);
    return b;
}

static void check_rounded(const char *what, const kernel_buffer *is, const kernel_buffer *should) {
    const uint16_t *halves = is->data;
    for (uint64_t i = 0; i < is->rows * is->cols; i++) {
        uint16_t rounded;
        dtype_convert(DTYPE_BF16, &rounded, DTYPE_F32, (const float *)should->data + i, 1);
        if (halves[i] != rounded) fail_msg("%s: element %u differs", what, (unsigned)i);
    }
}

static void check_same(const kernel_buffer *is, const kernel_buffer *should) {
    assert_memory_equal(is->data, should->data, is->rows * is->cols * sizeof(float));
}

static void run(struct backend_state *state, operator_kind kind, kernel_call call) {
    assert_int_equal(run_kernel(state, kind, &call), LEVEE_OK);
}

static void norm_case(struct backend_state *state, uint32_t tokens, uint64_t cols) {
    operator_parameters parameters = {.epsilon = 1e-5f};
    pass_scalars pass = {.tokens = tokens};
    kernel_buffer x = token_rows(tokens, cols), weight = weight_of(DTYPE_BF16, 1, cols);
    kernel_buffer y = token_rows(tokens, cols), inverse = token_rows(tokens, 1), narrow = stored(&y);
    kernel_call call = {.parameters = &parameters, .in = {x, weight}, .out = {y, inverse}, .pass = &pass};
    run(state, OPERATOR_RMSNORM, call);
    call.out[0] = narrow;
    run(state, OPERATOR_RMSNORM, call);
    check_rounded("norm", &narrow, &y);
    free_blocks();
}

static void swiglu_case(struct backend_state *state, uint32_t tokens, uint64_t cols) {
    operator_parameters none = {0};
    pass_scalars pass = {.tokens = tokens};
    kernel_buffer gate = token_rows(tokens, cols), up = token_rows(tokens, cols), dy = token_rows(tokens, cols);
    kernel_buffer y = token_rows(tokens, cols), dup = token_rows(tokens, cols);
    kernel_buffer narrow_gate = stored(&gate), narrow_up = stored(&up), narrow_y = stored(&y);
    run(state, OPERATOR_SWIGLU, (kernel_call){.parameters = &none, .in = {gate, up}, .out = {y}, .pass = &pass});
    run(state, OPERATOR_SWIGLU,
        (kernel_call){.parameters = &none, .in = {narrow_gate, narrow_up}, .out = {narrow_y}, .pass = &pass});
    check_rounded("swiglu", &narrow_y, &y);
    /* The gradients lie where gate and up were, as plans put them. */
    run(state, OPERATOR_SWIGLU_GRADIENT,
        (kernel_call){.parameters = &none, .in = {dy, gate, up}, .out = {y, dup}, .pass = &pass});
    run(state, OPERATOR_SWIGLU_GRADIENT,
        (kernel_call){
            .parameters = &none, .in = {dy, narrow_gate, narrow_up}, .out = {narrow_gate, narrow_up}, .pass = &pass});
    check_rounded("gradient of gate", &narrow_gate, &y);
    check_rounded("gradient of up", &narrow_up, &dup);
    free_blocks();
}

static void test_single_operators(void **unused) {
    (void)unused;
    struct backend_state *state = open_backend(2, COMPUTE_F32);
    for (int set = INSTRUCTIONS_PORTABLE; set <= (int)machine_instruction_set(); set++) {
        state->instructions = (instruction_set)set;
        for (uint64_t cols = 1; cols < 800; cols = cols * 3 + 1) {
            norm_case(state, 5, cols);
            swiglu_case(state, 7, cols);
        }
        swiglu_case(state, 33, 577);
    }
    cpu_backend.close(state);
}

typedef struct product_case {
    uint32_t tokens;
    uint64_t in, out;
    float dropout;
    bool adapted;
} product_case;

/* A linear operator's call in floats, and the same with x and y in bf16. */
static void product_case_run(struct backend_state *state, const product_case *c) {
    enum { RANK = 5 };
    operator_parameters parameters = {.scale = 1.5f, .dropout = c->dropout, .site = 3};
    pass_scalars pass = {.tokens = c->tokens, .seed = 4, .step = 2};
    kernel_buffer x = token_rows(c->tokens, c->in), y = token_rows(c->tokens, c->out),
                  dy = token_rows(c->tokens, c->out);
    kernel_buffer u = token_rows(c->tokens, RANK), dx = token_rows(c->tokens, c->in), dx_again = dx;
    kernel_buffer narrow_x = stored(&x), narrow_y = stored(&y), narrow_dy = stored(&dy);
    kernel_buffer weight = weight_of(DTYPE_BF16, c->out, c->in), bias = weight_of(DTYPE_BF16, 1, c->out);
    kernel_buffer a = weight_of(DTYPE_F32, RANK, c->in), b = weight_of(DTYPE_F32, c->out, RANK);
    kernel_buffer ga = weight_of(DTYPE_F32, RANK, c->in), gb = weight_of(DTYPE_F32, c->out, RANK);
    kernel_buffer ga_again = ga, gb_again = gb, numbers = token_numbers(c->tokens);
    dx_again.data = guarded(dx.rows * dx.cols * sizeof(float), 0);
    ga_again.data = guarded(ga.rows * ga.cols * sizeof(float), 0);
    gb_again.data = guarded(gb.rows * gb.cols * sizeof(float), 0);
    memcpy(dx_again.data, dx.data, dx.rows * dx.cols * sizeof(float));
    memcpy(ga_again.data, ga.data, ga.rows * ga.cols * sizeof(float));
    memcpy(gb_again.data, gb.data, gb.rows * gb.cols * sizeof(float));
    kernel_call forward = {.parameters = &parameters, .in = {x, weight, bias}, .out = {y}, .pass = &pass};
    kernel_call backward = {.parameters = &parameters, .in = {dy, weight, dx}, .out = {dx}, .pass = &pass};
    if (c->adapted) {
        forward.in[3] = a, forward.in[4] = b, forward.in[5] = forward.in[6] = numbers;
        forward.out[1] = u;
        backward.in[3] = x, backward.in[4] = u, backward.in[5] = a, backward.in[6] = b;
        backward.in[7] = backward.in[8] = numbers;
        backward.out[1] = ga, backward.out[2] = gb;
    }
    run(state, c->adapted ? OPERATOR_LORA : OPERATOR_LINEAR, forward);
    forward.in[0] = narrow_x, forward.out[0] = narrow_y;
    run(state, c->adapted ? OPERATOR_LORA : OPERATOR_LINEAR, forward);
    check_rounded("y", &narrow_y, &y);
    run(state, c->adapted ? OPERATOR_LORA_GRADIENT : OPERATOR_LINEAR_GRADIENT_INPUT, backward);
    backward.in[0] = narrow_dy, backward.in[2] = backward.out[0] = dx_again;
    if (c->adapted) backward.in[3] = narrow_x, backward.out[1] = ga_again, backward.out[2] = gb_again;
    run(state, c->adapted ? OPERATOR_LORA_GRADIENT : OPERATOR_LINEAR_GRADIENT_INPUT, backward);
    check_same(&dx_again, &dx);
    if (c->adapted) check_same(&ga_again, &ga), check_same(&gb_again, &gb);
    free_blocks();
}

static void test_products(void **unused) {
    (void)unused;
    static const product_case cases[] = {
        {7, 100, 64, 0, true},    {7, 100, 64, 0.25f, true},   {70, 100, 300, 0, true},  {70, 577, 64, 0.25f, true},
        {600, 64, 1000, 0, true}, {2100, 64, 576, 0.1f, true}, {9, 33, 100, 0, false},   {130, 96, 130, 0, false},
        {70, 600, 4096, 0, true}, {67, 3000, 700, 0, true},    {1500, 64, 705, 0, false}};
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct backend_state *state = open_backend(threads, COMPUTE_BF16);
        if (!state) skip();
        for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) product_case_run(state, &cases[i]);
        cpu_backend.close(state);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_single_operators, drop_blocks),
        cmocka_unit_test_teardown(test_products, drop_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
