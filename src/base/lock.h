/* A lock on a directory, so that two runs never write into one.
 *
 * It is the kernel's lock on a file named "lock" in there: it goes when the process that holds it ends, however it
 * ends, so a lock left behind by a killed run holds nobody up. The file itself stays, because a name that is removed
 * and made again could be locked twice. A child made by fork without exec holds the lock together with its parent. */
#ifndef LEVEE_BASE_LOCK_H
#define LEVEE_BASE_LOCK_H

#include <stdbool.h>

#include "levee.h"

typedef struct directory_lock {
    bool held;
    int descriptor; /* when held */
} directory_lock;

/* Takes the lock without waiting; LEVEE_USAGE when somebody holds it, this process included. */
levee_status directory_lock_take(directory_lock *lock, const char *directory, levee_error *error);

/* Accepts a zeroed lock, and one that was refused. */
void directory_lock_release(directory_lock *lock);

#endif
