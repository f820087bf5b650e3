/* The guard whole, with real causes: memory of this process that grows, and of another one that is watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_kernel.h"
#include "guard/guard.h"
#include "memory/ledger.h"
#include "platform/process.h"
#include "scratch.h"

static const uint64_t mebibyte = 1 << 20;

enum { LEAK_MEBIBYTES = 4, HEADROOM_STEPS = 40 };

static void touch(void *memory, uint64_t bytes) { memset(memory, 1, bytes); }

static void *take(uint64_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    touch(memory, bytes);
    return memory;
}

/* Limits whose only limit is the budget, HEADROOM_STEPS of the leak above what is held now. */
static guard_limits limits_above(uint64_t held) {
    guard_limits l = guard_limits_default();
    l.pressure.budget_bytes = held + HEADROOM_STEPS * LEAK_MEBIBYTES * mebibyte;
    return l;
}

typedef struct outcome {
    int suspected, shrunk; /* steps; -1: never */
} outcome;

/* Asks after each step in which `grow` took memory, until the controller wants memory back. */
static outcome run(guard *g, void (*grow)(void *context), void *context) {
    guard_progress p = {.plan_count = 2};
    outcome o = {-1, -1};
    for (int step = 1; step <= HEADROOM_STEPS && o.shrunk < 0; step++) {
        grow(context);
        p.steps = (uint64_t)step;
        guard_decision d = guard_ask(g, &p);
        if (d.leak != LEAK_NONE && o.suspected < 0) o.suspected = step;
        while (d.action == GUARD_TRIM) d = guard_ask(g, &p);
        if (d.action == GUARD_SHRINK) o.shrunk = step;
    }
    return o;
}

static void assert_in_time(outcome o, const char *label) {
    print_message("%s: suspected after %d steps, shrinks %d steps before the budget\n", label, o.suspected,
                  HEADROOM_STEPS - o.shrunk);
    assert_in_range(o.suspected, 8, 16);
    assert_true(o.shrunk > 0 && HEADROOM_STEPS - o.shrunk >= 10);
}

typedef struct hoard {
    void *blocks[HEADROOM_STEPS];
    unsigned count;
} hoard;

static void leak_here(void *context) {
    hoard *h = context;
    h->blocks[h->count++] = take(LEAK_MEBIBYTES * mebibyte);
}

/* The budget is the only limit: the machine that runs the tests may be as full as it likes. */
static guard_limits quiet_machine_limits(void) {
    process_memory now;
    assert_true(process_memory_read(&now));
    guard_limits l = limits_above(now.held_bytes);
    l.pressure.yellow = l.pressure.orange = l.pressure.red = 10;
    return l;
}

static void finds_a_leak_of_this_process(void **state) {
    (void)state;
    static guard g;
    hoard h = {0};
    const guard_limits l = quiet_machine_limits();
    const sampler_options own = sampler_options_default();
    guard_open(&g, &l, &own);
    outcome o = run(&g, leak_here, &h);
    assert_in_time(o, "this process");
    leak_slope slope;
    assert_true(leak_estimate(&g.leaks[LEAK_OF_TOTAL], &slope));
    assert_in_range(slope.bytes, 0.9 * LEAK_MEBIBYTES * (double)mebibyte, 1.1 * LEAK_MEBIBYTES * (double)mebibyte);
    guard_close(&g);
    while (h.count) munmap(h.blocks[--h.count], LEAK_MEBIBYTES * mebibyte);
}

/* What the ledger books is no leak of `unaccounted`, but of the total. */
static void tells_booked_growth_from_unaccounted(void **state) {
    (void)state;
    static guard g;
    const guard_limits l = quiet_machine_limits();
    const sampler_options own = sampler_options_default();
    guard_open(&g, &l, &own);
    void *blocks[20];
    guard_progress p = {.plan_count = 1};
    for (unsigned i = 0; i < 20; i++) {
        blocks[i] = ledger_alloc(LEVEE_DATA, LEAK_MEBIBYTES * mebibyte);
        assert_non_null(blocks[i]);
        touch(blocks[i], LEAK_MEBIBYTES * mebibyte);
        p.steps++;
        guard_ask(&g, &p);
    }
    assert_int_equal(g.leaks[LEAK_OF_TOTAL].verdict, LEAK_SUSPECTED);
    assert_int_equal(g.leaks[LEAK_OF_UNACCOUNTED].verdict, LEAK_NONE);
    assert_int_equal(guard_worst_leak(&g), LEAK_OF_TOTAL);
    for (unsigned i = 0; i < 20; i++) ledger_free(blocks[i]);
    guard_close(&g);
}

