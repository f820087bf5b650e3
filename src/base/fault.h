/* Fault points: where a test, or a fire drill (train/drill.h), makes memory or files fail.
 *
 * Memory is taken in memory/ledger.c and memory/region.c, files are touched in base/call.c, and nowhere else; each of
 * these places asks here before it does what it is there for. Only fault_install makes anything fail, and the shared
 * library does not show it. Without a script, asking is one load and one branch.
 *
 * Install while no other thread asks; asking is thread-safe if the script is. */
#ifndef LEVEE_BASE_FAULT_H
#define LEVEE_BASE_FAULT_H

#include <stdbool.h>

typedef enum fault_point {
    FAULT_ALLOCATE, /* a block from the heap */
    FAULT_LIBRARY,  /* the same for a library that cannot be refused (memory/pool.h) */
    FAULT_RESERVE,  /* addresses */
    FAULT_COMMIT,   /* pages made usable */
    FAULT_OPEN,     /* from here on: calls on files */
    FAULT_FIRST_FILE_POINT = FAULT_OPEN,
    FAULT_STATUS, /* what is there under a name, and since when */
    FAULT_READ,
    FAULT_MAP,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_TRUNCATE,
    FAULT_RENAME,
    FAULT_REMOVE,
    FAULT_MAKE_DIRECTORY,
    FAULT_LIST, /* the names in a directory */
    FAULT_FREE_SPACE,
    FAULT_LOCK,
    FAULT_POINT_COUNT
} fault_point;

/* What becomes of one call. */
typedef struct fault {
    int failure; /* the value of errno that it fails with; 0: it is made */
    bool cut;    /* a read or a write that is made moves only a part of its bytes */
} fault;

typedef fault fault_script(void *context, fault_point point);

/* From now on every fault point asks `script`; NULL: nothing fails, as at the start of the program. */
void fault_install(fault_script *script, void *context);

/* Asked by the place that is about to make the call. */
fault fault_ask(fault_point point);

#endif
