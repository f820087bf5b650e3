/* The keeper: a small process beside watch that thaws what is frozen if watch dies, and tells whether a signal was
 * meant for watch alone.
 *
 * It waits at the end of a pipe whose other end only watch holds. What is frozen is written there before it is
 * frozen; when the pipe closes without a word, everything written is continued.
 *
 * It is in watch's process group and has all signals blocked, so a signal that was sent to the whole group, as a
 * shell's `kill %1` does, is pending there. Such a signal has reached the command too, and is not to be sent to it
 * again: some programs take a second one as an order to give up at once.
 *
 * It holds no file but the pipe. Made once, at the start, because a process may not be had when memory is short. */
#ifndef LEVEE_WATCH_KEEPER_H
#define LEVEE_WATCH_KEEPER_H

#include "platform/process_tree.h"

typedef struct keeper {
    int pid;  /* 0: there is none */
    int pipe; /* our end */
    kernel_roots roots;
} keeper;

/* Call with all signals blocked that watch awaits. LEVEE_INTERNAL when no process can be made. keeper_stop accepts a
 * zeroed one, and leaves nothing running. */
levee_status keeper_start(keeper *k, kernel_roots roots, levee_error *error);
void keeper_stop(keeper *k);

/* It has ended, for whatever reason, and was waited for: watch goes on without. */
void keeper_lost(keeper *k);

/* To be told before a process is frozen; and when none is any more. */
void keeper_will_freeze(const keeper *k, const process_identity *process);
void keeper_thawed(const keeper *k);

/* Did the whole group get this signal, which watch has just received? Forgets it. */
bool keeper_got(const keeper *k, int number);

#endif
