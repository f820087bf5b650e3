/* Files: see file.h. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"

static const uint64_t flush_slice_bytes = 32ull * 1024 * 1024;

bool file_join(char path[FILE_PATH_BYTES], const char *directory, const char *name) {
    int length = snprintf(path, FILE_PATH_BYTES, "%s/%s", directory, name);
    return length > 0 && length < FILE_PATH_BYTES;
}

bool file_exists(const char *path) {
    struct stat status;
    return call_stat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool file_is_directory(const char *path) {
    struct stat status;
    return call_stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool file_is_same(const char *a, const char *b) {
    struct stat of_a, of_b;
    return !call_stat(a, &of_a) && !call_stat(b, &of_b) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

levee_status file_make_directory(const char *path, levee_error *error) {
    char part[FILE_PATH_BYTES];
    size_t length = strlen(path);
    if (!length || length >= sizeof part)
        return error_set(error, LEVEE_USAGE, "'%s' is not a usable directory name", path);
    memcpy(part, path, length + 1);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        call_mkdir(part); /* if that fails for good, the last one says so */
        *slash = '/';
    }
    struct stat status;
    if ((call_mkdir(part) && errno != EEXIST) || call_stat(path, &status))
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot make this directory: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) ? LEVEE_OK
                                   : error_set(error, LEVEE_IO_ERROR, "%s: is a file, not a directory", path);
}

levee_status file_make_temporary_directory(char path[FILE_PATH_BYTES], const char *parent, const char *stem,
                                           levee_error *error) {
    int length = snprintf(path, FILE_PATH_BYTES, "%s/%s-XXXXXX", parent, stem);
    if (length < 0 || length >= FILE_PATH_BYTES)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", parent);
    if (call_mkdtemp(path)) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot make this directory: %s", path, strerror(errno));
}

levee_status file_list(const char *directory, file_visit *visit, void *context, levee_error *error) {
    DIR *list = call_opendir(directory);
    levee_status status = LEVEE_OK;
    const struct dirent *entry = NULL;
    errno = list ? 0 : errno;
    while (list && status == LEVEE_OK && (entry = call_readdir(list))) {
        status = visit(context, entry->d_name, error);
        errno = 0;
    }
    if (!entry && errno)
        status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be read: %s", directory, strerror(errno));
    if (list) closedir(list);
    return status;
}

levee_status file_sync_directory(const char *directory, levee_error *error) {
    int descriptor = call_open(directory, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0 && (errno == EACCES || errno == EPERM)) return LEVEE_OK;
    int failure = descriptor < 0 || call_fsync(descriptor) ? errno : 0;
    file_close(descriptor);
    /* EINVAL: this file system does not sync directories. */
    if (!failure || failure == EINVAL) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be synced: %s", directory, strerror(failure));
}

levee_status file_remove(const char *path, levee_error *error) {
    if (!call_unlink(path) || errno == ENOENT) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be removed: %s", path, strerror(errno));
}

levee_status file_remove_directory(const char *path, levee_error *error) {
    if (!call_rmdir(path) || errno == ENOENT) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be removed: %s", path, strerror(errno));
}

levee_status file_free_bytes(const char *directory, uint64_t *bytes, levee_error *error) {
    struct statvfs disk;
    if (call_statvfs(directory, &disk))
        return error_set(error, LEVEE_IO_ERROR, "%s: its free space cannot be read: %s", directory, strerror(errno));
    if (__builtin_mul_overflow((uint64_t)disk.f_bavail, (uint64_t)disk.f_frsize, bytes)) *bytes = UINT64_MAX;
    return LEVEE_OK;
}

/* Without O_NONBLOCK a FIFO under the name would hold us for good. */
levee_status file_open(const char *path, int *descriptor, uint64_t *bytes, levee_error *error) {
    *descriptor = call_open(path, O_RDONLY | O_NONBLOCK);
    if (*descriptor < 0) return error_set(error, LEVEE_MISSING_INPUT, "%s: %s", path, strerror(errno));
    struct stat status;
    bool known = call_fstat(*descriptor, &status) == 0;
    if (known && S_ISREG(status.st_mode)) {
        *bytes = (uint64_t)status.st_size;
        return LEVEE_OK;
    }
    error_set(error, LEVEE_MISSING_INPUT, "%s: %s", path, known ? "is not a regular file" : strerror(errno));
    file_close(*descriptor);
    *descriptor = -1;
    return LEVEE_MISSING_INPUT;
}

levee_status file_open_stream(const char *path, int *descriptor, levee_error *error) {
    *descriptor = call_open(path, O_RDONLY);
    return *descriptor >= 0 ? LEVEE_OK : error_set(error, LEVEE_MISSING_INPUT, "%s: %s", path, strerror(errno));
}

void file_close(int descriptor) {
    if (descriptor >= 0) close(descriptor);
}

