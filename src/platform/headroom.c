/* Headroom: see headroom.h. */
#include "platform/headroom.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "platform/group_mount.h"
#include "platform/meter.h"

/* Version 1 writes "no limit" as the largest page-aligned signed number. */
static const uint64_t unlimited_bytes = (uint64_t)1 << 62;

static const char *below = "";

void headroom_look_below(const char *root) { below = root; }

static levee_status unknown(const char *path, levee_error *error) {
    return error_set(
        error, LEVEE_DOES_NOT_FIT,
        "%s: cannot be read, or holds something else than it should, so it is not known whether there is "
        "memory to be had",
        path);
}

/* The place of a file of the kernel's. One that is not there tells of no limit that could be seen. */
static levee_status find_file(char place[FILE_PATH_BYTES], const char *path, bool *there, levee_error *error) {
    *there = false;
    if (snprintf(place, FILE_PATH_BYTES, "%s%s", below, path) >= FILE_PATH_BYTES) return unknown(path, error);
    *there = file_exists(place);
    return LEVEE_OK;
}

/* Reads a meter's text. *there is false when there is no such file, and that is no failure. */
static levee_status read_meter(const char *path, char *text, uint64_t room, bool *there, levee_error *error) {
    char place[FILE_PATH_BYTES];
    levee_status status = find_file(place, path, there, error);
    if (status != LEVEE_OK || !*there) return status;
    return file_read_text(place, text, room, NULL) == LEVEE_OK ? LEVEE_OK : unknown(path, error);
}

static levee_status read_machine(memory_limit *machine, levee_error *error) {
    static const char path[] = "/proc/meminfo";
    char text[8192];
    bool there;
    levee_status status = read_meter(path, text, sizeof text, &there, error);
    if (status != LEVEE_OK) return status;
    *machine = (memory_limit){.name = "this machine", .machine = true};
    bool known = there && meter_find(text, "MemTotal:", &machine->total_bytes) &&
                 meter_find(text, "MemAvailable:", &machine->available_bytes);
    machine->total_bytes *= 1024;
    machine->available_bytes *= 1024;
    return known ? LEVEE_OK : unknown(path, error);
}

/* Which group of a hierarchy we are in, as the kernel names it; empty: in none. */
typedef struct membership {
    bool version_2;
    char group[FILE_PATH_BYTES];
} membership;

/* A line of /proc/self/cgroup, number:controllers:path; version 2 has number 0 and no controllers. */
static bool take_membership(void *context, char *line) {
    membership *m = context;
    char controllers[256], path[FILE_PATH_BYTES];
    if (m->version_2) {
        if (!strncmp(line, "0::", 3)) snprintf(m->group, sizeof m->group, "%.*s", FILE_PATH_BYTES - 1, line + 3);
    } else if (sscanf(line, "%*u:%255[^:]:%4095[^\n]", controllers, path) == 2 &&
               group_list_has(controllers, "memory")) {
        memcpy(m->group, path, strlen(path) + 1);
    }
    return true;
}

/* The directory of our own group, and the length of that at which we can see no further; 0 when we see none. */
static levee_status find_directory(bool version_2, char directory[FILE_PATH_BYTES], size_t *root_length,
                                   levee_error *error) {
    static const char groups[] = "/proc/self/cgroup", mounts[] = "/proc/self/mountinfo";
    char place[FILE_PATH_BYTES];
    membership m = {.version_2 = version_2};
    group_mount mount;
    bool there;
    *root_length = 0;
    levee_status status = find_file(place, groups, &there, error);
    if (status != LEVEE_OK || !there) return status;
    if (!kernel_file_lines(place, take_membership, &m)) return unknown(groups, error);
    if (!*m.group) return LEVEE_OK;
    status = find_file(place, mounts, &there, error);
    if (status != LEVEE_OK || !there) return status;
    if (!group_mount_find(&mount, place, version_2)) return unknown(mounts, error);
    if (!mount.found) return LEVEE_OK;
    const char *inner = group_mount_below(&mount, m.group);
    int length = snprintf(directory, FILE_PATH_BYTES, "%s%s", mount.point, inner);
    if (length > 0 && length < FILE_PATH_BYTES) *root_length = strlen(mount.point);
    return LEVEE_OK;
}

/* The file of a group that holds a limit, and the words for it. */
static levee_status read_number(const char *directory, const char *file, uint64_t *number, bool *there,
                                levee_error *error) {
    char path[FILE_PATH_BYTES], text[64];
    *there = false;
    if (!file_join(path, directory, file)) return unknown(directory, error);
    levee_status status = read_meter(path, text, sizeof text, there, error);
    if (status != LEVEE_OK || !*there) return status;
    return meter_parse(text, number) ? LEVEE_OK : unknown(path, error);
}

/* Clean pages of files, which the kernel drops before it refuses. What is dirty must be written first. Kernels that
 * do not tell how much that is are taken to have none to drop. */
static levee_status read_reclaimable(const char *directory, bool version_2, uint64_t *bytes, levee_error *error) {
    char path[FILE_PATH_BYTES], text[16384];
    bool there;
    uint64_t inactive, active, dirty, writing;
    if (!file_join(path, directory, "memory.stat")) return unknown(directory, error);
    levee_status status = read_meter(path, text, sizeof text, &there, error);
    if (status != LEVEE_OK) return status;
    if (!there || !meter_find(text, version_2 ? "inactive_file " : "total_inactive_file ", &inactive) ||
        !meter_find(text, version_2 ? "active_file " : "total_active_file ", &active))
        return unknown(path, error);
    bool told = meter_find(text, version_2 ? "file_dirty " : "total_dirty ", &dirty) &&
                meter_find(text, version_2 ? "file_writeback " : "total_writeback ", &writing);
    uint64_t held = told ? dirty + writing : inactive + active;
    *bytes = inactive + active > held ? inactive + active - held : 0;
    return LEVEE_OK;
}

