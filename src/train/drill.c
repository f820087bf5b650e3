/* Carrying out a drill: see drill.h. */
#include "train/drill.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fault.h"
#include "memory/ledger.h"
#include "platform/machine.h"

static const exercise *find(const drill *d, exercise_kind kind) {
    for (unsigned i = 0; i < d->count; i++)
        if (d->list[i].kind == kind) return &d->list[i];
    return NULL;
}

static void tell(const drill *d, const exercise *e) {
    char size[BYTES_TEXT];
    unsigned long long amount = e->amount, step = e->step, lasts = e->lasts;
    bytes_format(size, e->amount);
    switch (e->kind) {
    case EXERCISE_LEAK:
        run_print(d->common, "fire drill: from step %llu on %s more are kept after each step, booked %s%s", step,
                  size, e->category == LEVEE_CATEGORY_COUNT ? "nowhere" : "as ",
                  e->category == LEVEE_CATEGORY_COUNT ? "" : levee_category_name(e->category));
        break;
    case EXERCISE_HOG:
        run_print(d->common, "fire drill: after step %llu another process takes %s, and keeps it for %llu seconds",
                  step, size, lasts);
        break;
    case EXERCISE_PRESSURE:
        run_print(d->common, "fire drill: after step %llu samples say for %llu seconds that the machine is %s", step,
                  lasts, pressure_level_name(e->level));
        break;
    case EXERCISE_REFUSE_MEMORY:
        run_print(d->common, "fire drill: request %llu for memory is refused", amount);
        break;
    case EXERCISE_FAIL_FILE:
        run_print(d->common, "fire drill: call %llu on a file fails", amount);
        break;
    default:
        run_print(d->common, "fire drill: each write, and each wait for the disk, takes %llu ms more", amount);
    }
}

/* The one call of its kind whose number an exercise names. */
static bool comes_now(const exercise *e, atomic_ullong *calls) {
    return e && atomic_fetch_add(calls, 1) + 1 == e->amount;
}

static fault fail(void *context, fault_point point) {
    drill *d = context;
    bool asks_memory = point == FAULT_ALLOCATE || point == FAULT_RESERVE || point == FAULT_COMMIT;
    const exercise *slow = find(d, EXERCISE_SLOW_DISK);
    if (slow && (point == FAULT_WRITE || point == FAULT_SYNC)) machine_sleep(1e-3 * (double)slow->amount);
    if (asks_memory && comes_now(find(d, EXERCISE_REFUSE_MEMORY), &d->asked_for_memory))
        return (fault){.failure = ENOMEM};
    if (point >= FAULT_FIRST_FILE_POINT && comes_now(find(d, EXERCISE_FAIL_FILE), &d->called_files))
        return (fault){.failure = EIO};
    return (fault){0};
}

static bool makes_calls_fail(const drill *d) {
    return find(d, EXERCISE_REFUSE_MEMORY) || find(d, EXERCISE_FAIL_FILE) || find(d, EXERCISE_SLOW_DISK);
}

levee_status drill_open(drill *d, const char *text, const run *common, levee_error *error) {
    const char *at = NULL;
    memset(d, 0, sizeof *d);
    const char *wanted = drill_read(text, d->list, &d->count, &at);
    if (wanted) return error_set(error, LEVEE_USAGE, "inject: '%.60s' does not do; %s is needed", at, wanted);
    d->common = common;
    for (unsigned i = 0; i < d->count; i++) tell(d, &d->list[i]);
    if (makes_calls_fail(d)) fault_install(fail, d);
    return LEVEE_OK;
}

static void end_neighbour(drill *d) {
    if (!d->neighbour) return;
    kill(d->neighbour, SIGKILL);
    waitpid(d->neighbour, NULL, 0);
    d->neighbour = 0;
}

/* Says once that a call was made to fail: the run may have gone on without a word. */
static void tell_fault(const drill *d, exercise_kind kind, uint64_t calls, bool *told, const char *call,
                       const char *became) {
    const exercise *e = find(d, kind);
    if (!e || *told || calls < e->amount) return;
    run_print(d->common, "fire drill: %s %llu %s", call, (unsigned long long)e->amount, became);
    *told = true;
}

static void tell_faults(drill *d) {
    tell_fault(d, EXERCISE_REFUSE_MEMORY, d->asked_for_memory, &d->told_refusal, "request", "for memory was refused");
    tell_fault(d, EXERCISE_FAIL_FILE, d->called_files, &d->told_failure, "call", "on a file failed");
}

void drill_close(drill *d) {
    if (makes_calls_fail(d)) fault_install(NULL, NULL);
    tell_faults(d);
    end_neighbour(d);
    while (d->leaked.base) {
        region last = d->leaked;
        memcpy(&d->leaked, last.base, sizeof d->leaked);
        region_close(&last);
    }
    while (d->leaked_heap) {
        void *last = d->leaked_heap;
        memcpy(&d->leaked_heap, last, sizeof d->leaked_heap);
        ledger_free(last);
    }
    memset(d, 0, sizeof *d);
}

