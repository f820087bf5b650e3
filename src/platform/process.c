/* What the kernel counts against this process: see process.h. */
#include "platform/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Finds "name:   123 kB" and gives 123 * 1024. */
static bool read_field(const char *text, const char *name, uint64_t *bytes) {
    const char *found = strstr(text, name);
    if (!found) return false;
    *bytes = strtoull(found + strlen(name), NULL, 10) * 1024;
    return true;
}

static bool read_status(char text[4096]) {
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t got = read(file, text, 4095);
    close(file);
    if (got <= 0) return false;
    text[got] = 0;
    return true;
}

bool process_memory_read(process_memory *memory) {
    char text[4096];
    if (!read_status(text)) return false;
    uint64_t anonymous, shared;
    if (!read_field(text, "RssAnon:", &anonymous) || !read_field(text, "RssShmem:", &shared) ||
        !read_field(text, "RssFile:", &memory->file_bytes))
        return false;
    memory->held_bytes = anonymous + shared;
    return true;
}

bool process_rise_begin(uint64_t *resident_bytes) {
    char text[4096];
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool reset = write(file, "5", 1) == 1; /* the highest resident size becomes the present one */
    close(file);
    return reset && read_status(text) && read_field(text, "VmRSS:", resident_bytes);
}

bool process_rise_end(uint64_t resident_bytes, uint64_t *rise_bytes) {
    char text[4096];
    uint64_t highest;
    if (!read_status(text) || !read_field(text, "VmHWM:", &highest)) return false;
    *rise_bytes = highest > resident_bytes ? highest - resident_bytes : 0;
    return true;
}

void process_prepare(void) {
    /* With a fixed threshold glibc stops raising it after the first large free, so large blocks always go back. */
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_TOP_PAD, 64 * 1024);
    mallopt(M_ARENA_MAX, 1);
    /* A huge page behind one touched byte is 2 MiB that no plan knows of. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

uint64_t process_trim(void) {
    process_memory before = {0}, after = {0};
    bool known = process_memory_read(&before);
    malloc_trim(0);
    known = process_memory_read(&after) && known;
    return known && before.held_bytes > after.held_bytes ? before.held_bytes - after.held_bytes : 0;
}
