/* Going on where a run stopped, and making that possible: the run's lock, its checkpoints, and what a run must have
 * in common with the one that it goes on with.
 *
 * In the order of their calls: resume_find, before anything is opened, learns whether there is a run to go on with
 * and how it was run; resume_claim makes the directory ours; resume_load brings its state back into a training that
 * has started; resume_save stores it, in the step loop, without taking memory. resume_close accepts a zeroed
 * resumption.
 *
 * Checkpoints lie in the directory "checkpoints" below --adapter-path. */
#ifndef LEVEE_TRAIN_RESUME_H
#define LEVEE_TRAIN_RESUME_H

#include "data/dataset.h"
#include "monitor/run_directory.h"
#include "train/checkpoint_directory.h"
#include "train/options.h"
#include "train/run.h"

enum { RESUME_SECTIONS = 3 };

typedef struct resumption {
    directory_lock lock;
    checkpoint_directory checkpoints;
    bool goes_on;           /* with a run that stopped */
    checkpoint_state state; /* where the run stands; who trains keeps its counts up to date */
    checkpoint_section sections[RESUME_SECTIONS];
} resumption;

/* Looks for what --resume names. When it is there, r->state says where that run stood and how it was run, as far as
 * it can be known without reading all of it. A run that is there and is not to be gone on with is refused, because
 * the new one would overwrite it. */
levee_status resume_find(resumption *r, const levee_options *o, levee_error *error);
void resume_close(resumption *r);

/* Makes the directory of the run and takes its lock, unless resume_find has; writes nothing else. */
levee_status resume_claim(resumption *r, const levee_options *o, levee_error *error);

/* Says what makes this run what it is, and (when it goes on) reads parameters, moments and the place in the run;
 * tells of it, and of the checkpoints that were passed over. */
levee_status resume_load(resumption *r, const run *common, training *t, const dataset *data, levee_error *error);

/* Reads the checkpoint of where the run stands again, into memory that was given back and taken again. */
levee_status resume_reload(resumption *r, levee_error *error);

/* What a checkpoint of a training with this layout takes on the disk. */
uint64_t resume_checkpoint_bytes(const layout *lasting);

/* Refuses, as LEVEE_IO_ERROR, a disk without room for so many more saves and `result_bytes` beside them. */
levee_status resume_check_disk(const resumption *r, uint64_t saves, uint64_t result_bytes, levee_error *error);

/* Stores the run as it stands. */
levee_status resume_save(resumption *r, const training *t, levee_error *error);

#endif
