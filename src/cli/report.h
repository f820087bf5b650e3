/* levee report RUN_DIR... [--output FILE.html] */
#ifndef LEVEE_CLI_REPORT_H
#define LEVEE_CLI_REPORT_H

/* Runs the verb with the arguments behind it; returns the exit code. */
int report_command(int count, char **arguments);

#endif
