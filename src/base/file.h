/* Files: small ones read whole, large ones mapped, results written atomically.
 *
 * Every call on a file that the library makes goes through here, and through base/call.h below, where tests make
 * calls fail (fault.h). Nothing here takes memory of ours. */
#ifndef LEVEE_BASE_FILE_H
#define LEVEE_BASE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

enum { FILE_PATH_BYTES = 4096 };

/* Joins directory and name into `path`; false when the result is too long. */
bool file_join(char path[FILE_PATH_BYTES], const char *directory, const char *name);

/* Is something there under this name? True too when that cannot be told, so that whoever would put something there
 * does not, and whoever opens it hears why not. */
bool file_exists(const char *path);
bool file_is_directory(const char *path);

/* Are these two names of one file that is there? */
bool file_is_same(const char *a, const char *b);

/* Makes a directory and its parents; one that is there already is fine. */
levee_status file_make_directory(const char *path, levee_error *error);

/* Makes a directory of a new name below `parent`, which begins with `stem`. */
levee_status file_make_temporary_directory(char path[FILE_PATH_BYTES], const char *parent, const char *stem,
                                           levee_error *error);

/* Tells of each name in a directory; a visit that fails ends it, and its status is returned. */
typedef levee_status file_visit(void *context, const char *name, levee_error *error);
levee_status file_list(const char *directory, file_visit *visit, void *context, levee_error *error);

/* Makes the names in a directory last. One that may be written but not read cannot be synced, which is no failure. */
levee_status file_sync_directory(const char *directory, levee_error *error);

/* Removes a file or an empty directory. One that is not there is fine. */
levee_status file_remove(const char *path, levee_error *error);
levee_status file_remove_directory(const char *path, levee_error *error);

/* Gives a file or directory another name, where nothing may be yet, and makes that last. */
levee_status file_move(const char *from, const char *to, levee_error *error);

/* Gives a file another name, and replaces what was there. */
levee_status file_replace(const char *from, const char *to, levee_error *error);

/* Removes a directory and the files in it, but no directories in it. */
levee_status file_remove_with_files(const char *directory, levee_error *error);

/* What may still be written to the file system that holds `directory`. */
levee_status file_free_bytes(const char *directory, uint64_t *bytes, levee_error *error);

/* Opens a regular file for reading, and says how long it is; the caller closes it by file_close. What is not there,
 * or is no regular file, is LEVEE_MISSING_INPUT. */
levee_status file_open(const char *path, int *descriptor, uint64_t *bytes, levee_error *error);

/* Opens whatever can be read once from its start to its end, a pipe too. */
levee_status file_open_stream(const char *path, int *descriptor, levee_error *error);

/* Accepts what was never opened: -1. */
void file_close(int descriptor);

/* What tells a changed file from an unchanged one. */
levee_status file_identify(int descriptor, const char *path, uint64_t *bytes, int64_t *modified_ns,
                           levee_error *error);

/* Reads until `bytes` are there or the file ends; *got says how many came. file_read_next goes on where the
 * one before ended. */
levee_status file_read_at(int descriptor, const char *path, void *to, uint64_t bytes, uint64_t offset, uint64_t *got,
                          levee_error *error);
levee_status file_read_next(int descriptor, const char *path, void *to, uint64_t bytes, uint64_t *got,
                            levee_error *error);

/* Tells the kernel that an open file will not be read again. */
void file_drop_cache(int descriptor);

/* Reads a whole file of at most `room` bytes. Of a larger one nothing is read; *bytes is its length either way. */
levee_status file_read(const char *path, void *content, uint64_t room, uint64_t *bytes, levee_error *error);

/* Reads the start of a file that does not know its length, as the kernel's do: at most `room` - 1 bytes, ended by a
 * NUL. */
levee_status file_read_text(const char *path, char *text, uint64_t room, levee_error *error);

/* Writes into a file that is there, in place: for the kernel's. */
levee_status file_write_text(const char *path, const char *text, levee_error *error);

typedef struct file_mapping {
    const unsigned char *data;
    uint64_t bytes;
} file_mapping;

/* Maps a file read-only; an empty one has data NULL. Undone by file_unmap, which accepts a zeroed mapping. Clean
 * pages of a mapping are the kernel's to drop; the next access reads them again. */
levee_status file_map(file_mapping *mapping, const char *path, levee_error *error);
void file_unmap(file_mapping *mapping);

/* Opens a file to append to, new or cut to its first `keep_bytes` bytes; *bytes is its length then, which is less
 * where it was shorter. Closed by file_close. What is appended can be read at once, and lasts from file_sync on. When
 * appending fails, a part that was written is taken off again: the file had `length` bytes. */
levee_status file_append_open(int *descriptor, const char *path, uint64_t keep_bytes, uint64_t *bytes,
                              levee_error *error);
levee_status file_append(int descriptor, const char *path, const void *data, uint64_t bytes, uint64_t length,
                         levee_error *error);
levee_status file_sync(int descriptor, const char *path, levee_error *error);

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

/* Writes a whole file, or copies one, as a file_writer writes it, through a small buffer. */
levee_status file_write(const char *path, const void *data, uint64_t bytes, levee_error *error);
levee_status file_copy(const char *from, const char *to, levee_error *error);

/* Closes and removes the temporary file; harmless after commit and on a zeroed writer. */
void file_writer_abandon(file_writer *w);

#endif
