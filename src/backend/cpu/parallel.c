/* Work shared out among the backend's threads: see cpu.h. */
#include <stdatomic.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/crew.h"

typedef struct split {
    parallel_body *body;
    void *context;
    uint64_t count, grain, per_thread;
    _Atomic uint64_t next; /* dynamic: where the next range begins */
    const pass_scalars *pass;
    atomic_bool stopped; /* dynamic: not all ranges were handed out */
} split;

static void run_static(void *context, unsigned thread) {
    split *s = context;
    uint64_t begin = thread * s->per_thread, end = begin + s->per_thread;
    if (begin < s->count) s->body(s->context, begin, end < s->count ? end : s->count, thread);
}

static void run_dynamic(void *context, unsigned thread) {
    split *s = context;
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
        crew_run(state->crew, run_static, &s);
}

levee_status parallel_for_dynamic(const struct backend_state *state, const pass_scalars *pass, uint64_t count,
                                  uint64_t grain, parallel_body *body, void *context) {
    split s = {.body = body, .context = context, .count = count, .grain = grain, .pass = pass};
    if (state->threads == 1 || count <= grain)
        run_dynamic(&s, 0);
    else
        crew_run(state->crew, run_dynamic, &s);
    return s.stopped ? LEVEE_STOPPED : LEVEE_OK;
}
