/* The system's calls on files: see call.h. */
#include "base/call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"

/* Does the call fail here? Then errno says how. */
static bool fails(fault_point point) {
    int failure = fault_ask(point).failure;
    if (failure) errno = failure;
    return failure;
}

/* The same for a call that moves bytes: of *bytes a part is left when it is to be cut. */
static bool fails_or_cuts(fault_point point, size_t *bytes) {
    fault f = fault_ask(point);
    if (f.cut && *bytes > 1) *bytes = (*bytes + 1) / 2;
    if (f.failure) errno = f.failure;
    return f.failure;
}

/* What a call returns that no signal interrupts: -1 then means another failure. */
#define UNINTERRUPTED(type, call)                                                                                    \
    type result;                                                                                                     \
    do result = (call);                                                                                              \
    while (result == -1 && errno == EINTR);                                                                          \
    return result

int call_open(const char *path, int flags) {
    UNINTERRUPTED(int, fails(FAULT_OPEN) ? -1 : open(path, flags | O_CLOEXEC, 0666));
}

int call_stat(const char *path, struct stat *status) {
    UNINTERRUPTED(int, fails(FAULT_STATUS) ? -1 : stat(path, status));
}

int call_fstat(int file, struct stat *status) { UNINTERRUPTED(int, fails(FAULT_STATUS) ? -1 : fstat(file, status)); }

ssize_t call_read(int file, void *to, size_t bytes) {
    UNINTERRUPTED(ssize_t, fails_or_cuts(FAULT_READ, &bytes) ? -1 : read(file, to, bytes));
}

ssize_t call_pread(int file, void *to, size_t bytes, uint64_t offset) {
    UNINTERRUPTED(ssize_t, fails_or_cuts(FAULT_READ, &bytes) ? -1 : pread(file, to, bytes, (off_t)offset));
}

ssize_t call_write(int file, const void *from, size_t bytes) {
    UNINTERRUPTED(ssize_t, fails_or_cuts(FAULT_WRITE, &bytes) ? -1 : write(file, from, bytes));
}

void *call_map(int file, size_t bytes) {
    void *data = fails(FAULT_MAP) ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    return data == MAP_FAILED ? NULL : data;
}

int call_fsync(int file) { UNINTERRUPTED(int, fails(FAULT_SYNC) ? -1 : fsync(file)); }

int call_fdatasync(int file) { UNINTERRUPTED(int, fails(FAULT_SYNC) ? -1 : fdatasync(file)); }

int call_ftruncate(int file, uint64_t bytes) {
    UNINTERRUPTED(int, fails(FAULT_TRUNCATE) ? -1 : ftruncate(file, (off_t)bytes));
}

int call_rename(const char *from, const char *to) { UNINTERRUPTED(int, fails(FAULT_RENAME) ? -1 : rename(from, to)); }

int call_unlink(const char *path) { UNINTERRUPTED(int, fails(FAULT_REMOVE) ? -1 : unlink(path)); }

int call_rmdir(const char *path) { UNINTERRUPTED(int, fails(FAULT_REMOVE) ? -1 : rmdir(path)); }

int call_mkdir(const char *path) { UNINTERRUPTED(int, fails(FAULT_MAKE_DIRECTORY) ? -1 : mkdir(path, 0777)); }

int call_statvfs(const char *path, struct statvfs *disk) {
    UNINTERRUPTED(int, fails(FAULT_FREE_SPACE) ? -1 : statvfs(path, disk));
}

int call_statfs(const char *path, struct statfs *system) {
    UNINTERRUPTED(int, fails(FAULT_FREE_SPACE) ? -1 : statfs(path, system));
}

int call_flock(int file) { UNINTERRUPTED(int, fails(FAULT_LOCK) ? -1 : flock(file, LOCK_EX | LOCK_NB)); }

int call_flock_shared(int file) { UNINTERRUPTED(int, fails(FAULT_LOCK) ? -1 : flock(file, LOCK_SH | LOCK_NB)); }

char *call_mkdtemp(char *path) { return fails(FAULT_MAKE_DIRECTORY) ? NULL : mkdtemp(path); }

DIR *call_opendir(const char *path) { return fails(FAULT_LIST) ? NULL : opendir(path); }

struct dirent *call_readdir(DIR *directory) {
    return fails(FAULT_LIST) ? NULL : readdir(directory);
}
