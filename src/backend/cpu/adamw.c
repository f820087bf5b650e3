/* AdamW in one pass over parameters, gradients and both moments; and the sum of squares for clipping. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/vector.h"

VECTOR_INLINE void update_body(const adamw_update *u, uint64_t begin, uint64_t end) {
    float keep = 1.0f - u->learning_rate * u->weight_decay, step = u->learning_rate / u->first_correction;
    float inverse_root = 1.0f / sqrtf(u->second_correction);
    for (uint64_t i = begin; i < end; i++) {
        float g = u->gradients[i] * u->gradient_scale;
        float m = u->beta1 * u->first_moments[i] + (1.0f - u->beta1) * g;
        float v = u->beta2 * u->second_moments[i] + (1.0f - u->beta2) * g * g;
        u->first_moments[i] = m;
        u->second_moments[i] = v;
        u->gradients[i] = 0;
        u->parameters[i] = u->parameters[i] * keep - step * m / (sqrtf(v) * inverse_root + u->epsilon);
    }
}
VECTOR_PATHS(update, const adamw_update)

typedef struct adamw_work {
    const adamw_update *update;
    instruction_set instructions;
} adamw_work;

static void update_range(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    const adamw_work *w = context;
    (void)thread;
    update(w->instructions, w->update, begin, end);
}

enum { BLOCK = 16384 };

levee_status cpu_adamw(struct backend_state *state, const adamw_update *request, levee_error *error) {
    (void)error;
    adamw_work w = {request, state->instructions};
    parallel_for(state, request->count, BLOCK, update_range, &w);
    return LEVEE_OK;
}

typedef struct squares {
    const float *values;
    uint64_t count;
    double sums[256]; /* of groups of blocks, so that the order of sums does not depend on threads */
    uint64_t group;
    instruction_set instructions;
} squares;

typedef struct square_block {
    const float *values;
    double sum;
} square_block;

VECTOR_INLINE void square_body(square_block *s, uint64_t begin, uint64_t end) {
    lanes sum = lanes_of(0.0f);
    uint64_t i = begin;
    for (; i + VECTOR_LANES <= end; i += VECTOR_LANES) sum += lanes_load(s->values + i) * lanes_load(s->values + i);
    s->sum += (double)lanes_sum(sum);
    for (; i < end; i++) s->sum += (double)s->values[i] * s->values[i];
}
VECTOR_PATHS(square, square_block)

static void square_groups(void *context, uint64_t begin, uint64_t end, unsigned thread) {
    squares *s = context;
    (void)thread;
    for (uint64_t g = begin; g < end; g++) {
        square_block block = {.values = s->values};
        uint64_t stop = (g + 1) * s->group < s->count ? (g + 1) * s->group : s->count;
        /* Short runs in f32, added in double. */
        for (uint64_t i = g * s->group; i < stop; i += BLOCK / 16)
            square(s->instructions, &block, i, stop - i < BLOCK / 16 ? stop : i + BLOCK / 16);
        s->sums[g] = block.sum;
    }
}

double cpu_sum_of_squares(struct backend_state *state, const float *values, uint64_t count) {
    squares s = {.values = values, .count = count, .instructions = state->instructions};
    s.group = (count / 256 / BLOCK + 1) * BLOCK;
    uint64_t groups = (count + s.group - 1) / s.group;
    parallel_for(state, groups, 1, square_groups, &s);
    double sum = 0;
    for (uint64_t g = 0; g < groups; g++) sum += s.sums[g];
    return sum;
}
