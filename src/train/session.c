/* A model opened inside a memory budget: see session.h. */
#include "train/session.h"

#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "memory/ledger.h"
#include "platform/headroom.h"
#include "platform/machine.h"
#include "platform/process.h"

/* For what libraries and thread stacks take after the last measurement: 0.1 to 0.3 MiB were seen. */
static const uint64_t running_reserve_bytes = 1024 * 1024;

/* While a job is opened it may hold this much, so that a budget below it is refused with the one that would do. */
static const uint64_t opening_bytes = 32ull * 1024 * 1024;

static levee_status read_held(process_memory *now, levee_error *error) {
    if (process_memory_read(now)) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "/proc/self/status cannot be read, so no budget can be kept");
}

/* From here on the ledger refuses what would take held memory past `budget_bytes`. */
static levee_status limit_ledger(uint64_t budget_bytes, levee_error *error) {
    process_memory now;
    levee_status status = read_held(&now, error);
    if (status != LEVEE_OK) return status;
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    uint64_t unbooked = now.held_bytes > booked ? now.held_bytes - booked : 0;
    ledger_set_budget(budget_bytes > unbooked ? budget_bytes - unbooked : 0);
    return LEVEE_OK;
}

/* Of headroom, what blocks of ours may take: beside them stand what libraries take as a job is opened, which asks
 * nobody, and the kernel's tables. */
static uint64_t for_blocks(uint64_t room_bytes) {
    static const uint64_t libraries_bytes = 4ull * 1024 * 1024;
    uint64_t apart = room_bytes / 8 + libraries_bytes;
    return room_bytes > apart ? room_bytes - apart : 0;
}

/* Opening a job takes many small blocks, each too small to be asked for with care, so they get a limit together.
 * *binding is the headroom if that is less than the budget. */
static levee_status limit_opening(const session *s, headroom *binding, levee_error *error) {
    headroom room;
    process_memory now;
    levee_status status = headroom_read(&room, s->others_bytes, error);
    if (status == LEVEE_OK) status = read_held(&now, error);
    if (status != LEVEE_OK) return status;
    uint64_t wanted = s->budget_bytes > opening_bytes ? s->budget_bytes : opening_bytes;
    uint64_t most = now.held_bytes + for_blocks(room.bytes);
    if (wanted <= most) return limit_ledger(wanted, error);
    *binding = room;
    return limit_ledger(most, error);
}

static bool is_there(const char *directory, const char *name) {
    char path[FILE_PATH_BYTES];
    return file_join(path, directory, name) && file_exists(path);
}

static levee_status open_weights(session *s, const session_options *options, levee_error *error) {
    const char *directory = options->model_directory;
    if (options->analysis && !is_there(directory, "model.safetensors") &&
        !is_there(directory, "model.safetensors.index.json"))
        return LEVEE_OK;
    return safetensors_open_model(&s->tensors, directory, error);
}

static levee_status open_tokenizer(session *s, const session_options *options, levee_error *error) {
    const char *directory = options->model_directory;
    if (options->analysis && !is_there(directory, "tokenizer.json")) return LEVEE_OK;
    levee_status status = tokenizer_open(&s->tokens, directory, error);
    if (status != LEVEE_OK || tokenizer_vocabulary_size(s->tokens) <= s->config.vocabulary_size) return status;
    return error_set(error, LEVEE_BAD_DATA,
                     "%s: tokenizer.json has %u tokens, but config.json says vocab_size %u; they do not belong "
                     "together",
                     directory, tokenizer_vocabulary_size(s->tokens), s->config.vocabulary_size);
}

static levee_status open_files(session *s, const session_options *options, bool with_tokenizer, levee_error *error) {
    levee_status status = model_config_read(&s->config, options->model_directory, error);
    if (status == LEVEE_OK) status = open_weights(s, options, error);
    if (status == LEVEE_OK && with_tokenizer) status = open_tokenizer(s, options, error);
    s->source = (model_source){.config = &s->config, .tensors = s->tensors};
    return status;
}

static session *current;

session *session_current(void) { return current; }

