/* The sampler: every file of a made kernel missing, empty, garbled and cut at each byte; no memory and no descriptor
 * taken by a sample; a GPU as NVML tells of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "counted_allocations.h"
#include "fake_kernel.h"
#include "guard/leak.h"
#include "guard/sample.h"
#include "memory/ledger.h"
#include "scratch.h"

static const fake_file whole[] = {
    {"proc/self/status",
     "Name:\tx\nRssAnon:\t 1100 kB\nRssFile:\t 1200 kB\nRssShmem:\t 1300 kB\nVmSwap:\t 1400 kB\n"},
    {"proc/meminfo", "MemTotal: 64000 kB\nMemAvailable: 32000 kB\nSwapTotal: 1600 kB\nSwapFree: 1500 kB\n"},
    {"proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1700\n"
                             "full avg10=0.00 avg60=0.00 avg300=0.00 total=1800\n"},
    {"proc/vmstat", "workingset_refault_file 1900\npgmajfault 2000\n"},
    {"proc/self/cgroup", "4:memory:/job\n"},
    {"sys/fs/cgroup/memory/job/memory.limit_in_bytes", "21000\n"},
    {"sys/fs/cgroup/memory/job/memory.usage_in_bytes", "9000\n"},
    {"sys/fs/cgroup/memory/job/memory.stat",
     "total_dirty 100\ntotal_writeback 200\ntotal_inactive_file 3000\ntotal_active_file 1000\n"},
    {"sys/fs/cgroup/memory/job/memory.failcnt", "2200\n"},
    {"sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2300\n"},
    {NULL, NULL}};

enum { FILES = sizeof whole / sizeof *whole - 1 };

static double fixed_clock(void *context) { return *(const double *)context; }

static sampler_options fake_options(fake_kernel *k, const char *directory, double *now) {
    sampler_options options = sampler_options_default();
    options.roots = fake_kernel_make(k, directory);
    options.clock = fixed_clock;
    options.clock_context = now;
    return options;
}

static void reads_every_meter(void **state) {
    fake_kernel k;
    double now = 12.5;
    sampler_options options = fake_options(&k, *state, &now);
    fake_kernel_files(&k, whole);
    static sampler s;
    static const uint64_t expected[METER_COUNT] = {
        1100 * 1024,  1300 * 1024, 1200 * 1024,  1400 * 1024, 0,    64000 * 1024,
        32000 * 1024, 1600 * 1024, 1500 * 1024,  1700,        1800, 1900,
        2000,         21000,       21000 - 5300, 2200,        0,    2300};
    guard_sample sample;
    char lacks[SAMPLE_LACKS_BYTES];
    void *block = ledger_alloc(LEVEE_DATA, 1000);
    sampler_open(&s, &options);
    sampler_take(&s, &sample);
    assert_true(sample.seconds == 12.5);
    for (guard_meter m = 0; m < METER_DEVICE_TOTAL; m++) {
        uint64_t value = m == METER_BOOKED ? ledger_booked(LEVEE_CATEGORY_COUNT) : expected[m];
        if (!sample.meters[m].known || sample.meters[m].value != value)
            fail_msg("%s: %llu", guard_meter_name(m), (unsigned long long)sample.meters[m].value);
    }
    for (guard_meter m = METER_DEVICE_TOTAL; m < METER_COUNT; m++) assert_false(sample.meters[m].known);
    assert_int_equal(sample_lacks(&sample, lacks), 0);
    assert_string_equal(lacks, "");
    assert_int_equal(sample_held(&sample).value, 2400 * 1024);
    assert_int_equal(sample_taken(&sample).value, 3800 * 1024);
    int64_t unaccounted;
    assert_true(sample_unaccounted(&sample, &unaccounted));
    assert_int_equal(unaccounted, 3800 * 1024 - (int64_t)ledger_booked(LEVEE_CATEGORY_COUNT));
    ledger_free(block);
    sampler_close(&s);
}

static void another_process_has_no_ledger(void **state) {
    fake_kernel k;
    double now = 0;
    sampler_options options = fake_options(&k, *state, &now);
    fake_kernel_text(&k, "proc/42/status", whole[0].text);
    options.pid = 42;
    static sampler s;
    guard_sample sample;
    int64_t unaccounted;
    sampler_open(&s, &options);
    sampler_take(&s, &sample);
    assert_true(sample_held(&sample).known);
    assert_false(sample_unaccounted(&sample, &unaccounted));
    sampler_close(&s);
}

/* Whatever is read of a damaged file is what the whole file says, or unknown and named. Headroom may be that of the
 * groups that are left; then the damaged one is counted. */
