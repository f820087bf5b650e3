/* A backend with memory of its own, made of the processor's kernels: every value reaches it by a copy that the graph
 * holds, and training on it gives the very bits that training on host memory gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/batch.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "model/parameters.h"
#include "scratch.h"
#include "train/optimizer.h"
#include "train/session.h"

enum { CAPACITY = 40, SEQUENCES = 3, SEQUENCE_TOKENS = 12, STEPS = 4, GUARD_BYTES = 4096, GUARD = 0xA5 };

/* Memory of one space: as many bytes as the plan says, then a guard. */
typedef struct space_memory {
    unsigned char *base;
    uint64_t bytes;
} space_memory;

typedef struct trained {
    graph g;
    layout lasting;
    plan planned;
    executor bound;
    optimizer updates;
    space_memory memory[SPACE_COUNT];
    float losses[STEPS][CAPACITY];
} trained;

/* The device's memory, and what was copied into it and out of it; its kernels know no context. */
static space_memory device_memory;
static uint64_t copies_in, copies_out;
static levee_error error;

static bool on_device(const void *data) {
    const unsigned char *byte = data;
    return byte >= device_memory.base && byte < device_memory.base + device_memory.bytes;
}

static levee_status device_copy(struct backend_state *state, const kernel_call *call, levee_error *failure) {
    bool from = on_device(call->in[0].data), to = on_device(call->out[0].data);
    if (from == to) return LEVEE_INTERNAL;
    copies_in += to;
    copies_out += from;
    return cpu_backend.kernels[OPERATOR_COPY]->run(state, call, failure);
}

static const kernel device_copy_kernel = {.run = device_copy};

static backend make_device(const kernel *kernels[OPERATOR_COUNT]) {
    memcpy(kernels, cpu_backend.kernels, OPERATOR_COUNT * sizeof *kernels);
    kernels[OPERATOR_COPY] = &device_copy_kernel;
    backend device = cpu_backend;
    device.name = "device";
    device.kernels = kernels;
    return device;
}

static const void *find_weight(void *context, const char *name) {
    const session *model = context;
    const tensor_view *view = model_find_tensor(&model->source, name);
    return view ? view->data : NULL;
}

static void succeed(levee_status status) {
    if (status != LEVEE_OK) fail_msg("%s", error.message);
}

static void make_graph(graph *g, session *model, const trainable_set *set, value_space space) {
    graph loss;
    graph_open(&loss, space);
    succeed(model_build_loss(&loss, &model->source, set, &error));
    succeed(graph_differentiate(&loss, &error));
    bool *recompute = ledger_alloc_array(LEVEE_RUNTIME, loss.value_count, sizeof *recompute);
    assert_non_null(recompute);
    for (uint32_t i = 0; i < loss.node_count; i++)
        if (loss.nodes[i].kind == OPERATOR_RMSNORM && loss.nodes[i].layer >= 0)
            recompute[loss.nodes[i].out[0]] = true;
    graph recomputed;
    succeed(graph_recompute(&recomputed, &loss, recompute, &error));
    succeed(graph_insert_copies(g, &recomputed, &error));
    ledger_free(recompute);
    graph_close(&recomputed);
    graph_close(&loss);
}

static void take_memory(trained *t) {
    for (unsigned s = SPACE_HOST; s < SPACE_COUNT; s++) {
        space_memory *memory = &t->memory[s];
        memory->bytes = t->lasting.total_bytes[s] + t->planned.arena_bytes[s];
        if (!memory->bytes) continue;
        memory->base = ledger_alloc(LEVEE_ACTIVATIONS, memory->bytes + GUARD_BYTES);
        assert_non_null(memory->base);
        memset(memory->base + memory->bytes, GUARD, GUARD_BYTES);
    }
}

static void open_training(trained *t, session *model, const backend *device, const trainable_set *set,
                          value_space space) {
    memset(t, 0, sizeof *t);
    make_graph(&t->g, model, set, space);
    succeed(layout_make(&t->lasting, &t->g, true, &error));
    succeed(plan_make(&t->planned, &t->g, &t->lasting, CAPACITY, device->kernels, model->state, &error));
    take_memory(t);
    executor_memory memory = {.weight = find_weight, .weight_context = model};
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        memory.base[s] = t->memory[s].base;
        memory.bytes[s] = t->memory[s].bytes;
    }
    succeed(executor_bind(&t->bound, &t->planned, t->planned.g.node_count, device->kernels, model->state, &memory,
                          &error));
    optimizer_settings settings = {.beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .epsilon = 1e-8,
                                   .weight_decay = 0.01,
                                   .bias_correction = true,
                                   .max_gradient_norm = 1.0};
    optimizer_open(&t->updates, &settings, &t->lasting, t->memory[space].base, device, model->state);
}

static void close_training(trained *t) {
    executor_close(&t->bound);
    plan_close(&t->planned);
    layout_close(&t->lasting);
    graph_close(&t->g);
    for (unsigned s = 0; s < SPACE_COUNT; s++) {
        if (!t->memory[s].base) continue;
        for (unsigned i = 0; i < GUARD_BYTES; i++) assert_int_equal(t->memory[s].base[t->memory[s].bytes + i], GUARD);
        ledger_free(t->memory[s].base);
    }
}

static void *find_input(const trained *t, const char *name) {
    value_id v = plan_find(&t->planned, name);
    return v == NO_VALUE ? NULL : executor_data(&t->bound, v);
}

