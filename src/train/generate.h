/* Generation on the same engine and inside the same budget: planned caches for keys and values, a body that
 * takes the prompt in chunks, and a head for one row. */
#ifndef LEVEE_TRAIN_GENERATE_H
#define LEVEE_TRAIN_GENERATE_H

#include "train/session.h"

typedef struct generation_settings {
    trainable_set adapted;    /* the adapter's shape, or FINE_TUNE_NONE */
    const char *adapter_path; /* read when there is an adapter */
    uint32_t cache_tokens;    /* the most that are in the caches at once */
} generation_settings;

typedef struct generation {
    session *model; /* the caller's */
    generation_settings settings;
    graph body, head;
    plan body_plan, head_plan;
    executor body_pass, head_pass;
    uint32_t position; /* tokens in the caches */
} generation;

/* Plans, takes memory and loads the adapter. generation_close frees, and accepts a zeroed generation. */
levee_status generation_open(generation *g, session *model, const generation_settings *settings, levee_error *error);
void generation_close(generation *g);

/* Appends tokens to the caches, and gives the logits [vocabulary] of what follows the last, which last until the next
 * step. `count` is at least 1; LEVEE_USAGE when the caches are full. */
levee_status generation_step(generation *g, const uint32_t *ids, uint64_t count, const float **logits,
                             levee_error *error);

/* Forgets all but the first `position` tokens of the caches. */
void generation_rewind(generation *g, uint32_t position);

#endif
