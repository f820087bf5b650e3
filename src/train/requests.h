/* What somebody outside the training asks of it: less memory, memory again, or to stop. Anybody may ask at any time,
 * a signal handler included; the training answers at its next safe point (training.h). */
#ifndef LEVEE_TRAIN_REQUESTS_H
#define LEVEE_TRAIN_REQUESTS_H

#include "levee.h"

/* Requests that were made and not taken yet; each kind is kept once, however often it was asked, and of
 * shrink and grow the last. */
typedef struct requests {
    bool shrink, grow, stop;
} requests;

/* Is there one that cannot wait for the end of the pass (shrink or stop)? One load; asked before each operator. */
bool requests_urgent(void);

/* Takes what was asked since the last call. A stop stays. */
requests requests_take(void);

/* Forgets all, when a run starts: what was asked of the one before is not meant for this one. */
void requests_clear(void);

#endif
