/* levee top RUN_DIR: a running job on the whole screen. */
#ifndef LEVEE_CLI_TOP_H
#define LEVEE_CLI_TOP_H

/* Takes what stands behind "top"; returns the exit code. */
int top_command(int count, char **arguments);

#endif
