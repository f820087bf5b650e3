/* What the machine offers: see machine.h. */
#include "platform/machine.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool read_meminfo(const char *name, uint64_t *bytes) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return false;
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name))) {
            *bytes = strtoull(line + strlen(name), NULL, 10) * 1024;
            found = true;
        }
    fclose(file);
    return found;
}

/* A number alone in a file; "max" reads as UINT64_MAX. */
static bool read_number(const char *path, uint64_t *value) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char text[64];
    bool got = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    if (!got) return false;
    *value = !strncmp(text, "max", 3) ? UINT64_MAX : strtoull(text, NULL, 10);
    return true;
}

/* Version 1 writes "no limit" as the largest page-aligned signed number. */
static const uint64_t version_1_unlimited = (uint64_t)1 << 62;

/* What one control group directory still allows, or allows in all; false when it sets no limit. */
static bool group_headroom(const char *directory, bool version_2, bool total, uint64_t *bytes) {
    char path[PATH_MAX + 64];
    uint64_t limit, usage, inactive = 0;
    snprintf(path, sizeof path, "%s/%s", directory, version_2 ? "memory.max" : "memory.limit_in_bytes");
    if (!read_number(path, &limit) || limit >= version_1_unlimited) return false;
    if (total) {
        *bytes = limit;
        return true;
    }
    snprintf(path, sizeof path, "%s/%s", directory, version_2 ? "memory.current" : "memory.usage_in_bytes");
    if (!read_number(path, &usage)) return false;
    /* Clean file pages are given up before anybody is killed. */
    snprintf(path, sizeof path, "%s/memory.stat", directory);
    FILE *file = fopen(path, "re");
    if (file) {
        const char *name = version_2 ? "inactive_file " : "total_inactive_file ";
        char line[256];
        while (fgets(line, sizeof line, file))
            if (!strncmp(line, name, strlen(name))) inactive = strtoull(line + strlen(name), NULL, 10);
        fclose(file);
    }
    uint64_t kept = usage > inactive ? usage - inactive : 0;
    *bytes = limit > kept ? limit - kept : 0;
    return true;
}

/* Lowers *bytes to the tightest limit from our own group up to the root of the hierarchy. */
static void apply_groups(bool total, uint64_t *bytes) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) return;
    char line[PATH_MAX];
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        bool version_2 = !strncmp(line, "0::", 3);
        char *memory = strstr(line, ":memory:");
        if (!version_2 && !memory) continue;
        char directory[PATH_MAX + 32];
        int root = snprintf(directory, sizeof directory, "/sys/fs/cgroup%s", version_2 ? "" : "/memory");
        snprintf(directory + root, sizeof directory - (size_t)root, "%s", version_2 ? line + 3 : memory + 8);
        for (;;) {
            uint64_t headroom;
            if (group_headroom(directory, version_2, total, &headroom) && headroom < *bytes) *bytes = headroom;
            char *slash = strrchr(directory, '/');
            if (!slash || slash - directory < root) break;
            *slash = 0;
        }
    }
    fclose(file);
}

bool machine_available_bytes(uint64_t *bytes) {
    if (!read_meminfo("MemAvailable:", bytes)) return false;
    apply_groups(false, bytes);
    return true;
}

bool machine_total_bytes(uint64_t *bytes) {
    if (!read_meminfo("MemTotal:", bytes)) return false;
    apply_groups(true, bytes);
    return true;
}

double machine_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

unsigned machine_processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

instruction_set machine_instruction_set(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return INSTRUCTIONS_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return INSTRUCTIONS_AVX2;
#endif
    return INSTRUCTIONS_PORTABLE;
}