static void fill_batch(const trained *t, uint32_t step) {
    batch filled = {.capacity = CAPACITY,
                    .ids = find_input(t, VALUE_IDS),
                    .labels = find_input(t, VALUE_LABELS),
                    .positions = find_input(t, VALUE_POSITIONS),
                    .starts = find_input(t, VALUE_STARTS),
                    .examples = find_input(t, VALUE_EXAMPLES)};
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        uint32_t ids[SEQUENCE_TOKENS];
        for (uint32_t i = 0; i < SEQUENCE_TOKENS; i++) ids[i] = (7 * i + 31 * s + 3 * step) % 250;
        assert_true(batch_add(&filled, ids, NULL, SEQUENCE_TOKENS - s, s));
    }
}

static void train(trained *t) {
    for (uint32_t step = 0; step < STEPS; step++) {
        fill_batch(t, step);
        uint32_t tokens = SEQUENCES * (SEQUENCE_TOKENS - 1) - (SEQUENCES - 1) * SEQUENCES / 2;
        pass_scalars pass = {.tokens = tokens, .loss_scale = 1.0f / (float)tokens, .seed = 5, .step = step};
        succeed(executor_run(&t->bound, &pass, &(gradient_progress){0}, &error));
        memcpy(t->losses[step], find_input(t, VALUE_LOSSES), tokens * sizeof(float));
        double norm;
        bool applied;
        succeed(optimizer_update(&t->updates, 1e-2, (double)t->losses[step][0], &norm, &applied, &error));
        assert_true(applied && norm > 0);
    }
}

/* Every operator but the copies sees the device's memory only. */
static void check_reach(const trained *t) {
    for (uint32_t i = 0; i < t->bound.count; i++) {
        const instruction *bound = &t->bound.instructions[i];
        if (bound->kind == OPERATOR_COPY) continue;
        for (unsigned k = 0; k < KERNEL_INPUTS; k++)
            if (bound->call.in[k].data) assert_true(on_device(bound->call.in[k].data));
        for (unsigned k = 0; k < KERNEL_OUTPUTS; k++)
            if (bound->call.out[k].data) assert_true(on_device(bound->call.out[k].data));
        if (bound->call.scratch) assert_true(on_device(bound->call.scratch));
    }
}

/* What a host does before the first step: parameters and constants go where each space's layout has them. */
static void start_from(trained *to, const trained *from) {
    memcpy(to->updates.parameters, from->updates.parameters, from->lasting.parameters_bytes);
    const layout_entry *read = layout_find(&from->lasting, VALUE_FREQUENCIES);
    const layout_entry *written = layout_find(&to->lasting, VALUE_FREQUENCIES);
    assert_int_equal(written->space, SPACE_HOST);
    memcpy(to->memory[SPACE_HOST].base + written->offset, from->memory[SPACE_HOST].base + read->offset, read->bytes);
}

static void compare(session *model, const trainable_set *set) {
    const kernel *kernels[OPERATOR_COUNT];
    backend device = make_device(kernels);
    trained host, other;
    open_training(&host, model, &cpu_backend, set, SPACE_HOST);
    open_training(&other, model, &device, set, SPACE_DEVICE);
    assert_int_equal(host.planned.arena_bytes[SPACE_DEVICE], 0);
    assert_true(other.planned.arena_bytes[SPACE_DEVICE] > 0);
    assert_int_equal(host.lasting.parameters_bytes, other.lasting.parameters_bytes);
    device_memory = other.memory[SPACE_DEVICE];
    copies_in = copies_out = 0;
    check_reach(&other);
    succeed(parameters_initialise(&model->source, &host.lasting, host.memory[SPACE_HOST].base, 3, &error));
    start_from(&other, &host);
    train(&host);
    train(&other);
    assert_true(copies_in > 0);
    assert_int_equal(copies_out, STEPS);
    assert_true(host.losses[STEPS - 1][0] != host.losses[0][0]);
    assert_memory_equal(host.losses, other.losses, sizeof host.losses);
    assert_memory_equal(host.updates.parameters, other.updates.parameters, host.lasting.parameters_bytes);
    assert_memory_equal(host.updates.second_moments, other.updates.second_moments, host.lasting.parameters_bytes);
    close_training(&host);
    close_training(&other);
}

static void compare_types(void **state) {
    char directory[FILE_PATH_BYTES];
    assert_true(file_join(directory, *state, "model"));
    levee_shape shape = {.hidden_size = 32, .intermediate_size = 48, .layers = 3, .heads = 4, .kv_heads = 2};
    succeed(levee_init(directory, &shape, 9, &error));
    session model;
    session_options options = {
        .model_directory = directory, .budget_bytes = 1ull << 30, .device = {.threads = 2, .compute = COMPUTE_F32}};
    succeed(session_open(&model, &options, false, &error));
    trainable_set lora = {.type = FINE_TUNE_LORA, .last_layers = 2, .rank = 4, .scale = 2, .dropout = 0.25f};
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) lora.projections[p] = true;
    trainable_set full = {.type = FINE_TUNE_FULL, .last_layers = UINT32_MAX},
                  last = {.type = FINE_TUNE_FULL, .last_layers = 1};
    trainable_set head = {.type = FINE_TUNE_HEAD};
    compare(&model, &lora);
    lora.type = FINE_TUNE_DORA;
    compare(&model, &lora);
    compare(&model, &full);
    compare(&model, &last);
    compare(&model, &head);
    session_close(&model);
}

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(compare_types, scratch_setup, scratch_teardown)};
    return cmocka_run_group_tests_name("graph placement", tests, NULL, NULL);
}
