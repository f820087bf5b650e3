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

/* Who holds it says who it is, in so many bytes, so that whoever looks at the directory can find the program. That is
 * a help and no part of the lock: what cannot be written is not. */
enum { LOCK_NOTE_BYTES = 64 };
void directory_lock_note(const directory_lock *lock, const char note[LOCK_NOTE_BYTES]);

/* Does somebody hold the lock of this directory, and what did whoever held it last say (or "")? Takes nothing, and
 * makes no file. LEVEE_MISSING_INPUT where there never was a lock. */
levee_status directory_lock_look(const char *directory, bool *held, char note[LOCK_NOTE_BYTES], levee_error *error);

#endif