/* Tells of one limit of a group, if it is set. */
static levee_status visit_limit(const char *directory, bool version_2, const char *file, limit_visit *visit,
                                void *context, levee_error *error) {
    memory_limit limit = {0};
    uint64_t used, reclaimable;
    bool there;
    const char *usage = version_2 ? "memory.current" : "memory.usage_in_bytes";
    levee_status status = read_number(directory, file, &limit.total_bytes, &there, error);
    if (status != LEVEE_OK || !there || limit.total_bytes >= unlimited_bytes) return status;
    status = read_number(directory, usage, &used, &there, error);
    if (status == LEVEE_OK && !there) status = unknown(usage, error);
    if (status == LEVEE_OK) status = read_reclaimable(directory, version_2, &reclaimable, error);
    if (status != LEVEE_OK) return status;
    used -= reclaimable < used ? reclaimable : used;
    limit.available_bytes = limit.total_bytes > used ? limit.total_bytes - used : 0;
    snprintf(limit.name, sizeof limit.name, "control group %.260s (%s)", directory, file);
    visit(context, &limit);
    return LEVEE_OK;
}

/* From our own group outwards. */
static levee_status visit_hierarchy(bool version_2, limit_visit *visit, void *context, levee_error *error) {
    char directory[FILE_PATH_BYTES];
    size_t root_length;
    levee_status status = find_directory(version_2, directory, &root_length, error);
    while (status == LEVEE_OK && root_length) {
        status = visit_limit(directory, version_2, version_2 ? "memory.max" : "memory.limit_in_bytes", visit, context,
                             error);
        if (status == LEVEE_OK && version_2)
            status = visit_limit(directory, version_2, "memory.high", visit, context, error);
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < root_length) break;
        *slash = 0;
    }
    return status;
}

levee_status headroom_visit(limit_visit *visit, void *context, levee_error *error) {
    memory_limit machine;
    levee_status status = read_machine(&machine, error);
    if (status != LEVEE_OK) return status;
    visit(context, &machine);
    status = visit_hierarchy(false, visit, context, error);
    return status == LEVEE_OK ? visit_hierarchy(true, visit, context, error) : status;
}

uint64_t headroom_usual_reserve(bool machine, uint64_t total_bytes) {
    static const uint64_t least = 1ull << 30;
    if (!machine) return total_bytes / 32;
    uint64_t wanted = total_bytes / 8 > least ? total_bytes / 8 : least;
    return wanted < total_bytes / 4 ? wanted : total_bytes / 4;
}

static uint64_t usual_reserve(const memory_limit *limit) {
    return headroom_usual_reserve(limit->machine, limit->total_bytes);
}

/* The tightest limit so far. */
typedef struct comparison {
    uint64_t asked_bytes; /* of reserve */
    bool any;
    headroom tightest;
} comparison;

static void keep_tightest(void *context, const memory_limit *limit) {
    comparison *c = context;
    headroom h = {.limit = *limit, .reserve_bytes = c->asked_bytes};
    if (c->asked_bytes == HEADROOM_USUAL_RESERVE) h.reserve_bytes = usual_reserve(limit);
    h.bytes = limit->available_bytes > h.reserve_bytes ? limit->available_bytes - h.reserve_bytes : 0;
    if (!c->any || h.bytes < c->tightest.bytes) c->tightest = h;
    c->any = true;
}

levee_status headroom_read(headroom *tightest, uint64_t reserve_bytes, levee_error *error) {
    comparison c = {.asked_bytes = reserve_bytes};
    levee_status status = headroom_visit(keep_tightest, &c, error);
    if (status == LEVEE_OK) *tightest = c.tightest;
    return status;
}

levee_status headroom_machine_reserve(uint64_t asked_bytes, uint64_t *bytes, levee_error *error) {
    memory_limit machine;
    levee_status status = read_machine(&machine, error);
    if (status == LEVEE_OK) *bytes = asked_bytes == HEADROOM_USUAL_RESERVE ? usual_reserve(&machine) : asked_bytes;
    return status;
}

levee_status headroom_refuse(const headroom *h, const char *need, levee_error *error) {
    char total[BYTES_TEXT], left[BYTES_TEXT], kept[BYTES_TEXT];
    return error_set(error, LEVEE_DOES_NOT_FIT,
                     "%s: %s, but of its %s only %s can be had while %s stay free for others; %s, or give a smaller "
                     "--memory or --reserve",
                     h->limit.name, need, bytes_format(total, h->limit.total_bytes), bytes_format(left, h->bytes),
                     bytes_format(kept, h->reserve_bytes),
                     h->limit.machine ? "end other programs" : "raise this limit, end what else runs under it");
}

levee_status headroom_check(uint64_t bytes, uint64_t reserve_bytes, levee_error *error) {
    headroom h;
    char needed[BYTES_TEXT], need[BYTES_TEXT + 32];
    levee_status status = headroom_read(&h, reserve_bytes, error);
    if (status != LEVEE_OK || bytes <= h.bytes) return status;
    snprintf(need, sizeof need, "%s more are needed", bytes_format(needed, bytes));
    return headroom_refuse(&h, need, error);
}
