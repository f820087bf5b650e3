/* Durations for people: each unit up to its bound, and no exponents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/duration.h"

static void writes_each_unit(void **state) {
    (void)state;
    static const struct {
        double seconds;
        int digits;
        const char *text;
    } cases[] = {
        {0, 0, "0 s"},
        {0.0512, 3, "0.051 s"},
        {119.4, 1, "119.4 s"},
        {120, 1, "2.0 min"},
        {7140, 0, "119 min"},
        {7200, 1, "2.0 h"},
        {47.9 * 3600, 1, "47.9 h"},
        {48 * 3600, 1, "2.0 days"},
        {5.2e7, 1, "601.9 days"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[DURATION_TEXT];
        assert_string_equal(duration_format(text, cases[i].seconds, cases[i].digits), cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(writes_each_unit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
