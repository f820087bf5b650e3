/* A model opened inside a memory budget: see session.h. */
#include "train/session.h"

#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "memory/ledger.h"
#include "platform/machine.h"
#include "platform/process.h"

/* For what libraries and thread stacks take after the last measurement: 0.1 to 0.3 MiB were seen. */
static const uint64_t running_reserve_bytes = 1024 * 1024;

/* Memory is committed in slices, so that a machine that runs short is noticed before it is hurt. */
static const uint64_t commit_slice_bytes = 64ull * 1024 * 1024;

/* While a job is opened it may hold this much, so that a budget below it is refused with the one that would do. */
static const uint64_t opening_bytes = 32ull * 1024 * 1024;

/* From here on the ledger refuses what would take held memory past `budget_bytes`. */
static void limit_ledger(uint64_t budget_bytes) {
    process_memory now;
    if (!process_memory_read(&now)) return;
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    uint64_t unbooked = now.held_bytes > booked ? now.held_bytes - booked : 0;
    ledger_set_budget(budget_bytes > unbooked ? budget_bytes - unbooked : 0);
}

levee_status session_open(session *s, const session_options *options, bool with_tokenizer, levee_error *error) {
    memset(s, 0, sizeof *s);
    s->device = &cpu_backend;
    s->budget_bytes = options->budget_bytes;
    s->reserve_bytes = running_reserve_bytes;
    limit_ledger(options->budget_bytes > opening_bytes ? options->budget_bytes : opening_bytes);
    levee_status status = model_config_read(&s->config, options->model_directory, error);
    if (status == LEVEE_OK) status = safetensors_open_model(&s->tensors, options->model_directory, error);
    if (status == LEVEE_OK && with_tokenizer) status = tokenizer_open(&s->tokens, options->model_directory, error);
    if (status == LEVEE_OK && with_tokenizer && tokenizer_vocabulary_size(s->tokens) > s->config.vocabulary_size)
        status = error_set(error, LEVEE_BAD_DATA,
                           "%s: tokenizer.json has %u tokens, but config.json says vocab_size %u; they do not belong "
                           "together",
                           options->model_directory, tokenizer_vocabulary_size(s->tokens), s->config.vocabulary_size);
    if (status == LEVEE_OK) status = s->device->open(&s->state, &options->device, error);
    s->source = (model_source){.config = &s->config, .tensors = s->tensors};
    if (status != LEVEE_OK) session_close(s);
    return status;
}

void session_close(session *s) {
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        if (s->booked_bytes[c]) ledger_book((levee_category)c, -(int64_t)s->booked_bytes[c]);
    region_close(&s->memory);
    layout_close(&s->lasting);
    if (s->state) s->device->close(s->state);
    tokenizer_close(s->tokens);
    safetensors_close(s->tensors);
    ledger_set_budget(UINT64_MAX);
    memset(s, 0, sizeof *s);
}

levee_status session_warm_up(session *s, const graph *g, uint32_t capacity_tokens, levee_error *error) {
    for (uint32_t i = 0; i < g->node_count; i++) {
        const node *n = &g->nodes[i];
        const kernel *k = s->device->kernels[n->kind];
        if (!k || !k->prepare) continue;
        kernel_call call;
        plan_describe_call(&call, g, n, capacity_tokens);
        levee_status status = k->prepare(s->state, &call, error);
        if (status != LEVEE_OK) return error_context(error, "preparing %s", operator_name(n->kind));
    }
    return LEVEE_OK;
}

levee_status session_measure(session *s, levee_error *error) {
    uint64_t library_bytes;
    levee_status status = s->device->settle(s->state, &library_bytes, error);
    if (status != LEVEE_OK) return status;
    process_trim();
    process_memory now;
    if (!process_memory_read(&now))
        return error_set(error, LEVEE_INTERNAL, "/proc/self/status cannot be read, so no budget can be kept");
    s->runtime_bytes = now.held_bytes + library_bytes;
    return LEVEE_OK;
}

uint64_t session_unplanned_bytes(const session *s) { return s->runtime_bytes + s->reserve_bytes; }

uint64_t session_opening_bytes(const session *s) {
    process_memory now = {0};
    process_memory_read(&now);
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    return ledger_peak(LEVEE_CATEGORY_COUNT) + (now.held_bytes > booked ? now.held_bytes - booked : s->reserve_bytes);
}

uint64_t session_plan_budget(const session *s) {
    uint64_t taken = session_unplanned_bytes(s);
    return s->budget_bytes > taken ? s->budget_bytes - taken : 0;
}

/* Touches pages slice by slice; each slice is compared with what the machine has before it is taken. */
static levee_status commit_in_slices(region *memory, uint64_t bytes, levee_error *error) {
    while (memory->committed_bytes < bytes) {
        uint64_t done = memory->committed_bytes, left = bytes - done;
        uint64_t slice = left < commit_slice_bytes ? left : commit_slice_bytes;
        levee_status status = region_commit(memory, done + slice, error);
        if (status != LEVEE_OK) return status;
        memset(memory->base + done, 0, memory->committed_bytes - done);
    }
    return LEVEE_OK;
}

static void book_arena(session *s, const uint64_t arena_categories[LEVEE_CATEGORY_COUNT]) {
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        uint64_t bytes = s->lasting.category_bytes[c] + arena_categories[c];
        ledger_book((levee_category)c, (int64_t)bytes - (int64_t)s->booked_bytes[c]);
        s->booked_bytes[c] = bytes;
    }
}

