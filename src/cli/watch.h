/* The verb watch: levee watch [options] -- COMMAND [arguments]. */
#ifndef LEVEE_CLI_WATCH_H
#define LEVEE_CLI_WATCH_H

/* With what follows the verb; returns the exit code. */
int watch_command(int count, char **arguments);

#endif
