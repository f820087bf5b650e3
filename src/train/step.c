/* One step's passes: see step.h. */
#include "train/step.h"

#include "base/error.h"

/* Examples that a pass which was cut short had begun, and how far its gradients came. */
typedef struct remainder {
    uint32_t begin, end;
    gradient_progress progress;
} remainder;

/* Each cut can split the examples ahead once more. When there is no room for another, the pass is not cut. */
enum { MOST_REMAINDERS = 8 };

typedef struct step_state {
    training *engine;
    const step_input *input;
    uint32_t step, examples;
    remainder remainders[MOST_REMAINDERS]; /* the last one is ahead */
    unsigned count;
} step_state;

/* Up to where the examples from `next` on were begun alike, and how far. */
static remainder next_range(const step_state *s, uint32_t next) {
    const remainder *ahead = s->count ? &s->remainders[s->count - 1] : NULL;
    if (ahead && ahead->begin == next) return *ahead;
    return (remainder){.begin = next, .end = ahead ? ahead->begin : s->examples};
}

/* The examples [begin, end) are done. */
static void finish(step_state *s, uint32_t end) {
    if (!s->count) return;
    remainder *ahead = &s->remainders[s->count - 1];
    if (ahead->end <= end)
        s->count--;
    else if (ahead->begin < end)
        ahead->begin = end;
}

/* The examples [begin, end) of a range were cut short at `progress`. */
static void keep(step_state *s, uint32_t begin, uint32_t end, gradient_progress progress) {
    finish(s, end);
    if (progress) s->remainders[s->count++] = (remainder){begin, end, progress};
}

/* Fills the batch with examples from `begin` on, at most to `end`; *filled is where it ends. */
static levee_status fill(const step_state *s, uint32_t begin, uint32_t end, uint32_t *filled, levee_error *error) {
    batch *b = training_batch(s->engine);
    batch_clear(b);
    levee_status status = LEVEE_OK;
    for (*filled = begin; *filled < end; ++*filled) {
        uint32_t count;
        uint64_t row = cursor_row(s->input->order, s->step, *filled);
        status = dataset_read(s->input->data, row, s->input->ids, &count, error);
        if (status != LEVEE_OK || !batch_add(b, s->input->ids, dataset_loss_mask(s->input->data), count, *filled))
            break;
    }
    if (status == LEVEE_OK && *filled == begin)
        status = error_set(error, LEVEE_INTERNAL, "a row does not fit a pass of %u tokens", b->capacity);
    return status;
}

levee_status step_run(training *engine, const step_input *input, uint32_t step, step_result *result,
                      levee_error *error) {
    step_state s = {.engine = engine, .input = input, .step = step, .examples = input->order->batch_size};
    *result = (step_result){0};
    for (uint32_t e = 0; e < s.examples; e++)
        result->targets += dataset_row_targets(input->data, cursor_row(input->order, step, e));
    training_begin_step(engine, step, result->targets);
    for (uint32_t next = 0; next < s.examples;) {
        uint32_t end;
        levee_status status = training_safe_point(engine, error);
        remainder range = next_range(&s, next);
        if (status == LEVEE_OK) status = fill(&s, next, range.end, &end, error);
        if (status != LEVEE_OK) return status;
        gradient_progress progress = range.progress;
        training_allow_interrupts(engine, s.count + 1 < MOST_REMAINDERS);
        status = training_pass(engine, &progress, &result->loss_sum, error);
        if (status == LEVEE_STOPPED) {
            keep(&s, next, end, progress);
            result->repeated++;
            continue;
        }
        if (status != LEVEE_OK) return status;
        finish(&s, end);
        result->passes++;
        next = end;
    }
    return training_safe_point(engine, error);
}
