/* What a training says on a terminal: one line that tells how far it is, redrawn in place, and above it whatever else
 * it prints. Where standard output is no terminal, or a dumb one, lines are printed as they come, and nothing is
 * redrawn.
 *
 * One thread, that of the run; progress_is_shown may be asked by any. */
#ifndef LEVEE_CLI_PROGRESS_H
#define LEVEE_CLI_PROGRESS_H

#include <stdbool.h>

#include "levee.h"

/* Has the options tell of progress, if there is a terminal to show it on. */
void progress_begin(levee_options *options);

/* A levee_print: prints a line, or several, above the one that is redrawn. */
void progress_print(void *context, const char *text);

/* Leaves the line as it is, and goes to the next. */
void progress_end(void);

/* Does the cursor stand behind the line? Then who writes to the terminal begins with PROGRESS_CLEAR. */
bool progress_is_shown(void);
#define PROGRESS_CLEAR "\r\033[K"

#endif
