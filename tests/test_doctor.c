/* The doctor's verdicts: a made kernel for each, which is good in all but what the test changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "doctor/report.h"
#include "fake_kernel.h"
#include "platform/headroom.h"
#include "scratch.h"

#define MEMINFO(available, swap, swap_free)                                                                          \
    "MemTotal:       16777216 kB\nMemAvailable:   " available " kB\nSwapTotal:      " swap                           \
    " kB\nSwapFree:       " swap_free " kB\nCommitLimit:    8388608 kB\nCommitted_AS:   8380000 kB\n"
#define LIMITS(addresses, data)                                                                                      \
    "Limit                     Soft Limit           Hard Limit           Units     \n"                               \
    "Max data size             " data "            unlimited            bytes     \n"                                \
    "Max locked memory         8388608              8388608              bytes     \n"                               \
    "Max address space         " addresses "            unlimited            bytes     \n"

/* A machine of which nothing is to be said. */
static const fake_file healthy[] = {
    {"proc/meminfo", MEMINFO("15728640", "4194304", "4194304")},
    {"proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 "
                             "total=0\n"},
    {"proc/vmstat", "pgmajfault 1\nworkingset_refault_file 1\n"},
    {"proc/self/cgroup", "0::/job\n"},
    {"proc/self/status", "Pid:\t4242\nTHP_enabled:\t0\n"},
    {"proc/self/limits", LIMITS("unlimited", "unlimited")},
    {"proc/self/oom_score", "1333\n"},
    {"proc/self/oom_score_adj", "1000\n"},
    {"proc/sys/vm/overcommit_memory", "0\n"},
    {"proc/cpuinfo", "processor\t: 0\nmodel name\t: Made Processor 1\nflags\t\t: fpu fma avx2 avx512f avx512bw "
                     "avx512vl avx512dq avx512_bf16 amx_bf16 amx_tile\n\n"},
    {"proc/loadavg", "0.50 0.40 0.30 1/100 4242\n"},
    {"proc/1/comm", "init\n"},
    {"proc/1/oom_score", "0\n"},
    {"proc/4242/comm", "levee\n"},
    {"proc/4242/oom_score", "1400\n"}, /* ourselves: not to be taken for another */
    {"proc/77/comm", "editor\n"},
    {"proc/77/oom_score", "668\n"},
    {"sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"},
    {NULL, NULL},
};

/* A group of version 2 in which there is a process of the test. */
static void make_group(const fake_kernel *k, const char *limit, const char *used, const char *events) {
    char mounts[2 * FILE_PATH_BYTES];
    snprintf(mounts, sizeof mounts, "30 20 0:26 / %s/fs/cgroup rw - cgroup2 cgroup2 rw\n", k->sys);
    fake_kernel_text(k, "proc/self/mountinfo", mounts);
    fake_kernel_text(k, "sys/fs/cgroup/job/memory.max", limit);
    fake_kernel_text(k, "sys/fs/cgroup/job/memory.high", "max\n");
    fake_kernel_text(k, "sys/fs/cgroup/job/memory.current", used);
    fake_kernel_text(k, "sys/fs/cgroup/job/memory.stat",
                     "inactive_file 0\nactive_file 0\nfile_dirty 0\nfile_writeback 0\n");
    fake_kernel_text(k, "sys/fs/cgroup/job/memory.events", events);
}

static const char *const no_kills = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n";

typedef struct patient {
    fake_kernel kernel;
    doctor_options options;
    doctor_facts facts;
    finding findings[FINDINGS];
} patient;

static patient p;

static void make_healthy(const char *directory) {
    memset(&p, 0, sizeof p);
    p.options = (doctor_options){.roots = fake_kernel_make(&p.kernel, directory),
                                 .directory = directory,
                                 .reserve_bytes = HEADROOM_USUAL_RESERVE,
                                 .threads = 1,
                                 .gpu_library = "/nowhere/libnvidia-ml.so.1"};
    fake_kernel_files(&p.kernel, healthy);
    make_group(&p.kernel, "max\n", "1000000\n", no_kills);
}

/* Judges anew; what the processor of the test and its disk are is not the made kernel's. */
static void examine(void) {
    doctor_look(&p.facts, &p.options);
    p.facts.instructions = INSTRUCTIONS_AVX512;
    p.facts.disk.in_memory = false;
    p.facts.disk.sync_seconds = 0.01;
    p.facts.disk.free_bytes = (reading){.known = true, .value = (uint64_t)1 << 40};
    doctor_judge(p.findings, &p.facts);
}