/* Takes memory that nobody books, and touches it. Its first bytes keep the one before, so that all can be given back.
 */
static levee_status leak_unbooked(drill *d, uint64_t bytes, levee_error *error) {
    region newest;
    levee_status status = region_open(&newest, bytes < sizeof newest ? sizeof newest : bytes, error);
    if (status != LEVEE_OK) return status;
    status = region_commit(&newest, newest.reserved_bytes, error);
    if (status != LEVEE_OK) {
        region_close(&newest);
        return status;
    }
    memset(newest.base, 1, newest.committed_bytes);
    memcpy(newest.base, &d->leaked, sizeof d->leaked);
    d->leaked = newest;
    return LEVEE_OK;
}

static levee_status leak_booked(drill *d, levee_category category, uint64_t bytes, levee_error *error) {
    void *newest = ledger_alloc(category, bytes < sizeof newest ? sizeof newest : bytes);
    if (!newest) return error_out_of_memory(error, "the leak of a fire drill", bytes);
    memset(newest, 1, bytes);
    memcpy(newest, &d->leaked_heap, sizeof d->leaked_heap);
    d->leaked_heap = newest;
    return LEVEE_OK;
}

/* The neighbour: takes its memory, and ends when its time is over, or with us. What it has of ours it does not touch,
 * and the memory of a training is not passed on (region.c). */
static void be_neighbour(const exercise *e) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm((unsigned)e->lasts);
    region taken;
    if (region_open(&taken, e->amount, NULL) == LEVEE_OK && region_commit(&taken, e->amount, NULL) == LEVEE_OK)
        memset(taken.base, 1, taken.committed_bytes);
    for (;;) pause();
}

static levee_status start_neighbour(drill *d, const exercise *e, levee_error *error) {
    char size[BYTES_TEXT];
    end_neighbour(d);
    pid_t child = fork();
    if (child < 0) return error_set(error, LEVEE_DOES_NOT_FIT, "the neighbour of a fire drill: %s", strerror(errno));
    if (!child) be_neighbour(e);
    d->neighbour = child;
    run_print(d->common, "fire drill: process %d takes %s", (int)child, bytes_format(size, e->amount));
    return LEVEE_OK;
}

static void look_after_neighbour(drill *d) {
    int status;
    if (!d->neighbour || waitpid(d->neighbour, &status, WNOHANG) != d->neighbour) return;
    bool in_time = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
    run_print(d->common, "fire drill: process %d %s", (int)d->neighbour,
              in_time ? "has given its memory back" : "was ended by the kernel");
    d->neighbour = 0;
}

levee_status drill_step(drill *d, uint64_t finished, levee_error *error) {
    levee_status status = LEVEE_OK;
    look_after_neighbour(d);
    tell_faults(d);
    for (unsigned i = 0; i < d->count && status == LEVEE_OK; i++) {
        const exercise *e = &d->list[i];
        if (e->kind == EXERCISE_HOG && finished == e->step) status = start_neighbour(d, e, error);
        if (e->kind == EXERCISE_PRESSURE && finished == e->step)
            atomic_store(&d->bent_until[i], machine_seconds() + (double)e->lasts);
        if (e->kind != EXERCISE_LEAK || finished < e->step) continue;
        status = e->category == LEVEE_CATEGORY_COUNT ? leak_unbooked(d, e->amount, error)
                                                     : leak_booked(d, e->category, e->amount, error);
    }
    return status;
}

/* The share in the middle of a level. */
static double share_of(const pressure_limits *l, pressure_level level) {
    const double from[] = {0, l->yellow, l->orange, l->red, 1};
    return (from[level] + from[level + 1]) / 2;
}

/* The least that is available at a share of at most this: the share falls as more is available. */
static uint64_t available_at(const pressure_limits *l, const pressure_plan *expected, guard_sample sample,
                             double share) {
    uint64_t low = 0, high = sample.meters[METER_MACHINE_TOTAL].value;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        sample.meters[METER_MACHINE_AVAILABLE] = (reading){.known = true, .value = middle};
        if (pressure_of(SOURCE_MACHINE, l, &sample, expected).share > share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void drill_bend(drill *d, const pressure_limits *limits, uint64_t planned_bytes, guard_sample *sample) {
    const pressure_plan expected = {.planned_bytes = (double)planned_bytes};
    reading *available = &sample->meters[METER_MACHINE_AVAILABLE];
    for (unsigned i = 0; i < d->count; i++) {
        if (machine_seconds() >= atomic_load(&d->bent_until[i]) || !sample->meters[METER_MACHINE_TOTAL].known)
            continue;
        double share = share_of(limits, d->list[i].level);
        *available = (reading){.known = true, .value = available_at(limits, &expected, *sample, share)};
    }
}
