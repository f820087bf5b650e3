/* What train, eval and generate share: a session from options, data splits, and evaluation. */
#ifndef LEVEE_TRAIN_RUN_H
#define LEVEE_TRAIN_RUN_H

#include "data/dataset.h"
#include "monitor/stream.h"
#include "platform/own_group.h"
#include "platform/stand_in.h"
#include "train/options.h"
#include "train/training.h"

typedef struct run {
    const levee_options *options;
    levee_print *print;
    void *context;
    run_stream *told; /* what the run tells, for its faces: of a training, or one that is planned as one; else NULL */
    session model;
    own_group group; /* that this process is in, with --cgroup */
    stand_ins substitutes;
    bool promised; /* other runs know of our budget */
} run;

/* Opens the model inside the budget. `verb` is "train", "eval", "generate" or "plan", for which files may be missing
 * (session_options.analysis). run_close accepts a run that failed to open. */
levee_status run_open(run *r, const char *verb, const levee_options *options, levee_print *print, void *context,
                      levee_error *error);
void run_close(run *r);

/* A line to the caller of the library, and to the faces; run_note: to these alone. */
void run_note(const run *r, const char *text);
void run_print(const run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for whoever has a levee_print to call: `context` is the run. */
void run_print_text(void *context, const char *text);

/* Opens a split; its index goes into `index_directory`. */
levee_status run_open_data(run *r, dataset **data, const char *split, const char *index_directory,
                           levee_error *error);

/* The same into a directory that is gone as soon as the split is open: its pages stay mapped. */
levee_status run_open_data_briefly(run *r, dataset **data, const char *split, levee_error *error);

/* What the options say trains. */
trainable_set run_trainable(const levee_options *o);

/* The adapter to read, when one was asked for: its shape, from its configuration; else FINE_TUNE_NONE. */
levee_status run_adapted(const run *r, trainable_set *set, levee_error *error);

/* Rows of a batch of `examples` sequences of at most `longest_tokens` rows, capped at what one pass could ever hold.
 */
uint32_t run_step_tokens(uint32_t longest_tokens, uint64_t examples);

typedef struct evaluation {
    double loss; /* the mean over the tokens that count; NaN when there are none */
    uint64_t tokens, rows;
} evaluation;

/* Over the first `examples` rows (or all, when there are fewer). `ids` [max_sequence_tokens] is scratch. */
levee_status run_evaluate(training *engine, dataset *data, uint64_t examples, uint32_t *ids, evaluation *result,
                          levee_error *error);

#endif
