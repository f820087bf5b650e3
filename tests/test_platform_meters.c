/* The meters of process, machine and control groups, on made kernels of every kind and on the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_kernel.h"
#include "platform/control_groups.h"
#include "platform/machine.h"
#include "platform/machine_memory.h"
#include "platform/process.h"
#include "platform/process_meter.h"
#include "scratch.h"

static const uint64_t mebibyte = 1 << 20;

static void assert_reads(const char *label, reading got, reading expected) {
    if (got.known != expected.known || (got.known && got.value != expected.value))
        fail_msg("%s: %s %llu instead of %s %llu", label, got.known ? "known" : "unknown",
                 (unsigned long long)got.value, expected.known ? "known" : "unknown",
                 (unsigned long long)expected.value);
}

static reading known(uint64_t value) { return (reading){.known = true, .value = value}; }
static const reading unknown;

static void numbers_count_only_when_whole(void **state) {
    (void)state;
    static const struct {
        const char *text, *name;
        reading expected;
    } cases[] = {
        {"MemFree: 7 kB\nMemAvailable:  12 kB\n", "MemAvailable:", {true, 12 * 1024}},
        {"MemAvailable:  12 kB", "MemAvailable:", {false, 0}}, /* cut: it could be 12345 kB */
        {"MemAvailable:  12 k\n", "MemAvailable:", {false, 0}},
        {"MemAvailable: x\n", "MemAvailable:", {false, 0}},
        {"MemAvailable: -1 kB\n", "MemAvailable:", {false, 0}},
        {"MemAvailable:\n", "MemAvailable:", {false, 0}},
        {"MemAvailable: 12x kB\n", "MemAvailable:", {false, 0}},
        {"xMemAvailable: 12 kB\n", "MemAvailable:", {false, 0}},
        {"n 18446744073709551615\n", "n ", {true, UINT64_MAX}},
        {"n 18446744073709551616\n", "n ", {false, 0}},
        {"n 18014398509481984 kB\n", "n ", {false, 0}}, /* 2^54 KiB is 2^64 */
        {"", "n ", {false, 0}},
        {"\n\n", "n ", {false, 0}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_reads(cases[i].text, kernel_text_field(cases[i].text, cases[i].name), cases[i].expected);
    assert_reads("max", kernel_text_number("max\n"), known(UINT64_MAX));
    assert_reads("cut max", kernel_text_number("max"), unknown);
    assert_reads("number", kernel_text_number("4096\n"), known(4096));
    assert_reads("empty", kernel_text_number(""), unknown);
}

typedef struct lines {
    unsigned count;
    size_t longest;
    char last[64];
} lines;

static bool take_line(void *context, char *line) {
    lines *l = context;
    l->count++;
    if (strlen(line) > l->longest) l->longest = strlen(line);
    snprintf(l->last, sizeof l->last, "%s", line);
    return strcmp(line, "stop");
}

static void lines_of_long_files(void **state) {
    fake_kernel k;
    char path[FILE_PATH_BYTES];
    static char text[6 * KERNEL_TEXT_BYTES];
    fake_kernel_make(&k, *state);
    assert_true(file_join(path, k.directory, "lines"));
    size_t length = 0;
    for (unsigned i = 0; i < 3000; i++) length += (size_t)sprintf(text + length, "line %u\n", i);
    fake_kernel_write(&k, "lines", text, length);
    lines all = {0};
    assert_true(kernel_file_lines(path, take_line, &all));
    assert_int_equal(all.count, 3000);
    assert_string_equal(all.last, "line 2999");
    memset(text, 'x', sizeof text); /* a line longer than what is kept, between two short ones */
    memcpy(text, "first\n", 6);
    memcpy(text + sizeof text - 6, "\nlast\n", 6);
    fake_kernel_write(&k, "lines", text, sizeof text);
    all = (lines){0};
    assert_true(kernel_file_lines(path, take_line, &all));
    assert_int_equal(all.count, 2);
    assert_string_equal(all.last, "last");
    fake_kernel_text(&k, "lines", "a\nstop\nb\n");
    all = (lines){0};
    assert_true(kernel_file_lines(path, take_line, &all));
    assert_int_equal(all.count, 2);
    assert_false(kernel_file_lines("/nowhere", take_line, &all));
}

