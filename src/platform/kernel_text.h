/* What the kernel writes as text: small files of /proc and /sys that are opened once and read again and again.
 *
 * Words. A reading is a number that the kernel told, or the fact that it did not: unknown is not zero. A number
 * counts only when its line is whole, because one that is cut short reads as a smaller one.
 *
 * Nothing here allocates; texts go into the caller's buffer. A kept file belongs to whoever opened it. Reading is
 * thread-safe. */
#ifndef LEVEE_PLATFORM_KERNEL_TEXT_H
#define LEVEE_PLATFORM_KERNEL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct reading {
    bool known;
    uint64_t value;
} reading;

/* Where the kernel's files are. A test gives directories of its own. */
typedef struct kernel_roots {
    const char *proc, *sys;
} kernel_roots;

static const kernel_roots kernel_roots_default = {"/proc", "/sys"};

enum { KERNEL_PATH_BYTES = 4096, KERNEL_TEXT_BYTES = 8192 };

typedef struct kernel_file {
    bool open;
    int descriptor;
} kernel_file;

/* Opens a file and keeps it open; returns 0 or the errno. kernel_file_close accepts a zeroed one. */
int kernel_file_open(kernel_file *file, const char *path);
void kernel_file_close(kernel_file *file);

/* Reads it from its start, as it is now, NUL-terminated, as much as fits; the length, or 0 when nothing was read. */
size_t kernel_file_read(const kernel_file *file, char text[KERNEL_TEXT_BYTES]);

/* The same of a file that is read once, by its name below a root: "self/status". */
size_t kernel_text_read(char text[KERNEL_TEXT_BYTES], const char *root, const char *name);

/* Gives each whole line of a file of any length to `take`, without its newline, until that returns false. A line that
 * is longer than KERNEL_TEXT_BYTES is passed over. False when the file cannot be read. */
bool kernel_file_lines(const char *path, bool (*take)(void *context, char *line), void *context);

/* The rest of the first line that begins with `name`; NULL when there is none, or only part of it. */
const char *kernel_text_line(const char *text, const char *name);

/* The number after `name` at the beginning of a line, in bytes when it is in kB. */
reading kernel_text_field(const char *text, const char *name);

/* A number alone in a file; "max" reads as UINT64_MAX. */
reading kernel_text_number(const char *text);

#endif
