/* Makes calls fail for a test, by their number. */
#ifndef LEVEE_TESTS_FAILING_H
#define LEVEE_TESTS_FAILING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

/* Calls at the points [first, last] by the thread that started it are counted from 0; those numbered [from, to) get
 * `what`. With a zeroed `what` they are only counted. Other threads call when they have the time, so a number of
 * theirs would mean another call in each run: they are left alone. */
typedef struct failing {
    fault_point first, last;
    uint64_t from, to;
    fault what;
    uint64_t calls, struck; /* so far */
    fault_point point;      /* of the first one that was struck */
} failing;

/* Every fault point asks `f` from now on; it must last until failing_stop. */
void failing_start(failing *f);
void failing_stop(void);

/* For scripts of one's own: from now on the calls of this thread count; is this that thread? */
void failing_count_here(void);
bool failing_is_counted(void);

/* "write", for messages. */
const char *failing_name(fault_point point);

#endif