static void process_fields_apart(void **state) {
    fake_kernel k;
    kernel_roots roots = fake_kernel_make(&k, *state);
    fake_kernel_text(
        &k, "proc/self/status",
        "Name:\tRssAnon: 1 kB\nRssAnon:\t     100 kB\nRssFile:\t 200 kB\nRssShmem:\t 300 kB\nVmSwap:\t 4 kB\n");
    fake_kernel_text(&k, "proc/77/status", "Name:\tx\nRssAnon:\t 7 kB\nRssFile:\t garbage\n");
    process_meter own, other, hidden;
    process_readings now;
    process_meter_open(&own, roots, 0);
    process_meter_read(&own, &now);
    assert_reads("anonymous", now.anonymous, known(100 * 1024));
    assert_reads("file", now.file, known(200 * 1024));
    assert_reads("shared", now.shared, known(300 * 1024));
    assert_reads("swapped", now.swapped, known(4 * 1024));
    process_meter_open(&other, roots, 77);
    process_meter_read(&other, &now);
    assert_reads("of another", now.anonymous, known(7 * 1024));
    assert_reads("garbage", now.file, unknown);
    assert_reads("missing", now.shared, unknown);
    process_meter_open(&hidden, roots, 78); /* /proc mounted with hidepid */
    process_meter_read(&hidden, &now);
    assert_reads("hidden", now.anonymous, unknown);
    process_meter_close(&own);
    process_meter_close(&other);
    process_meter_close(&hidden);
    process_meter_read(&own, &now);
    assert_reads("closed", now.anonymous, unknown);
}

static void machine_fields(void **state) {
    fake_kernel k;
    kernel_roots roots = fake_kernel_make(&k, *state);
    machine_meter meter, bare;
    machine_readings now;
    machine_meter_open(&bare, roots);
    fake_kernel_text(&k, "proc/meminfo",
                     "MemTotal: 1000 kB\nMemAvailable: 600 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n");
    fake_kernel_text(&k, "proc/vmstat", "nr_free_pages 5\nworkingset_refault_file 11\npgmajfault 13\n");
    machine_meter_open(&meter, roots); /* without CONFIG_PSI */
    machine_meter_read(&meter, &now);
    assert_reads("total", now.total, known(1000 * 1024));
    assert_reads("available", now.available, known(600 * 1024));
    assert_reads("swap", now.swap_free, known(20 * 1024));
    assert_reads("refaults", now.refaults, known(11));
    assert_reads("faults", now.major_faults, known(13));
    assert_reads("no stall meter", now.stall_some, unknown);
    machine_meter_close(&meter);
    fake_kernel_text(
        &k, "proc/pressure/memory",
        "some avg10=1.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n");
    fake_kernel_text(&k, "proc/vmstat", "workingset_refault 17\n");
    machine_meter_open(&meter, roots);
    machine_meter_read(&meter, &now);
    assert_reads("some", now.stall_some, known(1234));
    assert_reads("full", now.stall_full, known(99));
    assert_reads("refaults by their old name", now.refaults, known(17));
    assert_reads("missing", now.major_faults, unknown);
    fake_kernel_text(&k, "proc/meminfo", "MemTotal: 2000 kB\nMemAvailable: 60"); /* memory was added; a short read */
    fake_kernel_text(&k, "proc/pressure/memory", "some avg10=1.00\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9");
    machine_meter_read(&meter, &now);
    assert_reads("total anew", now.total, known(2000 * 1024));
    assert_reads("cut", now.available, unknown);
    assert_reads("without a total", now.stall_some, unknown);
    assert_reads("cut", now.stall_full, unknown);
    machine_meter_close(&meter);
    machine_meter_read(&bare, &now);
    assert_reads("nothing", now.total, unknown);
}

/* A kind of kernel, and what its groups leave. Bytes are small, so that they can be added in the head. */
typedef struct groups_case {
    const char *label;
    fake_file files[24];
    reading headroom, limit, limit_hits, kills;
    unsigned groups, unreadable;
} groups_case;

#define UNLIMITED                                                                                                    \
    { true, UINT64_MAX }
#define NONE                                                                                                         \
    { true, 0 }

static const char mounts_1[] = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
static const char mounts_2[] = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char mounts_both[] = "35 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                  "36 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpuacct,memory\n"
                                  "37 31 0:41 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char mounts_container[] =
    "36 31 0:32 /docker/abc /sys/fs/cgroup/memory ro master:9 - cgroup cgroup rw,memory\n";

