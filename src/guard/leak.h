/* A leak estimator: from one memory meter, one sample a step, whether it leaks, how fast, and how long that can last.
 *
 * Words. A meter is suspected when its history rises evenly and by more than it ever fell, on any time scale; the
 * suspicion is confirmed when a later stretch of time that is at least as long, and shares no sample with the first,
 * rises as fast. It is dropped when memory falls back or stays flat. Where memory rises ever more
 * slowly, that is growth and not a confirmed leak: a cache that fills, most likely. So what is confirmed is steady; a
 * steady growth that will end later looks the same until it ends. A segment is a time with one plan: samples of two
 * segments are not compared. A slope is in bytes a sample.
 *
 * The caller owns the estimator, plain data of 4 KiB; nothing is allocated. Not thread-safe: one estimator belongs to
 * one thread. The unit of time is the sample: the caller who samples by the clock gets slopes by that interval. */
#ifndef LEVEE_GUARD_LEAK_H
#define LEVEE_GUARD_LEAK_H

#include "guard/pyramid.h"

typedef enum leak_verdict { LEAK_NONE, LEAK_SUSPECTED, LEAK_GROWTH, LEAK_CONFIRMED } leak_verdict;

/* "none", "suspected", "growth", "confirmed". */
const char *leak_verdict_name(leak_verdict verdict);

/* What people are told of it: "leak suspected", "no leak after all: memory fell, or stays". */
const char *leak_headline(leak_verdict verdict);

typedef struct leak_slope {
    double bytes, low, high; /* low and high: 95 % interval */
} leak_slope;

/* The window whose rise was suspected last: `blocks` blocks of a level, the last of which ended with sample `at`. */
typedef struct leak_suspicion {
    unsigned level, blocks;
    uint64_t at;
    double slope;
    double floor; /* a block of the level below it drops the suspicion; -INFINITY in a later segment */
} leak_suspicion;

/* The levels that look at the last 128 samples or fewer: what rises on them rises now. */
enum { LEAK_RECENT_LEVELS = 4 };

typedef struct leak_estimator {
    pyramid history;
    leak_verdict verdict;
    leak_suspicion suspicion;              /* unless the verdict is LEAK_NONE */
    bool settled;                          /* memory was flat once, so warm-up is over */
    double least_rise_bytes;               /* less is never suspected */
    leak_slope rising[LEAK_RECENT_LEVELS]; /* what a level sees rising now, whatever the verdict; else 0 */
} leak_estimator;

/* A rise of which nobody should hear: what a page more here and there makes. */
static const double leak_least_rise_bytes = 2e6;

/* Starts, or starts again, without any history. */
void leak_reset(leak_estimator *e, double least_rise_bytes);

/* Adds the sample of a step; returns the verdict. Bytes may be negative: held less booked can be. */
leak_verdict leak_add(leak_estimator *e, int64_t bytes);

/* The plan changes after this sample, or a sample could not be read: what follows is not compared with what was. */
void leak_begin_segment(leak_estimator *e);

/* Drops a suspicion or a confirmed leak, because something else explains it; the history stays. */
void leak_dismiss(leak_estimator *e);

/* The number of the sample, from 0, with which the suspected growth began; 0 without a suspicion. */
uint64_t leak_began(const leak_estimator *e);

/* The slope since then; false without a suspicion. */
bool leak_estimate(const leak_estimator *e, leak_slope *slope);

/* The slope over the whole history, whatever the verdict; false with fewer than two comparable samples. */
bool leak_growth(const leak_estimator *e, leak_slope *slope);

/* Samples until `headroom_bytes` are used up at the slope now: at the upper end of its interval, and as expected.
 * INFINITY when nothing rises. Needs no verdict: a growth that is about to end the run is no time for certainty. */
typedef struct leak_horizon {
    double fewest, expected;
} leak_horizon;
leak_horizon leak_time_left(const leak_estimator *e, double headroom_bytes);

#endif
