/* What tests of files share: a directory of their own that disappears, files in it, and the real inputs where there
 * are any. */
#ifndef LEVEE_TESTS_SCRATCH_H
#define LEVEE_TESTS_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/file.h"
#include "levee.h"
#include "tensor/safetensors.h"

/* For cmocka: *state becomes the name of a fresh directory; the teardown removes it with all it holds, and fails when
 * a byte that the test took from the ledger was not given back. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* Removes a directory with all it holds. One that is not there is fine. */
void scratch_remove(const char *path);

/* Writes a file; the content goes to "directory/name", whose path is returned until the next call. */
const char *scratch_file(const char *directory, const char *name, const void *content, size_t bytes);
const char *scratch_text(const char *directory, const char *name, const char *text);

/* A whole file, NUL-terminated beyond its `*bytes` bytes; the caller frees it. */
char *scratch_read(const char *path, size_t *bytes);

/* Fills in one of the tensor_declarations that `context` points at: for safetensors_write_header. */
void scratch_describe(const void *context, uint32_t index, tensor_declaration *tensor);

/* The path of `name` below the directory of real inputs ($LEVEE_SHARED, or its default); false, with a message
 * that says what is missing, when it is not there. */
bool scratch_shared(char path[FILE_PATH_BYTES], const char *name);

/* Fails unless the status is as expected and the message holds each of the words, which are separated by '|'. */
void scratch_expect(const char *label, levee_status expected, const char *words, levee_status status,
                    const levee_error *error);

#endif
