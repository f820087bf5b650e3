/* Kendall's score, Sen's slope and its interval: see trend.h. */
#include "guard/trend.h"

#include <math.h>

enum { MOST_PAIRS = TREND_MOST_BLOCKS * (TREND_MOST_BLOCKS - 1) / 2, QUARTERS = 4 };

static const double normal_quantile = 1.96; /* of a 95 % interval */

/* Beyond this a short series says nothing about how far its correlation reaches. */
static const double most_correlation = 0.8;

/* Variance of the score of n untied values without a trend. */
static double score_variance(double n) { return n * (n - 1) * (2 * n + 5) / 18; }

static unsigned segment_end(const trend_series *s, unsigned begin) {
    unsigned end = begin + 1;
    while (end < s->count && s->segments[end] == s->segments[begin]) end++;
    return end;
}

bool trend_score(const trend_series *series, double *score, double *deviation) {
    int rising = 0;
    double variance = 0;
    for (unsigned begin = 0, end; begin < series->count; begin = end) {
        end = segment_end(series, begin);
        variance += score_variance(end - begin);
        for (unsigned i = begin; i < end; i++)
            for (unsigned j = i + 1; j < end; j++)
                rising += (series->bytes[j] > series->bytes[i]) - (series->bytes[j] < series->bytes[i]);
    }
    *score = rising;
    *deviation = sqrt(variance);
    return variance > 0;
}

/* Shell's sort: there are 120 numbers at most, and qsort may allocate. */
static void sort(double *values, unsigned count) {
    static const unsigned gaps[] = {57, 23, 10, 4, 1};
    for (unsigned g = 0; g < sizeof gaps / sizeof *gaps; g++)
        for (unsigned i = gaps[g]; i < count; i++) {
            double value = values[i];
            unsigned at = i;
            for (; at >= gaps[g] && values[at - gaps[g]] > value; at -= gaps[g]) values[at] = values[at - gaps[g]];
            values[at] = value;
        }
}

/* The slopes of all comparable pairs, in order. */
static unsigned pair_slopes(const trend_series *s, double slopes[MOST_PAIRS]) {
    unsigned count = 0;
    for (unsigned begin = 0, end; begin < s->count; begin = end) {
        end = segment_end(s, begin);
        for (unsigned i = begin; i < end; i++)
            for (unsigned j = i + 1; j < end; j++) slopes[count++] = (s->bytes[j] - s->bytes[i]) / (j - i);
    }
    sort(slopes, count);
    return count;
}

/* The series from 0 on, its segments joined as if it had grown by `slope` between them. */
static void join(const trend_series *s, double slope, double joined[TREND_MOST_BLOCKS]) {
    joined[0] = 0;
    for (unsigned i = 1; i < s->count; i++) {
        bool comparable = s->segments[i] == s->segments[i - 1];
        joined[i] = joined[i - 1] + (comparable ? s->bytes[i] - s->bytes[i - 1] : slope);
    }
}

static double largest_jump(const double *joined, unsigned count) {
    double largest = 0;
    for (unsigned i = 1; i < count; i++) largest = fmax(largest, joined[i] - joined[i - 1]);
    return joined[count - 1] > 0 ? largest / joined[count - 1] : INFINITY;
}

static double least_quarter_growth(const double *joined, unsigned count) {
    double means[QUARTERS] = {0};
    unsigned size = count / QUARTERS;
    if (!size) return 0;
    for (unsigned i = 0; i < size * QUARTERS; i++) means[i / size] += joined[i] / size;
    double mean_growth = (means[QUARTERS - 1] - means[0]) / (QUARTERS - 1), least = INFINITY;
    if (mean_growth <= 0) return 0;
    for (unsigned q = 1; q < QUARTERS; q++) least = fmin(least, (means[q] - means[q - 1]) / mean_growth);
    return least;
}

/* By how much the variance grows because neighbours resemble each other: (1 + r) / (1 - r) of the residuals' first
 * autocorrelation, which a short series underestimates by about (1 + 4 r) / n. */
static double correlation_factor(const double *joined, unsigned count, double slope) {
    double mean = 0, squares = 0, products = 0, before = 0;
    for (unsigned i = 0; i < count; i++) mean += (joined[i] - slope * i) / count;
    for (unsigned i = 0; i < count; i++) {
        double residual = joined[i] - slope * i - mean;
        squares += residual * residual;
        if (i) products += residual * before;
        before = residual;
    }
    double r = squares > 0 ? products / squares : 0;
    r = fmin(fmax(r + (1 + 4 * r) / count, 0), most_correlation);
    return (1 + r) / (1 - r);
}

bool trend_fit(const trend_series *series, trend *fitted) {
    double slopes[MOST_PAIRS] = {0}, joined[TREND_MOST_BLOCKS];
    if (series->count < 2 || !trend_score(series, &fitted->score, &fitted->deviation)) return false;
    unsigned pairs = pair_slopes(series, slopes);
    fitted->slope = (slopes[(pairs - 1) / 2] + slopes[pairs / 2]) / 2;
    fitted->rise = fitted->slope * (series->count - 1);
    join(series, fitted->slope, joined);
    fitted->largest_jump = largest_jump(joined, series->count);
    fitted->least_quarter = least_quarter_growth(joined, series->count);
    double spread =
        normal_quantile * fitted->deviation * sqrt(correlation_factor(joined, series->count, fitted->slope));
    double low = floor((pairs - spread) / 2), high = ceil((pairs + spread) / 2);
    fitted->low = slopes[low > 0 ? (unsigned)low : 0];
    fitted->high = slopes[high < pairs - 1 ? (unsigned)high : pairs - 1];
    return true;
}
