/* Options as tests give them; each fails the test when the options do not take it. */
#ifndef LEVEE_TESTS_GIVEN_OPTIONS_H
#define LEVEE_TESTS_GIVEN_OPTIONS_H

#include "train/options.h"

void must_set(levee_options *o, const char *key, const char *given);
void must_read(levee_options *o, const char *path);

/* The options that a YAML text gives on top of the defaults; the text goes to "directory/options.yaml". */
levee_options from_text(const char *directory, const char *text);

/* Which projections are adapted: seven digits, 1 for those that are. */
void assert_projections(const levee_options *o, const char *wanted);

#endif
