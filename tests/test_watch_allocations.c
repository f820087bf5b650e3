/* Watching takes no memory: a command that runs three times as long, with three times the steps, costs the same
 * number of allocations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "counted_allocations.h"
#include "levee.h"
#include "memory/ledger.h"
#include "scratch.h"

/* Output of the command would be cmocka's. */
static unsigned long long watch(const char *directory, const char *log, const char *steps, int expected) {
    char script[] = "for i in $(seq $0); do echo step $i >&2; sleep 0.05; done; exit 3";
    char *const arguments[] = {"sh", "-c", script, (char *)steps, NULL};
    levee_error error = {0};
    int exit_code = -1;
    levee_watch_options *options = levee_watch_options_create();
    assert_int_equal(levee_watch_options_set(options, "step-pattern", "step (\\d+)", &error), LEVEE_OK);
    assert_int_equal(levee_watch_options_set(options, "log", log, &error), LEVEE_OK);
    assert_int_equal(levee_watch_options_set(options, "run-dir", directory, &error), LEVEE_OK);
    unsigned long long before = atomic_load(&allocations);
    assert_int_equal(levee_watch(options, arguments, NULL, NULL, &exit_code, &error), LEVEE_OK);
    unsigned long long made = atomic_load(&allocations) - before;
    levee_watch_options_free(options);
    assert_int_equal(exit_code, expected);
    return made;
}

static void watching_takes_no_memory(void **state) {
    size_t bytes;
    const char *log = scratch_text(*state, "log", "");
    watch(*state, log, "1", 3); /* what the C library takes once */
    unsigned long long few = watch(*state, log, "10", 3), many = watch(*state, log, "30", 3);
    if (SANITIZED) skip();
    print_message("%llu allocations\n", few);
    assert_true(few > 0);
    assert_int_equal(many, few);
    char *lines = scratch_read(log, &bytes);
    assert_true(bytes > 30 * 100);
    free(lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(watching_takes_no_memory, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
