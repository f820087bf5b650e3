/* See kernel_calls.h. */
#include "kernel_calls.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "memory/ledger.h"

enum { GUARD_BYTES = 64, GUARD = 0xa5, NOT_A_NUMBER = 0xff, MOST_BLOCKS = 256 };

static levee_error error;
static uint64_t drawn;   /* how many random numbers the running test has drawn */
static uint64_t digest;  /* of what the running case's kernels wrote */
static char variant[64]; /* path and threads of the running case, for messages */

/* Blocks of memory with guards, freed and checked together at the end of a case. */
static struct {
    unsigned char *start;
    uint64_t bytes, shift;
} blocks[MOST_BLOCKS];
static unsigned block_count;

void *guarded(uint64_t bytes, uint64_t shift) {
    assert_true(block_count < MOST_BLOCKS);
    unsigned char *start = aligned_alloc(64, (bytes + shift + 2 * GUARD_BYTES + 63) / 64 * 64);
    assert_non_null(start);
    memset(start, GUARD, bytes + shift + 2 * GUARD_BYTES);
    blocks[block_count].start = start, blocks[block_count].bytes = bytes, blocks[block_count++].shift = shift;
    return start + GUARD_BYTES + shift;
}

void check_guards(void) {
    unsigned char untouched[GUARD_BYTES];
    memset(untouched, GUARD, GUARD_BYTES);
    for (unsigned i = 0; i < block_count; i++) {
        const unsigned char *end = blocks[i].start + GUARD_BYTES + blocks[i].shift + blocks[i].bytes;
        assert_memory_equal(blocks[i].start, untouched, GUARD_BYTES);
        assert_memory_equal(end, untouched, GUARD_BYTES);
    }
}

static void drop_all(void) {
    while (block_count) free(blocks[--block_count].start);
}

void free_blocks(void) {
    check_guards();
    drop_all();
}

int drop_blocks(void **unused) {
    (void)unused;
    drop_all();
    return 0;
}

float draw(void) {
    float unit = random_uniform(7, (uint32_t)drawn, 0, 0, 0) * 2 - 1;
    drawn++;
    return unit;
}

/* The bits of the NaN that fills a buffer: each has its own, for arithmetic hands a NaN's bits on. So rows that a
 * kernel should not have written show even though they came from rows of NaN. */
static uint32_t filling_of(const void *data) {
    for (unsigned i = 0; i < block_count; i++)
        if (blocks[i].start + GUARD_BYTES + blocks[i].shift == data) return 0x7fc00001u + i;
    fail_msg("not a guarded buffer");
    return 0;
}

kernel_buffer blank_rows(uint32_t tokens, uint64_t cols) {
    uint64_t rows = tokens + SPARE_ROWS;
    float *values = guarded(rows * cols * sizeof *values, 0);
    uint32_t filling = filling_of(values);
    for (uint64_t i = 0; i < rows * cols; i++) memcpy(&values[i], &filling, sizeof filling);
    return (kernel_buffer){.data = values, .type = DTYPE_F32, .present = true, .rows = rows, .cols = cols};
}

kernel_buffer token_rows(uint32_t tokens, uint64_t cols) {
    kernel_buffer b = blank_rows(tokens, cols);
    for (uint64_t i = 0; i < tokens * cols; i++) ((float *)b.data)[i] = draw();
    return b;
}

kernel_buffer token_numbers(uint32_t tokens) {
    kernel_buffer b = {.type = DTYPE_I32, .present = true, .rows = tokens + SPARE_ROWS, .cols = 1};
    int32_t *values = guarded(b.rows * sizeof *values, 0);
    for (uint64_t i = 0; i < b.rows; i++) values[i] = i < tokens ? 0 : INT32_MAX;
    b.data = values;
    return b;
}

void check_spare_rows(const kernel_buffer *b) {
    const float *spare = (const float *)b->data + (b->rows - SPARE_ROWS) * b->cols;
    uint32_t filling = filling_of(b->data);
    for (uint64_t i = 0; i < SPARE_ROWS * b->cols; i++) assert_memory_equal(&spare[i], &filling, sizeof filling);
}

kernel_buffer weight_of(dtype type, uint64_t rows, uint64_t cols) {
    unsigned char *values = guarded(dtype_bytes(type, rows * cols), type == DTYPE_F32 ? 0 : 1);
    for (uint64_t i = 0; i < rows * cols; i++) {
        float value = draw();
        dtype_convert(type, values + i * dtype_bytes(type, 1), DTYPE_F32, &value, 1);
    }
    return (kernel_buffer){.data = values, .type = type, .present = true, .rows = rows, .cols = cols};
}

double element(const kernel_buffer *b, uint64_t i, bool rounded) {
    float value;
    uint16_t half;
    dtype_convert(DTYPE_F32, &value, b->type, (const unsigned char *)b->data + i * dtype_bytes(b->type, 1), 1);
    if (!rounded) return (double)value;
    dtype_convert(DTYPE_BF16, &half, DTYPE_F32, &value, 1);
    dtype_convert(DTYPE_F32, &value, DTYPE_BF16, &half, 1);
    return (double)value;
}

