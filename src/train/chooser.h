/* The choice of the next token from the model's logits, as mlx-lm makes it: what was said lately is made less likely,
 * what is unlikely is left out, and of the rest one is drawn. */
#ifndef LEVEE_TRAIN_CHOOSER_H
#define LEVEE_TRAIN_CHOOSER_H

#include "levee.h"

typedef struct chooser_settings {
    double temperature;        /* 0: the most likely, always */
    double top_p;              /* of the likeliest, so many that they are this likely together; 0 or 1: all */
    double min_p;              /* at least so likely as this share of the likeliest; 0: all */
    uint32_t top_k;            /* the likeliest so many; 0: all */
    double repetition_penalty; /* positive logits are divided by it, negative ones multiplied; 0 or 1: none */
    uint32_t repetition_context;
    uint64_t seed;
} chooser_settings;

typedef struct chooser_candidate {
    float logit;
    uint32_t id;
} chooser_candidate;

typedef struct chooser {
    chooser_settings settings;
    uint32_t vocabulary;
    chooser_candidate *candidates; /* [vocabulary], scratch */
} chooser;

/* Takes memory for all later choices. chooser_close accepts a zeroed one. */
levee_status chooser_open(chooser *s, const chooser_settings *settings, uint32_t vocabulary, levee_error *error);
void chooser_close(chooser *s);

/* The next token after the `count` tokens so far, whose number also says which random number is drawn: the same
 * settings after the same tokens choose the same. Among equals the lowest id is the likeliest. */
uint32_t chooser_next(chooser *s, const float *logits, const uint32_t *so_far, uint64_t count);

#endif
