/* Measuring a machine by the backend's kernels: see calibration.h. */
#include <stdlib.h>

#include "base/error.h"
#include "doctor/calibration.h"
#include "memory/ledger.h"
#include "platform/headroom.h"
#include "platform/machine.h"

/* A pass of this many rows of so many features, as a small model has; LoRA's usual rank. */
enum { ROWS = 512, FEATURES = 1024, RANK = 8, HEADS = 16, HEAD_DIM = FEATURES / HEADS, KV_HEADS = 8 };
enum { ADDED_ROWS = 4096 }; /* 16 MiB an operand, more than most caches hold of three */

static const uint64_t most_bytes = 96ull << 20;
static const double least_seconds = 0.5;

/* One operator on operands of its own, and what of it is counted. */
typedef struct trial {
    operator_kind kind;
    operator_parameters parameters;
    pass_scalars pass;
    kernel_call call;
    double amount; /* operations, or bytes, of one run */
} trial;

static kernel_buffer buffer(dtype type, uint64_t rows, uint64_t cols) {
    return (kernel_buffer){.type = type, .present = true, .rows = rows, .cols = cols};
}

static trial product_trial(dtype type) {
    trial t = {.kind = OPERATOR_LINEAR, .pass.tokens = ROWS, .amount = 2.0 * ROWS * FEATURES * FEATURES};
    t.call.in[0] = t.call.out[0] = buffer(DTYPE_F32, ROWS, FEATURES);
    t.call.in[1] = buffer(type, FEATURES, FEATURES);
    return t;
}

/* LoRA's gradient without that of its input, so without a product with the weight. */
static trial thin_trial(void) {
    trial t = {.kind = OPERATOR_LORA_GRADIENT, .pass.tokens = ROWS, .amount = 2.0 * ROWS * RANK * 3 * FEATURES};
    t.parameters.scale = 1.0f;
    t.call.in[0] = t.call.in[3] = buffer(DTYPE_F32, ROWS, FEATURES);
    t.call.in[4] = buffer(DTYPE_F32, ROWS, RANK);
    t.call.in[5] = t.call.out[1] = buffer(DTYPE_F32, RANK, FEATURES);
    t.call.in[6] = t.call.out[2] = buffer(DTYPE_F32, FEATURES, RANK);
    return t;
}

/* One sequence: starts are all 0. */
static trial attention_trial(void) {
    trial t = {.kind = OPERATOR_ATTENTION, .pass.tokens = ROWS, .amount = 2.0 * ROWS * FEATURES * ROWS};
    t.parameters = (operator_parameters){
        .scale = 0.125f, .heads = HEADS, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .window = UINT32_MAX};
    t.call.in[0] = t.call.out[0] = buffer(DTYPE_F32, ROWS, FEATURES);
    t.call.in[1] = t.call.in[2] = buffer(DTYPE_F32, ROWS, KV_HEADS * HEAD_DIM);
    t.call.in[3] = buffer(DTYPE_I32, ROWS, 1);
    t.call.out[1] = buffer(DTYPE_F32, ROWS, HEADS);
    return t;
}

static trial add_trial(void) {
    trial t = {.kind = OPERATOR_ADD, .pass.tokens = ADDED_ROWS};
    t.amount = 3.0 * sizeof(float) * ADDED_ROWS * FEATURES;
    t.call.in[0] = t.call.in[1] = t.call.out[0] = buffer(DTYPE_F32, ADDED_ROWS, FEATURES);
    return t;
}

/* Memory for an operand, with numbers around 0 in it: some processors are faster on zeros. */
static bool take(kernel_buffer *b) {
    uint64_t count = b->rows * b->cols;
    if (!b->present) return true;
    b->data = ledger_alloc(LEVEE_RUNTIME, dtype_bytes(b->type, count));
    for (uint64_t i = 0; b->data && b->type != DTYPE_I32 && i < count; i++) {
        float number = 0.125f * ((float)(i % 13) - 6.5f);
        dtype_convert(b->type, (unsigned char *)b->data + dtype_bytes(b->type, i), DTYPE_F32, &number, 1);
    }
    return b->data;
}

