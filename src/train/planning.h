/* From options to the plans of a training: the one way, for those who train and for those who only ask (analysis.h).
 *
 *   planning_open_data   the splits, which say how long the longest sequence is
 *   planning_make        guard and plans; what was opened before is counted, since the kernel counts it */
#ifndef LEVEE_TRAIN_PLANNING_H
#define LEVEE_TRAIN_PLANNING_H

#include "train/guarding.h"
#include "train/run.h"

typedef struct planning_data {
    dataset *train, *valid; /* valid: NULL when there is none, or nothing is validated; closed by the caller */
    uint32_t *ids;          /* [max_sequence_tokens] of the row being read, of the ledger */
} planning_data;

/* Opens the data of a training; its index goes into `index_directory` (NULL: nowhere that lasts). planning_close_data
 * in any case, which accepts zeroed ones. */
levee_status planning_open_data(planning_data *data, run *common, const char *index_directory, levee_error *error);
void planning_close_data(planning_data *data);

/* Rows of the longest sequence: of the data, or (NULL, or not open) of --max-seq-length. The last token of a row is
 * only a target. */
uint32_t planning_longest_tokens(const planning_data *data, const levee_options *o);

/* Examples of an optimizer step, and steps of the whole run. */
uint32_t planning_step_examples(const levee_options *o);
uint32_t planning_steps(const levee_options *o);

/* The learning rate of step number `step`, from 0. */
double planning_rate(const levee_options *o, uint32_t step);

training_settings planning_settings(const levee_options *o, uint32_t longest_tokens);

/* Opens the guard, and plans the training within the budget of the session. Both are the caller's to close, in any
 * case. */
levee_status planning_make(guarding *protection, training *engine, run *common, const training_settings *settings,
                           levee_error *error);

/* Checkpoints that are on the disk at once, at most, and what a result takes beside them. */
uint64_t planning_checkpoints(const levee_options *o);
uint64_t planning_result_bytes(const levee_options *o, const session *model, uint64_t weights_bytes);

#endif
