/* Levee: fine-tune a language model inside a memory budget that holds.
 *
 * Words. The memory budget is the most bytes the process may hold that the kernel cannot drop (anonymous, shared and
 * pinned memory; mapped model files are not counted). A plan assigns every byte of a run before the run. The ledger
 * books what is taken, by category. A step is one optimizer step.
 *
 * Ownership. Options are plain data owned by the caller; strings in them must outlive the call. Callbacks receive
 * pointers that are valid during the call only.
 * Threading. One run at a time in a process, called from one thread; OpenMP threads are the library's own. Start the
 * process with OMP_WAIT_POLICY=passive where anything else runs beside it: waiting threads that spin slow both down.
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

/* Gives the next thing that a user says, which lasts until it is asked again; NULL at the end. */
typedef const char *levee_ask(void *context);

/* Says where the turns of a conversation come from, for levee_generate. */
void levee_options_ask(levee_options *options, levee_ask *ask, void *context);

/* How far a training is, at the end of a step. */
typedef struct levee_progress {
    uint64_t step, steps; /* finished; of the whole run */
    double loss, tokens_per_second, seconds_left;
    uint64_t held_bytes; /* or LEVEE_UNKNOWN_BYTES */
    uint64_t planned_bytes, budget_bytes;
    const char *guard; /* what the guard says of memory: "green", "yellow", "orange", "red", "black"; "off" */
} levee_progress;

/* Shows it, on the thread that trains, which waits meanwhile. */
typedef void levee_show(void *context, const levee_progress *progress);

/* Has levee_train show each step, and no longer print lines of progress; all else it prints as before. */
void levee_options_show_progress(levee_options *options, levee_show *show, void *context);

/* The table of options, for help texts: key, a line about it (NULL for what is accepted and does nothing), and the
 * verbs that alone have it, as "plan, doctor and inspect" (NULL for an option of a run, which every verb takes). */
unsigned levee_option_count(void);
const char *levee_option_key(unsigned index);
const char *levee_option_help(unsigned index);
const char *levee_option_verbs(unsigned index);

/* Whether an option is true or false, and true when it is given without a value. */
bool levee_option_is_flag(unsigned index);

/* Receives what a run has to say, a line (or several, separated by newlines) at a time. */
typedef void levee_print(void *context, const char *text);

/* Call first, once, before other threads start and before any other call: sets the allocator and the
 * JSON library's memory so that a budget can be kept. */
void levee_prepare(void);

/* Volunteers this process: when memory runs out in spite of everything, the kernel ends it before any other here (its
 * oom_score_adj becomes 1000, for children too). The command line does so at its start; a program that has more to
 * lose than a training run should not. A negative oom_score_adj, which somebody chose to protect the process, stays.
 */
levee_status levee_volunteer(levee_error *error);

/* Trains. Writes the result, checkpoints and all that is told of the run (docs/monitoring.md) into the adapter path.
 * LEVEE_STOPPED when it was stopped and can be gone on with (option resume). */
