/* A thread whose stack is booked, so that nothing of it is outside the budget: the guard's, and the one that writes
 * what a run tells.
 *
 * The stack is taken when the thread is started, and touched at once: held memory that a plan is made by counts it.
 * For the same reason starting returns when the thread is there, and not while it begins. The thread has all signals
 * blocked, so that who waits for them gets them. */
#ifndef LEVEE_MEMORY_THREAD_H
#define LEVEE_MEMORY_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "levee.h"

typedef struct booked_thread {
    pthread_t thread;
    void *stack;
    bool runs;
} booked_thread;

/* Starts a thread. `name` is for messages: "the guard's thread". With `locked` its stack is not swapped out, where
 * the system lets it be locked. After a failure thread_join is due all the same. */
levee_status thread_start(booked_thread *t, const char *name, bool locked, void *(*run)(void *context), void *context,
                          levee_error *error);

/* Waits until it has ended, and gives its stack back. Accepts a zeroed one, and one that did not start. */
void thread_join(booked_thread *t);

/* What the stack of each takes. */
uint64_t thread_stack_bytes(void);

#endif
