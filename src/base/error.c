/* Failure as a value: see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a message quotes from a file may hold line ends and a terminal's control characters; a message is one line. */
static void flatten(char *message) {
    for (char *c = message; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = ' ';
}

levee_status error_set(levee_error *error, levee_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
        flatten(error->message);
        error->status = status;
    }
    return status;
}

levee_status error_context(levee_error *error, const char *format, ...) {
    if (!error) return LEVEE_INTERNAL;
    char inner[LEVEE_ERROR_BYTES];
    memcpy(inner, error->message, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof error->message) {
        size_t room = sizeof error->message - (size_t)length;
        snprintf(error->message + length, room, ": %.*s", room > 3 ? (int)(room - 3) : 0, inner);
    }
    flatten(error->message);
    return error->status;
}

void error_describe_refusal(levee_error *error, const char *what, uint64_t bytes) {
    error_set(error, LEVEE_DOES_NOT_FIT,
              "%s: %llu bytes were refused by the memory budget or the system; give a larger --memory", what,
              (unsigned long long)bytes);
}