levee_status session_resize_memory(session *s, uint64_t arena_bytes,
                                   const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error) {
    uint64_t bytes = s->lasting.total_bytes[SPACE_HOST] + arena_bytes, before = s->memory.committed_bytes;
    levee_status status =
        bytes < before ? region_commit(&s->memory, bytes, error) : commit_in_slices(&s->memory, bytes, error);
    if (status == LEVEE_OK)
        book_arena(s, arena_categories);
    else if (s->memory.committed_bytes > before)
        region_commit(&s->memory, before, NULL);
    return status;
}

levee_status session_take_memory(session *s, uint64_t arena_bytes,
                                 const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error) {
    levee_status status = region_open(&s->memory, s->lasting.total_bytes[SPACE_HOST] + arena_bytes, error);
    if (status == LEVEE_OK) status = session_resize_memory(s, arena_bytes, arena_categories, error);
    if (status == LEVEE_OK) limit_ledger(s->budget_bytes);
    return status;
}

static const void *find_weight(void *context, const char *name) {
    const session *s = context;
    const tensor_view *view = model_find_tensor(&s->source, name);
    return view ? view->data : NULL;
}

levee_status session_bind(session *s, executor *e, const plan *planned, uint32_t most_operators, levee_error *error) {
    executor_memory memory = {.weight = find_weight, .weight_context = s};
    memory.base[SPACE_HOST] = s->memory.base;
    memory.bytes[SPACE_HOST] = s->memory.committed_bytes;
    return executor_bind(e, planned, most_operators, s->device->kernels, s->state, &memory, error);
}

/* Seconds of one run of an operator on `rows` x `cols` values, the best of three. */
static levee_status time_operator(session *s, operator_kind kind, uint32_t rows, uint32_t cols, double *seconds,
                                  levee_error *error) {
    const kernel *k = s->device->kernels[kind];
    operator_parameters parameters = {.epsilon = 1e-5f};
    pass_scalars pass = {.tokens = rows};
    uint64_t bytes = (uint64_t)rows * cols * sizeof(float), square = (uint64_t)cols * cols * sizeof(float);
    kernel_call call = {.parameters = &parameters, .pass = &pass};
    kernel_buffer matrix = {.type = DTYPE_F32, .present = true, .rows = rows, .cols = cols};
    call.in[0] = call.in[1] = call.out[0] = matrix;
    if (kind == OPERATOR_LINEAR) call.in[1].rows = cols;
    call.scratch_bytes = k->scratch ? k->scratch(s->state, &call) : 0;
    levee_status status = k->prepare ? k->prepare(s->state, &call, error) : LEVEE_OK;
    call.in[0].data = ledger_alloc(LEVEE_RUNTIME, bytes);
    call.in[1].data = ledger_alloc(LEVEE_RUNTIME, bytes > square ? bytes : square);
    call.out[0].data = ledger_alloc(LEVEE_RUNTIME, bytes);
    call.scratch = ledger_alloc(LEVEE_RUNTIME, call.scratch_bytes);
    if (!call.in[0].data || !call.in[1].data || !call.out[0].data || !call.scratch)
        status = error_out_of_memory(error, "measuring the machine", bytes);
    *seconds = 1e9;
    for (unsigned attempt = 0; attempt < 3 && status == LEVEE_OK; attempt++) {
        double began = machine_seconds();
        status = k->run(s->state, &call, error);
        double took = machine_seconds() - began;
        if (took < *seconds) *seconds = took;
    }
    ledger_free(call.in[0].data);
    ledger_free(call.in[1].data);
    ledger_free(call.out[0].data);
    ledger_free(call.scratch);
    return status;
}

levee_status session_rates(session *s, machine_rates *rates, levee_error *error) {
    enum { PRODUCT_SIZE = 512, MOST_ADD_ROWS = 2048 };
    double product, add;
    /* The three operands of the addition take a quarter of the budget at most. */
    uint64_t fitting_rows = s->budget_bytes / 4 / (3 * PRODUCT_SIZE * sizeof(float)) + 1;
    uint32_t add_rows = fitting_rows < MOST_ADD_ROWS ? (uint32_t)fitting_rows : MOST_ADD_ROWS;
    levee_status status = time_operator(s, OPERATOR_LINEAR, PRODUCT_SIZE, PRODUCT_SIZE, &product, error);
    if (status == LEVEE_OK) status = time_operator(s, OPERATOR_ADD, add_rows, PRODUCT_SIZE, &add, error);
    if (status != LEVEE_OK) return status;
    rates->products = 2.0 * PRODUCT_SIZE * PRODUCT_SIZE * PRODUCT_SIZE / product;
    rates->bytes = 3.0 * add_rows * PRODUCT_SIZE * sizeof(float) / add;
    return LEVEE_OK;
}

levee_status session_refuse(const session *s, uint64_t smallest_budget_bytes, uint32_t longest_tokens,
                            levee_error *error) {
    char budget[BYTES_TEXT], smallest[BYTES_TEXT];
    return error_set(
        error, LEVEE_DOES_NOT_FIT,
        "the job does not fit --memory %s; the smallest budget that does is %s. A smaller --max-seq-length "
        "(the longest sequence has %u tokens), a smaller --rank, fewer --num-layers, --fine-tune-type lora "
        "or --grad-checkpoint auto lower it",
        bytes_format(budget, s->budget_bytes), bytes_format(smallest, smallest_budget_bytes), longest_tokens);
}
