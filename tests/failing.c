/* Calls that fail by their number: see failing.h. */
#include "failing.h"

#include <pthread.h>
#include <stddef.h>

static pthread_t counted;

void failing_count_here(void) { counted = pthread_self(); }

bool failing_is_counted(void) { return pthread_equal(pthread_self(), counted); }

static fault decide(void *context, fault_point point) {
    failing *f = context;
    if (point < f->first || point > f->last || !failing_is_counted()) return (fault){0};
    uint64_t number = f->calls++;
    if (number < f->from || number >= f->to) return (fault){0};
    if (!f->struck++) f->point = point;
    return f->what;
}

void failing_start(failing *f) {
    f->calls = f->struck = 0;
    failing_count_here();
    fault_install(decide, f);
}

void failing_stop(void) { fault_install(NULL, NULL); }

const char *failing_name(fault_point point) {
    static const char *const names[FAULT_POINT_COUNT] = {
        [FAULT_ALLOCATE] = "allocate", [FAULT_LIBRARY] = "library's block",
        [FAULT_RESERVE] = "reserve",   [FAULT_COMMIT] = "commit",
        [FAULT_OPEN] = "open",         [FAULT_STATUS] = "stat",
        [FAULT_READ] = "read",         [FAULT_MAP] = "map",
        [FAULT_WRITE] = "write",       [FAULT_SYNC] = "sync",
        [FAULT_TRUNCATE] = "truncate", [FAULT_RENAME] = "rename",
        [FAULT_REMOVE] = "remove",     [FAULT_MAKE_DIRECTORY] = "mkdir",
        [FAULT_LIST] = "list",         [FAULT_FREE_SPACE] = "statvfs",
        [FAULT_LOCK] = "lock",
    };
    return (unsigned)point < FAULT_POINT_COUNT ? names[point] : "nothing";
}
