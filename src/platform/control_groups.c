/* Limits above a process: see control_groups.h. */
#include "platform/control_groups.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "platform/group_mount.h"

/* Version 1 writes "no limit" as the largest page-aligned signed number. */
static const uint64_t version_1_unlimited = (uint64_t)1 << 62;

/* Opens a file of a group. One that is not there says nothing (a root has no limit); one that cannot be opened makes
 * the group unreadable. */
static void open_file(control_group *group, kernel_file *file, const char *directory, const char *name) {
    char path[KERNEL_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    int reason = (size_t)length < sizeof path ? kernel_file_open(file, path) : ENAMETOOLONG;
    if (reason && reason != ENOENT) group->unreadable = true;
}

static void open_group(control_group *group, const char *directory, bool version_2) {
    *group = (control_group){.version_2 = version_2};
    open_file(group, &group->limit, directory, version_2 ? "memory.max" : "memory.limit_in_bytes");
    if (version_2) open_file(group, &group->high, directory, "memory.high");
    open_file(group, &group->usage, directory, version_2 ? "memory.current" : "memory.usage_in_bytes");
    open_file(group, &group->stat, directory, "memory.stat");
    open_file(group, &group->events, directory, version_2 ? "memory.events" : "memory.failcnt");
    if (!version_2) open_file(group, &group->kills, directory, "memory.oom_control");
}

static void close_group(control_group *group) {
    kernel_file_close(&group->limit);
    kernel_file_close(&group->high);
    kernel_file_close(&group->usage);
    kernel_file_close(&group->stat);
    kernel_file_close(&group->events);
    kernel_file_close(&group->kills);
}

/* Opens the group at mount + path and all above it, up to the mount. */
static void open_ancestors(control_groups *g, const char *mount, const char *path, bool version_2) {
    char directory[KERNEL_PATH_BYTES];
    size_t root = strlen(mount);
    int length = snprintf(directory, sizeof directory, "%s%s", mount, strcmp(path, "/") ? path : "");
    if ((size_t)length >= sizeof directory) {
        g->too_deep = true;
        return;
    }
    for (;;) {
        if (g->count == CONTROL_GROUPS_MOST) {
            g->too_deep = true;
            return;
        }
        open_group(&g->groups[g->count++], directory, version_2);
        char *slash = strrchr(directory, '/');
        if (strlen(directory) <= root || !slash || (size_t)(slash - directory) < root) return;
        *slash = 0;
    }
}

/* Where systemd mounts it, when mountinfo does not say. */
static void assume_mount(group_mount *mount, const char *sys, bool version_2) {
    snprintf(mount->point, sizeof mount->point, "%s/fs/cgroup%s", sys, version_2 ? "" : "/memory");
    strcpy(mount->root, "/");
}

/* A mount point below /sys lies below the given root instead. */
static void move_mount(group_mount *mount, const char *sys) {
    char moved[KERNEL_PATH_BYTES];
    if (strncmp(mount->point, "/sys/", 5)) return;
    int length = snprintf(moved, sizeof moved, "%s%s", sys, mount->point + 4);
    if (length > 0 && (size_t)length < sizeof moved) memcpy(mount->point, moved, (size_t)length + 1);
}

/* A line of /proc/PID/cgroup: "0::/path" in version 2, "4:cpu,memory:/path" in version 1. */
static void open_line(control_groups *g, char *line) {
    char mountinfo[KERNEL_PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/') {
        g->garbled = true;
        return;
    }
    *path++ = 0;
    bool version_2 = !strcmp(line, "0:");
    group_mount mount;
    if (!version_2 && !group_list_has(controllers + 1, "memory")) return;
    snprintf(mountinfo, sizeof mountinfo, "%s/self/mountinfo", g->roots.proc);
    group_mount_find(&mount, mountinfo, version_2);
    if (mount.found)
        move_mount(&mount, g->roots.sys);
    else
        assume_mount(&mount, g->roots.sys, version_2);
    open_ancestors(g, mount.point, group_mount_below(&mount, path), version_2);
}

static void open_groups(control_groups *g, const char *membership) {
    char text[CONTROL_GROUP_TEXT_BYTES];
    int length = snprintf(g->member_of, sizeof g->member_of, "%s", membership);
    memcpy(text, g->member_of, sizeof text);
    for (unsigned i = 0; i < g->count; i++) close_group(&g->groups[i]);
    g->count = 0;
    g->too_deep = (size_t)length >= sizeof g->member_of;
    size_t end = strlen(membership);
    g->garbled = end < 2 || membership[end - 1] != '\n'; /* empty or cut short */
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        if (*line) open_line(g, line);
}

/* Opens the groups again when the process is not where it was; false when its membership cannot be read. */
static bool follow(control_groups *g) {
    char text[KERNEL_TEXT_BYTES];
    if (!kernel_file_read(&g->membership, text)) return false;
    if (strncmp(text, g->member_of, sizeof g->member_of - 1)) open_groups(g, text);
    return !g->garbled;
}

bool control_groups_open(control_groups *g, kernel_roots roots, int pid) {
    char path[KERNEL_PATH_BYTES], process[32] = "self";
    memset(g, 0, sizeof *g);
    g->roots = roots;
    if (pid) snprintf(process, sizeof process, "%d", pid);
    snprintf(path, sizeof path, "%s/%s/cgroup", roots.proc, process);
    kernel_file_open(&g->membership, path);
    return follow(g);
}

void control_groups_close(control_groups *g) {
    for (unsigned i = 0; i < g->count; i++) close_group(&g->groups[i]);
    kernel_file_close(&g->membership);
    memset(g, 0, sizeof *g);
}

static reading read_number(const kernel_file *file, char text[KERNEL_TEXT_BYTES]) {
    kernel_file_read(file, text);
    return kernel_text_number(text);
}

/* Bytes that a group holds of files and that can be dropped: unmapped or mapped, but neither dirty nor being written.
 */
static reading clean_file_bytes(const control_group *group, char text[KERNEL_TEXT_BYTES]) {
    static const char *const names[2][4] = {
        {"total_inactive_file ", "total_active_file ", "total_dirty ", "total_writeback "},
        {"inactive_file ", "active_file ", "file_dirty ", "file_writeback "}};
    reading parts[4];
    bool known = kernel_file_read(&group->stat, text) > 0;
    for (unsigned i = 0; i < 4; i++) {
        parts[i] = kernel_text_field(text, names[group->version_2][i]);
        known = known && parts[i].known;
    }
    uint64_t file = parts[0].value + parts[1].value, busy = parts[2].value + parts[3].value;
    return (reading){.known = known, .value = file > busy ? file - busy : 0};
}

/* The limit that binds: the lesser of the hard and the soft one; UINT64_MAX when the group sets none. */
static reading group_limit(const control_group *group, char text[KERNEL_TEXT_BYTES]) {
    reading limit = {.known = true, .value = UINT64_MAX}, high = limit;
    if (group->limit.open) limit = read_number(&group->limit, text);
    if (group->high.open) high = read_number(&group->high, text);
    if (!group->version_2 && limit.value >= version_1_unlimited) limit.value = UINT64_MAX;
    return (reading){.known = limit.known && high.known,
                     .value = limit.value < high.value ? limit.value : high.value};
}

/* Adds a counter of a file that is there; one that does not tell makes the sum unknown. */
static void add(reading *sum, reading part) {
    sum->known = sum->known && part.known;
    sum->value += part.value;
}

static void read_events(const control_group *group, group_readings *now, char text[KERNEL_TEXT_BYTES]) {
    if (group->events.open && !group->version_2) add(&now->limit_hits, read_number(&group->events, text));
    if (group->kills.open) {
        kernel_file_read(&group->kills, text);
        add(&now->kills, kernel_text_field(text, "oom_kill "));
    }
    if (!group->events.open || !group->version_2) return;
    kernel_file_read(&group->events, text);
    add(&now->limit_hits, kernel_text_field(text, "max "));
    add(&now->high_hits, kernel_text_field(text, "high "));
    add(&now->kills, kernel_text_field(text, "oom_kill "));
}

/* Reads one group into the least of all; false when something of it cannot be read. */
static bool read_group(const control_group *group, group_readings *now) {
    char text[KERNEL_TEXT_BYTES];
    read_events(group, now, text);
    reading limit = group_limit(group, text);
    if (!limit.known || limit.value == UINT64_MAX) return limit.known && !group->unreadable;
    if (limit.value < now->total.value) now->total.value = limit.value;
    reading usage = read_number(&group->usage, text), clean = clean_file_bytes(group, text);
    if (!usage.known) return false;
    uint64_t droppable = clean.known ? clean.value : 0; /* the careful side */
    uint64_t kept = usage.value > droppable ? usage.value - droppable : 0;
    uint64_t headroom = limit.value > kept ? limit.value - kept : 0;
    if (headroom < now->headroom.value) {
        now->headroom.value = headroom;
        now->limit.value = limit.value;
    }
    return clean.known && !group->unreadable;
}

void control_groups_read(control_groups *g, group_readings *now) {
    memset(now, 0, sizeof *now);
    if (!follow(g)) return;
    const reading unlimited = {.known = true, .value = UINT64_MAX}, none = {.known = true};
    now->headroom = now->limit = now->total = unlimited;
    now->limit_hits = now->high_hits = now->kills = none;
    now->groups = g->count + g->too_deep;
    now->unreadable = g->too_deep;
    for (unsigned i = 0; i < g->count; i++) now->unreadable += !read_group(&g->groups[i], now);
    now->headroom.known = now->limit.known = now->total.known = !now->groups || now->unreadable < now->groups;
}
