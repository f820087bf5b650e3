/* A lock on a directory: see lock.h. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/call.h"
#include "base/error.h"
#include "base/file.h"

levee_status directory_lock_take(directory_lock *lock, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *lock = (directory_lock){.held = false};
    if (!file_join(path, directory, "lock"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    /* O_NONBLOCK: a FIFO under the name must not hold us. */
    int descriptor = call_open(path, O_RDWR | O_CREAT | O_NONBLOCK);
    if (descriptor < 0) return error_set(error, LEVEE_IO_ERROR, "%s: cannot be opened: %s", path, strerror(errno));
    int failure = call_flock(descriptor) ? errno : 0;
    if (!failure) {
        *lock = (directory_lock){.held = true, .descriptor = descriptor};
        return LEVEE_OK;
    }
    file_close(descriptor);
    if (failure == EWOULDBLOCK)
        return error_set(
            error, LEVEE_USAGE,
            "%s: another run is using this directory; wait until it ends, or give another --adapter-path", directory);
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be locked: %s", path, strerror(failure));
}

void directory_lock_release(directory_lock *lock) {
    if (lock->held) file_close(lock->descriptor);
    *lock = (directory_lock){.held = false};
}
