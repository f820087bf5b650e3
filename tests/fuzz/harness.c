/* What the fuzz harnesses share: see harness.h. */
#include "harness.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "memory/ledger.h"
#include "memory/pool.h"

/* The fuzzer's names. */
int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char directory[FILE_PATH_BYTES];

void harness_require(bool kept, const char *words) {
    if (kept) return;
    fprintf(stderr, "BROKEN: %s\n", words);
    abort();
}

bool harness_succeeded(levee_status status, const levee_error *error, const char *name) {
    if (status == LEVEE_OK) return true;
    size_t length = strnlen(error->message, sizeof error->message);
    harness_require(error->status == status, "the error says another status than the function");
    harness_require(status != LEVEE_INTERNAL && status != LEVEE_IO_ERROR && status != LEVEE_STOPPED,
                    "an input is blamed on us or on the disk");
    harness_require(length > 0 && length < sizeof error->message, "an error without a message");
    for (size_t i = 0; i < length; i++)
        harness_require((unsigned char)error->message[i] >= ' ' && error->message[i] != 127,
                        "the message is not one line of text");
    if (status == LEVEE_BAD_DATA && name)
        harness_require(strstr(error->message, name), "the message does not name the file");
    return false;
}

const char *harness_directory(void) { return directory; }

const char *harness_write(const char *name, const void *content, size_t bytes) {
    static char path[FILE_PATH_BYTES];
    harness_require(file_join(path, directory, name), "the path is too long");
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    harness_require(file >= 0 && write(file, content, bytes) == (ssize_t)bytes && !close(file),
                    "the input cannot be written");
    return path;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static void remove_directory(void) { nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent) parent = file_is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    harness_require(file_join(directory, parent, "levee-fuzz-XXXXXX") && mkdtemp(directory),
                    "no directory for files");
    atexit(remove_directory);
    pool_hook_json();
    fuzz_prepare();
    return 0;
}

static void run(const uint8_t *data, size_t bytes, uint64_t budget_bytes) {
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    ledger_set_budget(budget_bytes);
    fuzz_input(data, bytes);
    harness_require(ledger_booked(LEVEE_CATEGORY_COUNT) == before, "memory was not given back");
}

/* A second time with a budget that is met half-way somewhere: each input at another place, and always the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    enum { BUDGET_BYTES = 64 << 20, TIGHT_BYTES = 128 << 10 };
    uint32_t mixed = 2166136261u;
    for (size_t i = 0; i < bytes; i++) mixed = (mixed ^ data[i]) * 16777619u;
    run(data, bytes, BUDGET_BYTES);
    harness_require(ledger_peak(LEVEE_CATEGORY_COUNT) <= BUDGET_BYTES, "more memory was taken than the budget has");
    run(data, bytes, (mixed ^ mixed >> 16) % TIGHT_BYTES);
    return 0;
}
