/* The signals of watch: awaited through a descriptor, never handled, and passed on to the command.
 *
 * The command is in our process group, so what a terminal sends (ctrl-C, ctrl-Z, a change of its size) and what is
 * sent to the group reaches it without us, and is not passed on. What is sent to watch alone is meant for the
 * command. */
#ifndef LEVEE_WATCH_SIGNALS_H
#define LEVEE_WATCH_SIGNALS_H

#include <signal.h>

#include "watch/keeper.h"

typedef struct signals {
    int descriptor;  /* to wait for; -1: closed */
    sigset_t before; /* the mask, as it was */
    struct sigaction child_before;
    bool blocked;
} signals;

/* Blocks what is awaited. signals_open, after that, gives the descriptor: LEVEE_INTERNAL when it is not to be had.
 * signals_close sets everything back, and accepts a zeroed struct. */
void signals_block(signals *s);
levee_status signals_open(signals *s, levee_error *error);
void signals_close(signals *s);

/* Takes what came when there is no command any more: was it a signal to end? */
bool signals_end(const signals *s);

/* Takes what came. Passes on to the command what is meant for it alone; that a child changed its state only wakes us.
 */
void signals_serve(const signals *s, const keeper *k, kernel_roots roots, const process_identity *command);

#endif
