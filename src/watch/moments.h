/* When samples were taken: to tell since when, and how much time and how many steps a sample stands for.
 *
 * A fixed number of moments is kept; when they are full every second one goes, so that they span any run. Plain data
 * of the caller's; zeroed: none. */
#ifndef LEVEE_WATCH_MOMENTS_H
#define LEVEE_WATCH_MOMENTS_H

#include <stdint.h>

enum { MOMENTS_MOST = 256 };

typedef struct moment {
    uint64_t sample, steps;
    double seconds;
} moment;

typedef struct moments {
    moment kept[MOMENTS_MOST];
    unsigned count;
    uint64_t stride; /* every so many samples; 0 counts as 1 */
} moments;

/* Sample number `sample`, from 0, was taken then. */
void moments_add(moments *m, moment now);

/* The moment of a sample, as near as is kept: at or before it. Zeroed without any. */
moment moments_find(const moments *m, uint64_t sample);

#endif
