/* What the fuzz harnesses share: a directory of their own, the input as a file in it, and the promises that every
 * reader of files must keep.
 *
 * Each harness gives fuzz_input and, if it needs anything else in the directory, fuzz_prepare. A broken promise stops
 * the program, so that the fuzzer keeps the input. Memory is bounded by a budget, so that a hostile size must be
 * refused; each input runs a second time with a budget so small that it is met half-way. After each run the ledger
 * must be where it was. */
#ifndef LEVEE_TESTS_FUZZ_HARNESS_H
#define LEVEE_TESTS_FUZZ_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "levee.h"

/* Given by the harness: one run over an input. Any call that takes memory may fail with LEVEE_DOES_NOT_FIT. */
void fuzz_input(const uint8_t *data, size_t bytes);

/* Given by the harness: what it needs before the first input. */
void fuzz_prepare(void);

/* The directory, below $TMPDIR or in memory; it goes when the program ends. */
const char *harness_directory(void);

/* Writes a file into the directory; its path is valid until the next call. */
const char *harness_write(const char *name, const void *content, size_t bytes);

/* Stops the program, with the words, when a promise was broken. */
void harness_require(bool kept, const char *words);

/* Whether the error says the same as the status, in one line of text, without a status that an input cannot cause.
 * LEVEE_BAD_DATA must name the file `name`, unless that is NULL. True for LEVEE_OK. */
bool harness_succeeded(levee_status status, const levee_error *error, const char *name);

#endif
