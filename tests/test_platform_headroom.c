/* What can be had, by the meters of machines that the test makes up: versions 1 and 2 of control groups, nested, seen
 * from within a container, unreadable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "platform/headroom.h"
#include "platform/meter.h"
#include "scratch.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define MEMINFO(total, available)                                                                                    \
    "MemTotal: " total " kB\nMemFree: 1 kB\nMemAvailable:   " available " kB\nBuffers: 1 kB\n"
#define MEMINFO_8_OF_16 MEMINFO("16777216", "8388608")

#define MOUNT_1 "30 20 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define MOUNT_2 "31 20 0:31 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define OTHERS                                                                                                       \
    "20 1 0:20 / / rw - ext4 /dev/vda rw\n29 20 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"

enum { MOST_FILES = 16 };

/* A made-up machine: its files and their content. */
typedef struct machine {
    const char *label;
    struct {
        const char *path, *content;
    } files[MOST_FILES];
    uint64_t reserve_bytes, bytes, reserved_bytes; /* asked; then expected */
    const char *limit;                             /* its name must hold this */
} machine;

static const machine machines[] = {
    {"nothing but the machine",
     {{"proc/meminfo", MEMINFO_8_OF_16}},
     .reserve_bytes = 0,
     .bytes = 8 * GIB,
     .limit = "this machine"},
    {"a reserve", {{"proc/meminfo", MEMINFO_8_OF_16}}, 3 * GIB, 5 * GIB, 3 * GIB, "this machine"},
    {"more reserve than there is", {{"proc/meminfo", MEMINFO_8_OF_16}}, 9 * GIB, 0, 9 * GIB, "this machine"},
    {"the usual reserve",
     {{"proc/meminfo", MEMINFO_8_OF_16}},
     HEADROOM_USUAL_RESERVE,
     6 * GIB,
     2 * GIB,
     "this machine"},
    {"the usual reserve of a small machine",
     {{"proc/meminfo", MEMINFO("6291456", "4194304")}},
     HEADROOM_USUAL_RESERVE,
     3 * GIB,
     1 * GIB,
     "this machine"},
    {"the usual reserve of a tiny machine",
     {{"proc/meminfo", MEMINFO("1048576", "1048576")}},
     HEADROOM_USUAL_RESERVE,
     768 * MIB,
     256 * MIB,
     "this machine"},
    {"version 1; clean file pages can be had, dirty ones cannot",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "9:cpu,cpuacct:/\n4:memory:/a\n0::/\n"},
      {"proc/self/mountinfo", OTHERS MOUNT_1},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "943718400\n"}, /* 900 MiB */
      {"sys/fs/cgroup/memory/a/memory.stat",
       "inactive_file 1\nactive_file 1\ntotal_cache 9\ntotal_dirty 52428800\ntotal_writeback 10485760\n"
       "total_inactive_file 104857600\ntotal_active_file 209715200\n"},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}},
     .reserve_bytes = 0,
     .bytes = 364 * MIB, /* 1024 - 900 + 100 + 200 - 50 - 10 */
     .limit = "control group /sys/fs/cgroup/memory/a (memory.limit_in_bytes)"},
    {"version 1 of a kernel that does not tell what is dirty",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "4:memory:/a\n"},
      {"proc/self/mountinfo", MOUNT_1},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "943718400\n"},
      {"sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 104857600\ntotal_active_file 209715200\n"}},
     .reserve_bytes = 0,
     .bytes = 124 * MIB,
     .limit = "memory/a"},
    {"an outer group is the tightest, and has a reserve of its own",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "4:hugetlb,memory:/outer/middle/inner\n"},
      {"proc/self/mountinfo", OTHERS MOUNT_1},
      {"sys/fs/cgroup/memory/outer/middle/inner/memory.limit_in_bytes", "3221225472\n"},
      {"sys/fs/cgroup/memory/outer/middle/inner/memory.usage_in_bytes", "1048576\n"},
      {"sys/fs/cgroup/memory/outer/middle/inner/memory.stat",
       "total_inactive_file 0\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"},
      {"sys/fs/cgroup/memory/outer/memory.limit_in_bytes", "4294967296\n"},
      {"sys/fs/cgroup/memory/outer/memory.usage_in_bytes", "2147483648\n"},
      {"sys/fs/cgroup/memory/outer/memory.stat",
       "total_inactive_file 0\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"}},
     HEADROOM_USUAL_RESERVE,
     2048 * MIB - 128 * MIB,
     128 * MIB,
     "memory/outer (memory.limit_in_bytes)"},
    {"version 2: what is high counts too",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "0::/user.slice/job\n"},
      {"proc/self/mountinfo", OTHERS MOUNT_2},
      {"sys/fs/cgroup/user.slice/job/memory.max", "max\n"},
      {"sys/fs/cgroup/user.slice/job/memory.high", "max\n"},
      {"sys/fs/cgroup/user.slice/memory.max", "2147483648\n"},
      {"sys/fs/cgroup/user.slice/memory.high", "1073741824\n"},
      {"sys/fs/cgroup/user.slice/memory.current", "536870912\n"},
      {"sys/fs/cgroup/user.slice/memory.stat",
       "anon 5\nfile 6\nfile_dirty 0\nfile_writeback 0\ninactive_file 1048576\nactive_file 0\n"}},
     .reserve_bytes = 0,
     .bytes = 513 * MIB,
     .limit = "user.slice (memory.high)"},
    {"version 2: used beyond the limit",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "0::/job\n"},
      {"proc/self/mountinfo", MOUNT_2},
      {"sys/fs/cgroup/job/memory.max", "1048576\n"},
      {"sys/fs/cgroup/job/memory.current", "2097152\n"},
      {"sys/fs/cgroup/job/memory.stat", "file_dirty 9\nfile_writeback 9\ninactive_file 0\nactive_file 4\n"}},
     .reserve_bytes = 0,
     .bytes = 0,
     .limit = "job (memory.max)"},
    {"from within a container, which sees its own part of the hierarchy",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "4:memory:/docker/1f2e/job\n"},
      {"proc/self/mountinfo", "30 20 0:30 /docker/1f2e /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"},
      {"sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n"},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"},
      {"sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n"},
      {"sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n"}},
     .reserve_bytes = 0,
     .bytes = 1023 * MIB,
     .limit = "/sys/fs/cgroup/memory (memory"},
    {"our group lies outside of what can be seen",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "0::/../elsewhere\n"},
      {"proc/self/mountinfo", MOUNT_2},
      {"sys/fs/cgroup/memory.max", "1073741824\n"},
      {"sys/fs/cgroup/memory.current", "0\n"},
      {"sys/fs/cgroup/memory.stat", "inactive_file 0\nactive_file 0\n"}},
     .reserve_bytes = 0,
     .bytes = 1024 * MIB,
     .limit = "/sys/fs/cgroup (memory.max)"},
    {"a mount whose name has a space",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "0::/job\n"},
      {"proc/self/mountinfo", "31 20 0:31 / /control\\040groups rw - cgroup2 cgroup2 rw\n"},
      {"control groups/job/memory.max", "1073741824\n"},
      {"control groups/job/memory.current", "0\n"},
      {"control groups/job/memory.stat", "inactive_file 0\nactive_file 0\n"}},
     .reserve_bytes = 0,
     .bytes = 1024 * MIB,
     .limit = "/control groups/job"},
    {"both versions at once",
     {{"proc/meminfo", MEMINFO_8_OF_16},
      {"proc/self/cgroup", "4:memory:/a\n0::/b\n"},
      {"proc/self/mountinfo", MOUNT_1 "38 20 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"},
      {"sys/fs/cgroup/unified/b/cgroup.procs", "1\n"},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"},
      {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "0\n"},
      {"sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n"}},
     .reserve_bytes = 0,
     .bytes = 1024 * MIB,
     .limit = "memory/a"},
};

