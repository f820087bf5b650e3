/* Options as tests give them: see given_options.h. */
#include "given_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch.h"

void must_set(levee_options *o, const char *key, const char *given) {
    levee_error error;
    scratch_expect(key, LEVEE_OK, "", options_set(o, key, given, &error), &error);
}

void must_read(levee_options *o, const char *path) {
    levee_error error;
    scratch_expect(path, LEVEE_OK, "", options_read(o, path, &error), &error);
}

levee_options from_text(const char *directory, const char *text) {
    levee_options o;
    options_defaults(&o);
    must_read(&o, scratch_text(directory, "options.yaml", text));
    return o;
}

void assert_projections(const levee_options *o, const char *wanted) {
    char found[PROJECTION_COUNT + 1] = "";
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) found[p] = o->projections[p] ? '1' : '0';
    assert_string_equal(found, wanted);
}