levee_status file_identify(int descriptor, const char *path, uint64_t *bytes, int64_t *modified_ns,
                           levee_error *error) {
    struct stat status;
    if (call_fstat(descriptor, &status))
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be examined: %s", path, strerror(errno));
    *bytes = (uint64_t)status.st_size;
    *modified_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    return LEVEE_OK;
}

levee_status file_read_at(int descriptor, const char *path, void *to, uint64_t bytes, uint64_t offset, uint64_t *got,
                          levee_error *error) {
    for (*got = 0; *got < bytes;) {
        ssize_t count = call_pread(descriptor, (unsigned char *)to + *got, bytes - *got, offset + *got);
        if (count < 0)
            return error_set(error, LEVEE_IO_ERROR, "%s: byte %llu: cannot be read: %s", path,
                             (unsigned long long)(offset + *got), strerror(errno));
        if (!count) break;
        *got += (uint64_t)count;
    }
    return LEVEE_OK;
}

levee_status file_read_next(int descriptor, const char *path, void *to, uint64_t bytes, uint64_t *got,
                            levee_error *error) {
    for (*got = 0; *got < bytes;) {
        ssize_t count = call_read(descriptor, (unsigned char *)to + *got, bytes - *got);
        if (count < 0) return error_set(error, LEVEE_IO_ERROR, "%s: cannot be read: %s", path, strerror(errno));
        if (!count) break;
        *got += (uint64_t)count;
    }
    return LEVEE_OK;
}

void file_drop_cache(int descriptor) { posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED); }

levee_status file_read(const char *path, void *content, uint64_t room, uint64_t *bytes, levee_error *error) {
    int source;
    uint64_t got;
    levee_status status = file_open(path, &source, bytes, error);
    if (status == LEVEE_OK && *bytes <= room) {
        status = file_read_at(source, path, content, *bytes, 0, &got, error);
        if (status == LEVEE_OK && got < *bytes)
            status = error_set(error, LEVEE_IO_ERROR, "%s: became shorter while it was read", path);
    }
    file_close(source);
    return status;
}

levee_status file_read_text(const char *path, char *text, uint64_t room, levee_error *error) {
    int source;
    uint64_t bytes, got = 0;
    levee_status status = file_open(path, &source, &bytes, error);
    if (status == LEVEE_OK) status = file_read_next(source, path, text, room - 1, &got, error);
    text[got] = 0;
    file_close(source);
    return status;
}

levee_status file_write_text(const char *path, const char *text, levee_error *error) {
    int target = call_open(path, O_WRONLY);
    /* The kernel takes such a text whole or not at all. */
    ssize_t wrote = target < 0 ? -1 : call_write(target, text, strlen(text));
    int failure = wrote < 0 ? errno : 0;
    file_close(target);
    if ((size_t)wrote == strlen(text)) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be written: %s", path,
                     failure ? strerror(failure) : "it took a part only");
}

