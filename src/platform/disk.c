/* The disk under a directory: see disk.h. */
#include "platform/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>

#include "base/call.h"
#include "platform/machine.h"

/* The directory itself, or the nearest above it that is there. */
static void find_directory(char found[FILE_PATH_BYTES], const char *directory) {
    snprintf(found, FILE_PATH_BYTES, "%s", *directory ? directory : ".");
    while (!file_is_directory(found)) {
        char *slash = strrchr(found, '/');
        if (!slash || !strcmp(found, "/")) {
            snprintf(found, FILE_PATH_BYTES, "%s", slash ? "/" : ".");
            return;
        }
        slash[slash == found] = 0;
    }
}

static bool is_memory(const char *directory) {
    struct statfs system;
    return !call_statfs(directory, &system) && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC);
}

/* Seconds until a new file of DISK_TRIAL_BYTES lasts; below 0, with errno, when it cannot be written. */
static double time_sync(const char *path) {
    static const char block[64 * 1024] = {1};
    double began = machine_seconds();
    int file = call_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
    bool done = file >= 0;
    for (size_t at = 0; done && at < DISK_TRIAL_BYTES;) {
        ssize_t wrote = call_write(file, block, sizeof block);
        done = wrote > 0;
        at += done ? (size_t)wrote : 0;
    }
    done = done && !call_fsync(file);
    int failure = errno;
    file_close(file);
    errno = failure;
    return done ? machine_seconds() - began : -1;
}

void disk_try(disk_trial *trial, const char *directory) {
    char place[FILE_PATH_BYTES], path[FILE_PATH_BYTES];
    levee_error error = {0};
    memset(trial, 0, sizeof *trial);
    find_directory(trial->directory, directory);
    trial->free_bytes.known = file_free_bytes(trial->directory, &trial->free_bytes.value, NULL) == LEVEE_OK;
    trial->in_memory = is_memory(trial->directory);
    if (file_make_temporary_directory(place, trial->directory, "levee-doctor", &error) != LEVEE_OK ||
        !file_join(path, place, "trial")) {
        snprintf(trial->why, sizeof trial->why, "%.250s", error.message);
        return;
    }
    trial->written = true;
    for (unsigned i = 0; i < 3 && trial->written; i++) {
        double took = time_sync(path);
        trial->written = took >= 0;
        if (took > trial->sync_seconds) trial->sync_seconds = took;
    }
    if (!trial->written) snprintf(trial->why, sizeof trial->why, "%.128s: %.100s", place, strerror(errno));
    file_remove(path, NULL);
    file_remove_directory(place, NULL);
}
