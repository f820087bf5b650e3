/* A profile for people, as a table, and for Chrome's tracing (chrome://tracing, ui.perfetto.dev), as JSON. */
#ifndef LEVEE_REPORT_PROFILE_REPORT_H
#define LEVEE_REPORT_PROFILE_REPORT_H

#include "graph/profile.h"
#include "report/table.h"

/* Writes a line for each kind of operator, the longest first: calls, seconds and their share of `step_seconds`, which
 * all steps took together, operations and bytes a second, and the share of what this machine can do: the time that
 * its work takes by `rates` (amounts a second; NULL: not measured), by the time that it took. */
void table_of_profile(char text[TABLE_BYTES], const profile *p, double step_seconds, const double *rates);

/* Writes the operators of the last pass as trace events. */
levee_status profile_trace_write(const profile *p, const char *path, levee_error *error);

#endif