/* A program that takes memory whenever it is told to, and answers. */
typedef struct program {
    pid_t pid;
    int to, from;
} program;

static program start_program(void) {
    int to[2], from[2];
    assert_true(!pipe(to) && !pipe(from));
    program p = {.pid = fork(), .to = to[1], .from = from[0]};
    assert_true(p.pid >= 0);
    if (p.pid) {
        close(to[0]);
        close(from[1]);
        return p;
    }
    close(to[1]);
    char byte;
    while (read(to[0], &byte, 1) == 1) {
        void *memory =
            mmap(NULL, LEAK_MEBIBYTES * mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) _exit(1);
        touch(memory, LEAK_MEBIBYTES * mebibyte);
        if (write(from[1], &byte, 1) != 1) _exit(1);
    }
    _exit(0);
}

static void leak_there(void *context) {
    const program *p = context;
    char byte = 1;
    assert_int_equal(write(p->to, &byte, 1), 1);
    assert_int_equal(read(p->from, &byte, 1), 1);
}

static void finds_a_leak_of_another_process(void **state) {
    (void)state;
    static guard g;
    program p = start_program();
    sampler_options other = sampler_options_default();
    other.pid = p.pid;
    leak_there(&p); /* it runs */
    process_meter meter;
    process_readings held;
    process_meter_open(&meter, kernel_roots_default, p.pid);
    process_meter_read(&meter, &held);
    process_meter_close(&meter);
    guard_limits l = limits_above(held.anonymous.value + held.shared.value);
    l.pressure.yellow = l.pressure.orange = l.pressure.red = 10;
    guard_open(&g, &l, &other);
    outcome o = run(&g, leak_there, &p);
    assert_in_time(o, "another process");
    assert_false(g.sample.meters[METER_BOOKED].known);
    close(p.to);
    int status;
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    guard_progress after = {.steps = 1000, .plan_count = 2};
    guard_decision d = guard_ask(&g, &after); /* it has ended: unknown, and named */
    assert_int_equal(d.found.source, SOURCE_UNKNOWN);
    guard_close(&g);
}

/* A fake machine whose memory the test moves: plans and pauses are not compared. */
static void a_change_of_plan_is_no_leak(void **state) {
    fake_kernel k;
    static guard g;
    sampler_options options = sampler_options_default();
    options.roots = fake_kernel_make(&k, *state);
    options.pid = 7;
    const guard_limits l = guard_limits_default();
    fake_kernel_text(&k, "proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\n");
    guard_progress p = {.plan_count = 9};
    leak_verdict worst[2] = {LEAK_NONE, LEAK_NONE};
    for (unsigned told = 0; told < 2; told++) {
        fake_kernel_text(&k, "proc/7/status", "");
        guard_open(&g, &l, &options);
        for (unsigned i = 0; i < 200; i++) {
            char text[128];
            snprintf(text, sizeof text, "RssAnon: %u kB\nRssShmem: 0 kB\nVmSwap: 0 kB\n", 1000000 + i / 4 * 40000);
            fake_kernel_text(&k, "proc/7/status", text);
            p.steps = i;
            p.plan = told ? i / 4 % 2 : 0;
            guard_decision d = guard_ask(&g, &p);
            if (d.leak > worst[told]) worst[told] = d.leak;
        }
        guard_close(&g);
    }
    assert_true(worst[0] > LEAK_NONE);
    assert_int_equal(worst[1], LEAK_NONE);
}

int main(void) {
    process_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_leak_of_this_process),
        cmocka_unit_test(tells_booked_growth_from_unaccounted),
        cmocka_unit_test(finds_a_leak_of_another_process),
        cmocka_unit_test_setup_teardown(a_change_of_plan_is_no_leak, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
