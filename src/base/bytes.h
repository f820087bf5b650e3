/* Sizes in bytes: read from text, written for people, multiplied with care. */
#ifndef LEVEE_BASE_BYTES_H
#define LEVEE_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

enum { BYTES_TEXT = 32, SIGNED_BYTES_TEXT = BYTES_TEXT + 1 };

/* Reads "600MiB", "1.5GiB", "2GB", "64k" or a plain number of bytes. KiB, MiB, GiB, TiB (and K, M, G, T alone) are
 * powers of 1024, kB, MB, GB, TB of 1000; case does not matter. False for anything else. */
bool bytes_parse(const char *text, uint64_t *bytes);

/* Writes "583.2 MiB" into buffer, and returns it. */
char *bytes_format(char buffer[BYTES_TEXT], uint64_t bytes);

/* The same of a difference or a slope, rounded to whole bytes: "-1.5 KiB". Its magnitude must be below 2^63. Returns
 * where in the buffer the text begins. */
char *bytes_format_signed(char buffer[SIGNED_BYTES_TEXT], double bytes);

#endif
