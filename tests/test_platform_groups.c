/* Control groups of the real kernel: a child in a group of its own takes memory and reads a file, its limit is
 * lowered while it runs, and at last it is killed. Skips where no memory group can be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/control_groups.h"
#include "scratch.h"

static const uint64_t mebibyte = 1 << 20;

typedef struct group {
    char directory[128];
    const char *limit; /* the name of its file */
} group;

static bool write_group(const group *g, const char *name, uint64_t value) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", g->directory, name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool written = fprintf(file, "%llu\n", (unsigned long long)value) > 0;
    return !fclose(file) && written;
}

static bool make_group(group *g, const char *root, const char *limit) {
    snprintf(g->directory, sizeof g->directory, "%s/levee-test-%d", root, (int)getpid());
    g->limit = limit;
    if (mkdir(g->directory, 0755)) return false;
    if (write_group(g, limit, 256 * mebibyte)) {
        bool never_swaps = write_group(g, "memory.swap.max", 0) || write_group(g, "memory.swappiness", 0);
        if (never_swaps) return true;
    }
    rmdir(g->directory);
    return false;
}

/* A child that does one thing for each byte it is sent: 'a' takes 64 MiB, 'f' reads the file, 'x' takes a gibibyte.
 */
typedef struct child {
    pid_t pid;
    int to, from;
} child;

static void obey(int from, int to, const char *path) {
    char order;
    static char buffer[1 << 16];
    while (read(from, &order, 1) == 1) {
        if (order == 'f') {
            FILE *file = fopen(path, "rb");
            while (file && fread(buffer, 1, sizeof buffer, file)) continue;
            if (file) fclose(file);
        } else {
            uint64_t bytes = order == 'a' ? 64 * mebibyte : 1024 * mebibyte;
            void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory != MAP_FAILED) memset(memory, 1, bytes);
        }
        if (write(to, &order, 1) != 1) break;
    }
    _exit(0);
}

static child start_child(const char *path) {
    int to[2], from[2];
    assert_true(!pipe(to) && !pipe(from));
    child c = {.pid = fork(), .to = to[1], .from = from[0]};
    assert_true(c.pid >= 0);
    if (!c.pid) {
        close(to[1]);
        obey(to[0], from[1], path);
    }
    close(to[0]);
    close(from[1]);
    return c;
}

static int end_child(const child *c) {
    int status;
    close(c->to);
    close(c->from);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return status;
}

/* False when it did not live to answer. */
static bool order(const child *c, char what) { return write(c->to, &what, 1) == 1 && read(c->from, &what, 1) == 1; }

static void assert_headroom(control_groups *g, uint64_t limit, uint64_t held) {
    const uint64_t slack = 16 * mebibyte; /* the child's own pages, page tables, pages in lists of each processor */
    group_readings now;
    control_groups_read(g, &now);
    assert_int_equal(now.unreadable, 0);
    assert_true(now.headroom.known && now.limit.known);
    assert_int_equal(now.limit.value, limit);
    print_message("of %llu MiB %.1f are left\n", (unsigned long long)(limit / mebibyte),
                  (double)now.headroom.value / (double)mebibyte);
    assert_in_range(now.headroom.value, limit - held - slack, limit - held);
}

static void a_real_group(void **state) {
    group g;
    if (!make_group(&g, "/sys/fs/cgroup/memory", "memory.limit_in_bytes") &&
        !make_group(&g, "/sys/fs/cgroup", "memory.max")) {
        print_message("no memory group can be made here\n");
        skip();
    }
    static control_groups groups;
    group_readings before, after;
    char *content = calloc(1, 32 * mebibyte);
    assert_non_null(content);
    const char *path = scratch_file(*state, "file", content, 32 * mebibyte);
    child c = start_child(path), neighbour = start_child(path);
    free(content);
    sync(); /* a page that is dirty is not to be had */
    assert_true(write_group(&g, "cgroup.procs", (uint64_t)c.pid));
    assert_true(write_group(&g, "cgroup.procs", (uint64_t)neighbour.pid));
    assert_true(control_groups_open(&groups, kernel_roots_default, neighbour.pid));
    assert_true(order(&c, 'a'));
    assert_headroom(&groups, 256 * mebibyte, 64 * mebibyte);
    assert_true(order(&c, 'f')); /* clean pages of a file are not held */
    assert_headroom(&groups, 256 * mebibyte, 64 * mebibyte);
    assert_true(write_group(&g, g.limit, 128 * mebibyte)); /* lowered while it runs */
    assert_headroom(&groups, 128 * mebibyte, 64 * mebibyte);
    control_groups_read(&groups, &before);
    assert_false(order(&c, 'x'));
    int status = end_child(&c);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    control_groups_read(&groups, &after);
    print_message("%llu times at the limit, %llu killed\n",
                  (unsigned long long)(after.limit_hits.value - before.limit_hits.value),
                  (unsigned long long)(after.kills.value - before.kills.value));
    assert_true(after.limit_hits.known && after.limit_hits.value > before.limit_hits.value);
    assert_true(after.kills.known && after.kills.value > before.kills.value);
    control_groups_close(&groups);
    assert_int_equal(end_child(&neighbour), 0);
    assert_int_equal(rmdir(g.directory), 0);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_real_group, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
