/* The contract between the graph and a backend: what each operator reads, writes and computes.
 *
 * Glossary. T is the number of token rows that are filled in this pass (call->tokens), at most the plan's capacity;
 * buffers of a per-token value have `rows` = capacity. [T, n] is row-major, contiguous, f32 unless said otherwise.
 * Weights may be f32, f16 or bf16 and are [out, in]; trainable parameters and gradients are f32. What goes into and
 * comes out of a product with a frozen weight may be stored in bf16 (graph_store_operands): y of RMSNORM; x and y of
 * LINEAR and LORA, and dy and x of their gradients; gate, up, y, dgate and dup of SWIGLU, all or none.
 *
 * Rules for every kernel. It reads its inputs, writes its outputs and uses call->scratch, nothing else. It leaves
 * rows from T on untouched and never reads them. It allocates nothing. Outputs marked "accumulates" are added to, and
 * may all be absent in a pass that is done again (executor.h); all others are overwritten. `add` in a list of inputs
 * is optional (its `data` is NULL when absent): the output is then that value plus the operator's result, and the
 * output's buffer is the very buffer of `add`. An output marked "may be X" can share the buffer of input X, which is
 * then dead after the call.
 *
 * The CPU backend is the specification of every operator. */
#ifndef LEVEE_GRAPH_KERNEL_H
#define LEVEE_GRAPH_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"
#include "tensor/dtype.h"

typedef enum operator_kind {
    /* in: x  out: y, the same bytes in another space; all rows, those from T on too */
    OPERATOR_COPY,
    /* in: ids i32 [T], table [V, h]  out: x [T, h] */
    OPERATOR_EMBEDDING,
    /* in: ids i32 [T], dx [T, h]  out: gradient of the table [V, h], accumulates */
    OPERATOR_EMBEDDING_GRADIENT,
    /* in: x [T, g * h], weight [h]  out: y [T, g * h], inverse_rms [T, g]. Each group of h features is normalised by
     * itself: y = x / sqrt(mean(x^2) + epsilon) * weight. There is one group, but for norms of heads. */
    OPERATOR_RMSNORM,
    /* in: dy, x [T, g * h], weight [h], inverse_rms [T, g], add [T, g * h]  out: dx [T, g * h] */
    OPERATOR_RMSNORM_GRADIENT_INPUT,
    /* in: dy, x [T, g * h], inverse_rms [T, g]  out: gradient of the weight [h], accumulates */
    OPERATOR_RMSNORM_GRADIENT_WEIGHT,
    /* in: x [T, in], weight [out, in], bias [out] (optional)  out: y [T, out].  y = x weight^T + bias */
    OPERATOR_LINEAR,
    /* in: dy [T, out], weight [out, in], add [T, in]  out: dx [T, in].  dx = dy weight */
    OPERATOR_LINEAR_GRADIENT_INPUT,
    /* in: dy [T, out], x [T, in]  out: gradient of the weight [out, in], accumulates dy^T x */
    OPERATOR_LINEAR_GRADIENT_WEIGHT,
    /* in: dy [T, out]  out: gradient of the bias [out], accumulates */
    OPERATOR_LINEAR_GRADIENT_BIAS,
    /* A linear operator with LoRA. in: x, weight, bias (as of LINEAR), A [r, in], B [out, r], examples i32 [T],
     * positions i32 [T] (the last two only when dropout > 0)
     * out: y [T, out] = x weight^T + bias + scale * u B^T, u [T, r] = drop(x) A^T.
     * drop keeps an element with probability 1 - dropout and scales it by 1 / (1 - dropout). */
    OPERATOR_LORA,
    /* in: dy [T, out], weight, add [T, in], x [T, in], u [T, r], A, B, examples, positions (as above)
     * out: dx [T, in] = add + dy weight + drop'(scale * dy B A), or absent (data NULL; then weight and add are too);
     * gradient of A [r, in], accumulates, and gradient of B [out, r], accumulates. drop' multiplies by the mask of
     * the forward pass. */
    OPERATOR_LORA_GRADIENT,
    /* DoRA's norm. in: weight [out, in], A [r, in], B [out, r]  out: inverse_norm [1, out], of each row of weight +
     * scale * B A; 0 for a row of zeros. Depends on no token, and has no gradient: DoRA takes it for a constant. */
    OPERATOR_ADAPTED_NORM,
    /* DoRA's magnitude. in: x [T, n], magnitude [1, n], inverse_norm [1, n], bias [1, n] (optional)
     * out: y [T, n], may be x.  y = x * magnitude * inverse_norm + bias */
    OPERATOR_MAGNITUDE,
    /* in: dy, x [T, n], magnitude, inverse_norm [1, n]
     * out: dx [T, n], may be dy; gradient of the magnitude [1, n], accumulates */
    OPERATOR_MAGNITUDE_GRADIENT,
    /* in: positions i32 [T], inverse_frequencies [head_dim / 2]  out: table [T, head_dim]: cosines, then sines, of
     * position * inverse_frequency */
    OPERATOR_ROPE_TABLE,
    /* in: x [T, heads * head_dim], table [T, head_dim]  out: y, may be x. Rotates each head: element i is paired with
     * element i + head_dim / 2 (the Hugging Face layout). `inverse` rotates back, which is also the gradient. */
    OPERATOR_ROPE,
    /* in: q [T, heads * head_dim], k, v [T, kv_heads * head_dim], starts i32 [T]
     * out: o [T, heads * head_dim], log_sum_exp [T, heads].
     * Row t attends to rows max(starts[t], t - window + 1) .. t. The score matrix never exists whole. */
    OPERATOR_ATTENTION,
    /* in: do, q, k, v, o, log_sum_exp, starts  out: dq, dk, dv */
    OPERATOR_ATTENTION_GRADIENT,
    /* Generation. in: q [T, heads * head_dim], k, v [T, kv_heads * head_dim], positions i32 [T], cached keys and
     * cached values [cache_rows, kv_heads * head_dim]  out: o; the caches, which are written at rows positions[t].
     * Row t attends to cache rows max(0, positions[t] - window + 1) .. positions[t]. The caches are outputs 1 and 2.
     */
    OPERATOR_ATTENTION_CACHED,
    /* in: gate, up [T, n]  out: y [T, n] = gate * sigmoid(gate) * up, may be gate */
    OPERATOR_SWIGLU,
    /* in: dy, gate, up [T, n]  out: dgate (may be gate), dup (may be up) */
    OPERATOR_SWIGLU_GRADIENT,
    /* in: a, b [T, n]  out: a + b, may be a */
    OPERATOR_ADD,
    /* The output head and the cross-entropy. Logits never exist whole.
     * in: x [T, h], weight [V, h], labels i32 [T]  out: losses [T]: -log softmax(x weight^T)[label], 0 where label <
     * 0 */
    OPERATOR_HEAD_LOSS,
    /* in: x, weight, labels  out: losses [T]; dx [T, h] or absent; gradient of the weight [V, h] (accumulates) or
     * absent. The gradients are those of loss_scale * sum(losses); rows with label < 0 give zero. For the gradient of
     * the weight the logits of `chunk_tokens` rows exist at a time; without it none are stored. */
    OPERATOR_HEAD_LOSS_GRADIENT,
    OPERATOR_COUNT
} operator_kind;

