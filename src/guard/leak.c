/* Suspect, confirm, drop: see leak.h. The thresholds come from the simulations of bench/leaks.c. */
#include "guard/leak.h"

#include <math.h>
#include <string.h>

#include "guard/trend.h"

/* Two window lengths: the short one is quick, the long one sure. */
enum { LONG_WINDOW = 16, SHORT_WINDOW = 8 };
_Static_assert((int)LONG_WINDOW == (int)PYRAMID_BLOCKS && (int)LONG_WINDOW == (int)TREND_MOST_BLOCKS,
               "a long window is all that is kept");

/* Kendall's score, in its deviations: of 16 untied values 92 of 120, of 8 values 26 of 28. */
static const double long_score = 4.14, short_score = 3.21;

/* A leak rises by so many times the largest fall that was ever seen, and evenly. */
static const double rise_of_noise = 2.5, most_jump = 0.30, least_quarter = 0.50;

/* A later rise confirms an earlier one when its slope is at least this share of it. Warm-up slows down; until memory
 * was flat once, more is asked for. */
static const double confirming_share = 0.7, unsettled_share = 0.8, most_share = 4;

enum { LEAST_AGE = 256 }; /* samples before anything is confirmed */

/* Memory was flat when 8 blocks of 16 samples have a score below this, in deviations: 12 of 28. */
enum { SETTLED_LEVEL = 4 };
static const double settled_score = 12 / 8.083;

/* A suspicion is dropped when memory falls by this share of its rise, or when a stretch of twice its length rises by
 * less than this share of its slope. */
static const double dropping_fall = 0.5, dropping_share = 0.35;

/* A later slope is flatter only when it is below this share of the earlier one: where there is no noise at all the
 * intervals are as narrow as a page. */
static const double slowing_share = 0.97;

/* Noise that wanders slowly looks like slope in a short window, and its residuals do not show it. So an interval
 * reaches at least this share of the largest fall ever seen, over the window, to each side. */
static const double drift_of_noise = 0.4;

const char *leak_verdict_name(leak_verdict verdict) {
    static const char *const names[] = {"none", "suspected", "growth", "confirmed"};
    return (unsigned)verdict <= LEAK_CONFIRMED ? names[verdict] : "unknown";
}

const char *leak_headline(leak_verdict verdict) {
    static const char *const headlines[] = {"no leak after all: memory fell, or stays", "leak suspected",
                                            "growth, ever slower", "leak confirmed"};
    return (unsigned)verdict <= LEAK_CONFIRMED ? headlines[verdict] : "unknown";
}

void leak_reset(leak_estimator *e, double least_rise_bytes) {
    memset(e, 0, sizeof *e);
    e->least_rise_bytes = least_rise_bytes;
}

void leak_begin_segment(leak_estimator *e) {
    pyramid_begin_segment(&e->history);
    e->suspicion.floor = -INFINITY;
}

void leak_dismiss(leak_estimator *e) {
    e->verdict = LEAK_NONE;
    memset(&e->suspicion, 0, sizeof e->suspicion);
}

static bool window(const leak_estimator *e, unsigned level, unsigned blocks, trend_series *series) {
    series->count = blocks;
    return pyramid_window(&e->history, level, blocks, series->bytes, series->segments);
}

/* Does the window rise, whatever the noise? Most do not, and cost no more than their score. */
static bool rises(const trend_series *series, trend *fitted) {
    double score, deviation, needed = series->count == LONG_WINDOW ? long_score : short_score;
    if (!trend_score(series, &score, &deviation) || score < needed * deviation) return false;
    return trend_fit(series, fitted) && fitted->largest_jump <= most_jump;
}

static bool leaks(const leak_estimator *e, const trend *fitted, unsigned level) {
    double needed = fmax(rise_of_noise * pyramid_noise(&e->history, level), e->least_rise_bytes);
    return fitted->rise >= needed && fitted->least_quarter >= least_quarter;
}

static double samples_of(unsigned level) { return (double)((uint64_t)1 << level); }

