/* Promises: what each of this user's runs has been given as its budget, so that two that ask at once are not both
 * given the same memory. The machine's own figures show what is taken, not what a run that is still opening will
 * take.
 *
 * They stand in one file a user, below XDG_RUNTIME_DIR or /tmp, a line a process, which is locked while it is read
 * and written. A process that is no more has no promise, whatever the file says: so nothing needs to be tidied after
 * a crash. */
#ifndef LEVEE_PLATFORM_PROMISES_H
#define LEVEE_PLATFORM_PROMISES_H

#include <stdint.h>

#include "base/file.h"

enum { PROMISES_BYTES = 4096 };

typedef struct promises {
    int file; /* locked */
    char path[FILE_PATH_BYTES];
    char others[PROMISES_BYTES]; /* the lines of other processes that live */
    uint64_t outstanding_bytes;  /* promised to them, and not taken yet */
} promises;

/* Locks the file and reads what others were promised. Ended by promises_make or promises_leave. LEVEE_IO_ERROR when
 * there can be no such file, or somebody keeps it locked for seconds: then nothing is known of others. */
levee_status promises_read(promises *p, levee_error *error);

/* Writes down that this process was promised so many bytes, and unlocks. */
levee_status promises_make(promises *p, uint64_t bytes, levee_error *error);

/* Unlocks, and promises nothing. Accepts promises that were not read. */
void promises_leave(promises *p);

/* Takes this process's promise back, if it has one. */
void promises_withdraw(void);

#endif
