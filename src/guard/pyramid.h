/* A pyramid: the history of one memory meter in fixed memory, the recent past finely and the far past coarsely.
 *
 * Words. A block of level k stands for 2^k samples in a row. Two blocks merge into one of the level above: by their
 * minimum the first two times, which removes spikes and what a collector will free, and by their mean above that.
 * Each level keeps its last PYRAMID_BLOCKS blocks. A segment is a time during which memory is comparable; another
 * plan begins another one. A block never spans two segments. The drawdown of a level is the largest fall from a peak
 * that was ever seen between its blocks: how far memory moves without leaking.
 *
 * Plain data that the caller owns, 4 KiB; nothing is allocated. Not thread-safe. */
#ifndef LEVEE_GUARD_PYRAMID_H
#define LEVEE_GUARD_PYRAMID_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PYRAMID_LEVELS = 14,       /* the last one sees 2^17 samples */
    PYRAMID_BLOCKS = 16,       /* of a level that are kept */
    PYRAMID_MINIMUM_MERGES = 2 /* above this level blocks merge by their mean */
};

typedef struct pyramid_level {
    double bytes[PYRAMID_BLOCKS]; /* block i lies at i % PYRAMID_BLOCKS */
    uint32_t segments[PYRAMID_BLOCKS];
    uint64_t count;  /* blocks ever completed */
    double highest;  /* of this segment */
    double drawdown; /* of all segments */
    double half;     /* a block that waits for its pair */
    bool has_highest, has_half;
} pyramid_level;

typedef struct pyramid {
    pyramid_level levels[PYRAMID_LEVELS];
    uint64_t samples;
    uint32_t segment;
} pyramid;

/* A zeroed pyramid is an empty one. Adds a sample; returns on how many levels, from 0 on, it completed a block. */
unsigned pyramid_add(pyramid *p, double bytes);

/* What comes from now on is not comparable with what was. Halves that wait for their pair are dropped. */
void pyramid_begin_segment(pyramid *p);

/* How far blocks of a level move without a leak: its drawdown, but at least half of the noise of the level below,
 * because a level that has few blocks has seen little. */
double pyramid_noise(const pyramid *p, unsigned level);

/* The last `count` blocks of a level, the oldest first, with their segments; false when it has fewer. */
bool pyramid_window(const pyramid *p, unsigned level, unsigned count, double *bytes, uint32_t *segments);

#endif
