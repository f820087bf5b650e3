/* What the kernel counts against this process, and its place in the queue of victims. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failing.h"
#include "platform/machine.h"
#include "platform/process.h"
#include "platform/stand_in.h"
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

static long adjustment_of(int process) {
    char path[64], text[32];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", process);
    assert_int_equal(file_read_text(path, text, sizeof text, NULL), LEVEE_OK);
    return strtol(text, NULL, 10);
}

/* As ps shows it, as soon as it is one's own. */
static const char *command_of(int process) {
    static char text[256];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", process);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(file_read_text(path, text, sizeof text, NULL), LEVEE_OK);
        if (!strstr(text, "test_platform")) break;
        machine_sleep(0.01);
    }
    return text;
}

/* A child that volunteers, has stand-ins, and waits until `ends` can be read; then it stops them and ends with the
 * number of its children that are left. */
static pid_t start_volunteer(stand_ins *started, int *ends) {
    int told[2], asked[2];
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(asked), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        stand_ins s;
        char word;
        levee_error error;
        close(asked[1]);
        stand_ins_start(&s);
        if (s.processes[0]) _exit(100); /* nobody has volunteered yet */
        if (levee_volunteer(&error) != LEVEE_OK) _exit(101);
        stand_ins_start(&s);
        pid_t self = getpid(), other = fork(); /* which has the pipe too: nobody may wait for its end */
        if (!other) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != self) _exit(0); /* ended before that was asked for */
            for (;;) pause();
        }
        if (write(told[1], &s, sizeof s) != sizeof s || read(asked[0], &word, 1) < 0) _exit(102);
        stand_ins_stop(&s);
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
        _exit(waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD || s.processes[0]);
    }
    close(asked[0]);
    close(told[1]);
    assert_int_equal(read(told[0], started, sizeof *started), sizeof *started);
    close(told[0]);
    *ends = asked[1];
    return child;
}

static void stand_ins_volunteer_and_are_stopped(void **state) {
    (void)state;
    stand_ins s;
    int ends, status;
    if (adjustment()) {
        print_message("only where this process does not volunteer itself\n");
        skip();
    }
    pid_t child = start_volunteer(&s, &ends);
    for (unsigned i = 0; i < STAND_INS; i++) {
        assert_true(s.processes[i] > 0);
        assert_int_equal(adjustment_of(s.processes[i]), 1000);
        assert_string_equal(command_of(s.processes[i]), "levee-stand-in");
    }
    close(ends);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Killed, as the kernel does it: nobody is left to stop them. */
static void stand_ins_end_with_their_process(void **state) {
    (void)state;
    stand_ins s;
    int ends, status;
    if (adjustment()) skip();
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* who is left behind becomes a child of ours */
    pid_t child = start_volunteer(&s, &ends);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    for (unsigned i = 0; i < STAND_INS; i++) {
        assert_int_equal(waitpid(s.processes[i], &status, 0), s.processes[i]);
        assert_int_equal(status, 0);
    }
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(ends);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stand_ins_volunteer_and_are_stopped),
        cmocka_unit_test(stand_ins_end_with_their_process),
        cmocka_unit_test(held_is_what_was_touched),
        cmocka_unit_test(an_unreadable_meter_is_unknown),
        cmocka_unit_test(volunteers_when_asked),
        cmocka_unit_test(leaves_a_protected_process_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
