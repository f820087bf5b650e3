/* Sizes in bytes: see bytes.h. */
#include "base/bytes.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static const struct {
    const char *suffix;
    double factor;
} units[] = {
    {"", 1},     {"B", 1},      {"K", 1024.0},   {"KiB", 1024.0}, {"kB", 1e3},   {"M", 0x1p20},   {"MiB", 0x1p20},
    {"MB", 1e6}, {"G", 0x1p30}, {"GiB", 0x1p30}, {"GB", 1e9},     {"T", 0x1p40}, {"TiB", 0x1p40}, {"TB", 1e12},
};

bool bytes_parse(const char *text, uint64_t *bytes) {
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    double number = strtod(text, &end);
    while (*end == ' ') end++;
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcasecmp(end, units[i].suffix)) continue;
        double value = number * units[i].factor;
        if (!isfinite(value) || value >= 0x1p63) return false;
        *bytes = (uint64_t)value;
        return true;
    }
    return false;
}

char *bytes_format(char buffer[BYTES_TEXT], uint64_t bytes) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(buffer, BYTES_TEXT, unit ? "%.1f %s" : "%.0f %s", value, names[unit]);
    return buffer;
}

char *bytes_format_signed(char buffer[SIGNED_BYTES_TEXT], double bytes) {
    buffer[0] = '-';
    bytes_format(buffer + 1, (uint64_t)round(fabs(bytes)));
    return bytes <= -0.5 ? buffer : buffer + 1;
}