static leak_slope slope_a_sample(const trend *fitted, unsigned level) {
    double samples = samples_of(level);
    return (leak_slope){
        .bytes = fitted->slope / samples, .low = fitted->low / samples, .high = fitted->high / samples};
}

static uint64_t suspected_samples(const leak_suspicion *s) { return (uint64_t)s->blocks << s->level; }

static void suspect(leak_estimator *e, unsigned level, unsigned blocks, double last_bytes, const trend *fitted) {
    e->suspicion = (leak_suspicion){.level = level,
                                    .blocks = blocks,
                                    .at = e->history.samples,
                                    .slope = fitted->slope / samples_of(level),
                                    .floor = last_bytes - dropping_fall * fitted->rise};
}

/* The window of the finest level whose blocks span so many samples. */
static bool spanning_window(const leak_estimator *e, uint64_t samples, trend_series *series, unsigned *level) {
    *level = 0;
    while (((uint64_t)LONG_WINDOW << *level) < samples && *level + 1 < PYRAMID_LEVELS) ++*level;
    uint64_t blocks = samples >> *level;
    return window(e, *level, (unsigned)(blocks > LONG_WINDOW ? LONG_WINDOW : blocks), series);
}

/* The slope of a series of blocks of a level, with an interval that allows for noise that wanders. */
static bool fit_slope(const leak_estimator *e, unsigned level, const trend_series *series, trend *fitted) {
    if (!trend_fit(series, fitted)) return false;
    double widening = drift_of_noise * pyramid_noise(&e->history, level) / (double)(series->count - 1);
    fitted->low = fmin(fitted->low, fitted->slope - widening);
    fitted->high = fmax(fitted->high, fitted->slope + widening);
    return true;
}

static trend_series part_of(const trend_series *whole, unsigned from, unsigned count) {
    trend_series part = {.count = count};
    memcpy(part.bytes, whole->bytes + from, count * sizeof *part.bytes);
    memcpy(part.segments, whole->segments + from, count * sizeof *part.segments);
    return part;
}

/* Is the later half of all history flatter than the quarter before it, beyond both intervals? So are a logarithm and
 * a root; a leak that came with a warm-up is not, once that is a quarter behind. */
static bool slows_down(const leak_estimator *e) {
    trend_series whole;
    trend early, late;
    unsigned level;
    if (!spanning_window(e, e->history.samples, &whole, &level)) return false;
    unsigned half = whole.count / 2, quarter = whole.count / 4;
    if (quarter < 2) return false;
    trend_series before = part_of(&whole, half - quarter, quarter), after = part_of(&whole, half, whole.count - half);
    return fit_slope(e, level, &before, &early) && fit_slope(e, level, &after, &late) &&
           late.high < slowing_share * early.low;
}

/* Another rise: is it later than the suspected one, as long, and as fast? One that is later and not as fast takes its
 * place, at any age: warm-up must not be what a leak is measured by. */
static void confirm(leak_estimator *e, unsigned level, unsigned blocks, double last_bytes, const trend *fitted) {
    const leak_suspicion before = e->suspicion;
    uint64_t now = e->history.samples, length = (uint64_t)blocks << level, asked = suspected_samples(&before);
    if (now - length < before.at || length < asked) return;
    bool old_enough = now >= LEAST_AGE && (e->settled || now >= 2 * before.at);
    double share = fitted->slope / samples_of(level) / before.slope;
    if (share < (e->settled ? confirming_share : unsettled_share) || share > most_share)
        suspect(e, level, blocks, last_bytes, fitted);
    else if (old_enough)
        e->verdict = slows_down(e) ? LEAK_GROWTH : LEAK_CONFIRMED;
}

