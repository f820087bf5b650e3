/* Threads: libgomp called through its functions, so that gcc and clang give the same one runtime that oneDNN uses
 * too. */
#include <stdatomic.h>

#include "backend/cpu/cpu.h"

void GOMP_parallel(void (*body)(void *), void *context, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);

typedef struct split {
    parallel_body *body;
    void *context;
    uint64_t count, grain, per_thread;
    _Atomic uint64_t next; /* dynamic: where the next range begins */
    const pass_scalars *pass;
    atomic_bool stopped; /* dynamic: not all ranges were handed out */
} split;

static void run_static(void *argument) {
    split *s = argument;
    unsigned thread = (unsigned)omp_get_thread_num(), threads = (unsigned)omp_get_num_threads();
    /* The runtime may give fewer threads than were asked for; then one takes several ranges. */
    for (uint64_t begin = thread * s->per_thread; begin < s->count; begin += threads * s->per_thread) {
        uint64_t end = begin + s->per_thread < s->count ? begin + s->per_thread : s->count;
        s->body(s->context, begin, end, thread);
    }
}

static void run_dynamic(void *argument) {
    split *s = argument;
    unsigned thread = (unsigned)omp_get_thread_num();
    for (;;) {
        uint64_t begin = atomic_fetch_add(&s->next, s->grain);
        if (begin >= s->count) return;
        /* What is asked for may be taken back meanwhile, so it is remembered that a range is missing. */
        if (atomic_load(&s->stopped) || (s->pass && pass_is_interrupted(s->pass))) {
            atomic_store(&s->stopped, true);
            return;
        }
        uint64_t end = begin + s->grain < s->count ? begin + s->grain : s->count;
        s->body(s->context, begin, end, thread);
    }
}

void parallel_for(const struct backend_state *state, uint64_t count, uint64_t grain, parallel_body *body,
                  void *context) {
    if (!count) return;
    uint64_t grains = (count + grain - 1) / grain;
    split s = {.body = body, .context = context, .count = count};
    s.per_thread = (grains + state->threads - 1) / state->threads * grain;
    if (state->threads == 1 || s.per_thread >= count)
        body(context, 0, count, 0);
    else
        GOMP_parallel(run_static, &s, state->threads, 0);
}

levee_status parallel_for_dynamic(const struct backend_state *state, const pass_scalars *pass, uint64_t count,
                                  uint64_t grain, parallel_body *body, void *context) {
    split s = {.body = body, .context = context, .count = count, .grain = grain, .pass = pass};
    if (state->threads == 1 || count <= grain)
        run_dynamic(&s);
    else
        GOMP_parallel(run_dynamic, &s, state->threads, 0);
    return s.stopped ? LEVEE_STOPPED : LEVEE_OK;
}