static bool take_all(trial *t) {
    bool taken = true;
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) taken = take(&t->call.in[i]) && taken;
    t->call.scratch = ledger_alloc(LEVEE_RUNTIME, t->call.scratch_bytes);
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++)
        if (!t->call.out[i].data) taken = take(&t->call.out[i]) && taken;
    return taken && t->call.scratch;
}

static void give_back(trial *t) {
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) ledger_free(t->call.out[i].data);
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) ledger_free(t->call.in[i].data);
    ledger_free(t->call.scratch);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the runs of least_seconds, since whatever else runs here makes some of them many times as long; the
 * first, which finds cold pages, is left out. */
static levee_status time_runs(struct backend_state *state, trial *t, double *rate, levee_error *error) {
    enum { MOST_RUNS = 1024 };
    const kernel *k = cpu_backend.kernels[t->kind];
    double seconds[MOST_RUNS], end;
    unsigned runs = 0;
    levee_status status = k->run(state, &t->call, error);
    end = machine_seconds() + least_seconds;
    for (double began = 0; status == LEVEE_OK && began < end && runs < MOST_RUNS; runs++) {
        began = machine_seconds();
        status = k->run(state, &t->call, error);
        seconds[runs] = machine_seconds() - began;
    }
    qsort(seconds, runs, sizeof *seconds, compare);
    if (status == LEVEE_OK && seconds[runs / 2] > 0) *rate = t->amount / seconds[runs / 2];
    return status;
}

static levee_status measure(struct backend_state *state, trial t, double *rate, levee_error *error) {
    const kernel *k = cpu_backend.kernels[t.kind];
    t.call.parameters = &t.parameters;
    t.call.pass = &t.pass;
    t.call.scratch_bytes = k->scratch ? k->scratch(state, &t.call) : 0;
    levee_status status = k->prepare ? k->prepare(state, &t.call, error) : LEVEE_OK;
    if (status == LEVEE_OK && !take_all(&t)) status = error_out_of_memory(error, "measuring the machine", most_bytes);
    if (status == LEVEE_OK) status = time_runs(state, &t, rate, error);
    give_back(&t);
    return status;
}

static levee_status measure_f32(calibration *c, levee_error *error) {
    struct backend_state *state = NULL;
    backend_options options = {.threads = c->threads, .compute = COMPUTE_F32};
    levee_status status = cpu_backend.open(&state, &options, error);
    if (status != LEVEE_OK) return status;
    status = measure(state, product_trial(DTYPE_F32), &c->f32, error);
    if (status == LEVEE_OK) status = measure(state, thin_trial(), &c->thin, error);
    if (status == LEVEE_OK) status = measure(state, attention_trial(), &c->attention, error);
    if (status == LEVEE_OK) status = measure(state, add_trial(), &c->bytes, error);
    cpu_backend.close(state);
    return status;
}

/* A processor without such products says so when it is asked for them. */
static levee_status measure_bf16(calibration *c, levee_error *error) {
    struct backend_state *state = NULL;
    backend_options options = {.threads = c->threads, .compute = COMPUTE_BF16};
    levee_status status = cpu_backend.open(&state, &options, error);
    if (status == LEVEE_USAGE) return LEVEE_OK;
    if (status != LEVEE_OK) return status;
    status = measure(state, product_trial(DTYPE_BF16), &c->bf16, error);
    cpu_backend.close(state);
    return status;
}

levee_status calibration_measure(calibration *c, uint64_t reserve_bytes, levee_error *error) {
    levee_status status = headroom_check(most_bytes, reserve_bytes, error);
    if (status == LEVEE_OK) status = measure_f32(c, error);
    return status == LEVEE_OK ? measure_bf16(c, error) : status;
}
