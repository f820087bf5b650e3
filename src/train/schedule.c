/* Learning rate by update: see schedule.h. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *plain, *mlx;
    unsigned least, most; /* arguments */
    unsigned updates;     /* the place of the argument that counts updates; 0: there is none */
    const char *wanted;
} kinds[] = {
    [SCHEDULE_CONSTANT] = {"constant", "constant", 1, 1, 0, "[rate]"},
    [SCHEDULE_LINEAR] = {"linear", "linear_schedule", 3, 3, 2, "[first rate, last rate, updates]"},
    [SCHEDULE_COSINE] = {"cosine", "cosine_decay", 2, 3, 1,
                         "[first rate, updates] or [first rate, updates, last rate]"},
    [SCHEDULE_STEP] = {"step", "step_decay", 3, 3, 2, "[first rate, factor, updates between]"},
    [SCHEDULE_EXPONENTIAL] = {"exponential", "exponential_decay", 2, 2, 0, "[first rate, factor per update]"},
};

bool schedule_find(const char *name, schedule_kind *kind) {
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(name, kinds[i].plain) || !strcmp(name, kinds[i].mlx)) {
            *kind = (schedule_kind)i;
            return true;
        }
    return false;
}

const char *schedule_name(schedule_kind kind) { return kinds[kind].mlx; }

const char *schedule_problem(const schedule *s) {
    bool good = s->argument_count >= kinds[s->kind].least && s->argument_count <= kinds[s->kind].most;
    for (unsigned i = 0; i < s->argument_count && good; i++) {
        bool updates = i && i == kinds[s->kind].updates;
        /* Rates and factors alike: a rate past 1000 is a slip, and a negative one climbs. */
        good = s->arguments[i] >= (updates ? 1 : 0) && s->arguments[i] <= (updates ? 1e9 : 1e3);
    }
    return good ? NULL : kinds[s->kind].wanted;
}

static double curve(const schedule *s, double n) {
    const double *a = s->arguments, pi = 3.14159265358979323846;
    switch (s->kind) {
    case SCHEDULE_LINEAR:
        return n < a[2] ? a[0] + (a[1] - a[0]) * n / a[2] : a[1];
    case SCHEDULE_COSINE: {
        double done = n < a[1] ? n / a[1] : 1;
        return a[2] + 0.5 * (1 + cos(pi * done)) * (a[0] - a[2]);
    }
    case SCHEDULE_STEP:
        return a[0] * pow(a[1], floor(n / a[2]));
    case SCHEDULE_EXPONENTIAL:
        return a[0] * pow(a[1], n);
    default:
        return a[0];
    }
}

double schedule_rate(const schedule *s, uint64_t update) {
    if (!s->warmup) return curve(s, (double)update);
    if (update <= s->warmup)
        return s->warmup_init + (s->arguments[0] - s->warmup_init) * (double)update / (double)s->warmup;
    return curve(s, (double)(update - s->warmup - 1));
}