double *elements(const kernel_buffer *b, uint64_t count, bool rounded) {
    double *values = guarded(count * sizeof *values, 0);
    for (uint64_t i = 0; i < count; i++) values[i] = element(b, i, rounded);
    return values;
}

void check_close(const char *what, const float *is, const double *should, uint64_t count, double bound) {
    double difference = 0, norm = 0;
    for (uint64_t i = 0; i < count; i++) {
        difference += ((double)is[i] - should[i]) * ((double)is[i] - should[i]);
        norm += should[i] * should[i];
    }
    double relative = sqrt(difference / (norm > 0 ? norm : 1));
    if (!(relative <= bound)) fail_msg("%s: differs by %g, bound %g %s", what, relative, bound, variant);
}

struct backend_state *open_backend(unsigned threads, compute_type compute) {
    struct backend_state *state = NULL;
    backend_options options = {.threads = threads, .compute = compute};
    levee_status status = cpu_backend.open(&state, &options, &error);
    if (status == LEVEE_USAGE && compute == COMPUTE_BF16) return NULL; /* not on this processor */
    assert_int_equal(status, LEVEE_OK);
    return state;
}

levee_status run_kernel(struct backend_state *state, operator_kind kind, kernel_call *call) {
    const kernel *k = cpu_backend.kernels[kind];
    kernel_call shapes = *call;
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) shapes.in[i].data = NULL;
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) shapes.out[i].data = NULL;
    shapes.pass = NULL;
    call->scratch_bytes = k->scratch ? k->scratch(state, &shapes) : 0;
    if (k->prepare) assert_int_equal(k->prepare(state, &shapes, &error), LEVEE_OK);
    call->scratch = guarded(call->scratch_bytes, 0);
    /* What is read before it is written must show: these bytes are no number in any type. */
    memset(call->scratch, NOT_A_NUMBER, call->scratch_bytes);
    uint64_t allocations = ledger_allocation_count(), booked = ledger_booked(LEVEE_RUNTIME);
    levee_status status = k->run(state, call, &error);
    assert_true(ledger_allocation_count() == allocations && ledger_booked(LEVEE_RUNTIME) == booked);
    check_guards();
    return status;
}

void digest_bytes(const void *bytes, uint64_t count) {
    const unsigned char *next = bytes;
    if (!digest) digest = 0xcbf29ce484222325; /* FNV-1a */
    for (uint64_t i = 0; i < count; i++) digest = (digest ^ next[i]) * 0x100000001b3;
}

void expect_kernel(struct backend_state *state, operator_kind kind, kernel_call call) {
    assert_int_equal(run_kernel(state, kind, &call), LEVEE_OK);
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++)
        if (call.out[i].data)
            digest_bytes(call.out[i].data, dtype_bytes(call.out[i].type, call.out[i].rows * call.out[i].cols));
}

/* Runs a case from the first random number on, and closes the state; returns the digest. */
static uint64_t digest_of(struct backend_state *state, void (*run)(struct backend_state *state)) {
    drawn = digest = 0;
    run(state);
    free_blocks();
    cpu_backend.close(state);
    variant[0] = 0;
    return digest;
}

void on_every_path(void (*run)(struct backend_state *state)) {
    static const char *const names[] = {"portable", "avx2", "avx512"};
    for (unsigned path = INSTRUCTIONS_PORTABLE; path <= (unsigned)machine_instruction_set(); path++) {
        uint64_t of_one_thread = 0;
        for (unsigned threads = 1; threads <= 2; threads++) {
            struct backend_state *state = open_backend(threads, COMPUTE_F32);
            state->instructions = (instruction_set)path;
            snprintf(variant, sizeof variant, "(%s, %u threads)", names[path], threads);
            uint64_t is = digest_of(state, run);
            if (threads == 1) of_one_thread = is;
            if (is != of_one_thread) fail_msg("the number of threads changes the results on %s", names[path]);
        }
    }
}

bool on_many_threads(compute_type compute, void (*run)(struct backend_state *state)) {
    static const unsigned counts[] = {1, 2, 3, 8};
    uint64_t of_one_thread = 0;
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct backend_state *state = open_backend(counts[i], compute);
        if (!state) return false;
        snprintf(variant, sizeof variant, "(%s, %u threads)", compute == COMPUTE_BF16 ? "bf16" : "f32", counts[i]);
        uint64_t is = digest_of(state, run);
        if (!i) of_one_thread = is;
        if (is != of_one_thread) fail_msg("%u threads have other results than one", counts[i]);
    }
    return true;
}

void differences(double *values, uint64_t count, double (*loss)(void *context), void *context, double *gradient) {
    const double step = 1e-5;
    for (uint64_t i = 0; i < count; i++) {
        double kept = values[i];
        values[i] = kept + step;
        double above = loss(context);
        values[i] = kept - step;
        gradient[i] = (above - loss(context)) / (2 * step);
        values[i] = kept;
    }
}