levee_status file_map(file_mapping *mapping, const char *path, levee_error *error) {
    memset(mapping, 0, sizeof *mapping);
    int descriptor;
    uint64_t bytes = 0;
    levee_status status = file_open(path, &descriptor, &bytes, error);
    if (status == LEVEE_OK && bytes > 0) {
        const void *data = call_map(descriptor, bytes);
        if (data)
            *mapping = (file_mapping){.data = data, .bytes = bytes};
        else
            status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    file_close(descriptor);
    return status;
}

void file_unmap(file_mapping *mapping) {
    /* munmap takes an address that it could write to; ours is read-only. */
    union {
        const void *mapped;
        void *address;
    } data = {.mapped = mapping->data};
    if (data.address) munmap(data.address, mapping->bytes);
    memset(mapping, 0, sizeof *mapping);
}

levee_status file_append_open(int *descriptor, const char *path, uint64_t keep_bytes, uint64_t *bytes,
                              levee_error *error) {
    struct stat status;
    *descriptor = call_open(path, O_WRONLY | O_CREAT | O_APPEND);
    bool open = *descriptor >= 0 && !call_fstat(*descriptor, &status);
    if (open) *bytes = (uint64_t)status.st_size < keep_bytes ? (uint64_t)status.st_size : keep_bytes;
    if (open && ((uint64_t)status.st_size == *bytes || !call_ftruncate(*descriptor, *bytes))) return LEVEE_OK;
    error_set(error, LEVEE_IO_ERROR, "%s: cannot be written: %s", path, strerror(errno));
    file_close(*descriptor);
    *descriptor = -1;
    return LEVEE_IO_ERROR;
}

levee_status file_append(int descriptor, const char *path, const void *data, uint64_t bytes, uint64_t length,
                         levee_error *error) {
    for (uint64_t done = 0; done < bytes;) {
        ssize_t wrote = call_write(descriptor, (const unsigned char *)data + done, bytes - done);
        if (wrote < 0) {
            error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", path, strerror(errno));
            if (done && call_ftruncate(descriptor, length)) error_context(error, "its end is cut short");
            return LEVEE_IO_ERROR;
        }
        done += (uint64_t)wrote;
    }
    return LEVEE_OK;
}

levee_status file_sync(int descriptor, const char *path, levee_error *error) {
    if (!call_fdatasync(descriptor)) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", path, strerror(errno));
}

levee_status file_writer_open(file_writer *w, const char *path, levee_error *error) {
    memset(w, 0, sizeof *w);
    w->descriptor = -1;
    int length = snprintf(w->temporary, sizeof w->temporary, "%s.partial", path);
    if (length < 0 || length >= FILE_PATH_BYTES)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    memcpy(w->path, path, strlen(path) + 1);
    w->descriptor = call_open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (w->descriptor < 0)
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be written: %s", w->temporary, strerror(errno));
    return LEVEE_OK;
}

/* Sends what was written to the disk and drops it from the page cache. */
static levee_status flush(file_writer *w, levee_error *error) {
    if (call_fdatasync(w->descriptor))
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
        ssize_t wrote = call_write(w->descriptor, next, bytes < room ? bytes : room);
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
static levee_status make_name_last(const char *path, levee_error *error) {
    char directory[FILE_PATH_BYTES];
    memcpy(directory, path, strlen(path) + 1);
    char *slash = strrchr(directory, '/');
    if (slash) slash[slash == directory] = 0;
    levee_status status = file_sync_directory(slash ? directory : ".", error);
    return status == LEVEE_OK ? status
                              : error_context(error, "%s: is written, but may not survive a power failure", path);
}

static levee_status finish(file_writer *w, levee_error *error) {
    if (w->promised_bytes && w->promised_bytes != w->written_bytes)
        return error_set(error, LEVEE_INTERNAL, "%s: %llu bytes were written where its header says %llu", w->path,
                         (unsigned long long)w->written_bytes, (unsigned long long)w->promised_bytes);
    if (call_fsync(w->descriptor))
        return error_set(error, LEVEE_IO_ERROR, "%s: %s; is the disk full?", w->temporary, strerror(errno));
    levee_status status = flush(w, error);
    if (status == LEVEE_OK && call_rename(w->temporary, w->path))
        status = error_set(error, LEVEE_IO_ERROR, "%s: cannot be replaced: %s", w->path, strerror(errno));
    return status;
}

levee_status file_writer_commit(file_writer *w, levee_error *error) {
    levee_status status = finish(w, error);
    if (status != LEVEE_OK) {
        file_writer_abandon(w);
        return status;
    }
    file_close(w->descriptor);
    w->descriptor = -1;
    return make_name_last(w->path, error);
}

void file_writer_abandon(file_writer *w) {
    if (w->descriptor < 0 || !w->temporary[0]) return;
    file_close(w->descriptor);
    call_unlink(w->temporary); /* if that fails, what is left is overwritten by the next writer of this file */
    w->descriptor = -1;
}

levee_status file_move(const char *from, const char *to, levee_error *error) {
    if (file_exists(to)) return error_set(error, LEVEE_USAGE, "%s: is there already; give another name", to);
    if (call_rename(from, to))
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be named %s: %s", from, to, strerror(errno));
    return make_name_last(to, error);
}

levee_status file_replace(const char *from, const char *to, levee_error *error) {
    if (!call_rename(from, to)) return LEVEE_OK;
    return error_set(error, LEVEE_IO_ERROR, "%s: cannot be named %s: %s", from, to, strerror(errno));
}

static levee_status remove_visited(void *context, const char *name, levee_error *error) {
    char path[FILE_PATH_BYTES];
    bool is_file = strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && file_join(path, context, name);
    return is_file ? file_remove(path, error) : LEVEE_OK;
}

levee_status file_remove_with_files(const char *directory, levee_error *error) {
    char name[FILE_PATH_BYTES];
    snprintf(name, sizeof name, "%s", directory);
    levee_status status = file_list(directory, remove_visited, name, error);
    return status == LEVEE_OK ? file_remove_directory(directory, error) : status;
}

levee_status file_write(const char *path, const void *data, uint64_t bytes, levee_error *error) {
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, data, bytes, error);
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

levee_status file_copy(const char *from, const char *to, levee_error *error) {
    unsigned char slice[32768];
    int source;
    uint64_t bytes, got = 0;
    levee_status status = file_open(from, &source, &bytes, error);
    if (status != LEVEE_OK) return status;
    file_writer writer;
    status = file_writer_open(&writer, to, error);
    while (status == LEVEE_OK) {
        status = file_read_next(source, from, slice, sizeof slice, &got, error);
        if (status != LEVEE_OK || !got) break;
        status = file_writer_write(&writer, slice, got, error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    file_close(source);
    return status;
}
