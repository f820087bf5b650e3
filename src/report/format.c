/* Appending formatted text: see format.h. */
#include "report/format.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void format_add(formatter *f, const char *format, ...) {
    char piece[1024];
    va_list arguments;
    if (f->status != LEVEE_OK) return;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    uint64_t bytes = (uint64_t)length < sizeof piece ? (uint64_t)length : sizeof piece - 1;
    f->status = text_append(f->text, piece, bytes, f->error);
}

void format_text(formatter *f, const char *text) {
    if (f->status == LEVEE_OK) f->status = text_append(f->text, text, strlen(text), f->error);
}

/* The next character, as long as it is UTF-8; what is not is one byte that is left out. */
static uint64_t next_character(const char *text, int32_t *code) {
    uint64_t length;
    *code = utf8_read(text, strnlen(text, 4), &length);
    return length ? length : 1;
}

void format_json_text(formatter *f, const char *text) {
    format_add(f, "\"");
    for (int32_t code; *text;) {
        uint64_t length = next_character(text, &code);
        if (code == '"' || code == '\\')
            format_add(f, "\\%c", (char)code);
        else if (code >= 0 && code < ' ')
            format_add(f, "\\u%04x", (unsigned)code);
        else
            format_add(f, "%.*s", code < 0 ? 3 : (int)length, code < 0 ? "\xef\xbf\xbd" : text);
        text += length;
    }
    format_add(f, "\"");
}

void format_xml_text(formatter *f, const char *text) {
    for (int32_t code; *text;) {
        uint64_t length = next_character(text, &code);
        if (code == '<' || code == '>' || code == '&' || code == '"')
            format_add(f, "&#%d;", (int)code);
        else if (code >= ' ')
            format_add(f, "%.*s", (int)length, text);
        text += length;
    }
}
