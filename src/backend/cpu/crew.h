/* The backend's own threads. They wait for the next piece of work awake for a moment, because a step is thousands of
 * pieces and waking a thread takes as long as a small one; where others want the processors they sleep at once,
 * because a thread that spins then keeps away the very one that it waits for.
 *
 * oneDNN's products of all threads run on libgomp's threads, which sleep (OMP_WAIT_POLICY); all else runs on these.
 */
#ifndef LEVEE_BACKEND_CPU_CREW_H
#define LEVEE_BACKEND_CPU_CREW_H

#include "levee.h"

struct crew;

/* Starts threads - 1 threads; the one that calls crew_run is the first. Caller closes; NULL may be closed. */
levee_status crew_open(struct crew **result, unsigned threads, levee_error *error);
void crew_close(struct crew *c);

/* Calls body(context, thread) once on each thread, 0 on the calling one; returns when all are done. One call at a
 * time, and none from within a body. */
void crew_run(struct crew *c, void (*body)(void *context, unsigned thread), void *context);

#endif