static void put(const char *root, const char *path, const char *content) {
    char place[FILE_PATH_BYTES];
    assert_true(file_join(place, root, path));
    *strrchr(place, '/') = 0;
    assert_int_equal(file_make_directory(place, NULL), LEVEE_OK);
    scratch_text(root, path, content);
}

/* Makes the machine in a directory of its own, and has its meters read. */
static void enter(char root[FILE_PATH_BYTES], const char *directory, const machine *m) {
    static unsigned count;
    char name[32];
    snprintf(name, sizeof name, "machine-%u", count++);
    assert_true(file_join(root, directory, name));
    assert_int_equal(file_make_directory(root, NULL), LEVEE_OK);
    for (unsigned i = 0; i < MOST_FILES && m->files[i].path; i++) put(root, m->files[i].path, m->files[i].content);
    headroom_look_below(root);
}

static int leave(void **state) {
    headroom_look_below("");
    return scratch_teardown(state);
}

static void finds_the_tightest_limit(void **state) {
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        const machine *m = &machines[i];
        char root[FILE_PATH_BYTES];
        levee_error error;
        headroom h;
        enter(root, *state, m);
        scratch_expect(m->label, LEVEE_OK, "", headroom_read(&h, m->reserve_bytes, &error), &error);
        if (h.bytes != m->bytes || h.reserve_bytes != m->reserved_bytes || !strstr(h.limit.name, m->limit))
            fail_msg("%s: %llu bytes beyond %llu by %s", m->label, (unsigned long long)h.bytes,
                     (unsigned long long)h.reserve_bytes, h.limit.name);
        scratch_expect(m->label, LEVEE_OK, "", headroom_check(m->bytes, m->reserve_bytes, &error), &error);
        char words[512];
        snprintf(words, sizeof words, "%s|more are needed|--reserve|%s", m->limit,
                 h.limit.machine ? "end other programs" : "raise this limit");
        scratch_expect(m->label, LEVEE_DOES_NOT_FIT, words, headroom_check(m->bytes + 1, m->reserve_bytes, &error),
                       &error);
    }
}

