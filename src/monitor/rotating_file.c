/* Files with a bound: see rotating_file.h. */
#include "monitor/rotating_file.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

enum { SUFFIX_BYTES = 2 };

levee_status rotating_file_open(rotating_file *f, const char *path, uint64_t most_bytes, levee_error *error) {
    *f = (rotating_file){.descriptor = -1, .most_bytes = most_bytes};
    size_t length = strlen(path);
    if (length + SUFFIX_BYTES >= sizeof f->path)
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", path);
    memcpy(f->path, path, length + 1);
    return file_append_open(&f->descriptor, path, UINT64_MAX, &f->bytes, error);
}

void rotating_file_close(rotating_file *f) {
    if (f->most_bytes) file_close(f->descriptor);
    *f = (rotating_file){.descriptor = -1};
}

static levee_status rotate(rotating_file *f, levee_error *error) {
    char older[FILE_PATH_BYTES];
    levee_error why = {0};
    file_close(f->descriptor);
    f->descriptor = -1;
    f->rotations++;
    snprintf(older, sizeof older, "%.*s.1", FILE_PATH_BYTES - SUFFIX_BYTES - 1, f->path);
    levee_status moved = file_replace(f->path, older, &why);
    levee_status status = file_append_open(&f->descriptor, f->path, 0, &f->bytes, error);
    if (status != LEVEE_OK || moved == LEVEE_OK) return status;
    if (error) *error = why;
    return moved;
}

levee_status rotating_file_append(rotating_file *f, const char *text, uint64_t bytes, levee_error *error) {
    levee_status rotated = LEVEE_OK;
    if (f->descriptor < 0 || (f->bytes && f->bytes + bytes > f->most_bytes)) rotated = rotate(f, error);
    if (f->descriptor < 0) return rotated; /* the next line tries again */
    levee_status status = file_append(f->descriptor, f->path, text, bytes, f->bytes, error);
    if (status == LEVEE_OK) f->bytes += bytes;
    return status == LEVEE_OK ? rotated : status;
}

levee_status rotating_file_sync(rotating_file *f, levee_error *error) {
    return f->descriptor < 0 ? LEVEE_OK : file_sync(f->descriptor, f->path, error);
}
