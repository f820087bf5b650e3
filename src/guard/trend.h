/* A trend: does a short series rise, how evenly, how fast, and how sure is that?
 *
 * Words. The Kendall score is the number of pairs that rise less the number that fall (Mann 1945); its deviation is
 * that of a series without a trend. The slope is Sen's: the median of the slopes of all pairs, which a few outliers
 * do not move; its interval is made of the same ordered slopes (Sen 1968), widened by the correlation of neighbours.
 * Only pairs of one segment are compared; between two segments the series is taken to go on by the slope.
 *
 * Pure functions over the caller's data, on the stack; thread-safe. */
#ifndef LEVEE_GUARD_TREND_H
#define LEVEE_GUARD_TREND_H

#include <stdbool.h>
#include <stdint.h>

enum { TREND_MOST_BLOCKS = 16 };

typedef struct trend_series {
    double bytes[TREND_MOST_BLOCKS];
    uint32_t segments[TREND_MOST_BLOCKS]; /* equal: comparable; never falls */
    unsigned count;
} trend_series;

/* Slopes are in bytes a block. */
typedef struct trend {
    double score, deviation; /* Kendall's */
    double slope, low, high; /* low and high: 95 % interval */
    double rise;             /* from the first block to the last */
    double largest_jump;     /* between two neighbours, as a share of the whole growth */
    double least_quarter;    /* the least growth from one quarter of the series to the next, as a share of the mean */
} trend;

/* Kendall's score and its deviation alone: cheap, and enough to rule most series out. False when no two blocks are
 * comparable. */
bool trend_score(const trend_series *series, double *score, double *deviation);

/* All of it; false as above. */
bool trend_fit(const trend_series *series, trend *fitted);

#endif
