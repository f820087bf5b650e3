/* Threads that stay: see crew.h. */
#include "backend/cpu/crew.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <sched.h>
#endif

#include "base/error.h"
#include "memory/ledger.h"
#include "memory/thread.h"
#include "platform/machine.h"

/* Between two pieces of work lie some ten microseconds, seldom a hundred: beyond that sleep is cheaper. */
static const double most_awake_seconds = 100e-6;

/* Others want the processors when this process was put aside so often in so long a time; then nobody stays awake for
 * a while. One that computes beside us puts us aside every few milliseconds; alone that happens a few times a second.
 */
static const double watch_seconds = 0.05, crowded_seconds = 0.5;
enum { CROWDED_SWITCHES = 4 };

typedef struct member {
    struct crew *crew;
    booked_thread thread;
    unsigned number;
} member;

struct crew {
    member *members; /* of number 1 on */
    unsigned count;  /* of all threads */
    void (*body)(void *context, unsigned thread);
    void *context;
    _Atomic uint32_t round;   /* a piece of work, and the next */
    _Atomic uint32_t working; /* members that have not finished this one */
    _Atomic uint32_t asleep;  /* members that sleep, or are about to */
    _Atomic uint32_t first_asleep;
    atomic_bool stays_awake, ends;
    double watched_at, awake_from; /* the first thread's */
    long switches;
};

#if defined(__linux__)
static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
#else
static void sleep_while(_Atomic uint32_t *word, uint32_t value) {
    if (atomic_load(word) == value) sched_yield();
}

static void wake_all(_Atomic uint32_t *word) { (void)word; }
#endif

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Waits, awake for a moment, until the word is another; false when that took too long. */
static bool changes_soon(const struct crew *c, const _Atomic uint32_t *word, uint32_t value) {
    enum { LOOKS = 16 };
    if (!atomic_load_explicit(&c->stays_awake, memory_order_relaxed)) return atomic_load(word) != value;
    double began = machine_seconds();
    do {
        for (unsigned i = 0; i < LOOKS; i++) {
            if (atomic_load(word) != value) return true;
            pause_briefly();
        }
    } while (machine_seconds() - began < most_awake_seconds);
    return false;
}

static void *serve(void *context) {
    member *m = context;
    struct crew *c = m->crew;
    for (uint32_t seen = 0;; seen++) {
        if (!changes_soon(c, &c->round, seen)) {
            atomic_fetch_add(&c->asleep, 1);
            while (atomic_load(&c->round) == seen) sleep_while(&c->round, seen);
            atomic_fetch_sub(&c->asleep, 1);
        }
        if (atomic_load(&c->ends)) return NULL;
        c->body(c->context, m->number);
        if (atomic_fetch_sub(&c->working, 1) == 1 && atomic_load(&c->first_asleep)) wake_all(&c->working);
    }
}

static void next_round(struct crew *c) {
    atomic_fetch_add(&c->round, 1);
    if (atomic_load(&c->asleep)) wake_all(&c->round);
}

/* Looks now and then whether others want the processors. */
static void watch_others(struct crew *c) {
    struct rusage use;
    double now = machine_seconds();
    if (now - c->watched_at < watch_seconds) return;
    if (getrusage(RUSAGE_SELF, &use)) return;
    if (use.ru_nivcsw - c->switches >= CROWDED_SWITCHES) c->awake_from = now + crowded_seconds;
    c->switches = use.ru_nivcsw;
    c->watched_at = now;
    atomic_store_explicit(&c->stays_awake, now >= c->awake_from, memory_order_relaxed);
}

void crew_run(struct crew *c, void (*body)(void *context, unsigned thread), void *context) {
    watch_others(c);
    c->body = body;
    c->context = context;
    atomic_store(&c->working, c->count - 1);
    next_round(c);
    body(context, 0);
    for (uint32_t left; (left = atomic_load(&c->working)) > 0;) {
        if (changes_soon(c, &c->working, left)) continue;
        atomic_store(&c->first_asleep, 1);
        sleep_while(&c->working, left);
        atomic_store(&c->first_asleep, 0);
    }
}

levee_status crew_open(struct crew **result, unsigned threads, levee_error *error) {
    *result = NULL;
    struct crew *c = ledger_alloc(LEVEE_RUNTIME, sizeof *c);
    if (!c) return error_out_of_memory(error, "the backend's threads", sizeof *c);
    *c = (struct crew){.count = 1};
    c->members = ledger_alloc_array(LEVEE_RUNTIME, threads, sizeof *c->members);
    levee_status status =
        c->members ? LEVEE_OK : error_out_of_memory(error, "the backend's threads", threads * sizeof *c->members);
    for (unsigned i = 0; status == LEVEE_OK && i + 1 < threads; i++) {
        member *m = &c->members[i];
        *m = (member){.crew = c, .number = i + 1};
        c->count++;
        status = thread_start(&m->thread, "a thread of the backend", false, serve, m, error);
    }
    if (status == LEVEE_OK)
        *result = c;
    else
        crew_close(c);
    return status;
}

void crew_close(struct crew *c) {
    if (!c) return;
    atomic_store(&c->ends, true);
    next_round(c);
    for (unsigned i = 0; c->members && i + 1 < c->count; i++) thread_join(&c->members[i].thread);
    ledger_free(c->members);
    ledger_free(c);
}
