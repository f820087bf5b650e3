/* The command that is watched: started, told of by its status, and its exit code.
 *
 * It starts as without watch: same process group, terminal, standard input, environment (but LEVEE_WATCH), signals;
 * and its output too, unless lines are to be read. */
#ifndef LEVEE_WATCH_COMMAND_H
#define LEVEE_WATCH_COMMAND_H

#include <signal.h>

#include "platform/own_group.h"
#include "platform/process_tree.h"

enum { COMMAND_NOT_FOUND = 127, COMMAND_NOT_RUN = 126 };

typedef struct command_setup {
    char *const *arguments;
    const own_group *group; /* NULL: it stays in ours */
    const char *channel;    /* value of LEVEE_WATCH; NULL: not set */
    bool volunteers, reads_output;
    const sigset_t *signals;              /* blocked signals, as they were before watch */
    const struct sigaction *child_action; /* for SIGCHLD */
} command_setup;

typedef struct command {
    process_identity identity;
    bool ended;
    int exit_code; /* when ended */
    int output[2]; /* where its standard output and error can be read; -1: it has ours */
} command;

/* Starts it and waits until it runs. When it cannot be run, *exit_code is 126 or 127 and the status
 * LEVEE_MISSING_INPUT; LEVEE_INTERNAL when no process can be made. */
levee_status command_start(command *c, kernel_roots roots, const command_setup *setup, int *exit_code,
                           levee_error *error);

/* The exit code that a shell gives a status of wait. */
int command_exit_code(int status);

#endif
