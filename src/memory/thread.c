/* Threads with booked stacks: see thread.h. */
#include "memory/thread.h"

#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "memory/ledger.h"

#if defined(__SANITIZE_THREAD__)
#define WATCHED_BY_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED_BY_THREAD_SANITIZER 1
#endif
#endif

#ifdef WATCHED_BY_THREAD_SANITIZER
enum { STACK_BYTES = 2 * 1024 * 1024 }; /* it keeps some 900 KiB of its own there */
#else
enum { STACK_BYTES = 128 * 1024 };
#endif

/* What a thread is to do, until it has taken it over. */
typedef struct beginning {
    void *(*run)(void *context);
    void *context;
    sem_t begun;
} beginning;

static void *begin(void *context) {
    beginning *b = context;
    void *(*run)(void *) = b->run;
    void *given = b->context;
    sem_post(&b->begun);
    return run(given);
}

/* With all signals blocked, which the thread inherits. Waits until it is there. */
static int create(booked_thread *t, const pthread_attr_t *attributes, void *(*run)(void *), void *context) {
    beginning b = {.run = run, .context = context};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sem_init(&b.begun, 0, 0);
    int failure = pthread_create(&t->thread, attributes, begin, &b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (!failure && sem_wait(&b.begun)) continue;
    sem_destroy(&b.begun);
    return failure;
}

levee_status thread_start(booked_thread *t, const char *name, bool locked, void *(*run)(void *context), void *context,
                          levee_error *error) {
    pthread_attr_t attributes;
    *t = (booked_thread){.stack = ledger_alloc(LEVEE_RUNTIME, STACK_BYTES)};
    if (!t->stack) return error_out_of_memory(error, name, STACK_BYTES);
    memset(t->stack, 1, STACK_BYTES);
    if (locked) mlock(t->stack, STACK_BYTES); /* a limit of the system may forbid it: then it may be swapped out */
    pthread_attr_init(&attributes);
    int failure = pthread_attr_setstack(&attributes, t->stack, STACK_BYTES);
    if (!failure) failure = create(t, &attributes, run, context);
    pthread_attr_destroy(&attributes);
    t->runs = !failure;
    return failure ? error_set(error, LEVEE_DOES_NOT_FIT, "%s: %s", name, strerror(failure)) : LEVEE_OK;
}

void thread_join(booked_thread *t) {
    if (t->runs) pthread_join(t->thread, NULL);
    if (t->stack) munlock(t->stack, STACK_BYTES);
    ledger_free(t->stack);
    *t = (booked_thread){0};
}

uint64_t thread_stack_bytes(void) { return STACK_BYTES; }
