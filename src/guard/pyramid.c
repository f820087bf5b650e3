/* A history in fixed memory: see pyramid.h. */
#include "guard/pyramid.h"

static void add_block(pyramid_level *level, double bytes, uint32_t segment) {
    if (!level->has_highest || bytes > level->highest) level->highest = bytes;
    level->has_highest = true;
    if (level->highest - bytes > level->drawdown) level->drawdown = level->highest - bytes;
    level->bytes[level->count % PYRAMID_BLOCKS] = bytes;
    level->segments[level->count % PYRAMID_BLOCKS] = segment;
    level->count++;
}

static double merge(unsigned level, double a, double b) {
    if (level < PYRAMID_MINIMUM_MERGES) return a < b ? a : b;
    return (a + b) / 2;
}

unsigned pyramid_add(pyramid *p, double bytes) {
    p->samples++;
    for (unsigned k = 0; k < PYRAMID_LEVELS; k++) {
        pyramid_level *level = &p->levels[k];
        add_block(level, bytes, p->segment);
        level->has_half = !level->has_half;
        if (level->has_half) {
            level->half = bytes;
            return k + 1;
        }
        bytes = merge(k, level->half, bytes);
    }
    return PYRAMID_LEVELS;
}

void pyramid_begin_segment(pyramid *p) {
    p->segment++;
    for (unsigned k = 0; k < PYRAMID_LEVELS; k++) p->levels[k].has_half = p->levels[k].has_highest = false;
}

double pyramid_noise(const pyramid *p, unsigned level) {
    double noise = 0;
    for (unsigned k = 0; k <= level; k++) {
        noise /= 2;
        if (p->levels[k].drawdown > noise) noise = p->levels[k].drawdown;
    }
    return noise;
}

bool pyramid_window(const pyramid *p, unsigned level, unsigned count, double *bytes, uint32_t *segments) {
    const pyramid_level *from = &p->levels[level];
    if (count > PYRAMID_BLOCKS || from->count < count) return false;
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = (from->count - count + i) % PYRAMID_BLOCKS;
        bytes[i] = from->bytes[at];
        segments[i] = from->segments[at];
    }
    return true;
}
