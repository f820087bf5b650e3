/* Numbers as JSON text: see json_text.h. */
#include "report/json_text.h"

#include <math.h>
#include <stdio.h>

const char *json_text_number(char text[JSON_NUMBER_BYTES], double number) {
    snprintf(text, JSON_NUMBER_BYTES, isfinite(number) ? "%.9g" : "null", number);
    return text;
}

const char *json_text_count(char text[JSON_NUMBER_BYTES], bool known, uint64_t count) {
    snprintf(text, JSON_NUMBER_BYTES, known && count <= INT64_MAX ? "%llu" : "null", (unsigned long long)count);
    return text;
}
