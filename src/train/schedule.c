/* Learning rate by update: see schedule.h. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *plain, *mlx;
    unsigned least, most;
} kinds[] = {
    [SCHEDULE_CONSTANT] = {"constant", "constant", 1, 1},
    [SCHEDULE_LINEAR] = {"linear", "linear_schedule", 3, 3},
    [SCHEDULE_COSINE] = {"cosine", "cosine_decay", 2, 3},
    [SCHEDULE_STEP] = {"step", "step_decay", 3, 3},
    [SCHEDULE_EXPONENTIAL] = {"exponential", "exponential_decay", 2, 2},
};

bool schedule_find(const char *name, schedule_kind *kind) {
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(name, kinds[i].plain) || !strcmp(name, kinds[i].mlx)) {
            *kind = (schedule_kind)i;
            return true;
        }
    return false;
}

void schedule_arity(schedule_kind kind, unsigned *least, unsigned *most) {
    *least = kinds[kind].least;
    *most = kinds[kind].most;
}

static double curve(const schedule *s, double n) {
    const double *a = s->arguments, pi = 3.14159265358979323846;
    switch (s->kind) {
    case SCHEDULE_LINEAR: return n < a[2] ? a[0] + (a[1] - a[0]) * n / a[2] : a[1];
    case SCHEDULE_COSINE: {
        double done = n < a[1] ? n / a[1] : 1;
        return a[2] + 0.5 * (1 + cos(pi * done)) * (a[0] - a[2]);
    }
    case SCHEDULE_STEP: return a[0] * pow(a[1], floor(n / a[2]));
    case SCHEDULE_EXPONENTIAL: return a[0] * pow(a[1], n);
    default: return a[0];
    }
}

double schedule_rate(const schedule *s, uint64_t update) {
    if (update < s->warmup)
        return s->warmup_init + (curve(s, 0) - s->warmup_init) * (double)update / (double)s->warmup;
    return curve(s, (double)(update - s->warmup));
}
