/* The ledger: what is taken is booked under its category, refused at the budget or by the system, and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "failing.h"
#include "memory/ledger.h"
#include "scratch.h"

static void blocks_are_booked(void **state) {
    (void)state;
    unsigned char *data = ledger_alloc(LEVEE_DATA, 1000), *io = ledger_alloc_array(LEVEE_IO, 10, 5);
    assert_true(data && io && (uintptr_t)data % 64 == 0);
    for (unsigned i = 0; i < 1000; i++) assert_int_equal(data[i], 0);
    assert_in_range(ledger_booked(LEVEE_DATA), 1000, 1200);
    assert_in_range(ledger_booked(LEVEE_IO), 50, 200);
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO));
    memset(data, 7, 1000);
    data = ledger_resize(LEVEE_IO, data, 5000); /* a block keeps its category */
    assert_non_null(data);
    assert_true(data[999] == 7 && data[1000] == 0);
    assert_in_range(ledger_booked(LEVEE_DATA), 5000, 5200);
    char *text = ledger_text(LEVEE_TOKENIZER, "tide");
    assert_string_equal(text, "tide");
    ledger_book(LEVEE_RUNTIME, 77);
    assert_int_equal(ledger_booked(LEVEE_RUNTIME), 77);
    ledger_book(LEVEE_RUNTIME, -77);
    ledger_free(text);
    ledger_free(data);
    ledger_free(io);
    ledger_free(NULL);
    assert_null(ledger_alloc_array(LEVEE_IO, UINT64_MAX, 2));
    assert_null(ledger_alloc(LEVEE_IO, UINT64_MAX));
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
}

static void the_budget_refuses(void **state) {
    (void)state;
    void *first = ledger_alloc(LEVEE_DATA, 10000);
    assert_non_null(first);
    ledger_set_budget(20000);
    assert_true(ledger_has_room(5000));
    assert_false(ledger_has_room(15000));
    assert_null(ledger_alloc(LEVEE_DATA, 15000));
    assert_null(ledger_resize(LEVEE_DATA, first, 15000));
    void *library = ledger_alloc_unrefused(LEVEE_RUNTIME, 15000);
    assert_non_null(library);
    ledger_free(library);
    ledger_free(first);
}

static void the_system_refuses(void **state) {
    (void)state;
    char *block = ledger_alloc(LEVEE_DATA, 100);
    assert_non_null(block);
    strcpy(block, "kept");
    uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT);
    failing f = {.first = FAULT_ALLOCATE, .last = FAULT_LIBRARY, .to = UINT64_MAX, .what = {.failure = ENOMEM}};
    failing_start(&f);
    assert_null(ledger_alloc(LEVEE_DATA, 100));
    assert_null(ledger_alloc_unrefused(LEVEE_DATA, 100));
    assert_null(ledger_resize(LEVEE_DATA, block, 200));
    assert_null(ledger_text(LEVEE_DATA, "text"));
    failing_stop();
    assert_int_equal(f.struck, 4);
    assert_string_equal(block, "kept");
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), booked);
    ledger_free(block);
}

/* A second job in the process is not measured by the first one's peak. */
static void peaks_are_one_jobs(void **state) {
    (void)state;
    void *large = ledger_alloc(LEVEE_DATA, 1 << 20), *small = ledger_alloc(LEVEE_DATA, 1000);
    ledger_free(large);
    assert_true(ledger_peak(LEVEE_DATA) > 1 << 20 && ledger_peak(LEVEE_CATEGORY_COUNT) > 1 << 20);
    ledger_restart_peaks();
    assert_int_equal(ledger_peak(LEVEE_DATA), ledger_booked(LEVEE_DATA));
    assert_int_equal(ledger_peak(LEVEE_CATEGORY_COUNT), ledger_booked(LEVEE_CATEGORY_COUNT));
    ledger_free(ledger_alloc(LEVEE_DATA, 5000));
    assert_in_range(ledger_peak(LEVEE_DATA), 6000, 7000);
    ledger_free(small);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(blocks_are_booked),
        SCRATCH_TEST(the_budget_refuses),
        SCRATCH_TEST(the_system_refuses),
        SCRATCH_TEST(peaks_are_one_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