static void unknown_is_a_refusal(void **state) {
    static const struct {
        const char *label, *path, *content, *words;
    } cases[] = {
        {"no MemAvailable", "proc/meminfo", "MemTotal: 5 kB\n", "/proc/meminfo|not known"},
        {"no MemTotal", "proc/meminfo", "MemAvailable: 5 kB\n", "/proc/meminfo"},
        {"no number", "proc/meminfo", "MemTotal: 5 kB\nMemAvailable: kB\n", "/proc/meminfo"},
        {"empty", "proc/meminfo", "", "/proc/meminfo"},
        {"a limit that is no number", "sys/fs/cgroup/a/memory.max", "lots\n", "a/memory.max"},
        {"a limit that is too large a number", "sys/fs/cgroup/a/memory.max", "99999999999999999999999\n",
         "memory.max"},
        {"an empty limit", "sys/fs/cgroup/a/memory.max", "", "a/memory.max"},
        {"a usage that is no number", "sys/fs/cgroup/a/memory.current", "-5\n", "a/memory.current"},
        {"a usage with something behind it", "sys/fs/cgroup/a/memory.current", "5 or so\n", "a/memory.current"},
        {"counts without files", "sys/fs/cgroup/a/memory.stat", "anon 5\n", "a/memory.stat"},
    };
    const machine whole = {.label = "whole",
                           .files = {{"proc/meminfo", MEMINFO_8_OF_16},
                                     {"proc/self/cgroup", "0::/a\n"},
                                     {"proc/self/mountinfo", MOUNT_2},
                                     {"sys/fs/cgroup/a/memory.max", "1073741824\n"},
                                     {"sys/fs/cgroup/a/memory.current", "5\n"},
                                     {"sys/fs/cgroup/a/memory.stat", "inactive_file 0\nactive_file 0\n"}}};
    headroom h;
    levee_error error;
    char root[FILE_PATH_BYTES], path[FILE_PATH_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enter(root, *state, &whole);
        assert_int_equal(headroom_read(&h, 0, NULL), LEVEE_OK);
        put(root, cases[i].path, cases[i].content);
        scratch_expect(cases[i].label, LEVEE_DOES_NOT_FIT, cases[i].words, headroom_read(&h, 0, &error), &error);
    }
    static const char *const needed[] = {"proc/meminfo", "sys/fs/cgroup/a/memory.current",
                                         "sys/fs/cgroup/a/memory.stat"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        enter(root, *state, &whole);
        assert_true(file_join(path, root, needed[i]));
        assert_int_equal(remove(path), 0);
        scratch_expect(needed[i], LEVEE_DOES_NOT_FIT, "not known", headroom_read(&h, 0, &error), &error);
    }
    /* Something that is there and is no file of text. */
    enter(root, *state, &whole);
    assert_true(file_join(path, root, "sys/fs/cgroup/a/memory.max"));
    assert_int_equal(remove(path), 0);
    assert_int_equal(file_make_directory(path, NULL), LEVEE_OK);
    scratch_expect("a directory", LEVEE_DOES_NOT_FIT, "a/memory.max", headroom_read(&h, 0, &error), &error);
}

