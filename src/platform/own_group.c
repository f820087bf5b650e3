/* A group of one's own: see own_group.h. */
#include "platform/own_group.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/call.h"
#include "base/error.h"
#include "base/file.h"
#include "platform/group_mount.h"

typedef struct membership {
    bool version_2, found;
    char group[KERNEL_PATH_BYTES];
} membership;

/* A line of /proc/self/cgroup: "4:cpu,memory:/path", or "0::/path" of version 2. */
static bool take_membership(void *context, char *line) {
    membership *m = context;
    strsep(&line, ":");
    char *controllers = strsep(&line, ":");
    if (!controllers || !line || (m->version_2 ? *controllers != 0 : !group_list_has(controllers, "memory")))
        return true;
    m->found = (size_t)snprintf(m->group, sizeof m->group, "%s", line) < sizeof m->group;
    return false;
}

static levee_status set_limit(const own_group *g, bool version_2, uint64_t limit_bytes, levee_error *error) {
    char path[KERNEL_PATH_BYTES], number[32];
    if (!file_join(path, g->path, version_2 ? "memory.max" : "memory.limit_in_bytes"))
        return error_set(error, LEVEE_IO_ERROR, "%.80s: the path is too long", g->path);
    snprintf(number, sizeof number, "%llu", (unsigned long long)limit_bytes);
    return file_write_text(path, number, error);
}

/* A group that a process made which is gone; one with processes in it the kernel keeps. */
static levee_status remove_abandoned(void *context, const char *name, levee_error *error) {
    char path[KERNEL_PATH_BYTES];
    int pid, end = 0;
    (void)error;
    if (sscanf(name, "levee-%d%n", &pid, &end) == 1 && !name[end] && pid > 0 && kill(pid, 0) && errno == ESRCH &&
        file_join(path, context, name))
        call_rmdir(path);
    return LEVEE_OK;
}

static levee_status make_below(own_group *g, char *parent, bool version_2, uint64_t limit_bytes, levee_error *error) {
    char path[KERNEL_PATH_BYTES];
    int length = snprintf(g->path, sizeof g->path, "%s/levee-%d", parent, (int)getpid());
    if ((size_t)length >= sizeof g->path)
        return error_set(error, LEVEE_IO_ERROR, "%.80s: the path is too long", parent);
    file_list(parent, remove_abandoned, parent, NULL);
    /* Where it may not be switched on, it is on already, or setting the limit says so. */
    if (version_2 && file_join(path, parent, "cgroup.subtree_control")) file_write_text(path, "+memory", NULL);
    if (call_mkdir(g->path))
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be made: %s", g->path, strerror(errno));
    levee_status status = set_limit(g, version_2, limit_bytes, error);
    if (status == LEVEE_OK)
        g->made = true;
    else
        call_rmdir(g->path);
    return status;
}

levee_status own_group_make(own_group *g, kernel_roots roots, uint64_t limit_bytes, levee_error *error) {
    char path[KERNEL_PATH_BYTES];
    group_mount mount = {0};
    membership m = {0};
    memset(g, 0, sizeof *g);
    if (!file_join(path, roots.proc, "self/mountinfo") || !group_mount_find(&mount, path, false))
        return error_set(error, LEVEE_IO_ERROR, "%s: the mounts cannot be read", path);
    m.version_2 = !mount.found;
    if (m.version_2) group_mount_find(&mount, path, true);
    if (!mount.found) return error_set(error, LEVEE_IO_ERROR, "no memory control groups are mounted here");
    if (file_join(path, roots.proc, "self/cgroup")) kernel_file_lines(path, take_membership, &m);
    const char *below = m.found ? group_mount_below(&mount, m.group) : "";
    if (*below && (size_t)snprintf(g->home, sizeof g->home, "%s%s", mount.point, below) >= sizeof g->home)
        *g->home = 0;
    if (*g->home && make_below(g, g->home, m.version_2, limit_bytes, error) == LEVEE_OK) return LEVEE_OK;
    return make_below(g, mount.point, m.version_2, limit_bytes, error);
}

static levee_status enter(const char *group, levee_error *error) {
    char path[KERNEL_PATH_BYTES];
    if (!file_join(path, group, "cgroup.procs"))
        return error_set(error, LEVEE_IO_ERROR, "%.80s: the path is too long", group);
    return file_write_text(path, "0", error);
}

levee_status own_group_enter(const own_group *g, levee_error *error) { return enter(g->path, error); }

levee_status own_group_leave(const own_group *g, levee_error *error) {
    if (!*g->home) return error_set(error, LEVEE_IO_ERROR, "%s: where this process was is not known", g->path);
    return enter(g->home, error);
}

bool own_group_remove(own_group *g) {
    if (g->made) g->made = call_rmdir(g->path) != 0;
    return !g->made;
}
