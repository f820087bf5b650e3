/* The clock of records: see records.h. */
#include "report/records.h"

#include <time.h>

double report_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
