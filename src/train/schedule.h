/* Learning rate by update, as mlx_lm.lora's lr_schedule computes it: a warm-up joined to one of a few curves. */
#ifndef LEVEE_TRAIN_SCHEDULE_H
#define LEVEE_TRAIN_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum schedule_kind {
    SCHEDULE_CONSTANT,    /* arguments: rate */
    SCHEDULE_LINEAR,      /* first rate, last rate, updates */
    SCHEDULE_COSINE,      /* first rate, updates, last rate (0) */
    SCHEDULE_STEP,        /* first rate, factor, updates between */
    SCHEDULE_EXPONENTIAL, /* first rate, factor per update */
} schedule_kind;

enum { SCHEDULE_ARGUMENTS = 4 };

typedef struct schedule {
    schedule_kind kind;
    double arguments[SCHEDULE_ARGUMENTS];
    unsigned argument_count; /* how many of them were given */
    uint32_t warmup;         /* updates over which the rate rises linearly from warmup_init to the curve's first */
    double warmup_init;
} schedule;

/* Finds a kind by mlx's name (cosine_decay, linear_schedule, step_decay, exponential_decay) or the plain one. */
bool schedule_find(const char *name, schedule_kind *kind);

/* mlx's name of a kind. */
const char *schedule_name(schedule_kind kind);

/* What the arguments should be, when they are not that; NULL when they do. */
const char *schedule_problem(const schedule *s);

/* The rate of update number `update`, from 0. The warm-up reaches the curve's first rate at update `warmup`, and the
 * curve starts with it at the next: mlx_lm.lora joins the two there, so the rate stays for two updates. */
double schedule_rate(const schedule *s, uint64_t update);

#endif
