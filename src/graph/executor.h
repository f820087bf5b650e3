/* The executor: a plan bound to addresses as a flat list of instructions, run without a decision or an allocation.
 *
 * Addresses are static: they are fixed when the plan is bound, and a pass only walks the list. */
#ifndef LEVEE_GRAPH_EXECUTOR_H
#define LEVEE_GRAPH_EXECUTOR_H

#include "graph/plan.h"
#include "graph/profile.h"

/* Where the values are. */
typedef struct executor_memory {
    unsigned char *base[SPACE_COUNT]; /* of each space in use; NULL for the others */
    uint64_t bytes[SPACE_COUNT];
    /* Finds the bytes of a mapped weight by the value's name; NULL when there is none. */
    const void *(*weight)(void *context, const char *name);
    void *weight_context;
} executor_memory;

typedef struct instruction {
    const kernel *kernel;
    kernel_call call;
    operator_kind kind;
    int32_t layer;
} instruction;

typedef struct executor {
    const plan *planned;
    struct backend_state *state;
    executor_memory memory;
    instruction *instructions;
    uint32_t count, capacity;
    pass_scalars pass;                /* of the running pass: the calls point here */
    bool (*interrupt)(void *context); /* asked before each operator, and by long ones meanwhile; NULL: never */
    void *interrupt_context;
    profile *measured; /* told of each operator that has run; NULL: nobody */
} executor;

/* Binds a plan to memory and has the backend prepare each operator; the list has room for `most_operators`, of this
 * plan and those that will be bound in its place. The plan, the state and the memory must outlive the executor.
 * executor_close frees, and accepts a zeroed executor. The executor must not move while it is bound. */
levee_status executor_bind(executor *e, const plan *planned, uint32_t most_operators, kernel_table kernels,
                           struct backend_state *state, const executor_memory *memory, levee_error *error);

/* Binds another plan of the same graph in place of the bound one, in the same list: allocates nothing. */
levee_status executor_rebind(executor *e, const plan *planned, kernel_table kernels, levee_error *error);
void executor_close(executor *e);

/* What a list for so many operators will take (category `runtime`), to be counted before a plan is bound. */
uint64_t executor_bytes(uint32_t most_operators);

/* The bytes of a value; valid between executor_bind and executor_close. */
void *executor_data(const executor *e, value_id v);

/* How far an interrupted pass came: so many operators had added their gradients. Those operators stand in the same
 * order in every plan of a graph, whatever it recomputes, so the number means the same in another plan. */
typedef uint32_t gradient_progress;

/* One pass. Under AddressSanitizer, whatever the running operator did not declare is poisoned meanwhile.
 *
 * When e->interrupt says so the pass stops before its next operator, or in one: the result is LEVEE_STOPPED, without
 * a message, and *progress what was added. The same examples are then to be run again, whole or in parts, with that
 * progress given: what was added is not added again. A pass that ends leaves *progress as it was; 0 is a pass from
 * the start.
 */
levee_status executor_run(executor *e, const pass_scalars *pass, gradient_progress *progress, levee_error *error);

#endif
