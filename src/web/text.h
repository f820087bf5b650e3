/* Text into a buffer of fixed size: what does not fit is left out, and known to be. */
#ifndef LEVEE_WEB_TEXT_H
#define LEVEE_WEB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct web_text {
    char *text; /* [room], NUL-terminated */
    size_t room, length;
    bool cut;
} web_text;

void web_put(web_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A JSON string, quotes included; what is no printable ASCII and no UTF-8 is '?'. */
void web_put_string(web_text *t, const char *text);

#endif
