/* Memory taken with care: asked for before it is touched, slice by slice, and given back when it runs short half-way.
 * What is held is the kernel's figure; what can be had is told by meters that the test makes up and changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "memory/region.h"
#include "platform/headroom.h"
#include "platform/process.h"
#include "scratch.h"

#define MIB (UINT64_C(1) << 20)
enum { SLICE_MIB = 64, NOISE_MIB = 2 };

static levee_error error;
static region memory;
static const char *root;

static uint64_t held(void) {
    process_memory now;
    assert_true(process_memory_read(&now));
    return now.held_bytes;
}

static void assert_held_since(uint64_t before, uint64_t expected_mib) {
    uint64_t risen = held() - before;
    if (risen + NOISE_MIB * MIB < expected_mib * MIB || risen > (expected_mib + NOISE_MIB) * MIB)
        fail_msg("%llu bytes more are held instead of %llu MiB", (unsigned long long)risen,
                 (unsigned long long)expected_mib);
}

/* From now on so much can be had. */
static void make_available(uint64_t mib) {
    char text[128];
    snprintf(text, sizeof text, "MemTotal: %llu kB\nMemAvailable: %llu kB\n", 1ull << 24,
             (unsigned long long)mib * 1024);
    scratch_text(root, "proc/meminfo", text);
}

static int setup(void **state) {
    static char directory[FILE_PATH_BYTES];
    if (scratch_setup(state) || !file_join(directory, *state, "proc")) return -1;
    root = *state;
    if (file_make_directory(directory, NULL) != LEVEE_OK) return -1;
    headroom_look_below(root);
    return region_open(&memory, 1024 * MIB, NULL) == LEVEE_OK ? 0 : -1;
}

static int teardown(void **state) {
    region_close(&memory);
    headroom_look_below("");
    fault_install(NULL, NULL);
    return scratch_teardown(state);
}

static void takes_and_gives_back(void **state) {
    (void)state;
    uint64_t before = held();
    make_available(1000);
    assert_held_since(before, 0);                            /* addresses are no memory */
    assert_int_equal((uintptr_t)memory.base % (2 * MIB), 0); /* a huge page can begin there */
    scratch_expect("take", LEVEE_OK, "", region_take(&memory, 200 * MIB, 0, &error), &error);
    assert_int_equal(memory.committed_bytes, 200 * MIB);
    assert_held_since(before, 200);
    memset(memory.base, 1, 200 * MIB);
    scratch_expect("less", LEVEE_OK, "", region_take(&memory, 50 * MIB, 0, &error), &error);
    assert_held_since(before, 50);
    make_available(0);
    scratch_expect("less is always to be had", LEVEE_OK, "", region_take(&memory, 10 * MIB, 0, &error), &error);
    assert_held_since(before, 10);
    make_available(1000);
    scratch_expect("again", LEVEE_OK, "", region_take(&memory, 90 * MIB, 0, &error), &error);
    assert_int_equal(memory.base[5 * MIB], 1);
    assert_int_equal(memory.base[50 * MIB], 0);
    scratch_expect("too much", LEVEE_INTERNAL, "region", region_take(&memory, 1025 * MIB, 0, &error), &error);
    region_close(&memory);
    assert_held_since(before, 0);
}

static void touches_nothing_when_all_is_not_there(void **state) {
    (void)state;
    uint64_t before = held();
    make_available(299);
    scratch_expect("short", LEVEE_DOES_NOT_FIT, "this machine: 300.0 MiB more|16.0 GiB|299.0 MiB can be had|0 B stay",
                   region_take(&memory, 300 * MIB, 0, &error), &error);
    assert_int_equal(memory.committed_bytes, 0);
    assert_held_since(before, 0);
    make_available(310);
    scratch_expect("short of the reserve", LEVEE_DOES_NOT_FIT, "299.0 MiB can be had while 11.0 MiB stay free",
                   region_take(&memory, 300 * MIB, 11 * MIB, &error), &error);
    assert_held_since(before, 0);
    scratch_expect("just enough", LEVEE_OK, "", region_take(&memory, 300 * MIB, 10 * MIB, &error), &error);
    assert_held_since(before, 300);
    scratch_text(root, "proc/meminfo", "MemTotal: 5 kB\n");
    scratch_expect("unknown", LEVEE_DOES_NOT_FIT, "not known", region_take(&memory, 301 * MIB, 0, &error), &error);
    assert_held_since(before, 300);
}

