/* Limits on this process: see process_limits.h. */
#include "platform/process_limits.h"

#include <stdio.h>
#include <string.h>

/* "Max data size             unlimited            unlimited            bytes": the first is in force. */
static reading find(const char *text, const char *name) {
    unsigned long long bytes;
    const char *line = kernel_text_line(text, name);
    if (!line) return (reading){0};
    line += strspn(line, " ");
    if (!strncmp(line, "unlimited", 9)) return (reading){.known = true, .value = UINT64_MAX};
    return sscanf(line, "%20llu ", &bytes) == 1 ? (reading){.known = true, .value = bytes} : (reading){0};
}

void process_limits_read(process_limits *limits, kernel_roots roots) {
    char text[KERNEL_TEXT_BYTES];
    kernel_text_read(text, roots.proc, "self/limits");
    limits->addresses = find(text, "Max address space");
    limits->data = find(text, "Max data size");
    limits->locked = find(text, "Max locked memory");
}
