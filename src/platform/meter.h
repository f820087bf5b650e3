/* Meters: the text files in which the kernel tells numbers. A meter that cannot be read, or does not hold the number,
 * is unknown, which is never zero. Reading takes no memory. */
#ifndef LEVEE_PLATFORM_METER_H
#define LEVEE_PLATFORM_METER_H

#include <stdbool.h>
#include <stdint.h>

/* The number behind `name` at the start of a line, which ends in what stands between the two; false when there is
 * none.
 */
bool meter_find(const char *text, const char *name, uint64_t *number);

/* The number that the whole text is; "max" is UINT64_MAX. */
bool meter_parse(const char *text, uint64_t *number);

#endif