const char *operator_name(operator_kind kind);

/* What of an operator is fixed when the graph is built; fields that an operator does not know are zero. */
typedef struct operator_parameters {
    float epsilon;         /* RMSNORM */
    float scale;           /* LORA, ADAPTED_NORM: alpha / rank; ATTENTION: 1 / sqrt(head_dim) */
    float dropout;         /* LORA: probability to drop, in [0, 1) */
    uint32_t site;         /* LORA: number of this place in the model, part of the key of its random numbers */
    uint32_t heads;        /* ROPE: heads in x; ATTENTION: query heads */
    uint32_t kv_heads;     /* ATTENTION */
    uint32_t head_dim;     /* ROPE, ATTENTION */
    uint32_t window;       /* ATTENTION: rows seen back, itself included; UINT32_MAX when there is no window */
    bool inverse;          /* ROPE */
    uint32_t chunk_tokens; /* HEAD_LOSS*: rows of logits at a time; 0: none are stored, or all */
} operator_parameters;

typedef struct kernel_buffer {
    void *data; /* NULL for an absent optional buffer, and for every buffer during `scratch` and `prepare` */
    dtype type;
    bool present;  /* false for an absent optional buffer, also during `scratch` and `prepare` */
    uint64_t rows; /* a per-token value: the plan's capacity */
    uint64_t cols;
} kernel_buffer;

enum { KERNEL_INPUTS = 9, KERNEL_OUTPUTS = 3 };

/* What changes from pass to pass. */
typedef struct pass_scalars {
    uint32_t tokens;  /* T */
    float loss_scale; /* multiplies the gradient of each token's loss: 1 / target tokens of the effective batch */
    uint64_t seed;    /* with step, examples, positions and site: the key of random numbers */
    uint32_t step;
    bool (*interrupt)(void *context); /* is the pass to be cut short? Any thread may ask; NULL: never */
    void *interrupt_context;
} pass_scalars;

static inline bool pass_is_interrupted(const pass_scalars *pass) {
    return pass->interrupt && pass->interrupt(pass->interrupt_context);
}

typedef struct kernel_call {
    const operator_parameters *parameters;
    kernel_buffer in[KERNEL_INPUTS];
    kernel_buffer out[KERNEL_OUTPUTS];
    void *scratch; /* aligned to 64 bytes; as many bytes as the kernel's `scratch` said; content undefined */
    uint64_t scratch_bytes;
    const pass_scalars *pass;
} kernel_call;

struct backend_state;

/* One operator on one backend. All three are called with the same shapes; scratch and prepare once, when a plan is
 * made, with a capacity in `rows`; run in every pass with data. */
typedef struct kernel {
    /* Bytes of scratch that `run` needs; NULL means none. */
    uint64_t (*scratch)(const struct backend_state *state, const kernel_call *call);
    /* Makes whatever the run will need (compiled primitives); may allocate. NULL means nothing to do. */
    levee_status (*prepare)(struct backend_state *state, const kernel_call *call, levee_error *error);
    /* When the pass is interrupted a long run may end at once with LEVEE_STOPPED and without a message: what it has
     * written is then thrown away. One that adds to something lasting must not, once it has begun to. */
    levee_status (*run)(struct backend_state *state, const kernel_call *call, levee_error *error);
} kernel;

/* The kernels of one backend [OPERATOR_COUNT]; NULL for an operator that it does not have. */
typedef const kernel *const *kernel_table;

#endif
