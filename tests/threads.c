/* OpenMP's fork and join by POSIX threads, for ThreadSanitizer: it cannot see how libgomp synchronises, and would
 * call every parallel loop a race. Only Levee's own loops come here; oneDNN, which is not instrumented, keeps
 * libgomp. */
#if defined(__SANITIZE_THREAD__)
#define SEEN_BY_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SEEN_BY_SANITIZER 1
#endif
#endif

#ifdef SEEN_BY_SANITIZER
#include <pthread.h>
#include <stdlib.h>

enum { MOST_THREADS = 64 };

typedef struct part {
    void (*body)(void *);
    void *context;
    unsigned number, count;
} part;

static _Thread_local part current = {.count = 1};

int omp_get_thread_num(void);
int omp_get_num_threads(void);
void GOMP_parallel(void (*body)(void *), void *context, unsigned threads, unsigned flags);

int omp_get_thread_num(void) { return (int)current.number; }
int omp_get_num_threads(void) { return (int)current.count; }

/* oneDNN's threads fill its buffers by memset and memcpy, which are the sanitizer's; those calls are no more to be
 * judged than the rest of it. */
const char *__tsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void) {
    return "called_from_lib:libdnnl.so\n";
}

static void *run_part(void *argument) {
    current = *(part *)argument;
    current.body(current.context);
    return NULL;
}

void GOMP_parallel(void (*body)(void *), void *context, unsigned threads, unsigned flags) {
    (void)flags;
    pthread_t started[MOST_THREADS];
    part parts[MOST_THREADS];
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    for (unsigned i = 0; i < threads; i++) parts[i] = (part){body, context, i, threads};
    for (unsigned i = 1; i < threads; i++)
        if (pthread_create(&started[i], NULL, run_part, &parts[i])) abort();
    run_part(&parts[0]);
    current = (part){.count = 1};
    for (unsigned i = 1; i < threads; i++) pthread_join(started[i], NULL);
}
#endif

/* An empty file is not C. */
typedef int threads_are_for_a_sanitizer;
