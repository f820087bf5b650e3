/* The CPU backend: its state, and the table of its kernels. */
#include "backend/cpu/cpu.h"

#include "backend/cpu/crew.h"
#include "backend/cpu/gemm.h"
#include "base/error.h"
#include "memory/ledger.h"

/* Seconds of one product of the size of a small model's projection, the best of three; the operands are not zero,
 * because some processors are faster on zeros. */
static levee_status time_product(struct backend_state *s, dtype type, double *seconds, levee_error *error) {
    enum { ROWS = 256, IN = 576, OUT = 1536 };
    row_product product = {
        .rows = ROWS, .n = OUT, .k = IN, .lda = IN, .ldc = OUT, .b_transposed = true, .type = type};
    levee_status status = gemm_prepare_rows(s->products, &product, error);
    float *a = ledger_alloc(LEVEE_RUNTIME, ROWS * IN * sizeof(float));
    unsigned char *b = ledger_alloc(LEVEE_RUNTIME, OUT * IN * sizeof(float));
    float *c = ledger_alloc(LEVEE_RUNTIME, ROWS * OUT * sizeof(float));
    void *scratch = ledger_alloc(LEVEE_RUNTIME, gemm_rows_scratch(s->products, &product));
    if (!a || !b || !c || !scratch)
        status = error_out_of_memory(error, "measuring matrix products", OUT * IN * sizeof(float));
    *seconds = 1e9;
    for (unsigned i = 0; status == LEVEE_OK && i < ROWS * IN; i++) a[i] = (float)(i % 17) - 8.5f;
    for (unsigned i = 0; status == LEVEE_OK && i < OUT * IN; i++) {
        float value = (float)(i % 13) - 6.5f;
        dtype_convert(type, b + i * dtype_bytes(type, 1), DTYPE_F32, &value, 1);
    }
    for (unsigned attempt = 0; status == LEVEE_OK && attempt < 4; attempt++) {
        double began = machine_seconds();
        status = gemm_rows(s->products, &product, ROWS, a, b, NULL, c, scratch, error);
        double took = machine_seconds() - began;
        if (took < *seconds) *seconds = took;
    }
    ledger_free(a);
    ledger_free(b);
    ledger_free(c);
    ledger_free(scratch);
    return status;
}

/* Where bf16 gains less than this, f32 is taken: it is more exact, and otherwise chance would decide between the two.
 */
static const double worthwhile_gain = 1.1;

static levee_status choose_compute(struct backend_state *s, compute_type asked, levee_error *error) {
    bool has_bf16 = gemm_has_bf16(s->products);
    s->compute = asked == COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32;
    levee_status status = LEVEE_OK;
    if (asked == COMPUTE_BF16 && !has_bf16)
        status = error_set(error, LEVEE_USAGE, "--dtype bf16: this processor has no bf16 products; use f32 or auto");
    if (asked == COMPUTE_AUTO && has_bf16) {
        double f32 = 0, bf16 = 0;
        status = time_product(s, DTYPE_F32, &f32, error);
        if (status == LEVEE_OK) status = time_product(s, DTYPE_BF16, &bf16, error);
        if (status == LEVEE_OK && bf16 * worthwhile_gain < f32) s->compute = COMPUTE_BF16;
    }
    gemm_clear(s->products); /* the products measured here are not the model's */
    return status;
}

static void close_state(struct backend_state *s) {
    gemm_close(s->products);
    crew_close(s->crew);
    ledger_free(s);
}

static levee_status open_state(struct backend_state **result, const backend_options *options, levee_error *error) {
    struct backend_state *s = ledger_alloc(LEVEE_RUNTIME, sizeof *s);
    if (!s) return error_out_of_memory(error, "the CPU backend", sizeof *s);
    s->threads = options->threads ? options->threads : 1;
    s->instructions = machine_instruction_set();
    levee_status status = s->threads > 1 ? crew_open(&s->crew, s->threads, error) : LEVEE_OK;
    if (status == LEVEE_OK) status = gemm_open(&s->products, s, error);
    if (status == LEVEE_OK) status = choose_compute(s, options->compute, error);
    if (status == LEVEE_OK)
        *result = s;
    else
        close_state(s);
    return status;
}

static levee_status settle(struct backend_state *s, uint64_t *library_bytes, levee_error *error) {
    return gemm_settle(s->products, library_bytes, error);
}

static compute_type compute_of(const struct backend_state *s) { return s->compute; }

static const kernel *const kernels[OPERATOR_COUNT] = {
    [OPERATOR_COPY] = &cpu_copy,
    [OPERATOR_EMBEDDING] = &cpu_embedding,
    [OPERATOR_EMBEDDING_GRADIENT] = &cpu_embedding_gradient,
    [OPERATOR_RMSNORM] = &cpu_rmsnorm,
    [OPERATOR_RMSNORM_GRADIENT_INPUT] = &cpu_rmsnorm_gradient_input,
    [OPERATOR_RMSNORM_GRADIENT_WEIGHT] = &cpu_rmsnorm_gradient_weight,
    [OPERATOR_LINEAR] = &cpu_linear,
    [OPERATOR_LINEAR_GRADIENT_INPUT] = &cpu_linear_gradient_input,
    [OPERATOR_LINEAR_GRADIENT_WEIGHT] = &cpu_linear_gradient_weight,
    [OPERATOR_LINEAR_GRADIENT_BIAS] = &cpu_linear_gradient_bias,
    [OPERATOR_LORA] = &cpu_linear,
    [OPERATOR_LORA_GRADIENT] = &cpu_linear_gradient_input,
    [OPERATOR_ADAPTED_NORM] = &cpu_adapted_norm,
    [OPERATOR_MAGNITUDE] = &cpu_magnitude,
    [OPERATOR_MAGNITUDE_GRADIENT] = &cpu_magnitude_gradient,
    [OPERATOR_ROPE_TABLE] = &cpu_rope_table,
    [OPERATOR_ROPE] = &cpu_rope,
    [OPERATOR_ATTENTION] = &cpu_attention,
    [OPERATOR_ATTENTION_GRADIENT] = &cpu_attention_gradient,
    [OPERATOR_ATTENTION_CACHED] = &cpu_attention_cached,
    [OPERATOR_SWIGLU] = &cpu_swiglu,
    [OPERATOR_SWIGLU_GRADIENT] = &cpu_swiglu_gradient,
    [OPERATOR_ADD] = &cpu_add,
    [OPERATOR_HEAD_LOSS] = &cpu_head_loss,
    [OPERATOR_HEAD_LOSS_GRADIENT] = &cpu_head_loss_gradient,
};

const backend cpu_backend = {
    .name = "cpu",
    .open = open_state,
    .close = close_state,
    .settle = settle,
    .compute = compute_of,
    .kernels = kernels,
    .adamw = cpu_adamw,
    .sum_of_squares = cpu_sum_of_squares,
};
