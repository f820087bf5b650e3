/* YAML options: what is read is the same again when written and read. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "train/options.h"

void fuzz_prepare(void) {}

/* Writes the options; the text lasts until the next call for the same slot. */
static const char *written(const levee_options *o, unsigned slot, const char **path) {
    enum { MOST_BYTES = 1 << 17 };
    static char text[2][MOST_BYTES], place[FILE_PATH_BYTES];
    levee_error error;
    uint64_t bytes = 0;
    harness_require(file_join(place, harness_directory(), "written.yaml") &&
                        harness_succeeded(options_write(o, place, "", &error), &error, place) &&
                        file_read(place, text[slot], MOST_BYTES - 1, &bytes, NULL) == LEVEE_OK && bytes < MOST_BYTES,
                    "the options cannot be written");
    text[slot][bytes] = 0;
    *path = place;
    return text[slot];
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    levee_options *o = malloc(sizeof *o), *again = malloc(sizeof *again);
    levee_error error;
    harness_require(o && again, "no memory");
    options_defaults(o);
    options_defaults(again);
    const char *path = harness_write("options.yaml", data, bytes);
    if (harness_succeeded(options_read(o, path, &error), &error, path)) {
        harness_succeeded(options_check(o, &error), &error, NULL);
        const char *first = written(o, 0, &path);
        harness_require(harness_succeeded(options_read(again, path, &error), &error, path),
                        "written options cannot be read");
        harness_require(!strcmp(first, written(again, 1, &path)), "written options read differently");
    }
    free(o);
    free(again);
}
