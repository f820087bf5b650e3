/* Appending formatted text to a buffer: the first failure is kept, and what follows does nothing, so that a report
 * reads like the report. */
#ifndef LEVEE_REPORT_FORMAT_H
#define LEVEE_REPORT_FORMAT_H

#include "text/buffer.h"

typedef struct formatter {
    text_buffer *text;
    levee_status status;
    levee_error *error;
} formatter;

/* Appends at most 1 KiB. */
void format_add(formatter *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends a text as it is, however long. */
void format_text(formatter *f, const char *text);

/* Appends a text as a JSON string, quotes included. */
void format_json_text(formatter *f, const char *text);

/* Appends a text with what XML reads as markup written as entities. */
void format_xml_text(formatter *f, const char *text);

#endif
