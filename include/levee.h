/* Levee: fine-tune a language model inside a memory budget that holds.
 *
 * Words. The memory budget is the most bytes the process may hold that the kernel cannot drop (anonymous, shared and
 * pinned memory; mapped model files are not counted). A plan assigns every byte of a run before the run. The ledger
 * books what is taken, by category. A step is one optimizer step.
 *
 * Ownership. Options are plain data owned by the caller; strings in them must outlive the call. Callbacks receive
 * pointers that are valid during the call only.
 * Threading. One run at a time in a process, called from one thread; OpenMP threads are the library's own. Start the process
 * with OMP_WAIT_POLICY=passive where anything else runs beside it: waiting threads that spin slow both down.
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
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define LEVEE_VERSION "0.1.0"

/* The values are the exit codes of the command line. */
typedef enum levee_status {
    LEVEE_OK = 0,
    LEVEE_USAGE = 2,          /* an option or a configuration key is wrong */
    LEVEE_BAD_DATA = 65,      /* a file is there, but its content cannot be used */
    LEVEE_MISSING_INPUT = 66, /* a file is not there or cannot be read */
    LEVEE_DOES_NOT_FIT = 69,  /* the job, or one allocation, does not fit the budget */
    LEVEE_INTERNAL = 70,      /* a promise of ours was broken */
    LEVEE_IO_ERROR = 74,      /* writing or reading failed half-way */
    LEVEE_STOPPED = 75,       /* stopped early; what was saved can be resumed */
} levee_status;

enum { LEVEE_ERROR_BYTES = 1024 };

typedef struct levee_error {
    levee_status status;
    char message[LEVEE_ERROR_BYTES];
} levee_error;

/* What a byte is for. */
typedef enum levee_category {
    LEVEE_WEIGHTS,   /* frozen parameters held in memory (a mapped file is not held) */
    LEVEE_TRAINABLE, /* parameters that train */
    LEVEE_GRADIENTS,
    LEVEE_OPTIMIZER, /* moments */
    LEVEE_ACTIVATIONS,
    LEVEE_WORKSPACE, /* scratch of the running operator */
    LEVEE_DATA,      /* token batches, indices */
    LEVEE_TOKENIZER,
    LEVEE_IO,      /* buffers between us and files */
    LEVEE_RUNTIME, /* code, stacks, libraries, bookkeeping */
    LEVEE_CATEGORY_COUNT
} levee_category;

/* The lower-case name of a category, as printed; "total" for LEVEE_CATEGORY_COUNT. */
const char *levee_category_name(levee_category category);

/* The options of a run, by the names of mlx_lm.lora where it has one. */
typedef struct levee_options levee_options;

/* Options at their defaults; NULL when memory is refused. Freed by levee_options_free, which accepts NULL. */
levee_options *levee_options_create(void);
void levee_options_free(levee_options *options);

/* Sets one option: key as on the command line ("batch-size") or in YAML ("batch_size", "lora_parameters.rank"). */
levee_status levee_options_set(levee_options *options, const char *key, const char *value, levee_error *error);

/* Sets the options that a YAML file gives. */
levee_status levee_options_read(levee_options *options, const char *path, levee_error *error);

/* The table of options, for help texts: key, and a line about it (NULL for what is accepted and does nothing). */
unsigned levee_option_count(void);
const char *levee_option_key(unsigned index);
const char *levee_option_help(unsigned index);

/* Receives what a run has to say, a line (or several, separated by newlines) at a time. */
typedef void levee_print(void *context, const char *text);

/* Call first, once, before other threads start and before any other call: sets the allocator and the
 * JSON library's memory so that a budget can be kept. */
void levee_prepare(void);

/* Trains. Writes the result, metrics.jsonl and config.yaml into the adapter path. */
levee_status levee_train(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* What can be asked of a training that runs, from any thread and from a signal handler. It answers at its next safe point:
 * between two operators, or (grow) between two passes. The training itself stays the same: the examples of a pass that was
 * cut short are done again, and what they had added is not added twice. */
typedef enum levee_request_kind {
    LEVEE_REQUEST_SHRINK, /* go on with the next smaller plan, and give the difference back to the machine */
    LEVEE_REQUEST_GROW,   /* take the next larger plan again, if the machine has the memory */
    LEVEE_REQUEST_STOP,   /* abandon the step and return LEVEE_STOPPED */
} levee_request_kind;

void levee_request(levee_request_kind kind);

/* Prints loss and perplexity on the test split (or valid, or train, whichever is there first). */
levee_status levee_eval(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Continues the prompt greedily; prints the text. */
levee_status levee_generate(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* The shape of a new, untrained model. */
typedef struct levee_shape {
    unsigned hidden_size, intermediate_size, layers, heads, kv_heads;
} levee_shape;

/* Writes a Llama model directory of random f32 weights, with a byte-level tokenizer of 256 bytes and two special
 * tokens. A directory that holds a model already is refused. */
levee_status levee_init(const char *directory, const levee_shape *shape, uint64_t seed, levee_error *error);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