/* Looks at the newest window of a level; the long one goes before the short one. */
static void look_for_leak(leak_estimator *e, unsigned level) {
    static const unsigned lengths[] = {LONG_WINDOW, SHORT_WINDOW};
    bool found = false;
    leak_slope rising = {0};
    for (unsigned i = 0; i < 2 && !found; i++) {
        trend_series series;
        trend fitted;
        if (!window(e, level, lengths[i], &series) || !rises(&series, &fitted)) continue;
        if (fitted.rise >= e->least_rise_bytes && fitted.high > rising.high * samples_of(level))
            rising = slope_a_sample(&fitted, level);
        found = leaks(e, &fitted, level);
        if (found && e->verdict >= LEAK_GROWTH) e->verdict = slows_down(e) ? LEAK_GROWTH : LEAK_CONFIRMED;
        if (!found || e->verdict >= LEAK_GROWTH) continue;
        double last = series.bytes[series.count - 1];
        if (e->verdict == LEAK_SUSPECTED) {
            confirm(e, level, lengths[i], last, &fitted);
        } else {
            suspect(e, level, lengths[i], last, &fitted);
            e->verdict = LEAK_SUSPECTED;
        }
    }
    if (level < LEAK_RECENT_LEVELS) e->rising[level] = rising;
}

static bool fell_back(const leak_estimator *e, unsigned level) {
    trend_series last;
    return window(e, level, 1, &last) && last.bytes[0] < e->suspicion.floor;
}

/* Twice as long as the suspected rise has passed, and what was seen of it hardly rises. */
static bool went_flat(const leak_estimator *e, unsigned level) {
    const leak_suspicion *s = &e->suspicion;
    unsigned blocks = s->blocks == SHORT_WINDOW ? LONG_WINDOW : s->blocks;
    trend_series series;
    trend fitted;
    if (e->history.samples - s->at < 2 * suspected_samples(s) || !window(e, level, blocks, &series)) return false;
    return trend_fit(&series, &fitted) && fitted.slope < dropping_share * s->slope * samples_of(level);
}

static void look_for_flatness(leak_estimator *e) {
    trend_series series;
    double score, deviation;
    if (!e->settled && window(e, SETTLED_LEVEL, SHORT_WINDOW, &series) && trend_score(&series, &score, &deviation))
        e->settled = score < settled_score * deviation;
}

leak_verdict leak_add(leak_estimator *e, int64_t bytes) {
    unsigned completed = pyramid_add(&e->history, (double)bytes);
    for (unsigned level = 0; level < completed; level++) {
        if (level == SETTLED_LEVEL) look_for_flatness(e);
        look_for_leak(e, level);
        if (e->verdict != LEAK_NONE && level == e->suspicion.level && (fell_back(e, level) || went_flat(e, level)))
            leak_dismiss(e);
    }
    return e->verdict;
}

uint64_t leak_began(const leak_estimator *e) {
    return e->verdict == LEAK_NONE ? 0 : e->suspicion.at - suspected_samples(&e->suspicion);
}

/* Over so many of the last samples. */
static bool slope_of_last(const leak_estimator *e, uint64_t samples, leak_slope *slope) {
    unsigned level;
    trend_series series;
    trend fitted;
    if (!spanning_window(e, samples, &series, &level) || !fit_slope(e, level, &series, &fitted)) return false;
    *slope = slope_a_sample(&fitted, level);
    return true;
}

bool leak_estimate(const leak_estimator *e, leak_slope *slope) {
    return e->verdict != LEAK_NONE && slope_of_last(e, e->history.samples - leak_began(e), slope);
}

bool leak_growth(const leak_estimator *e, leak_slope *slope) { return slope_of_last(e, e->history.samples, slope); }

static void shorten(leak_horizon *left, const leak_slope *slope, double headroom_bytes) {
    if (slope->high > 0) left->fewest = fmin(left->fewest, headroom_bytes / slope->high);
    if (slope->bytes > 0) left->expected = fmin(left->expected, headroom_bytes / slope->bytes);
}

leak_horizon leak_time_left(const leak_estimator *e, double headroom_bytes) {
    leak_horizon left = {INFINITY, INFINITY};
    leak_slope since_it_began;
    headroom_bytes = fmax(headroom_bytes, 0);
    for (unsigned level = 0; level < LEAK_RECENT_LEVELS; level++) shorten(&left, &e->rising[level], headroom_bytes);
    if (leak_estimate(e, &since_it_began)) shorten(&left, &since_it_began, headroom_bytes);
    return left;
}
