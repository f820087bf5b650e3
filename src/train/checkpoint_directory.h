/* The checkpoints of a run: a directory with one file for each of the last steps that were saved.
 *
 * Opening reads the directory; from then on its steps are known by number, because saving is done in the step loop,
 * where reading a directory would take memory. So nobody else may write into it meanwhile: hold the run's lock
 * (base/lock.h) from before opening it. There is nothing to close. */
#ifndef LEVEE_TRAIN_CHECKPOINT_DIRECTORY_H
#define LEVEE_TRAIN_CHECKPOINT_DIRECTORY_H

#include "train/checkpoint.h"

enum {
    CHECKPOINTS_KNOWN = 256,
    CHECKPOINTS_KEEP_MOST = CHECKPOINTS_KNOWN - 1, /* one more exists while the oldest is about to go */
};
#define CHECKPOINTS_KEEP_ALL UINT32_MAX

typedef struct known_checkpoint {
    uint64_t step;
    bool damaged; /* checkpoints_load found out */
} known_checkpoint;

typedef struct checkpoint_directory {
    char path[FILE_PATH_BYTES];
    uint32_t keep_last; /* 1 to CHECKPOINTS_KEEP_MOST, or CHECKPOINTS_KEEP_ALL */
    uint32_t count;
    known_checkpoint known[CHECKPOINTS_KNOWN]; /* [count], the oldest first; of more, the newest */
} checkpoint_directory;

/* Makes the directory if it is not there, finds its checkpoints, and removes what a killed run left half-written. */
levee_status checkpoints_open(checkpoint_directory *d, const char *path, uint32_t keep_last, levee_error *error);

/* The newest step that has a file, damaged ones included: there is something to resume, or to be lost. */
bool checkpoints_newest(const checkpoint_directory *d, uint64_t *step);

/* Where the newest run stood whose header can be read: see checkpoint_peek. False when there is none. */
bool checkpoints_peek(const checkpoint_directory *d, checkpoint_state *state);

/* Refuses, as LEVEE_IO_ERROR with directory, need and what is free, when `files` more files of `bytes` bytes, and
 * `beside_bytes` of others, would not leave a margin free on the directory's file system. */
levee_status checkpoint_check_disk(const char *directory, uint64_t bytes, uint64_t files, uint64_t beside_bytes,
                                   levee_error *error);

/* How many checkpoints a run of `saves` saves has on the disk at once, at most. */
uint64_t checkpoints_at_once(uint32_t keep_last, uint64_t saves);

/* The same for a run that will save `saves` checkpoints of `bytes` bytes: counts only files that exist at once and
 * are not there yet. */
levee_status checkpoints_check_room(const checkpoint_directory *d, uint64_t bytes, uint64_t saves,
                                    uint64_t beside_bytes, levee_error *error);

/* Reads the newest checkpoint that is whole, as checkpoint_read does; state->step says which. Each newer one that
 * cannot be used is reported with its reason through `print`, a line each, and marked. One that is whole but of
 * another run or version is not passed over: LEVEE_USAGE. Without any file LEVEE_MISSING_INPUT, without a usable one
 * LEVEE_BAD_DATA, or LEVEE_IO_ERROR when one could not be read; after LEVEE_IO_ERROR destinations may have changed.
 */
levee_status checkpoints_load(checkpoint_directory *d, checkpoint_state *state, const checkpoint_section *sections,
                              unsigned count, levee_print *print, void *context, levee_error *error);

/* Writes a checkpoint; when it is on the disk, removes those that checkpoints_load found damaged and those that are
 * older than the last `keep_last`. The one just written is never removed, nor one of a later step, which belongs to
 * another run. When writing fails nothing is removed. Takes no memory. */
levee_status checkpoints_save(checkpoint_directory *d, const checkpoint_state *state,
                              const checkpoint_section *sections, unsigned count, levee_error *error);

#endif
