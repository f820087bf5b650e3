/* Mounts of control groups: see group_mount.h. */
#include "platform/group_mount.h"

#include <stdio.h>
#include <string.h>

bool group_list_has(const char *words, const char *word) {
    size_t length = strlen(word);
    for (const char *at = words, *comma; at; at = comma ? comma + 1 : NULL) {
        if (!strncmp(at, word, length) && (!at[length] || at[length] == ',')) return true;
        comma = strchr(at, ',');
    }
    return false;
}

static bool is_octal(const char *at) {
    for (unsigned i = 0; i < 3; i++)
        if (at[i] < '0' || at[i] > '7') return false;
    return true;
}

/* The kernel writes blanks and backslashes in paths as three octal digits. */
static void unescape(char *path) {
    char *to = path;
    for (const char *from = path; *from; from++) {
        if (*from == '\\' && is_octal(from + 1)) {
            *to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0');
            from += 3;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
}

typedef struct search {
    group_mount *mount;
    bool version_2;
} search;

/* A line of mountinfo: "35 31 0:32 /root /mount/point options [tags] - type source options". */
static bool take_mount(void *context, char *line) {
    search *s = context;
    group_mount *m = s->mount;
    char *end = strstr(line, " - "), *rest = line;
    if (!end) return true;
    *end = 0;
    char *type = end + 3, *fields[5];
    for (unsigned i = 0; i < 5; i++)
        if (!(fields[i] = strsep(&rest, " "))) return true;
    char *name = strsep(&type, " "), *source = strsep(&type, " "), *options = type;
    if (!source || !options) return true;
    if (s->version_2 ? strcmp(name, "cgroup2") : strcmp(name, "cgroup") || !group_list_has(options, "memory"))
        return true;
    unescape(fields[3]);
    unescape(fields[4]);
    size_t point = (size_t)snprintf(m->point, sizeof m->point, "%s", fields[4]);
    size_t root = (size_t)snprintf(m->root, sizeof m->root, "%s", fields[3]);
    m->found = point < sizeof m->point && root < sizeof m->root;
    return !m->found;
}

bool group_mount_find(group_mount *mount, const char *mountinfo, bool version_2) {
    search s = {.mount = mount, .version_2 = version_2};
    mount->found = false;
    return kernel_file_lines(mountinfo, take_mount, &s);
}

const char *group_mount_below(const group_mount *mount, const char *group) {
    size_t length = strcmp(mount->root, "/") ? strlen(mount->root) : 0;
    if (strncmp(group, mount->root, length) != 0 || (group[length] && group[length] != '/')) return "";
    return !strcmp(group + length, "/") || strstr(group, "/..") ? "" : group + length;
}
