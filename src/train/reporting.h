/* What a training tells of itself, and where: the files of its directory, and whatever other faces it has. Here they
 * are opened and added to the run's stream; who trains pushes (run_print, guarding, the loop), and knows no face.
 *
 * In the order of calls: reporting_prepare, before there are plans, for what must be there before; reporting_open,
 * when it is known what of an earlier run stays; reporting_save before each checkpoint; reporting_tell after each
 * step; reporting_close at the end, whatever became of the run. */
#ifndef LEVEE_TRAIN_REPORTING_H
#define LEVEE_TRAIN_REPORTING_H

#include "monitor/board.h"
#include "train/trainer.h"

/* Opens the page, if one is wanted, tells where it is, and leaves room in the budget for what it takes. */
levee_status reporting_prepare(trainer *t, levee_error *error);

/* What the run is doing, for the page. */
void reporting_state(const trainer *t, board_state state);

/* Opens the faces and lets the stream begin: what was told before comes first. Of metrics.jsonl stays what the
 * checkpoint says. */
levee_status reporting_open(trainer *t, levee_error *error);

/* Has all that was told reach the disk, and notes in the run's place how long metrics.jsonl is. With `last_line`, it
 * fails when the last line of metrics could not be written. */
levee_status reporting_save(trainer *t, bool last_line, levee_error *error);

/* Tells of each face that failed, once. */
void reporting_tell(trainer *t);

/* Tells how the run ended when it failed, and what was lost; ends the stream, and closes the faces. */
void reporting_close(trainer *t, levee_status status, const levee_error *error);

#endif
