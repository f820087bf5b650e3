/* Promises between runs: other processes make them, end and leave them behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/promises.h"
#include "scratch.h"

static const uint64_t gibibyte = 1 << 30;
static levee_error error;

static int look_here(void **state) {
    int failed = scratch_setup(state);
    return failed ? failed : setenv("XDG_RUNTIME_DIR", *state, 1);
}

static uint64_t outstanding(void) {
    promises p;
    assert_int_equal(promises_read(&p, &error), LEVEE_OK);
    uint64_t bytes = p.outstanding_bytes;
    promises_leave(&p);
    return bytes;
}

static void promise(uint64_t bytes) {
    promises p;
    if (promises_read(&p, &error) != LEVEE_OK || promises_make(&p, bytes, &error) != LEVEE_OK) _exit(1);
}

/* Another process that was promised so much, and lives until it is killed. */
static pid_t start_run(uint64_t bytes) {
    int ready[2];
    char done;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        promise(bytes);
        if (write(ready[1], "", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ready[0], &done, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void end_run(pid_t run) {
    kill(run, SIGKILL);
    waitpid(run, NULL, 0);
}

static void living_runs_count_and_dead_ones_do_not(void **state) {
    (void)state;
    assert_true(outstanding() == 0);
    pid_t first = start_run(3 * gibibyte), second = start_run(gibibyte);
    /* What they hold already is no longer outstanding: some hundred KiB here. */
    assert_true(outstanding() > 4 * gibibyte - (64 << 20) && outstanding() < 4 * gibibyte);
    promise(7 * gibibyte);
    assert_true(outstanding() < 4 * gibibyte); /* our own does not count */
    end_run(first);
    assert_true(outstanding() > gibibyte - (64 << 20) && outstanding() < gibibyte);
    promises_withdraw();
    assert_true(outstanding() > 0);
    end_run(second);
    assert_true(outstanding() == 0);
}

/* The number of an ended process may be another's by now. */
static void another_process_of_its_number_has_no_promise(void **state) {
    char path[FILE_PATH_BYTES], name[64];
    snprintf(name, sizeof name, "levee-promises-%u", (unsigned)geteuid());
    assert_true(file_join(path, *state, name));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "1 1 1000000\n%d 5 1000000\nnot a line\n-1 0 5\n999999999 12 7\n", (int)getppid());
    fclose(file);
    assert_true(outstanding() == 0);
}

static void what_is_not_ours_is_refused(void **state) {
    char path[FILE_PATH_BYTES], name[64];
    promises p;
    snprintf(name, sizeof name, "levee-promises-%u", (unsigned)geteuid());
    assert_true(file_join(path, *state, name));
    assert_int_equal(symlink("/dev/null", path), 0);
    scratch_expect("a link", LEVEE_IO_ERROR, name, promises_read(&p, &error), &error);
    promises_leave(&p);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    scratch_expect("a directory", LEVEE_IO_ERROR, name, promises_read(&p, &error), &error);
}

static void a_lock_is_waited_for(void **state) {
    (void)state;
    promises p;
    assert_int_equal(promises_read(&p, &error), LEVEE_OK);
    pid_t child = fork();
    if (!child) {
        file_close(p.file); /* the lock belongs to both of us */
        promise(gibibyte);
        _exit(0);
    }
    usleep(100000);
    int status;
    assert_int_equal(waitpid(child, &status, WNOHANG), 0);
    promises_leave(&p);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(living_runs_count_and_dead_ones_do_not, look_here, scratch_teardown),
        cmocka_unit_test_setup_teardown(another_process_of_its_number_has_no_promise, look_here, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_is_not_ours_is_refused, look_here, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_lock_is_waited_for, look_here, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
