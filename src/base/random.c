/* Random numbers as a function of where they are used: see random.h. */
#include "base/random.h"

#include <math.h>

uint32_t random_bits(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return random_philox(seed, a, b, c, d).words[0];
}

float random_uniform(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return random_unit(random_bits(seed, a, b, c, d));
}

float random_normal(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    random_block block = random_philox(seed, a, b, c, d);
    /* In (0, 1], because the logarithm of 0 is not finite. */
    double radius_source = ((double)block.words[0] + 1.0) * 0x1p-32;
    double angle = 6.283185307179586477 * 0x1p-32 * (double)block.words[1];
    return (float)(sqrt(-2.0 * log(radius_source)) * cos(angle));
}
