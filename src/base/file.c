/* Files: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static const uint64_t flush_slice_bytes = 32ull * 1024 * 1024;

bool file_join(char path[FILE_PATH_BYTES], const char *directory, const char *name) {
    int length = snprintf(path, FILE_PATH_BYTES, "%s/%s", directory, name);
    return length > 0 && length < FILE_PATH_BYTES;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

bool file_is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

levee_status file_make_directory(const char *path, levee_error *error) {
    char part[FILE_PATH_BYTES];
    size_t length = strlen(path);
    if (!length || length >= sizeof part)
        return error_set(error, LEVEE_USAGE, "'%s' is not a usable directory name", path);
    memcpy(part, path, length + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(part, 0777); /* if that fails for good, the last one says so */
        *slash = '/';
    }
    if (mkdir(part, 0777) && errno != EEXIST)
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot make this directory: %s", path, strerror(errno));
    return file_is_directory(path) ? LEVEE_OK
                                   : error_set(error, LEVEE_IO_ERROR, "%s: is a file, not a directory", path);
}

/* Without O_NONBLOCK a FIFO under the name would hold us for good. */
levee_status file_open(const char *path, int *descriptor, uint64_t *bytes, levee_error *error) {
    *descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0) return error_set(error, LEVEE_MISSING_INPUT, "%s: %s", path, strerror(errno));
    struct stat status;
    if (fstat(*descriptor, &status) || !S_ISREG(status.st_mode)) {
        close(*descriptor);
        return error_set(error, LEVEE_MISSING_INPUT, "%s: is not a regular file", path);
    }
    *bytes = (uint64_t)status.st_size;
    return LEVEE_OK;
}

levee_status file_read(const char *path, void *content, uint64_t room, uint64_t *bytes, levee_error *error) {
    int source;
    levee_status status = file_open(path, &source, bytes, error);
    if (status != LEVEE_OK) return status;
    for (uint64_t done = 0; status == LEVEE_OK && *bytes <= room && done < *bytes;) {
        ssize_t got = read(source, (unsigned char *)content + done, *bytes - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be read: %s", path, strerror(errno));
        else if (got == 0)
            status = error_set(error, LEVEE_IO_ERROR, "%s: became shorter while it was read", path);
        else
            done += (uint64_t)got;
    }
    close(source);
    return status;
}

levee_status file_map(file_mapping *mapping, const char *path, levee_error *error) {
    memset(mapping, 0, sizeof *mapping);
    int descriptor;
    uint64_t bytes = 0;
    levee_status status = file_open(path, &descriptor, &bytes, error);
    if (status != LEVEE_OK) return status;
    if (bytes > 0) {
        void *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (data == MAP_FAILED)
            status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be mapped: %s", path, strerror(errno));
        else
            *mapping = (file_mapping){.data = data, .bytes = bytes};
    }
    close(descriptor);
    return status;
}

/* munmap and madvise take an address that they could write to; ours is read-only. */
static void *address_of(const file_mapping *mapping) {
    union {
        const void *mapped;
        void *address;
    } data = {.mapped = mapping->data};
    return data.address;
}

void file_unmap(file_mapping *mapping) {
    if (mapping->data) munmap(address_of(mapping), mapping->bytes);
    memset(mapping, 0, sizeof *mapping);
}

void file_drop_pages(const file_mapping *mapping) {
    if (mapping->data) madvise(address_of(mapping), mapping->bytes, MADV_DONTNEED);
}

levee_status file_writer_open(file_writer *w, const char *path, levee_error *error) {
    memset(w, 0, sizeof *w);
    w->descriptor = -1;
    int length = snprintf(w->temporary, sizeof w->temporary, "%s.partial", path);
    if (length < 0 || length >= FILE_PATH_BYTES)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    memcpy(w->path, path, strlen(path) + 1);
    w->descriptor = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->descriptor < 0)
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be written: %s", w->temporary, strerror(errno));
    return LEVEE_OK;
}

/* Sends what was written to the disk and drops it from the page cache. */
static levee_status flush(file_writer *w, levee_error *error) {
    if (fdatasync(w->descriptor))
        return error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", w->temporary, strerror(errno));
    posix_fadvise(w->descriptor, (off_t)w->flushed_bytes, (off_t)(w->written_bytes - w->flushed_bytes),
                  POSIX_FADV_DONTNEED);
    w->flushed_bytes = w->written_bytes;
    return LEVEE_OK;
}

levee_status file_writer_write(file_writer *w, const void *data, uint64_t bytes, levee_error *error) {
    const unsigned char *next = data;
    while (bytes) {
        uint64_t room = flush_slice_bytes - (w->written_bytes - w->flushed_bytes);
        ssize_t wrote = write(w->descriptor, next, bytes < room ? bytes : room);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0)
            return error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", w->temporary, strerror(errno));
        next += wrote;
        bytes -= (uint64_t)wrote;
        w->written_bytes += (uint64_t)wrote;
        if (w->written_bytes - w->flushed_bytes >= flush_slice_bytes) {
            levee_status status = flush(w, error);
            if (status != LEVEE_OK) return status;
        }
    }
    return LEVEE_OK;
}

void file_writer_promise(file_writer *w, uint64_t bytes) { w->promised_bytes = bytes; }

/* A rename lasts only once the directory that holds the name has reached the disk. */
static levee_status sync_directory(const char *path, levee_error *error) {
    char directory[FILE_PATH_BYTES];
    memcpy(directory, path, strlen(path) + 1);
    char *slash = strrchr(directory, '/');
    if (slash) slash[slash == directory] = 0;
    int descriptor = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return LEVEE_OK; /* a directory that may be written but not read cannot be synced */
    /* EINVAL: this file system does not sync directories. */
    int failure = fsync(descriptor) && errno != EINVAL ? errno : 0;
    close(descriptor);
    if (!failure) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: is written, but may not survive a power failure: %s", path,
                     strerror(failure));
}

static levee_status finish(file_writer *w, levee_error *error) {
    if (w->promised_bytes && w->promised_bytes != w->written_bytes)
        return error_set(error, LEVEE_INTERNAL, "%s: %llu bytes were written where its header says %llu", w->path,
                         (unsigned long long)w->written_bytes, (unsigned long long)w->promised_bytes);
    if (fsync(w->descriptor))
        return error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", w->temporary, strerror(errno));
    levee_status status = flush(w, error);
    if (status == LEVEE_OK && rename(w->temporary, w->path))
        status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be replaced: %s", w->path, strerror(errno));
    return status;
}

levee_status file_writer_commit(file_writer *w, levee_error *error) {
    levee_status status = finish(w, error);
    if (status != LEVEE_OK) {
        file_writer_abandon(w);
        return status;
    }
    close(w->descriptor);
    w->descriptor = -1;
    return sync_directory(w->path, error);
}

void file_writer_abandon(file_writer *w) {
    if (w->descriptor < 0 || !w->temporary[0]) return;
    close(w->descriptor);
    unlink(w->temporary);
    w->descriptor = -1;
}

levee_status file_copy(const char *from, const char *to, levee_error *error) {
    unsigned char slice[32768];
    int source;
    uint64_t bytes;
    file_writer writer;
    levee_status status = file_open(from, &source, &bytes, error);
    if (status != LEVEE_OK) return status;
    status = file_writer_open(&writer, to, error);
    while (status == LEVEE_OK) {
        ssize_t got = read(source, slice, sizeof slice);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be read: %s", from, strerror(errno));
        if (got <= 0) break;
        status = file_writer_write(&writer, slice, (uint64_t)got, error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    close(source);
    return status;
}