static void check_damaged(const guard_sample *damaged, const guard_sample *truth, const char *path, long cut) {
    char lacks[SAMPLE_LACKS_BYTES];
    bool differs = damaged->groups_unreadable > 0;
    for (guard_meter m = 0; m < METER_COUNT; m++) {
        reading got = damaged->meters[m], right = truth->meters[m];
        differs = differs || got.known != right.known;
        bool of_groups = m >= METER_GROUP_LIMIT && m <= METER_GROUP_HEADROOM && damaged->groups_unreadable;
        if (got.known && got.value != right.value && !of_groups)
            fail_msg("%s cut at %ld: %s reads %llu", path, cut, guard_meter_name(m), (unsigned long long)got.value);
    }
    if (differs && !sample_lacks(damaged, lacks)) fail_msg("%s cut at %ld: nothing is named", path, cut);
}

static void damage_is_unknown_and_never_another_number(void **state) {
    fake_kernel k;
    double now = 0;
    static sampler s;
    guard_sample truth, damaged;
    unsigned sites = 0;
    sampler_options options = fake_options(&k, *state, &now);
    fake_kernel_files(&k, whole);
    sampler_open(&s, &options);
    sampler_take(&s, &truth);
    for (unsigned f = 0; f < FILES; f++) {
        for (size_t cut = 0; cut < strlen(whole[f].text); cut++, sites++) {
            fake_kernel_write(&k, whole[f].path, whole[f].text, cut);
            sampler_take(&s, &damaged); /* through descriptors that are kept open */
            check_damaged(&damaged, &truth, whole[f].path, (long)cut);
        }
        static const char *const garbage[] = {"\n",       "garbage\n", "-5\n", "99999999999999999999999 kB\n",
                                              "\xff\xfe", ""};
        for (unsigned i = 0; i < sizeof garbage / sizeof *garbage; i++, sites++) {
            fake_kernel_text(&k, whole[f].path, garbage[i]);
            sampler_take(&s, &damaged);
            check_damaged(&damaged, &truth, whole[f].path, -1);
        }
        fake_kernel_text(&k, whole[f].path, whole[f].text);
        sampler_take(&s, &damaged); /* and well again */
        for (guard_meter m = 0; m < METER_COUNT; m++)
            assert_true(damaged.meters[m].known == truth.meters[m].known &&
                        damaged.meters[m].value == truth.meters[m].value);
    }
    sampler_close(&s);
    print_message("%u kinds of damage\n", sites);
}

static void missing_files_are_named(void **state) {
    static const char *const names[FILES] = {
        "process_anonymous_bytes, process_shared_bytes, process_file_bytes, process_swapped_bytes",
        "machine_total_bytes, machine_available_bytes, swap_total_bytes, swap_free_bytes",
        "stall_some_microseconds, stall_full_microseconds",
        "file_refaults, major_faults",
        "group_limit_bytes, group_headroom_bytes, group_limit_hits, group_high_hits, group_kills",
        "", /* no limit is no lack */
        "1 of 2 control groups",
        "1 of 2 control groups",
        "", /* a root counts no hits */
        ""};
    for (unsigned missing = 0; missing < FILES; missing++) {
        char directory[FILE_PATH_BYTES], number[16], lacks[SAMPLE_LACKS_BYTES];
        snprintf(number, sizeof number, "%u", missing);
        assert_true(file_join(directory, *state, number));
        fake_kernel k;
        double now = 0;
        static sampler s;
        guard_sample sample;
        sampler_options options = fake_options(&k, directory, &now);
        for (unsigned f = 0; f < FILES; f++)
            if (f != missing) fake_kernel_text(&k, whole[f].path, whole[f].text);
        sampler_open(&s, &options);
        sampler_take(&s, &sample);
        sample_lacks(&sample, lacks);
        assert_string_equal(lacks, names[missing]);
        sampler_close(&s);
    }
}

