/* Text into a buffer of fixed size: see text.h. */
#include "web/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void web_put(web_text *t, const char *format, ...) {
    va_list arguments;
    if (t->cut) return;
    va_start(arguments, format);
    int length = vsnprintf(t->text + t->length, t->room - t->length, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= t->room - t->length) {
        t->text[t->length] = 0;
        t->cut = true;
        return;
    }
    t->length += (size_t)length;
}

/* How many bytes the UTF-8 character at `text` has; 0 when it is none. */
static unsigned character_bytes(const unsigned char *text) {
    unsigned bytes = *text < 0x80                    ? 1
                     : *text >= 0xc2 && *text < 0xe0 ? 2
                     : *text >= 0xe0 && *text < 0xf0 ? 3
                     : *text >= 0xf0 && *text < 0xf5 ? 4
                                                     : 0;
    for (unsigned i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    bool overlong = (*text == 0xe0 && text[1] < 0xa0) || (*text == 0xf0 && text[1] < 0x90);
    bool beyond = (*text == 0xed && text[1] >= 0xa0) || (*text == 0xf4 && text[1] >= 0x90);
    return bytes > 1 && (overlong || beyond) ? 0 : bytes;
}

void web_put_string(web_text *t, const char *text) {
    web_put(t, "\"");
    while (*text) {
        unsigned bytes = character_bytes((const unsigned char *)text);
        if (!bytes)
            web_put(t, "?");
        else if (*text == '"' || *text == '\\')
            web_put(t, "\\%c", *text);
        else if ((unsigned char)*text < ' ')
            web_put(t, "\\u%04x", (unsigned)*text);
        else
            web_put(t, "%.*s", (int)bytes, text);
        text += bytes ? bytes : 1;
    }
    web_put(t, "\"");
}