static const finding *find(const char *name) {
    for (unsigned i = 0; i < FINDINGS; i++)
        if (!strcmp(p.findings[i].name, name)) return &p.findings[i];
    fail_msg("no finding is called %s", name);
    return NULL;
}

/* The named finding has this verdict, figure and remedy (parts of them), and all others are good. */
static void only(const char *name, verdict v, const char *figure, const char *remedy) {
    for (unsigned i = 0; i < FINDINGS; i++) {
        const finding *found = &p.findings[i];
        bool named = !strcmp(found->name, name);
        if (found->verdict != (named ? v : VERDICT_GOOD))
            fail_msg("%s is %s: %s; %s", found->name, verdict_name(found->verdict), found->figure, found->remedy);
        assert_true(!*found->remedy == (found->verdict == VERDICT_GOOD));
        if (named && (!strstr(found->figure, figure) || !strstr(found->remedy, remedy)))
            fail_msg("%s: '%s' not in '%s', or '%s' not in '%s'", name, figure, found->figure, remedy, found->remedy);
    }
}

/* One file is changed (NULL: taken away). */
static void with(const char *path, const char *text) {
    char whole[FILE_PATH_BYTES];
    if (text) {
        fake_kernel_text(&p.kernel, path, text);
    } else {
        assert_true(file_join(whole, p.kernel.directory, path));
        assert_int_equal(file_remove(whole, NULL), LEVEE_OK);
    }
    examine();
}

static void of_a_healthy_machine_nothing_is_said(void **state) {
    make_healthy(*state);
    examine();
    only("memory", VERDICT_GOOD, "16.0 GiB, available 15.0 GiB; beside a reserve of 2.0 GiB for others 13.0 GiB", "");
    only("processor", VERDICT_GOOD, "Made Processor 1: AVX2 AVX-512 AVX-512-bf16 AMX-bf16", "");
    only("oom_killers", VERDICT_GOOD, "none among the 2 processes seen", "");
}

static void memory_that_is_short(void **state) {
    make_healthy(*state);
    with("proc/meminfo", MEMINFO("2097152", "4194304", "4194304")); /* the reserve, and no more */
    only("memory", VERDICT_BAD, "0 B can be had", "refused");
    with("proc/meminfo", MEMINFO("3000000", "4194304", "4194304"));
    only("memory", VERDICT_LOOK, "can be had", "end other programs");
    p.options.reserve_bytes = 0;
    with("proc/meminfo", MEMINFO("2097152", "4194304", "4194304"));
    only("memory", VERDICT_GOOD, "2.0 GiB can be had", "");
}

static void swap_that_is_not_there_or_full(void **state) {
    make_healthy(*state);
    with("proc/meminfo", MEMINFO("15728640", "0", "0"));
    only("swap", VERDICT_LOOK, "none", "add swap");
    with("proc/meminfo", MEMINFO("15728640", "4194304", "1000"));
    only("swap", VERDICT_LOOK, "4.0 GiB", "nearly full");
}

