/* Directories that look like /proc and /sys, for tests of what reads them. */
#ifndef LEVEE_TESTS_FAKE_KERNEL_H
#define LEVEE_TESTS_FAKE_KERNEL_H

#include <stddef.h>

#include "base/file.h"
#include "platform/kernel_text.h"

typedef struct fake_file {
    const char *path, *text; /* path below the directory; a table ends with a NULL path */
} fake_file;

typedef struct fake_kernel {
    const char *directory;
    char proc[FILE_PATH_BYTES], sys[FILE_PATH_BYTES];
} fake_kernel;

/* Makes proc/ and sys/ below a directory; the roots point into it. */
kernel_roots fake_kernel_make(fake_kernel *k, const char *directory);

/* Writes a file in place, so that who has it open sees it, and the directories above it. */
void fake_kernel_write(const fake_kernel *k, const char *path, const char *text, size_t bytes);
void fake_kernel_text(const fake_kernel *k, const char *path, const char *text);
void fake_kernel_files(const fake_kernel *k, const fake_file *files);

#endif
