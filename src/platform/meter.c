/* Meters: see meter.h. */
#include "platform/meter.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reads a number and goes past it. */
static bool take_number(const char **text, uint64_t *number) {
    char *end;
    while (**text == ' ' || **text == '\t') ++*text;
    if (!isdigit((unsigned char)**text)) return false;
    errno = 0;
    *number = strtoull(*text, &end, 10);
    *text = end;
    return !errno;
}

bool meter_find(const char *text, const char *name, uint64_t *number) {
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) != 0) continue;
        const char *rest = line + length;
        return take_number(&rest, number);
    }
    return false;
}

bool meter_parse(const char *text, uint64_t *number) {
    const char *rest = text;
    if (!strncmp(text, "max", 3)) {
        *number = UINT64_MAX;
        rest = text + 3;
    } else if (!take_number(&rest, number)) {
        return false;
    }
    return !*rest || !strcmp(rest, "\n");
}
