/* A lock on a directory: see lock.h. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/call.h"
#include "base/error.h"
#include "base/file.h"

/* Who only looks whether a directory is locked has a shared lock for a moment: that must not keep anybody out. */
static int lock_soon(int descriptor) {
    enum { TRIES = 5 };
    for (unsigned i = 0; call_flock(descriptor); i++) {
        if (errno != EWOULDBLOCK || i == TRIES) return errno;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return 0;
}

levee_status directory_lock_take(directory_lock *lock, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *lock = (directory_lock){.held = false};
    if (!file_join(path, directory, "lock"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    /* O_NONBLOCK: a FIFO under the name must not hold us. */
    int descriptor = call_open(path, O_RDWR | O_CREAT | O_NONBLOCK);
    if (descriptor < 0) return error_set(error, LEVEE_IO_ERROR, "%s: cannot be opened: %s", path, strerror(errno));
    int failure = lock_soon(descriptor);
    if (!failure) {
        *lock = (directory_lock){.held = true, .descriptor = descriptor};
        return LEVEE_OK;
    }
    file_close(descriptor);
    if (failure == EWOULDBLOCK)
        return error_set(error, LEVEE_USAGE,
                         "%s: another run is using this directory; wait until it ends, or give another "
                         "(--adapter-path; of watch, --run-dir)",
                         directory);
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be locked: %s", path, strerror(failure));
}

void directory_lock_release(directory_lock *lock) {
    if (lock->held) file_close(lock->descriptor);
    *lock = (directory_lock){.held = false};
}

void directory_lock_note(const directory_lock *lock, const char note[LOCK_NOTE_BYTES]) {
    /* Always as long, and so over the one before: cut short it would say less than nothing. */
    for (size_t done = 0; lock->held && done < LOCK_NOTE_BYTES;) {
        ssize_t wrote = call_write(lock->descriptor, note + done, LOCK_NOTE_BYTES - done);
        if (wrote <= 0) return;
        done += (size_t)wrote;
    }
}

levee_status directory_lock_look(const char *directory, bool *held, char note[LOCK_NOTE_BYTES], levee_error *error) {
    char path[FILE_PATH_BYTES];
    uint64_t bytes = 0, got = 0;
    int descriptor = -1;
    *held = false;
    memset(note, 0, LOCK_NOTE_BYTES);
    if (!file_join(path, directory, "lock"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    levee_status status = file_open(path, &descriptor, &bytes, error);
    if (status != LEVEE_OK) return status;
    status = file_read_at(descriptor, path, note, LOCK_NOTE_BYTES - 1, 0, &got, error);
    if (status == LEVEE_OK) *held = call_flock_shared(descriptor) && errno == EWOULDBLOCK;
    file_close(descriptor);
    return status;
}
