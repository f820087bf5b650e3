/* What people ask of a run (levee_request), and it answers between two steps: a checkpoint, or a pause. */
#ifndef LEVEE_TRAIN_ORDERS_H
#define LEVEE_TRAIN_ORDERS_H

#include "train/trainer.h"

/* Answers what was asked. A pause stores where the run stands, gives the memory of its plans back, and returns when
 * somebody asked to resume and there is room for it again. What cannot be stored is told, and the run goes on without
 * a pause. LEVEE_STOPPED when a stop was asked for meanwhile. */
levee_status orders_answer(trainer *t, levee_error *error);

#endif