/* What somebody else does while a slice is taken. */
typedef struct neighbour {
    unsigned slices, acts_at; /* seen so far; at which it acts */
    uint64_t leaves_mib;
    uint64_t held_then;
} neighbour;

static fault act(void *context, fault_point point) {
    neighbour *n = context;
    if (point != FAULT_COMMIT || n->slices++ != n->acts_at) return (fault){0};
    fault_install(NULL, NULL);
    n->held_then = held();
    make_available(n->leaves_mib);
    return (fault){0};
}

/* 384 MiB are six slices. The neighbour acts while one is taken, and is noticed before the next. */
static void notices_what_happens_between_slices(void **state) {
    (void)state;
    for (unsigned kept_mib = 0; kept_mib <= 100; kept_mib += 100)
        for (unsigned slice = 0; slice < 6; slice++) {
            make_available(1000);
            uint64_t start = held();
            assert_int_equal(region_take(&memory, kept_mib * MIB, 0, &error), LEVEE_OK);
            uint64_t before = held(), left_mib = 384 - (slice + 1) * SLICE_MIB;
            neighbour n = {.acts_at = slice, .leaves_mib = left_mib ? left_mib - 1 : 0};
            fault_install(act, &n);
            levee_status status = region_take(&memory, (kept_mib + 384) * MIB, 0, &error);
            fault_install(NULL, NULL);
            assert_true(n.held_then - before < (slice * SLICE_MIB + NOISE_MIB) * MIB);
            if (!left_mib) { /* it acts when nothing more is needed */
                scratch_expect("all there", LEVEE_OK, "", status, &error);
                assert_held_since(before, 384);
            } else {
                char words[64];
                snprintf(words, sizeof words, "this machine: %llu.0 MiB more", (unsigned long long)left_mib);
                scratch_expect("short", LEVEE_DOES_NOT_FIT, words, status, &error);
                assert_int_equal(memory.committed_bytes, kept_mib * MIB);
                assert_held_since(before, 0);
            }
            assert_int_equal(region_commit(&memory, 0, &error), LEVEE_OK);
            assert_held_since(start, 0);
        }
}

static fault refuse_at(void *context, fault_point point) {
    unsigned *left = context;
    return (fault){.failure = point == FAULT_COMMIT && !(*left)-- ? ENOMEM : 0};
}

static fault refuse_reserving(void *context, fault_point point) {
    (void)context;
    return (fault){.failure = point == FAULT_RESERVE ? ENOMEM : 0};
}

/* The system itself refuses: what was taken goes back too. */
static void survives_the_systems_refusal(void **state) {
    (void)state;
    make_available(1000);
    uint64_t before = held();
    for (unsigned slice = 0; slice < 4; slice++) {
        unsigned left = slice;
        fault_install(refuse_at, &left);
        levee_status status = region_take(&memory, 256 * MIB, 0, &error);
        fault_install(NULL, NULL);
        scratch_expect("refused", LEVEE_DOES_NOT_FIT, "committing 67108864 bytes|Cannot allocate", status, &error);
        assert_int_equal(memory.committed_bytes, 0);
        assert_held_since(before, 0);
    }
    region other;
    fault_install(refuse_reserving, NULL);
    levee_status status = region_open(&other, MIB, &error);
    fault_install(NULL, NULL);
    scratch_expect("addresses", LEVEE_DOES_NOT_FIT, "reserving 1048576 bytes|Cannot allocate", status, &error);
    region_close(&other);
}

int main(void) {
    process_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(takes_and_gives_back, setup, teardown),
        cmocka_unit_test_setup_teardown(touches_nothing_when_all_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(notices_what_happens_between_slices, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_the_systems_refusal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
