/* Running a plan: see executor.h. */
#include "graph/executor.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "platform/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON_UNDECLARED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_UNDECLARED 1
#endif
#endif

#ifdef POISON_UNDECLARED
#include <sanitizer/asan_interface.h>

static void poison_spaces(const executor *e) {
    for (unsigned s = 0; s < SPACE_COUNT; s++)
        if (e->memory.base[s]) ASAN_POISON_MEMORY_REGION(e->memory.base[s], e->memory.bytes[s]);
}

static void unpoison_spaces(const executor *e) {
    for (unsigned s = 0; s < SPACE_COUNT; s++)
        if (e->memory.base[s]) ASAN_UNPOISON_MEMORY_REGION(e->memory.base[s], e->memory.bytes[s]);
}

static void unpoison_buffer(const kernel_buffer *buffer) {
    if (buffer->data)
        ASAN_UNPOISON_MEMORY_REGION(buffer->data, dtype_bytes(buffer->type, buffer->rows * buffer->cols));
}

static void unpoison_declared(const kernel_call *call) {
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) unpoison_buffer(&call->in[i]);
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) unpoison_buffer(&call->out[i]);
    if (call->scratch) ASAN_UNPOISON_MEMORY_REGION(call->scratch, call->scratch_bytes);
}
#else
static void poison_spaces(const executor *e) { (void)e; }
static void unpoison_spaces(const executor *e) { (void)e; }
static void unpoison_declared(const kernel_call *call) { (void)call; }
#endif

uint64_t executor_bytes(uint32_t most_operators) { return ((uint64_t)most_operators + 1) * sizeof(instruction); }

void *executor_data(const executor *e, value_id v) {
    const value *described = &e->planned->g.values[v];
    if (described->space != SPACE_MAPPED) return e->memory.base[described->space] + e->planned->offsets[v];
    /* Kernels take untyped buffers; a weight is never an output, which executor_bind checks. */
    union {
        const void *source;
        void *data;
    } bytes = {.source = e->memory.weight(e->memory.weight_context, described->name)};
    return bytes.data;
}

static levee_status bind_instruction(executor *e, uint32_t index, kernel_table kernels, levee_error *error) {
    const plan *p = e->planned;
    const node *n = &p->g.nodes[index];
    instruction *bound = &e->instructions[index];
    *bound = (instruction){.kernel = kernels[n->kind], .kind = n->kind, .layer = n->layer};
    plan_describe_call(&bound->call, &p->g, n, p->capacity_tokens);
    levee_status status = bound->kernel->prepare ? bound->kernel->prepare(e->state, &bound->call, error) : LEVEE_OK;
    if (status != LEVEE_OK) return error_context(error, "preparing %s", operator_name(n->kind));
    for (unsigned i = 0; i < KERNEL_INPUTS; i++) {
        if (n->in[i] == NO_VALUE) continue;
        bound->call.in[i].data = executor_data(e, n->in[i]);
        if (!bound->call.in[i].data)
            return error_set(error, LEVEE_INTERNAL, "the model's files hold no tensor %s",
                             p->g.values[n->in[i]].name);
    }
    for (unsigned i = 0; i < KERNEL_OUTPUTS; i++) {
        if (n->out[i] == NO_VALUE) continue;
        if (p->g.values[n->out[i]].space == SPACE_MAPPED)
            return error_set(error, LEVEE_INTERNAL, "%s would write into the model's file", operator_name(n->kind));
        bound->call.out[i].data = executor_data(e, n->out[i]);
    }
    bound->call.scratch_bytes = p->scratch_bytes[index];
    if (bound->call.scratch_bytes)
        bound->call.scratch = e->memory.base[p->g.compute_space] + p->scratch_offsets[index];
    bound->call.pass = &e->pass;
    return LEVEE_OK;
}

levee_status executor_rebind(executor *e, const plan *planned, kernel_table kernels, levee_error *error) {
    levee_status status = LEVEE_OK;
    e->planned = planned;
    e->count = planned->g.node_count;
    if (e->count > e->capacity)
        return error_set(error, LEVEE_INTERNAL, "a plan of %u operators in a list for %u", e->count, e->capacity);
    for (uint32_t i = 0; status == LEVEE_OK && i < e->count; i++) status = bind_instruction(e, i, kernels, error);
    return status;
}

levee_status executor_bind(executor *e, const plan *planned, uint32_t most_operators, kernel_table kernels,
                           struct backend_state *state, const executor_memory *memory, levee_error *error) {
    *e = (executor){.state = state, .memory = *memory, .capacity = most_operators};
    e->instructions = ledger_alloc(LEVEE_RUNTIME, executor_bytes(most_operators));
    levee_status status = e->instructions
                              ? executor_rebind(e, planned, kernels, error)
                              : error_out_of_memory(error, "the instruction list", executor_bytes(most_operators));
    if (status != LEVEE_OK) executor_close(e);
    return status;
}

void executor_close(executor *e) {
    ledger_free(e->instructions);
    memset(e, 0, sizeof *e);
}

static bool adds_gradients(const instruction *i) {
    for (unsigned k = 0; k < KERNEL_OUTPUTS; k++)
        if (i->call.out[k].present && operator_accumulates(i->kind, k)) return true;
    return false;
}

/* An operator whose gradients were added already: what else it writes is still needed. */
static levee_status run_without_gradients(const executor *e, const instruction *i, levee_error *error) {
    kernel_call call = i->call;
    bool needed = false;
    for (unsigned k = 0; k < KERNEL_OUTPUTS; k++) {
        if (operator_accumulates(i->kind, k))
            call.out[k] = (kernel_buffer){0};
        else
            needed = needed || call.out[k].present;
    }
    return needed ? i->kernel->run(e->state, &call, error) : LEVEE_OK;
}

static levee_status run_instruction(const executor *e, uint32_t index, bool without_gradients, levee_error *error) {
    const instruction *next = &e->instructions[index];
    double began = e->measured ? machine_seconds() : 0;
    levee_status status =
        without_gradients ? run_without_gradients(e, next, error) : next->kernel->run(e->state, &next->call, error);
    if (e->measured && status == LEVEE_OK)
        profile_note(e->measured, &e->planned->g, &e->planned->g.nodes[index], e->pass.tokens, began,
                     machine_seconds());
    return status;
}

levee_status executor_run(executor *e, const pass_scalars *pass, gradient_progress *progress, levee_error *error) {
    if (pass->tokens > e->planned->capacity_tokens)
        return error_set(error, LEVEE_INTERNAL, "%u tokens in a plan for %u", pass->tokens,
                         e->planned->capacity_tokens);
    e->pass = *pass;
    e->pass.interrupt = e->interrupt;
    e->pass.interrupt_context = e->interrupt_context;
    levee_status status = LEVEE_OK;
    gradient_progress before = *progress, seen = 0;
    if (e->measured) profile_begin_pass(e->measured);
    poison_spaces(e);
    for (uint32_t i = 0; i < e->count && status == LEVEE_OK; i++) {
        const instruction *next = &e->instructions[i];
        bool adds = adds_gradients(next);
        unpoison_declared(&next->call);
        if (pass_is_interrupted(&e->pass))
            status = LEVEE_STOPPED;
        else
            status = run_instruction(e, i, adds && seen < before, error);
        if (status == LEVEE_STOPPED)
            *progress = seen > before ? seen : before;
        else if (status != LEVEE_OK)
            error_context(error, "%s of layer %d", operator_name(next->kind), (int)next->layer);
        seen += adds;
        poison_spaces(e);
    }
    unpoison_spaces(e);
    return status;
}
