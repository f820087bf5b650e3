/* Failure as a value: a status, and one message that grows context on its way up.
 *
 * Every function that can fail returns a levee_status (0 is success) and, on failure, fills the levee_error it was
 * given. The message names the file or option, the place in it, and the remedy. Passing NULL drops the message.
 * Not thread-safe: one levee_error belongs to one thread. */
#ifndef LEVEE_BASE_ERROR_H
#define LEVEE_BASE_ERROR_H

#include "levee.h"

/* Sets status and message; returns the status, so that a caller can write: return error_set(error, ...). */
levee_status error_set(levee_error *error, levee_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message that is already there; returns the status that is already there. */
levee_status error_context(levee_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The one message for an allocation that was refused: names what was wanted and how many bytes it took. */
void error_describe_refusal(levee_error *error, const char *what, uint64_t bytes);

/* Inline, so that callers' checkers see that it never returns LEVEE_OK. */
static inline levee_status error_out_of_memory(levee_error *error, const char *what, uint64_t bytes) {
    error_describe_refusal(error, what, bytes);
    return LEVEE_DOES_NOT_FIT;
}

#endif