levee_status session_open(session *s, const session_options *options, bool with_tokenizer, levee_error *error) {
    memset(s, 0, sizeof *s);
    s->device = &cpu_backend;
    s->budget_bytes = options->budget_bytes;
    s->others_bytes = options->others_bytes;
    s->reserve_bytes = running_reserve_bytes;
    ledger_restart_peaks();
    headroom binding = {0};
    levee_status status = limit_opening(s, &binding, error);
    if (status == LEVEE_OK) status = open_files(s, options, with_tokenizer, error);
    if (status == LEVEE_OK) status = s->device->open(&s->state, &options->device, error);
    /* A block was refused for want of headroom, not of budget. */
    if (status == LEVEE_DOES_NOT_FIT && *binding.limit.name)
        status = headroom_refuse(&binding, "opening the model takes more", error);
    current = s;
    if (status != LEVEE_OK) session_close(s);
    return status;
}

/* What is planned counts as `bytes` from now on. */
static void book_planned(session *s, const uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) {
        ledger_book((levee_category)c, (int64_t)bytes[c] - (int64_t)s->booked_bytes[c]);
        s->booked_bytes[c] = bytes[c];
    }
}

static const uint64_t nothing[LEVEE_CATEGORY_COUNT];

void session_close(session *s) {
    if (current == s) current = NULL;
    book_planned(s, nothing);
    region_close(&s->memory);
    layout_close(&s->lasting);
    if (s->state) s->device->close(s->state);
    tokenizer_close(s->tokens);
    safetensors_close(s->tensors);
    ledger_set_budget(UINT64_MAX);
    memset(s, 0, sizeof *s);
}

levee_status session_restart(session *s, levee_error *error) {
    headroom unused;
    book_planned(s, nothing);
    region_close(&s->memory);
    layout_close(&s->lasting);
    ledger_restart_peaks();
    return limit_opening(s, &unused, error);
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
    status = read_held(&now, error);
    if (status != LEVEE_OK) return status;
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT) - s->promised_bytes;
    s->runtime_bytes = now.held_bytes + library_bytes;
    s->unbooked_bytes = now.held_bytes > booked ? now.held_bytes - booked : s->reserve_bytes;
    return LEVEE_OK;
}

void session_promise(session *s, uint64_t bytes) {
    s->promised_bytes += bytes;
    s->reserve_bytes += bytes;
}

uint64_t session_unplanned_bytes(const session *s) { return s->runtime_bytes + s->reserve_bytes; }

uint64_t session_opening_bytes(const session *s) { return ledger_peak(LEVEE_CATEGORY_COUNT) + s->unbooked_bytes; }

uint64_t session_plan_budget(const session *s) {
    uint64_t taken = session_unplanned_bytes(s);
    return s->budget_bytes > taken ? s->budget_bytes - taken : 0;
}

static void book_arena(session *s, const uint64_t arena_categories[LEVEE_CATEGORY_COUNT]) {
    uint64_t bytes[LEVEE_CATEGORY_COUNT];
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) bytes[c] = s->lasting.category_bytes[c] + arena_categories[c];
    book_planned(s, bytes);
}

levee_status session_resize_memory(session *s, uint64_t arena_bytes,
                                   const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error) {
    uint64_t bytes = s->lasting.total_bytes[SPACE_HOST] + arena_bytes;
    levee_status status = region_take(&s->memory, bytes, s->others_bytes, error);
    if (status == LEVEE_OK) book_arena(s, arena_categories);
    return status;
}

levee_status session_release_memory(session *s, levee_error *error) {
    levee_status status = region_commit(&s->memory, 0, error);
    if (status == LEVEE_OK) book_planned(s, nothing);
    return status;
}

levee_status session_take_memory(session *s, uint64_t most_arena_bytes, uint64_t arena_bytes,
                                 const uint64_t arena_categories[LEVEE_CATEGORY_COUNT], levee_error *error) {
    levee_status status = region_open(&s->memory, s->lasting.total_bytes[SPACE_HOST] + most_arena_bytes, error);
    if (status == LEVEE_OK) status = session_resize_memory(s, arena_bytes, arena_categories, error);
    if (status == LEVEE_OK) status = limit_ledger(s->budget_bytes, error);
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
    char budget[BYTES_TEXT];
    /* In MiB, because 1.3 GiB may be less than what was tried. */
    double smallest = (double)smallest_budget_bytes / 0x1p20;
    return error_set(
        error, LEVEE_DOES_NOT_FIT,
        "the job does not fit --memory %s; the smallest budget that does is %.1f MiB. A smaller --max-seq-length "
        "(the longest sequence has %u tokens), a smaller --rank, fewer --num-layers, --fine-tune-type lora "
        "or --grad-checkpoint auto lower it; levee plan says which do, and how far",
        bytes_format(budget, s->budget_bytes), smallest, longest_tokens);
}