static const groups_case groups_cases[] = {
    {"version 2: the parent binds",
     {{"proc/self/cgroup", "0::/a/b\n"},
      {"proc/self/mountinfo", mounts_2},
      {"sys/fs/cgroup/cgroup.controllers", "memory\n"},
      {"sys/fs/cgroup/a/memory.max", "1000\n"},
      {"sys/fs/cgroup/a/memory.high", "max\n"},
      {"sys/fs/cgroup/a/memory.current", "900\n"},
      {"sys/fs/cgroup/a/memory.stat",
       "anon 5\ninactive_file 200\nactive_file 100\nfile_dirty 30\nfile_writeback 20\n"},
      {"sys/fs/cgroup/a/memory.events", "low 0\nhigh 3\nmax 4\noom 0\noom_kill 1\n"},
      {"sys/fs/cgroup/a/b/memory.max", "max\n"},
      {"sys/fs/cgroup/a/b/memory.high", "max\n"},
      {"sys/fs/cgroup/a/b/memory.current", "700\n"},
      {"sys/fs/cgroup/a/b/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"},
      {"sys/fs/cgroup/a/b/memory.events", "low 0\nhigh 0\nmax 2\noom 0\noom_kill 0\n"}},
     {true, 1000 - (900 - 250)},
     {true, 1000},
     {true, 6},
     {true, 1},
     3,
     0},
    {"version 2: the soft limit binds",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", mounts_2},
      {"sys/fs/cgroup/a/memory.max", "1000\n"},
      {"sys/fs/cgroup/a/memory.high", "800\n"},
      {"sys/fs/cgroup/a/memory.current", "900\n"},
      {"sys/fs/cgroup/a/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"},
      {"sys/fs/cgroup/a/memory.events", "high 3\nmax 0\noom_kill 0\n"}},
     {true, 0},
     {true, 800},
     NONE,
     NONE,
     2,
     0},
    {"version 2 in a container of its own name space",
     {{"proc/self/cgroup", "0::/\n"},
      {"proc/self/mountinfo", mounts_2},
      {"sys/fs/cgroup/memory.max", "1000\n"},
      {"sys/fs/cgroup/memory.current", "400\n"},
      {"sys/fs/cgroup/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"}},
     {true, 600},
     {true, 1000},
     NONE,
     NONE,
     1,
     0},
    {"version 1",
     {{"proc/self/cgroup", "5:devices:/\n4:memory:/a/b\n0::/\n"},
      {"proc/self/mountinfo", mounts_1},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
      {"sys/fs/cgroup/memory/memory.failcnt", "0\n"},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000\n"},
      {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1500\n"},
      {"sys/fs/cgroup/memory/a/memory.stat",
       "inactive_file 9\ntotal_inactive_file 300\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"},
      {"sys/fs/cgroup/memory/a/memory.failcnt", "7\n"},
      {"sys/fs/cgroup/memory/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
      {"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "1800\n"},
      {"sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "500\n"},
      {"sys/fs/cgroup/memory/a/b/memory.stat",
       "total_inactive_file 0\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"}},
     {true, 800},
     {true, 2000},
     {true, 7},
     {true, 2},
     4,
     0},
    {"hybrid: memory in version 1, with others",
     {{"proc/self/cgroup", "9:cpuacct,memory:/job\n1:name=systemd:/memory\n0::/job\n"},
      {"proc/self/mountinfo", mounts_both},
      {"sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n"},
      {"sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n"},
      {"sys/fs/cgroup/memory/job/memory.stat",
       "total_inactive_file 0\ntotal_active_file 400\ntotal_dirty 100\ntotal_writeback 0\n"},
      {"sys/fs/cgroup/unified/job/memory.pressure", "some avg10=0.00\n"}},
     {true, 4300},
     {true, 5000},
     NONE,
     NONE,
     4,
     0},
    {"a container of version 1 without a name space",
     {{"proc/self/cgroup", "4:memory:/docker/abc/inner\n"},
      {"proc/self/mountinfo", mounts_container},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"},
      {"sys/fs/cgroup/memory/memory.usage_in_bytes", "999\n"},
      {"sys/fs/cgroup/memory/memory.stat",
       "total_inactive_file 0\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"}},
     {true, 1},
     {true, 1000},
     NONE,
     NONE,
     2,
     0},
    {"a mount whose path has blanks",
     {{"proc/self/cgroup", "0::/my job\n"},
      {"proc/self/mountinfo", "30 23 0:26 /my\\040job /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw\n"},
      {"sys/fs/my groups/memory.max", "100\n"},
      {"sys/fs/my groups/memory.current", "30\n"},
      {"sys/fs/my groups/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"}},
     {true, 70},
     {true, 100},
     NONE,
     NONE,
     1,
     0},
    {"no mountinfo: the usual place",
     {{"proc/self/cgroup", "4:memory:/a\n"},
      {"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "100\n"},
      {"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "10\n"},
      {"sys/fs/cgroup/memory/a/memory.stat",
       "total_inactive_file 0\ntotal_active_file 0\ntotal_dirty 0\ntotal_writeback 0\n"}},
     {true, 90},
     {true, 100},
     NONE,
     NONE,
     2,
     0},
    {"no limits",
     {{"proc/self/cgroup", "0::/\n"}, {"proc/self/mountinfo", mounts_2}},
     UNLIMITED,
     UNLIMITED,
     NONE,
     NONE,
     1,
     0},
    {"no memory control", {{"proc/self/cgroup", "3:cpu:/a\n"}}, UNLIMITED, UNLIMITED, NONE, NONE, 0, 0},
    {"membership hidden", {{"proc/1/cgroup", "0::/\n"}}, {false, 0}, {false, 0}, {false, 0}, {false, 0}, 0, 0},
    {"a garbled limit",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", mounts_2},
      {"sys/fs/cgroup/a/memory.max", "lots\n"},
      {"sys/fs/cgroup/a/memory.events", "high x\nmax \noom_kill 5\n"},
      {"sys/fs/cgroup/memory.max", "500\n"},
      {"sys/fs/cgroup/memory.current", "100\n"},
      {"sys/fs/cgroup/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"}},
     {true, 400},
     {true, 500},
     {false, 0},
     {true, 5},
     2,
     1},
    {"a limit without usage: all groups unknown",
     {{"proc/self/cgroup", "0::/\n"}, {"proc/self/mountinfo", mounts_2}, {"sys/fs/cgroup/memory.max", "500\n"}},
     {false, 0},
     {false, 0},
     NONE,
     NONE,
     1,
     1},
    {"no memory.stat: nothing can be dropped",
     {{"proc/self/cgroup", "0::/a\n"},
      {"proc/self/mountinfo", mounts_2},
      {"sys/fs/cgroup/a/memory.max", "500\n"},
      {"sys/fs/cgroup/a/memory.current", "100\n"}},
     {true, 400},
     {true, 500},
     NONE,
     NONE,
     2,
     1},
};

static void groups_of_every_kind(void **state) {
    for (unsigned i = 0; i < sizeof groups_cases / sizeof *groups_cases; i++) {
        const groups_case *c = &groups_cases[i];
        char directory[FILE_PATH_BYTES], number[16];
        snprintf(number, sizeof number, "%u", i);
        assert_true(file_join(directory, *state, number));
        fake_kernel k;
        kernel_roots roots = fake_kernel_make(&k, directory);
        fake_kernel_files(&k, c->files);
        control_groups g;
        group_readings now;
        control_groups_open(&g, roots, 0);
        control_groups_read(&g, &now);
        assert_reads(c->label, now.headroom, c->headroom);
        assert_reads(c->label, now.limit, c->limit);
        assert_reads(c->label, now.limit_hits, c->limit_hits);
        assert_reads(c->label, now.kills, c->kills);
        if (now.groups != c->groups || now.unreadable != c->unreadable)
            fail_msg("%s: %u groups, %u unreadable", c->label, now.groups, now.unreadable);
        control_groups_close(&g);
    }
}

static void groups_are_followed_while_they_change(void **state) {
    fake_kernel k;
    kernel_roots roots = fake_kernel_make(&k, *state);
    static const fake_file files[] = {
        {"proc/5/cgroup", "0::/a\n"},
        {"proc/self/mountinfo", mounts_2},
        {"sys/fs/cgroup/a/memory.max", "1000\n"},
        {"sys/fs/cgroup/a/memory.current", "400\n"},
        {"sys/fs/cgroup/a/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"},
        {"sys/fs/cgroup/b/memory.max", "90\n"},
        {"sys/fs/cgroup/b/memory.current", "80\n"},
        {"sys/fs/cgroup/b/memory.stat", "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n"},
        {NULL, NULL}};
    fake_kernel_files(&k, files);
    control_groups g;
    group_readings now;
    assert_true(control_groups_open(&g, roots, 5));
    control_groups_read(&g, &now);
    assert_reads("at first", now.headroom, known(600));
    fake_kernel_text(&k, "sys/fs/cgroup/a/memory.max", "500\n"); /* lowered while it runs */
    control_groups_read(&g, &now);
    assert_reads("lowered", now.headroom, known(100));
    fake_kernel_text(&k, "proc/5/cgroup", "0::/b\n"); /* moved */
    control_groups_read(&g, &now);
    assert_reads("moved", now.headroom, known(10));
    fake_kernel_text(&k, "proc/5/cgroup", "");
    control_groups_read(&g, &now);
    assert_reads("membership gone", now.headroom, unknown);
    control_groups_close(&g);
}

static void deep_groups_are_named(void **state) {
    fake_kernel k;
    kernel_roots roots = fake_kernel_make(&k, *state);
    char path[4 * CONTROL_GROUPS_MOST] = "0::", *end = path + 3;
    for (unsigned i = 0; i <= CONTROL_GROUPS_MOST; i++) end += sprintf(end, "/d");
    strcpy(end, "\n");
    fake_kernel_text(&k, "proc/self/cgroup", path);
    fake_kernel_text(&k, "proc/self/mountinfo", mounts_2);
    control_groups g;
    group_readings now;
    control_groups_open(&g, roots, 0);
    control_groups_read(&g, &now);
    assert_int_equal(now.groups, CONTROL_GROUPS_MOST + 1);
    assert_int_equal(now.unreadable, 1);
    control_groups_close(&g);
}

/* On the machine that runs the test: each kind of memory goes to its own meter. */
static void real_memory_is_counted_by_kind(void **state) {
    const uint64_t bytes = 32 * mebibyte;
    process_meter meter;
    process_readings before, after;
    process_meter_open(&meter, kernel_roots_default, 0);
    process_meter_read(&meter, &before);
    char *anonymous = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, bytes / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(anonymous != MAP_FAILED && shared != MAP_FAILED);
    memset(anonymous, 1, bytes);
    memset(shared, 1, bytes / 2);
    char *content = calloc(1, bytes / 4);
    file_mapping file;
    assert_int_equal(file_map(&file, scratch_file(*state, "file", content, bytes / 4), NULL), LEVEE_OK);
    free(content);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < file.bytes; i += 4096) sum += file.data[i];
    assert_int_equal(sum, 0);
    process_meter_read(&meter, &after);
    /* On machines with many processors the kernel adds up what it counts per processor with a delay. */
    const uint64_t slack = 2 * mebibyte;
    assert_in_range(after.anonymous.value - before.anonymous.value, bytes - slack, bytes + slack);
    assert_in_range(after.shared.value - before.shared.value, bytes / 2 - slack, bytes / 2 + slack);
    assert_in_range(after.file.value - before.file.value, bytes / 4 - slack, bytes / 4 + slack);
    process_memory now;
    assert_true(process_memory_read(&now));
    assert_in_range(now.held_bytes, after.anonymous.value + after.shared.value - slack,
                    after.anonymous.value + after.shared.value + slack);
    munmap(anonymous, bytes);
    munmap(shared, bytes / 2);
    file_unmap(&file);
    process_meter_close(&meter);
}

static void an_ended_process_is_unknown(void **state) {
    (void)state;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    pid_t child = fork();
    if (!child) {
        char byte;
        close(gate[1]);
        _exit((int)read(gate[0], &byte, 1));
    }
    close(gate[0]);
    process_meter meter;
    process_readings now;
    process_meter_open(&meter, kernel_roots_default, child);
    process_meter_read(&meter, &now);
    assert_true(now.anonymous.known && now.anonymous.value > 0);
    close(gate[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    process_meter_read(&meter, &now);
    assert_reads("ended", now.anonymous, unknown);
    process_meter_close(&meter);
}

static void real_machine_is_known(void **state) {
    (void)state;
    machine_meter meter;
    machine_readings now;
    machine_meter_open(&meter, kernel_roots_default);
    machine_meter_read(&meter, &now);
    assert_true(now.total.known && now.available.known && now.total.value >= now.available.value);
    assert_true(now.available.value > 0);
    control_groups g;
    group_readings groups;
    if (control_groups_open(&g, kernel_roots_default, 0)) {
        control_groups_read(&g, &groups);
        assert_int_equal(groups.unreadable, 0);
        assert_true(groups.headroom.known && groups.headroom.value > 0);
    }
    control_groups_close(&g);
    machine_meter_close(&meter);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_only_when_whole),
        cmocka_unit_test_setup_teardown(lines_of_long_files, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(process_fields_apart, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(machine_fields, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(groups_of_every_kind, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(groups_are_followed_while_they_change, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(deep_groups_are_named, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(real_memory_is_counted_by_kind, scratch_setup, scratch_teardown),
        cmocka_unit_test(an_ended_process_is_unknown),
        cmocka_unit_test(real_machine_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
