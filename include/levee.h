/* Levee: fine-tune a language model inside a memory budget that holds.
 *
 * Words. The memory budget is the most bytes the process may hold that the kernel cannot drop (anonymous, shared and
 * pinned memory; mapped model files are not counted). A plan assigns every byte of a run before the run. The ledger
 * books what is taken, by category. A step is one optimizer step.
 *
 * Ownership. Options are plain data owned by the caller; strings in them must outlive the call. Callbacks receive
 * pointers that are valid during the call only.
 * Threading. One run at a time in a process, called from one thread; OpenMP threads are the library's own.
 * Errors. Every call returns a levee_status; on failure the levee_error holds one line that names the file, the place
 * and the remedy. The library never prints, exits or aborts. */
#ifndef LEVEE_H
#define LEVEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LEVEE_VERSION "0.1.0"

/* The values are the exit codes of the command line. */
typedef enum levee_status {
    LEVEE_OK = 0,
    LEVEE_USAGE = 2,           /* an option or a configuration key is wrong */
    LEVEE_BAD_DATA = 65,       /* a file is there, but its content cannot be used */
    LEVEE_MISSING_INPUT = 66,  /* a file is not there or cannot be read */
    LEVEE_DOES_NOT_FIT = 69,   /* the job, or one allocation, does not fit the budget */
    LEVEE_INTERNAL = 70,       /* a promise of ours was broken */
    LEVEE_IO_ERROR = 74,       /* writing or reading failed half-way */
    LEVEE_STOPPED = 75,        /* stopped early; what was saved can be resumed */
} levee_status;

enum { LEVEE_ERROR_BYTES = 1024 };

typedef struct levee_error {
    levee_status status;
    char message[LEVEE_ERROR_BYTES];
} levee_error;

/* What a byte is for. */
typedef enum levee_category {
    LEVEE_WEIGHTS,      /* frozen parameters held in memory (a mapped file is not held) */
    LEVEE_TRAINABLE,    /* parameters that train */
    LEVEE_GRADIENTS,
    LEVEE_OPTIMIZER,    /* moments */
    LEVEE_ACTIVATIONS,
    LEVEE_WORKSPACE,    /* scratch of the running operator */
    LEVEE_DATA,         /* token batches, indices */
    LEVEE_TOKENIZER,
    LEVEE_IO,           /* buffers between us and files */
    LEVEE_RUNTIME,      /* code, stacks, libraries, bookkeeping */
    LEVEE_CATEGORY_COUNT
} levee_category;

/* The lower-case name of a category, as printed; "total" for LEVEE_CATEGORY_COUNT. */
const char *levee_category_name(levee_category category);

#ifdef __cplusplus
}
#endif

#endif