static void a_container(void **state) {
    make_healthy(*state);
    make_group(&p.kernel, "8589934592\n", "1000000\n", no_kills);
    examine();
    only("control_group", VERDICT_GOOD, "version 2; limit 8.0 GiB", "");
    make_group(&p.kernel, "536870912\n", "1000000\n", no_kills);
    examine();
    only("control_group", VERDICT_LOOK, "limit 512.0 MiB", "levee plan");
    make_group(&p.kernel, "536870912\n", "500000000\n", no_kills);
    examine();
    only("control_group", VERDICT_BAD, "limit 512.0 MiB", "raise the limit");
    make_group(&p.kernel, "8589934592\n", "1000000\n", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n");
    examine();
    only("control_group", VERDICT_LOOK, "limit 8.0 GiB", "2 processes were ended");
    make_group(&p.kernel, "garbage\n", "1000000\n", no_kills);
    examine();
    only("control_group", VERDICT_BAD, "cannot be read", "unknown");
}

static void pressure_and_its_absence(void **state) {
    make_healthy(*state);
    with("proc/pressure/memory", "some avg10=25.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=3.07 avg60=0.00 "
                                 "avg300=0.00 total=1\n");
    only("pressure", VERDICT_LOOK, "25.50 % of the time, all 3.07 %", "short already");
    with("proc/pressure/memory", NULL);
    only("pressure", VERDICT_LOOK, "not told", "psi=1");
}

static void huge_pages_always(void **state) {
    make_healthy(*state);
    with("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
    only("huge_pages", VERDICT_GOOD, "always; for this process none unasked", "");
    with("proc/self/status", "Pid:\t4242\nTHP_enabled:\t1\n");
    only("huge_pages", VERDICT_LOOK, "always; for this process on", "madvise");
    with("proc/self/status", "Pid:\t4242\n"); /* kernels before 5.0 do not tell */
    only("huge_pages", VERDICT_LOOK, "for this process unknown", "madvise");
}

static void overcommit_that_is_strict_or_boundless(void **state) {
    make_healthy(*state);
    with("proc/sys/vm/overcommit_memory", "1\n");
    only("overcommit", VERDICT_LOOK, "everything is promised", "overcommit_memory=0");
    with("proc/sys/vm/overcommit_memory", "2\n"); /* 8.4 MiB are left of what may be promised */
    only("overcommit", VERDICT_BAD, "2: at most 8.0 GiB are promised, 8.4 MiB are left", "overcommit_ratio");
    with("proc/sys/vm/overcommit_memory", NULL);
    only("overcommit", VERDICT_LOOK, "not told", "cannot be read");
}

static void killers_are_named(void **state) {
    make_healthy(*state);
    fake_kernel_text(&p.kernel, "proc/55/oom_score", "0\n");
    with("proc/55/comm", "earlyoom\n");
    only("oom_killers", VERDICT_LOOK, "earlyoom (process 55)", "--reserve");
    with("proc/55/comm", "systemd-oomd\n");
    only("oom_killers", VERDICT_LOOK, "systemd-oomd (process 55)", "--reserve");
    with("proc/55/comm", "not-earlyoom\n");
    only("oom_killers", VERDICT_GOOD, "none among the 3 processes", "");
}

static void who_is_ended_before_us(void **state) {
    make_healthy(*state);
    fake_kernel_text(&p.kernel, "proc/55/comm", "data\x1b base\n");
    with("proc/55/oom_score", "1500\n");
    only("first_victim", VERDICT_LOOK, "1333 (oom_score_adj 1000); before it data? base (process 55)", "choom");
    with("proc/77/oom_score", "1600\n");
    only("first_victim", VERDICT_LOOK, "before it editor (process 77), data? base (process 55)", "choom");
    make_healthy(*state);
    with("proc/55/oom_score", "1\n");
    with("proc/self/oom_score_adj", "-500\n");
    only("first_victim", VERDICT_LOOK, "oom_score_adj -500", "levee_volunteer");
    with("proc/self/oom_score_adj", NULL);
    only("first_victim", VERDICT_LOOK, "unknown", "cannot be read");
}

static void hidden_processes_are_not_none(void **state) {
    make_healthy(*state);
    char one[FILE_PATH_BYTES];
    assert_true(file_join(one, *state, "proc/1"));
    scratch_remove(one);
    examine();
    assert_int_equal(find("oom_killers")->verdict, VERDICT_LOOK);
    assert_non_null(strstr(find("oom_killers")->remedy, "hidepid"));
    assert_int_equal(find("first_victim")->verdict, VERDICT_LOOK);
}

static void limits_on_the_process(void **state) {
    make_healthy(*state);
    with("proc/self/limits", LIMITS("8589934592", "unlimited"));
    only("limits", VERDICT_LOOK, "addresses (-v) 8.0 GiB", "ulimit -v");
    with("proc/self/limits", LIMITS("unlimited", "10485760"));
    only("limits", VERDICT_BAD, "data (-d) 10.0 MiB", "ulimit -d");
    with("proc/self/limits", NULL);
    only("limits", VERDICT_LOOK, "unknown", "does not tell");
}

static void processor_and_threads(void **state) {
    make_healthy(*state);
    with("proc/loadavg", "5000.00 0.40 0.30 1/100 4242\n");
    only("threads", VERDICT_LOOK, "load 5000.00", "others");
    with("proc/loadavg", "0.00 0.40 0.30 1/100 4242\n");
    p.facts.threads = p.facts.processors + 1;
    doctor_judge(p.findings, &p.facts);
    only("threads", VERDICT_LOOK, "load 0.00", "--threads");
    p.facts.threads = 1;
    p.facts.instructions = INSTRUCTIONS_PORTABLE;
    doctor_judge(p.findings, &p.facts);
    only("processor", VERDICT_LOOK, "portable code", "AVX2");
    with("proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd\n");
    only("processor", VERDICT_GOOD, "unknown model: features not told", "");
}

static void a_gpu_is_told_of(void **state) {
    char library[FILE_PATH_BYTES] = "";
    ssize_t length = readlink("/proc/self/exe", library, sizeof library - 32);
    assert_true(length > 0);
    strcpy(strrchr(library, '/'), "/libnvidia-ml-fake.so");
    make_healthy(*state);
    examine();
    only("gpu", VERDICT_GOOD, "none that NVML tells of", "");
    p.options.gpu_library = library;
    examine(); /* of its memory it tells nothing, as unified memory does */
    only("gpu", VERDICT_GOOD, "Made GPU, driver 1.2.3, memory unknown", "");
}

static void disks(void **state) {
    char nowhere[FILE_PATH_BYTES];
    make_healthy(*state);
    assert_true(file_join(nowhere, *state, "not/yet/there"));
    p.options.directory = nowhere;
    examine(); /* tried in the nearest directory that is there, and nothing is left in it */
    assert_true(p.facts.disk.written);
    assert_string_equal(p.facts.disk.directory, *state);
    only("disk", VERDICT_GOOD, "a MiB lasts after 10.0 ms", "");
    p.facts.disk.in_memory = true;
    doctor_judge(p.findings, &p.facts);
    only("disk", VERDICT_LOOK, "tmpfs", "on a disk");
    p.facts.disk.in_memory = false;
    p.facts.disk.sync_seconds = 3;
    doctor_judge(p.findings, &p.facts);
    only("disk", VERDICT_LOOK, "3000.0 ms", "--save-every");
    p.facts.disk.free_bytes.value = 1000;
    doctor_judge(p.findings, &p.facts);
    only("disk", VERDICT_BAD, "1000 B", "no room");
    p.options.directory = "/proc/self/nothing"; /* where nobody may write */
    examine();
    only("disk", VERDICT_BAD, "cannot be written", "--adapter-path");
}

static void without_a_kernel_nothing_is_good_that_it_tells(void **state) {
    static const char *const told[] = {"memory",     "swap",       "control_group", "limits",       "pressure",
                                       "huge_pages", "overcommit", "oom_killers",   "first_victim", "threads"};
    memset(&p, 0, sizeof p);
    p.options = (doctor_options){.roots = fake_kernel_make(&p.kernel, *state), .directory = *state, .threads = 1};
    examine();
    for (unsigned i = 0; i < sizeof told / sizeof *told; i++)
        if (find(told[i])->verdict == VERDICT_GOOD) fail_msg("%s is good: %s", told[i], find(told[i])->figure);
}

static void json_has_every_finding(void **state) {
    text_buffer text = {0};
    make_healthy(*state);
    fake_kernel_text(&p.kernel, "proc/55/comm", "a\"b\\\n");
    with("proc/55/oom_score", "1500\n");
    assert_int_equal(findings_json(&text, p.findings, NULL, NULL), LEVEE_OK);
    for (unsigned i = 0; i < FINDINGS; i++) assert_non_null(strstr(text.data, p.findings[i].name));
    assert_non_null(strstr(text.data, "a\\\"b\\\\ (process 55)"));
    assert_non_null(strstr(text.data, "\"remedy\":null"));
    assert_non_null(strstr(text.data, "\"good\":12,\"look\":1,\"bad\":0}"));
    text_free(&text);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(of_a_healthy_machine_nothing_is_said),
        IN_SCRATCH(memory_that_is_short),
        IN_SCRATCH(swap_that_is_not_there_or_full),
        IN_SCRATCH(a_container),
        IN_SCRATCH(pressure_and_its_absence),
        IN_SCRATCH(huge_pages_always),
        IN_SCRATCH(overcommit_that_is_strict_or_boundless),
        IN_SCRATCH(killers_are_named),
        IN_SCRATCH(who_is_ended_before_us),
        IN_SCRATCH(hidden_processes_are_not_none),
        IN_SCRATCH(limits_on_the_process),
        IN_SCRATCH(processor_and_threads),
        IN_SCRATCH(a_gpu_is_told_of),
        IN_SCRATCH(disks),
        IN_SCRATCH(without_a_kernel_nothing_is_good_that_it_tells),
        IN_SCRATCH(json_has_every_finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
