/* Files: small ones read whole, large ones mapped, results written atomically. */
#ifndef LEVEE_BASE_FILE_H
#define LEVEE_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

enum { FILE_PATH_BYTES = 4096 };

/* Joins directory and name into `path`; false when the result is too long. */
bool file_join(char path[FILE_PATH_BYTES], const char *directory, const char *name);

bool file_exists(const char *path);
bool file_is_directory(const char *path);

/* Makes a directory and its parents; one that is there already is fine. */
levee_status file_make_directory(const char *path, levee_error *error);

/* Opens a regular file for reading, and says how long it is; the caller closes the descriptor. What is not there, or
 * is no regular file, is LEVEE_MISSING_INPUT. */
levee_status file_open(const char *path, int *descriptor, uint64_t *bytes, levee_error *error);

/* Reads a whole file of at most `room` bytes. Of a larger one nothing is read; *bytes is its length either way. */
levee_status file_read(const char *path, void *content, uint64_t room, uint64_t *bytes, levee_error *error);

typedef struct file_mapping {
    const unsigned char *data;
    uint64_t bytes;
} file_mapping;

/* Maps a file read-only; an empty one has data NULL. Undone by file_unmap, which accepts a zeroed mapping. Clean
 * pages of a mapping are the kernel's to drop; file_drop_pages asks it to, and the next access reads them again. */
levee_status file_map(file_mapping *mapping, const char *path, levee_error *error);
void file_unmap(file_mapping *mapping);
void file_drop_pages(const file_mapping *mapping);

/* Writes a file under a temporary name beside its target, which is replaced only when everything has reached the
 * disk. Written pages are flushed and dropped slice by slice, because dirty pages count towards a container's limit.
 */
typedef struct file_writer {
    char path[FILE_PATH_BYTES], temporary[FILE_PATH_BYTES];
    int descriptor; /* -1 when closed */
    uint64_t written_bytes, flushed_bytes;
    uint64_t promised_bytes; /* by file_writer_promise; 0: none */
} file_writer;

levee_status file_writer_open(file_writer *w, const char *path, levee_error *error);
levee_status file_writer_write(file_writer *w, const void *data, uint64_t bytes, levee_error *error);

/* Says how long the file will be: a commit of any other length then fails and leaves the target alone. */
void file_writer_promise(file_writer *w, uint64_t bytes);

/* On failure the temporary file is gone and the target is as it was, unless only the last step failed (making the new
 * name durable): then the target holds the new content, and the message says so. */
levee_status file_writer_commit(file_writer *w, levee_error *error);

/* Copies a file, as a file_writer writes it, through a small buffer. */
levee_status file_copy(const char *from, const char *to, levee_error *error);

/* Closes and removes the temporary file; harmless after commit and on a zeroed writer. */
void file_writer_abandon(file_writer *w);

#endif
