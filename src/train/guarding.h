/* The guard of a training: looks at memory between and within its steps, and carries out what the guard decides.
 *
 * The guard itself (guard/guard.h) is asked on the training's thread at its safe points. A thread of its own looks in
 * between and, when it sees pressure, has the training come to a safe point at once. Its memory is taken when it is
 * opened, before the plans, and locked if the system lets it be.
 *
 *   trim     free lists of the allocator go back
 *   shrink   the next smaller plan, between two operators
 *   grow     the next larger one
 *   pause    the step is dropped and what passes need given back at once, a checkpoint written, all the rest given
 *            back; then the guard is asked once a second until it says resume
 *   stop     what passes need is given back at once, then LEVEE_STOPPED, with a checkpoint
 *
 * With GUARD_WARN it only tells what it would do. */
#ifndef LEVEE_TRAIN_GUARDING_H
#define LEVEE_TRAIN_GUARDING_H

#include <stdatomic.h>

#include "guard/guard.h"
#include "memory/thread.h"
#include "train/drill.h"

typedef struct guarding {
    guard_mode mode;
    guard watch;
    const run *common;
    drill *exercises;
    training *engine;
    uint64_t step; /* finished so far */
    leak_verdict told_leak;
    guard_decision last; /* of the step, before anything was done */
    bool pauses;         /* the step is to be dropped, and the training to pause */
    /* The thread's part: */
    booked_thread thread;
    sampler meters;
    pthread_mutex_t lock; /* of `ends` */
    pthread_cond_t ending;
    bool ends;
    atomic_bool begun;
    _Atomic uint64_t planned_bytes;     /* by the plan in use; 0: paused */
    _Atomic uint64_t group_limit_bytes; /* when the plan was taken (guard.h) */
    _Atomic double noticed_seconds;     /* when it called for attention, machine_seconds(); 0: answered */
} guarding;

/* Opens meters and starts the thread, which waits for guarding_begin. With GUARD_OFF it does nothing, nor does
 * anything below. guarding_close accepts a zeroed guarding. */
levee_status guarding_open(guarding *g, guard_mode mode, const guard_limits *limits, const run *common,
                           levee_error *error);
void guarding_close(guarding *g);

/* The training has its memory: from here on it is guarded. `exercises` may bend what the meters say. Decisions, and a
 * sample of each step, go into the run's stream. */
void guarding_begin(guarding *g, training *engine, drill *exercises);

/* A step is finished and nothing of it is held any more: asks, and carries out. LEVEE_STOPPED to pause (g->pauses) or
 * to stop. */
levee_status guarding_step(guarding *g, uint64_t finished, levee_error *error);

/* Somebody pauses the training, and has it go on: in between its thread does not look. */
void guarding_rest(guarding *g);
void guarding_go_on(guarding *g);

/* Gives everything back and returns when there is room again, with the training's memory taken, its parameters still
 * to be read from the checkpoint. LEVEE_STOPPED when it is to stop, or somebody asked for that. */
levee_status guarding_pause(guarding *g, levee_error *error);

#endif
