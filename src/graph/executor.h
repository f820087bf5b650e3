/* The executor: a plan bound to addresses as a flat list of instructions, run without a decision or an allocation.
 *
 * Addresses are static: they are fixed when the plan is bound, and a pass only walks the list. */
#ifndef LEVEE_GRAPH_EXECUTOR_H
#define LEVEE_GRAPH_EXECUTOR_H

#include "graph/plan.h"

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
    uint32_t count;
    pass_scalars pass; /* of the running pass: the calls point here */
} executor;

/* Binds a plan to memory and has the backend prepare each operator. The plan, the state and the memory must outlive
 * the executor. executor_close frees, and accepts a zeroed executor. The executor must not move while it is bound. */
levee_status executor_bind(executor *e, const plan *planned, kernel_table kernels, struct backend_state *state,
                           const executor_memory *memory, levee_error *error);
void executor_close(executor *e);

/* What binding a plan will allocate (category `runtime`), to be counted before it is bound. */
uint64_t executor_bytes(const plan *planned);

/* The bytes of a value; valid between executor_bind and executor_close. */
void *executor_data(const executor *e, value_id v);

/* One pass. Under AddressSanitizer, whatever the running operator did not declare is poisoned meanwhile. */
levee_status executor_run(executor *e, const pass_scalars *pass, levee_error *error);

#endif
