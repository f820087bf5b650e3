/* SHA-256 in base64, as a Content-Security-Policy names a script that may run. */
#ifndef LEVEE_WEB_HASH_H
#define LEVEE_WEB_HASH_H

#include <stddef.h>

enum { HASH_TEXT_BYTES = 45 };

/* Writes 44 characters and a NUL. */
void hash_text(char text[HASH_TEXT_BYTES], const void *data, size_t bytes);

#endif