static unsigned open_descriptors(void) {
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

static void a_sample_takes_no_memory(void **state) {
    (void)state;
    static sampler s;
    static leak_estimator total, unaccounted;
    sampler_options options = sampler_options_default();
    unsigned before = open_descriptors();
    sampler_open(&s, &options);
    leak_reset(&total, leak_least_rise_bytes);
    leak_reset(&unaccounted, leak_least_rise_bytes);
    guard_sample sample;
    unsigned kept = open_descriptors();
    unsigned long long at_first = atomic_load(&allocations);
    for (int i = 0; i < 2000; i++) {
        int64_t bytes;
        sampler_take(&s, &sample);
        leak_add(&total,
                 (int64_t)sample_taken(&sample).value + i * INT64_C(3000000)); /* always trending: the longest way */
        if (sample_unaccounted(&sample, &bytes)) leak_add(&unaccounted, bytes);
    }
    unsigned long long taken = atomic_load(&allocations) - at_first;
    assert_int_equal(taken, 0);
    assert_int_equal(total.verdict, LEAK_CONFIRMED);
    assert_int_equal(open_descriptors(), kept);
    assert_true(kept > before);
    sampler_close(&s);
    assert_int_equal(open_descriptors(), before);
    if (SANITIZED) return;
    at_first = atomic_load(&allocations); /* the counter itself */
    void *volatile block = malloc(10);
    taken = atomic_load(&allocations) - at_first;
    free(block);
    assert_int_equal(taken, 1);
}

/* As in fake/nvml.c. */
typedef struct fake_nvml {
    int init, handle, memory, processes, started;
    unsigned long long total, free, used;
    unsigned process_count;
    gpu_process process[3];
} fake_nvml;

static char fake_library[PATH_MAX]; /* lies beside this program */

static fake_nvml *load_fake(void) {
    ssize_t length = readlink("/proc/self/exe", fake_library, sizeof fake_library - 1);
    assert_true(length > 0);
    fake_library[length] = 0;
    strcpy(strrchr(fake_library, '/'), "/libnvidia-ml-fake.so");
    void *library = dlopen(fake_library, RTLD_NOW);
    if (!library) fail_msg("%s", dlerror());
    return dlsym(library, "fake_nvml");
}

static void a_gpu_as_nvml_tells(void **state) {
    (void)state;
    static gpu_meter meter;
    gpu_readings now;
    fake_nvml *gpu = load_fake();
    *gpu = (fake_nvml){.total = 80000,
                       .free = 50000,
                       .used = 30000,
                       .process_count = 3,
                       .process = {{.pid = 5, .bytes = 100}, {.pid = 7, .bytes = 2000}, {.pid = 7, .bytes = 300}}};
    assert_true(gpu_meter_open(&meter, fake_library, 0));
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){7}, &now);
    assert_true(now.total.known && now.total.value == 80000);
    assert_true(now.used.known && now.used.value == 30000);
    assert_true(now.processes.known && now.processes.value == 2300);
    meter.own_numbers = true;
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){6}, &now);
    assert_true(now.processes.known && now.processes.value == 0);
    meter.own_numbers = false; /* 6 may be there by another number */
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){6}, &now);
    assert_false(now.processes.known);
    gpu->process[1].bytes = UINT64_MAX; /* "not available" */
    gpu->memory = 3;                    /* unified memory: not supported */
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){7}, &now);
    assert_false(now.processes.known || now.total.known || now.used.known);
    gpu->memory = 0;
    gpu->processes = 999;
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){7}, &now);
    assert_true(now.used.known && !now.processes.known);
    gpu->processes = 0;
    gpu->process_count = GPU_MOST_PROCESSES + 1;
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){7}, &now);
    assert_false(now.processes.known);
    gpu_meter_close(&meter);
    assert_int_equal(gpu->started, 0);
}

static void no_gpu_is_unknown(void **state) {
    (void)state;
    static gpu_meter meter;
    gpu_readings now;
    fake_nvml *gpu = load_fake();
    *gpu = (fake_nvml){.init = 9}; /* the driver is not loaded */
    assert_false(gpu_meter_open(&meter, fake_library, 0));
    gpu->init = 0;
    assert_false(gpu_meter_open(&meter, fake_library, 3)); /* no such device */
    assert_int_equal(gpu->started, 0);
    assert_false(gpu_meter_open(&meter, "/nowhere/libnvidia-ml.so.1", 0));
    assert_false(gpu_meter_open(&meter, "libm.so.6", 0)); /* a library without these functions */
    gpu_meter_read(&meter, gpu_process_is, &(unsigned){1}, &now);
    assert_false(now.total.known || now.used.known || now.processes.known);
    gpu_meter_close(&meter);
}

static void the_sampler_reads_the_gpu(void **state) {
    (void)state;
    static sampler s;
    guard_sample sample;
    fake_nvml *gpu = load_fake();
    *gpu = (fake_nvml){
        .total = 80000, .used = 30000, .process_count = 1, .process = {{.pid = (unsigned)getpid(), .bytes = 100}}};
    sampler_options options = sampler_options_default();
    options.with_device = true;
    options.device_library = fake_library;
    sampler_open(&s, &options);
    sampler_take(&s, &sample);
    assert_int_equal(sample.meters[METER_DEVICE_USED].value, 30000);
    assert_int_equal(sample.meters[METER_DEVICE_PROCESS].value, 100);
    sampler_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_every_meter, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(another_process_has_no_ledger, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(damage_is_unknown_and_never_another_number, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(missing_files_are_named, scratch_setup, scratch_teardown),
        cmocka_unit_test(a_sample_takes_no_memory),
        cmocka_unit_test(a_gpu_as_nvml_tells),
        cmocka_unit_test(no_gpu_is_unknown),
        cmocka_unit_test(the_sampler_reads_the_gpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
