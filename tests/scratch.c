/* Scratch directories for tests: see scratch.h. */
#include "scratch.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/ledger.h"

int scratch_setup(void **state) {
    const char *parent = getenv("TMPDIR");
    char *name = NULL;
    if (asprintf(&name, "%s/levee-test-XXXXXX", parent && *parent ? parent : "/tmp") < 0 || !mkdtemp(name)) return -1;
    *state = name;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

void scratch_remove(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

int scratch_teardown(void **state) {
    scratch_remove(*state);
    free(*state);
    ledger_set_budget(UINT64_MAX);
    uint64_t left = ledger_booked(LEVEE_CATEGORY_COUNT);
    if (left) print_error("%llu bytes were not given back to the ledger\n", (unsigned long long)left);
    return left ? -1 : 0;
}

const char *scratch_file(const char *directory, const char *name, const void *content, size_t bytes) {
    static char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, name));
    unlink(path); /* a file system may sync a file that is written over, which takes milliseconds */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (bytes) assert_int_equal(fwrite(content, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

const char *scratch_text(const char *directory, const char *name, const char *text) {
    return scratch_file(directory, name, text, strlen(text));
}

char *scratch_read(const char *path, size_t *bytes) {
    file_mapping whole;
    assert_int_equal(file_map(&whole, path, NULL), LEVEE_OK);
    char *content = malloc(whole.bytes + 1);
    assert_non_null(content);
    if (whole.bytes) memcpy(content, whole.data, whole.bytes);
    content[whole.bytes] = 0;
    *bytes = whole.bytes;
    file_unmap(&whole);
    return content;
}

void scratch_describe(const void *context, uint32_t index, tensor_declaration *tensor) {
    *tensor = ((const tensor_declaration *)context)[index];
}

bool scratch_shared(char path[FILE_PATH_BYTES], const char *name) {
    const char *root = getenv("LEVEE_SHARED");
    if (file_join(path, root && *root ? root : "../shared/data", name) && file_exists(path)) return true;
    print_message("%s is missing; set LEVEE_SHARED to the directory of real inputs\n", path);
    return false;
}

void scratch_expect(const char *label, levee_status expected, const char *words, levee_status status,
                    const levee_error *error) {
    const char *message = status == LEVEE_OK ? "" : error->message;
    if (status != expected) fail_msg("%s: status %d instead of %d: %s", label, (int)status, (int)expected, message);
    if (status != LEVEE_OK && error->status != status)
        fail_msg("%s: the error says %d, the function %d", label, (int)error->status, (int)status);
    char copy[512];
    snprintf(copy, sizeof copy, "%s", words ? words : "");
    for (char *rest = copy, *word; (word = strsep(&rest, "|"));)
        if (!strstr(message, word)) fail_msg("%s: '%s' is not in: %s", label, word, message);
    if (strchr(message, '\n')) fail_msg("%s: the message has more than one line: %s", label, message);
}
