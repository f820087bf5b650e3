/* Characters as Python sees them, by Unicode's properties. */
#ifndef LEVEE_TEXT_JINJA_CHARACTER_H
#define LEVEE_TEXT_JINJA_CHARACTER_H

#include <stdbool.h>
#include <stdint.h>

bool jinja_is_space(uint32_t c);
bool jinja_is_printable(uint32_t c);
bool jinja_is_upper(uint32_t c);
bool jinja_is_lower(uint32_t c);
bool jinja_is_letter(uint32_t c);
bool jinja_is_decimal(uint32_t c);

/* May it stand in a name, or at its beginning? */
bool jinja_is_name(uint32_t c, bool first);

typedef enum jinja_case { CASE_UPPER, CASE_LOWER, CASE_TITLE } jinja_case;

/* A character in another case: 1 to 3 characters. */
unsigned jinja_change_case(uint32_t c, jinja_case wanted, uint32_t changed[3]);

#endif