/* Every call may fail, be interrupted or come short: then the answer is the same, or it is a refusal. */
static void no_failure_is_taken_for_a_number(void **state) {
    static const fault faults[] = {{.failure = EIO}, {.failure = EACCES}, {.failure = EINTR}, {.cut = true}};
    char root[FILE_PATH_BYTES];
    headroom expected, h;
    for (size_t m = 0; m < sizeof machines / sizeof *machines; m++) {
        enter(root, *state, &machines[m]);
        failing f = {.first = FAULT_FIRST_FILE_POINT, .last = FAULT_POINT_COUNT};
        failing_start(&f);
        assert_int_equal(headroom_read(&expected, machines[m].reserve_bytes, NULL), LEVEE_OK);
        failing_stop();
        uint64_t calls = f.calls, refused = 0;
        assert_true(calls > 4);
        for (size_t k = 0; k < sizeof faults / sizeof *faults; k++)
            for (f.from = 0; f.from < calls; f.from++) {
                f.to = f.from + 1;
                f.what = faults[k];
                levee_error error;
                failing_start(&f);
                levee_status status = headroom_read(&h, machines[m].reserve_bytes, &error);
                failing_stop();
                assert_int_equal(f.struck, 1);
                bool may_refuse = faults[k].failure && faults[k].failure != EINTR;
                if (status == LEVEE_OK &&
                    (h.bytes != expected.bytes || strcmp(h.limit.name, expected.limit.name) != 0))
                    fail_msg("%s: call %llu, %s: another answer", machines[m].label, (unsigned long long)f.from,
                             failing_name(f.point));
                if (status != LEVEE_OK && !may_refuse) fail_msg("%s: %s", machines[m].label, error.message);
                if (status != LEVEE_OK) assert_int_equal(status, LEVEE_DOES_NOT_FIT);
                refused += status != LEVEE_OK;
            }
        assert_true(refused >= 4); /* meminfo's and at least one other file's open and read */
    }
}

