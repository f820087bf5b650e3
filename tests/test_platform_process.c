/* What the kernel counts against this process, and its place in the queue of victims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failing.h"
#include "platform/process.h"
#include "scratch.h"

enum { MIB = 1 << 20, NOISE_BYTES = 256 << 10 };

static void held_is_what_was_touched(void **state) {
    (void)state;
    process_memory before, after;
    assert_true(process_memory_read(&before));
    unsigned char *block =
        mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(block != MAP_FAILED);
    assert_true(process_memory_read(&after));
    assert_true(after.held_bytes - before.held_bytes < NOISE_BYTES);
    memset(block, 1, 16 * MIB);
    assert_true(process_memory_read(&after));
    assert_in_range(after.held_bytes - before.held_bytes, 16 * MIB, 16 * MIB + NOISE_BYTES);
    munmap(block, 16 * MIB);
    assert_true(process_memory_read(&after));
    assert_true(after.held_bytes < before.held_bytes + NOISE_BYTES);
}

/* A reading that fails is no reading of zero. */
static void an_unreadable_meter_is_unknown(void **state) {
    (void)state;
    process_memory now = {.held_bytes = 77};
    uint64_t resident;
    failing f = {.first = FAULT_FIRST_FILE_POINT, .last = FAULT_POINT_COUNT, .what = {.failure = EIO}};
    for (unsigned read = 0; read < 2; read++) {
        f.from = f.to = UINT64_MAX;
        failing_start(&f);
        assert_true(read ? process_memory_read(&now) : process_rise_begin(&resident));
        uint64_t calls = f.calls;
        assert_true(calls >= 3);
        for (f.from = 0; f.from < calls; f.from++) {
            f.to = f.from + 1;
            failing_start(&f);
            assert_false(read ? process_memory_read(&now) : process_rise_begin(&resident));
            assert_int_equal(f.struck, 1);
        }
        failing_stop();
    }
}

static long adjustment(void) {
    char text[32];
    assert_int_equal(file_read_text("/proc/self/oom_score_adj", text, sizeof text, NULL), LEVEE_OK);
    return strtol(text, NULL, 10);
}

/* What a child's oom_score_adj is after volunteering, from `first` on; it cannot be undone, so not in this process.
 * -2000 when `first` may not be set. */
static long volunteered_from(const char *first) {
    int result[2];
    long value = 0;
    assert_int_equal(pipe(result), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        levee_error error;
        bool set = !first || file_write_text("/proc/self/oom_score_adj", first, NULL) == LEVEE_OK;
        value = !set ? -2000 : levee_volunteer(&error) == LEVEE_OK ? adjustment() : -3000;
        _exit(write(result[1], &value, sizeof value) != sizeof value);
    }
    assert_int_equal(read(result[0], &value, sizeof value), sizeof value);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(result[0]);
    close(result[1]);
    return value;
}

static void volunteers_when_asked(void **state) {
    (void)state;
    long before = adjustment();
    levee_prepare(); /* which leaves that to the program */
    assert_int_equal(adjustment(), before);
    assert_int_equal(volunteered_from(NULL), before < 0 ? before : 1000);
    assert_int_equal(volunteered_from("1000"), 1000);
    assert_int_equal(adjustment(), before);
    levee_error error;
    failing f = {.first = FAULT_OPEN, .last = FAULT_OPEN, .to = 1, .what = {.failure = EACCES}};
    failing_start(&f);
    levee_status status = levee_volunteer(&error);
    failing_stop();
    scratch_expect("no /proc", LEVEE_MISSING_INPUT, "oom_score_adj", status, &error);
    assert_int_equal(adjustment(), before);
}

static void leaves_a_protected_process_alone(void **state) {
    (void)state;
    long value = volunteered_from("-17");
    if (value == -2000) {
        print_message("a process is protected by the privileged only\n");
        skip();
    }
    assert_int_equal(value, -17);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_is_what_was_touched),
        cmocka_unit_test(an_unreadable_meter_is_unknown),
        cmocka_unit_test(volunteers_when_asked),
        cmocka_unit_test(leaves_a_protected_process_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
