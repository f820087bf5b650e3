/* The kernel's text files: see kernel_text.h. */
#include "platform/kernel_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/call.h"

int kernel_file_open(kernel_file *file, const char *path) {
    int descriptor = call_open(path, O_RDONLY);
    *file = (kernel_file){.open = descriptor >= 0, .descriptor = descriptor};
    return descriptor >= 0 ? 0 : errno;
}

void kernel_file_close(kernel_file *file) {
    if (file->open) close(file->descriptor);
    file->open = false;
}

size_t kernel_file_read(const kernel_file *file, char text[KERNEL_TEXT_BYTES]) {
    size_t length = 0;
    text[0] = 0;
    if (!file->open) return 0;
    while (length < KERNEL_TEXT_BYTES - 1) {
        ssize_t got = call_pread(file->descriptor, text + length, KERNEL_TEXT_BYTES - 1 - length, length);
        if (got < 0) length = 0; /* what came before the error is no whole text */
        if (got <= 0) break;
        length += (size_t)got;
    }
    text[length] = 0;
    return length;
}

size_t kernel_text_read(char text[KERNEL_TEXT_BYTES], const char *root, const char *name) {
    char path[KERNEL_PATH_BYTES];
    kernel_file file = {0};
    int length = snprintf(path, sizeof path, "%s/%s", root, name);
    if (length > 0 && length < KERNEL_PATH_BYTES) kernel_file_open(&file, path);
    size_t got = kernel_file_read(&file, text);
    kernel_file_close(&file);
    return got;
}

/* The whole lines at the beginning of `text`, which hold no NUL; returns what is left of it, moved to its start. */
static size_t take_lines(char *text, size_t length, bool *wanted, bool (*take)(void *context, char *line),
                         void *context) {
    char *line = text, *end;
    while (*wanted && (end = memchr(line, '\n', length - (size_t)(line - text)))) {
        *end = 0;
        *wanted = take(context, line);
        line = end + 1;
    }
    size_t left = length - (size_t)(line - text);
    memmove(text, line, left);
    return left;
}

bool kernel_file_lines(const char *path, bool (*take)(void *context, char *line), void *context) {
    char text[KERNEL_TEXT_BYTES];
    kernel_file file;
    size_t length = 0;
    bool wanted = true, too_long = false;
    if (kernel_file_open(&file, path)) return false;
    ssize_t got = 1;
    while (wanted && got) {
        got = call_read(file.descriptor, text + length, sizeof text - length);
        if (got < 0) break;
        length += (size_t)got;
        if (too_long) { /* the end of a line whose beginning is gone */
            char *end = memchr(text, '\n', length);
            too_long = !end;
            length = end ? length - (size_t)(end + 1 - text) : 0;
            if (end) memmove(text, end + 1, length);
        }
        length = take_lines(text, length, &wanted, take, context);
        if (length == sizeof text) {
            too_long = true;
            length = 0;
        }
    }
    kernel_file_close(&file);
    return got >= 0;
}

const char *kernel_text_line(const char *text, const char *name) {
    size_t length = strlen(name);
    while (text) {
        const char *end = strchr(text, '\n');
        if (!end) return NULL;
        if (!strncmp(text, name, length)) return text + length;
        text = end + 1;
    }
    return NULL;
}

/* Digits; returns what follows them, NULL when there are none or too many. */
static const char *parse_digits(const char *at, uint64_t *value) {
    const char *first = at;
    *value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *at - '0', value))
            return NULL;
    return at > first ? at : NULL;
}

reading kernel_text_field(const char *text, const char *name) {
    uint64_t value, unit = 1;
    const char *at = kernel_text_line(text, name);
    at = at ? parse_digits(at + strspn(at, " \t"), &value) : NULL;
    if (!at) return (reading){0};
    if (!strncmp(at, " kB", 3)) {
        unit = 1024;
        at += 3;
    }
    if (*at != '\n' || __builtin_mul_overflow(value, unit, &value)) return (reading){0};
    return (reading){.known = true, .value = value};
}

reading kernel_text_number(const char *text) {
    if (!strcmp(text, "max\n")) return (reading){.known = true, .value = UINT64_MAX};
    return kernel_text_field(text, "");
}
