/* Numbers as JSON text, in the caller's buffer: what JSON has no word for is null. */
#ifndef LEVEE_REPORT_JSON_TEXT_H
#define LEVEE_REPORT_JSON_TEXT_H

#include <stdbool.h>
#include <stdint.h>

enum { JSON_NUMBER_BYTES = 32 };

/* Returns `text`: the number, or null when it is infinite or NaN. */
const char *json_text_number(char text[JSON_NUMBER_BYTES], double number);

/* The same of a count; null when it is not known, or says that there is no limit: readers of JSON have no whole
 * numbers beyond 2^63. */
const char *json_text_count(char text[JSON_NUMBER_BYTES], bool known, uint64_t count);

#endif
