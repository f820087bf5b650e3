/* What somebody outside the training asks of it: less memory, memory again, or to stop. Anybody may ask at any time,
 * a signal handler included; the training answers at its next safe point (training.h). */
#ifndef LEVEE_TRAIN_REQUESTS_H
#define LEVEE_TRAIN_REQUESTS_H

#include "levee.h"

/* Requests that were made and not taken yet; each kind is kept once, however often it was asked, and of
 * shrink and grow the last. */
typedef struct requests {
    bool shrink, grow, stop;
    bool attend;          /* the guard wants to be asked */
    double asked_seconds; /* machine_seconds() of the first of them */
} requests;

/* The guard's thread has seen something: it wants to be asked, at once (before the next operator, or within a long
 * one) or at the end of the pass. */
void requests_attend(bool at_once);

/* Was a stop asked for? It stays asked. */
bool requests_stopping(void);

/* Is there one that cannot wait for the end of the pass: stop, attend at once, or shrink where that is possible? One
 * load; asked before each operator, and within long ones. */
bool requests_urgent(bool can_shrink);

/* Is a pause asked for, and not ended by a resume? It stays asked. */
bool requests_pausing(void);

/* Was a checkpoint asked for since this was asked last? */
bool requests_take_checkpoint(void);

/* Takes what was asked since the last call, but for a pause and a checkpoint, which are for between two steps. A stop
 * stays. */
requests requests_take(void);

/* Forgets all, when a run starts: what was asked of the one before is not meant for this one. */
void requests_clear(void);

#endif
