/* Text into a buffer of fixed size: see text.h. */
#include "web/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/buffer.h"

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

void web_put_string(web_text *t, const char *text) {
    web_put(t, "\"");
    while (*text) {
        uint64_t bytes;
        int32_t code = utf8_read(text, strnlen(text, 4), &bytes);
        if (code < 0)
            web_put(t, "?");
        else if (code == '"' || code == '\\')
            web_put(t, "\\%c", (char)code);
        else if (code < ' ')
            web_put(t, "\\u%04x", (unsigned)code);
        else
            web_put(t, "%.*s", (int)bytes, text);
        text += code < 0 ? 1 : bytes;
    }
    web_put(t, "\"");
}
