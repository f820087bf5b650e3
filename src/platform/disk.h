/* The disk under a directory: what is free there, and how long it takes until something written lasts. */
#ifndef LEVEE_PLATFORM_DISK_H
#define LEVEE_PLATFORM_DISK_H

#include "base/file.h"
#include "platform/kernel_text.h"

enum { DISK_TRIAL_BYTES = 1 << 20 };

typedef struct disk_trial {
    char directory[FILE_PATH_BYTES]; /* the one that was asked for, or the nearest above it that is there */
    reading free_bytes;
    bool in_memory;      /* a file system without a disk (tmpfs): what is written there takes memory */
    bool written;        /* false: nothing can be written there, and `why` says so */
    double sync_seconds; /* to write DISK_TRIAL_BYTES and make them last; the slowest of three */
    char why[256];
} disk_trial;

/* Tries the disk under `directory`, which need not exist yet, with a file that is removed again. */
void disk_try(disk_trial *trial, const char *directory);

#endif