levee_status levee_train(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Says whether the training that the options describe fits, and how, without running any of it: reads the headers of
 * the model's files (config.json alone will do), the lengths of the data's rows when data are given, and plans as
 * levee_train does. Prints the answer, or (option json) one JSON object; draws it into a file (option curve), and
 * writes nothing else. LEVEE_DOES_NOT_FIT, with the answer printed all the same, when it does not fit. */
levee_status levee_plan(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Finds the micro-batch that is safe and fast, by trying: of 1, 2, 4, ... sequences a pass, and the most that fits,
 * each runs some real steps of the training that the options describe (option probe_steps), guarded, and gives its
 * memory back. It ends at the budget, at a leak, when memory gets short, or when larger sizes are not faster. Prints
 * a line a size; writes the options that were found (option probe_file), for levee_train, and a picture beside them;
 * nothing of what was trained. LEVEE_STOPPED when it was asked to stop, with what was found till then written, or
 * when no size is known to be safe, with nothing written. */
levee_status levee_probe(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Says what this machine offers a run and what could hurt it or its neighbours: memory, swap, control groups, the
 * kernel's ways with memory, who is ended when it runs out, processor, threads, GPU, and the disk under the adapter
 * path (where a MiB is written for trial, and removed). Each line is good, look or bad, with a remedy where it is not
 * good; what cannot be read is unknown, and never good. Of the options it takes adapter_path, reserve, threads, json
 * (one object) and calibrate, which measures how fast the machine is for some seconds and stores that below
 * XDG_CACHE_HOME or ~/.cache, where levee_plan looks for it. Needs no model. LEVEE_DOES_NOT_FIT, with everything
 * printed all the same, when something is bad: a training would then be refused or ended, or could not store its
 * result. */
levee_status levee_doctor(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* What can be asked of a training that runs, from any thread. A signal handler may ask too, but it must not run on a
 * thread that computes: block the signal there and wait for it in a thread of its own, because code that oneDNN
 * generates uses the stack pointer for its own ends. The training answers at its next safe point: between two
 * operators, or (grow) between two passes. It stays the same training: the examples of a pass that was cut short are
 * done again, and what they had added is not added twice. */
typedef enum levee_request_kind {
    LEVEE_REQUEST_SHRINK, /* go on with the next smaller plan, and give the difference back to the machine */
    LEVEE_REQUEST_GROW,   /* take the next larger plan again, if the machine has the memory */
    LEVEE_REQUEST_STOP,   /* abandon the step, store where the training stands and return LEVEE_STOPPED */
    /* These are answered between two steps: */
    LEVEE_REQUEST_PAUSE,      /* store where it stands, give all memory of the plans back, and wait */
    LEVEE_REQUEST_RESUME,     /* take the memory again, when there is room for it, and go on */
    LEVEE_REQUEST_CHECKPOINT, /* store where it stands, and go on */
} levee_request_kind;

void levee_request(levee_request_kind kind);

/* Prints loss and perplexity on the test split (or valid, or train, whichever is there first). */
levee_status levee_eval(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Continues the prompt; prints the text in pieces as it comes, each going on where the one before ended, and a
 * newline at the end. With option chat the prompt is what a user says, and the text the answer; without a prompt it
 * holds a conversation, asking for turns (levee_options_ask) until there are none. */
levee_status levee_generate(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Writes the model for other programs into a new place (option save_path), with the adapter of adapter_path, if that
 * was set, merged into it: as a Hugging Face directory (option format: hf; or mlx, for mlx-lm), or as a GGUF
 * file; or (option adapter_only) the adapter in PEFT's or mlx-lm's format. Reads adapters of both. Row by row: beside
 * what is mapped it takes the two matrices of one projection. LEVEE_USAGE when something is at the new place. */
levee_status levee_export(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Shows the rows of a file (option data), or one text (option prompt), as a training would read them: prints one JSON
 * object a row, {"rendered": the text after the chat template, "ids": its tokens, "loss_mask": 1 for each that counts
 * in the loss, else 0, "text": the tokens as text}; or (option colour) the text, coloured where it counts. A row that
 * cannot be used gives {"error": "..."} in its place, and LEVEE_BAD_DATA at the end. */
levee_status levee_tokenize(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* Says what is in the files of a model or an adapter (option model: its directory), or in one .safetensors or .gguf
 * file: each tensor with type, shape, parameters and bytes, their sums, and what the configuration says; or (option
 * json) one JSON object. Reads headers only. A configuration that cannot be used is told of, and the tensors are
 * shown all the same. */
levee_status levee_inspect(const levee_options *options, levee_print *print, void *context, levee_error *error);

/* What is kept only because it may be of use again. */
typedef enum levee_cache {
    LEVEE_CACHE_ALLOCATOR, /* memory that was freed, and not yet given back to the kernel */
    LEVEE_CACHE_TOKENIZER, /* what matching patterns took, where they are not matched by code made for them */
    LEVEE_CACHE_COUNT
} levee_cache;

/* The lower-case name of a cache, for messages. */
const char *levee_cache_name(levee_cache cache);

/* A number of bytes that could not be read; it is not zero. */
#define LEVEE_UNKNOWN_BYTES UINT64_MAX

/* By how much the kernel's count of what this process holds fell as each cache was emptied, or LEVEE_UNKNOWN_BYTES.
 */
typedef struct levee_trimmed {
    uint64_t bytes[LEVEE_CACHE_COUNT];
} levee_trimmed;

/* Empties all caches, and says what each gave back (NULL: nobody asks). Before and after a run, and during one from
 * the thread that runs it, in its print callback: it takes nothing that the run needs, and changes no result. */
void levee_trim(levee_trimmed *given_back);

/* The guard, for a training loop of one's own: it looks at the memory of this process, its control groups and the
 * machine, and says what to do. What it says is carried out by the caller, who asks again until there is nothing to
 * do. */
typedef struct levee_guard levee_guard;

typedef enum levee_action {
    LEVEE_GO_ON,
    LEVEE_EMPTY_CACHES,  /* give back what is kept only because it may be of use again */
    LEVEE_USE_LESS,      /* go on in the next smaller way of working: half of the micro-batch, say */
    LEVEE_USE_MORE,      /* the next larger one may be tried again */
    LEVEE_PAUSE,         /* save, give everything back, and ask once a second until it says resume */
    LEVEE_RESUME,        /* take it again, and go on */
    LEVEE_SAVE_AND_STOP, /* save and end: what leaked comes back only with the process */
} levee_action;

enum { LEVEE_MOST_WAYS = 8, LEVEE_REASON_BYTES = 512 };

/* Zeroed: no budget, the usual reserve, one way of working whose size is not known, no pauses. */
typedef struct levee_guard_settings {
    uint64_t budget_bytes;               /* that this process may hold; 0: no such limit */
    uint64_t reserve_bytes;              /* of the machine, for others; 0: the usual one */
    unsigned ways;                       /* of working, from the largest, number 0, to the smallest */
    uint64_t way_bytes[LEVEE_MOST_WAYS]; /* that the process is expected to hold with each; 0: not known */
    bool can_pause;                      /* else it is told to stop where it would pause */
    double cool_down_seconds;            /* of calm before it says to use more; 0: the usual ones */
} levee_guard_settings;

/* What the caller is at. */
typedef struct levee_guard_place {
    uint64_t steps; /* finished so far */
    unsigned way;   /* in use */
    bool paused;
    bool refused; /* since the last answer memory was asked for and not to be had */
} levee_guard_place;

typedef struct levee_advice {
    levee_action action;
    char reason[LEVEE_REASON_BYTES]; /* one line for people; empty when it goes on */
    bool leak_suspected, leak_confirmed;
    /* Growth of memory a step since it is suspected, with its 95 % interval; 0 when it is not. */
    double leak_bytes, leak_bytes_low, leak_bytes_high;
} levee_advice;

/* Opens the meters, which takes some 30 KiB; nothing is allocated afterwards. Freed by levee_guard_close, which
 * accepts NULL. A guard belongs to one thread. */
levee_status levee_guard_open(levee_guard **guard, const levee_guard_settings *settings, levee_error *error);
void levee_guard_close(levee_guard *guard);

/* Ask at the end of each step, when nothing of it is held any more; takes about a tenth of a millisecond. */
void levee_guard_ask(levee_guard *guard, const levee_guard_place *place, levee_advice *advice);

/* The options of watch: texts and numbers by key, "step-pattern" or "memory"; levee watch --help lists them. */
typedef struct levee_watch_options levee_watch_options;

/* Options at their defaults; NULL when memory is refused. Freed by levee_watch_options_free, which accepts NULL. */
levee_watch_options *levee_watch_options_create(void);
void levee_watch_options_free(levee_watch_options *options);

/* Sets one option; the value is copied. A flag has the value "". */
levee_status levee_watch_options_set(levee_watch_options *options, const char *key, const char *value,
                                     levee_error *error);

/* Gives the next thing that a user says, which lasts until it is asked again; NULL at the end. */
typedef const char *levee_ask(void *context);

/* Says where the turns of a conversation come from, for levee_generate. */
void levee_options_ask(levee_options *options, levee_ask *ask, void *context);

/* The table of options, for help texts; and does an option take no value? */
unsigned levee_watch_option_count(void);
const char *levee_watch_option_key(unsigned index);
const char *levee_watch_option_help(unsigned index);
bool levee_watch_option_is_flag(const char *key);

/* Runs a command, arguments[0] with its arguments up to a NULL, and guards the memory of all its processes: tells of
 * leaks and pressure, and stops the command when nothing else helps. Returns when the command has ended; *exit_code
 * is then what the caller should exit with: the command's own, 128 and the number of the signal that ended it, 127
 * when it is not found, 126 when it cannot be run, LEVEE_STOPPED when it was stopped.
 *
 * For a program that does nothing else meanwhile: this process becomes the one that orphans of the command fall to,
 * its signals are awaited, and all its children are waited for. levee_prepare need not be called, and had better not
 * be: what it sets is inherited by the command. */
levee_status levee_watch(const levee_watch_options *options, char *const *arguments, levee_print *print,
                         void *context, int *exit_code, levee_error *error);

/* Writes one HTML page about the runs whose directories (adapter_path) these are, 1 to 8 of them: loss, learning
 * rate, speed and memory over their steps, what was predicted and measured, what the guard did, and their
 * configuration; of several runs a comparison too. Reads metrics.jsonl, events.jsonl, config.yaml and plan.json, as
 * far as they are there, in memory that does not grow with them; lines that cannot be read are counted and told of on
 * the page. A run may go on meanwhile. `output` NULL: report.html in the first directory. The page needs nothing from
 * outside, and replaces the file when it is whole. Prints one line. LEVEE_MISSING_INPUT when a directory holds no
 * run. */
levee_status levee_report(const char *const *directories, unsigned count, const char *output, levee_print *print,
                          void *context, levee_error *error);

/* A look at a run from outside: one that goes on, or has ended, in this process or another, by what lies in its
 * directory (adapter_path, or watch's run-dir) alone. docs/monitoring.md says what is there. */
typedef struct levee_top levee_top;

typedef struct levee_top_look {
    unsigned columns, rows; /* of the screen; rows 0: as many as it takes */
    bool colour;            /* with the terminal's colours */
    bool unicode;           /* blocks for bars and curves, else ASCII */
    unsigned older_events;  /* decisions of the guard up to so many before the last */
} levee_top_look;

/* Opens a run's directory, which takes some 250 KiB. LEVEE_MISSING_INPUT when no run has written there. Freed by
 * levee_top_close, which accepts NULL. */
levee_status levee_top_open(levee_top **top, const char *directory, levee_error *error);
void levee_top_close(levee_top *top);

/* Reads what came since, and prints one frame: lines no longer than `columns` (40 at least), the last without a
 * newline. *older (NULL: nobody asks) is the number of decisions that are older than those shown. */
levee_status levee_top_frame(levee_top *top, const levee_top_look *look, levee_print *print, void *context,
                             unsigned *older, levee_error *error);

/* The shape of a new, untrained model. */
typedef struct levee_shape {
    unsigned hidden_size, intermediate_size, layers, heads, kv_heads;
    unsigned head_dim;        /* 0: hidden_size / heads */
    unsigned window;          /* rows that attention sees back, in families that have a window; 0: all */
    unsigned vocabulary_size; /* rows of embedding and head; 0: as many as the tokenizer has tokens, 258 */
    const char *family;       /* "llama", "mistral", "qwen2" or "qwen3"; NULL: llama */
} levee_shape;

/* Writes a model directory of random f32 weights, with a byte-level tokenizer of 256 bytes and two special tokens. In
 * a Qwen the window is in the upper half of the layers. A vocabulary larger than the tokenizer's has rows that no
 * text asks for, as many published models have. A directory that holds a model already is refused. */
levee_status levee_init(const char *directory, const levee_shape *shape, uint64_t seed, levee_error *error);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