static void passes_over_long_lines(void **state) {
    char root[FILE_PATH_BYTES], *mounts = malloc(200000);
    assert_non_null(mounts);
    size_t length = 0;
    for (unsigned i = 0; i < 10; i++) {
        length +=
            (size_t)snprintf(mounts + length, 200000 - length, "%u 1 0:9 / /layers/%u rw - overlay o lower=", i, i);
        memset(mounts + length, 'x', 15000);
        length += 15000;
        mounts[length++] = '\n';
    }
    snprintf(mounts + length, 200000 - length, MOUNT_2);
    const machine m = {.label = "many layers",
                       .files = {{"proc/meminfo", MEMINFO_8_OF_16},
                                 {"proc/self/cgroup", "0::/a\n"},
                                 {"proc/self/mountinfo", mounts},
                                 {"sys/fs/cgroup/a/memory.max", "1073741824\n"},
                                 {"sys/fs/cgroup/a/memory.current", "5\n"},
                                 {"sys/fs/cgroup/a/memory.stat", "inactive_file 0\nactive_file 0\n"}}};
    headroom h;
    enter(root, *state, &m);
    assert_int_equal(headroom_read(&h, 0, NULL), LEVEE_OK);
    assert_int_equal(h.bytes, GIB - 5);
    free(mounts);
}

static void count_limit(void *context, const memory_limit *limit) {
    unsigned *count = context;
    assert_true(limit->available_bytes <= limit->total_bytes);
    assert_int_equal(limit->machine, !*count);
    ++*count;
}

/* This very machine: what it says is between nothing and all. */
static void reads_this_machine(void **state) {
    (void)state;
    levee_error error;
    headroom none, usual;
    unsigned limits = 0;
    scratch_expect("visit", LEVEE_OK, "", headroom_visit(count_limit, &limits, &error), &error);
    assert_true(limits >= 1);
    scratch_expect("no reserve", LEVEE_OK, "", headroom_read(&none, 0, &error), &error);
    scratch_expect("usual", LEVEE_OK, "", headroom_read(&usual, HEADROOM_USUAL_RESERVE, &error), &error);
    assert_true(none.bytes > 0 && none.bytes < none.limit.total_bytes);
    assert_true(usual.reserve_bytes > 0 && usual.bytes < usual.limit.total_bytes);
    scratch_expect("nothing", LEVEE_OK, "", headroom_check(0, 0, &error), &error);
    scratch_expect("all there is", LEVEE_DOES_NOT_FIT, "more are needed|--memory",
                   headroom_check(UINT64_MAX, 0, &error), &error);
}

static void reads_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool known;
        uint64_t number;
    } cases[] = {{"5", true, 5},
                 {"5\n", true, 5},
                 {"max\n", true, UINT64_MAX},
                 {"", false, 0},
                 {"\n", false, 0},
                 {"-5\n", false, 0},
                 {"5 6\n", false, 0},
                 {"maximum", false, 0},
                 {"0x10", false, 0},
                 {"5\n6\n", false, 0},
                 {"18446744073709551615", true, UINT64_MAX},
                 {"18446744073709551616", false, 0}};
    uint64_t number;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        number = 77;
        if (meter_parse(cases[i].text, &number) != cases[i].known) fail_msg("'%s'", cases[i].text);
        if (cases[i].known) assert_int_equal(number, cases[i].number);
    }
    static const char text[] = "file_mapped 1\nfile 2\nactive_file 3\nfile_dirty: \t 4 kB\n";
    assert_true(meter_find(text, "file ", &number) && number == 2);
    assert_true(meter_find(text, "file_mapped ", &number) && number == 1);
    assert_true(meter_find(text, "file_dirty:", &number) && number == 4);
    assert_false(meter_find(text, "dirty:", &number));
    assert_false(meter_find(text, "inactive_file ", &number));
    assert_false(meter_find("", "a ", &number));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_the_tightest_limit, scratch_setup, leave),
        cmocka_unit_test_setup_teardown(unknown_is_a_refusal, scratch_setup, leave),
        cmocka_unit_test_setup_teardown(no_failure_is_taken_for_a_number, scratch_setup, leave),
        cmocka_unit_test_setup_teardown(passes_over_long_lines, scratch_setup, leave),
        cmocka_unit_test(reads_this_machine),
        cmocka_unit_test(reads_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
