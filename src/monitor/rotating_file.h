/* A file that lines are appended to, and that does not grow without end: when the next line would take it past its
 * bound, it becomes NAME.1, which it replaces, and begins anew. So at most twice the bound lies on the disk, and at
 * least the last `most_bytes` of what was written can be read. Takes no memory. */
#ifndef LEVEE_MONITOR_ROTATING_FILE_H
#define LEVEE_MONITOR_ROTATING_FILE_H

#include "base/file.h"

typedef struct rotating_file {
    char path[FILE_PATH_BYTES];
    int descriptor; /* -1 when closed */
    uint64_t bytes, most_bytes;
    unsigned rotations;
} rotating_file;

/* Opens it behind what is there. rotating_file_close accepts a zeroed one. */
levee_status rotating_file_open(rotating_file *f, const char *path, uint64_t most_bytes, levee_error *error);
void rotating_file_close(rotating_file *f);

/* Appends, a whole line or a part of one; when that fails half-way the half is taken back. Where the file cannot get
 * its other name it is begun anew all the same: its bound holds. */
levee_status rotating_file_append(rotating_file *f, const char *text, uint64_t bytes, levee_error *error);

levee_status rotating_file_sync(rotating_file *f, levee_error *error);

#endif
