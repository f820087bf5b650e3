/* Random numbers as a function of where they are used, not of a state: Philox-4x32-10 (Salmon, Moraes, Dror and Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", 2011).
 *
 * The key is the seed; the counter is four words that name the place (step, example, layer, element, ...). Equal
 * arguments give equal numbers on every machine, in any order and from any thread, so that recomputation, splitting
 * and resuming see the same ones. Nothing is stored. */
#ifndef LEVEE_BASE_RANDOM_H
#define LEVEE_BASE_RANDOM_H

#include <stdint.h>

enum { RANDOM_ROUNDS = 10 };

/* The four words that one counter gives. */
typedef struct random_block {
    uint32_t words[4];
} random_block;

/* The block form, inline so that a kernel's loop over counters can be vectorised. */
static inline random_block random_philox(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    uint32_t key0 = (uint32_t)seed;
    uint32_t key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < RANDOM_ROUNDS; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * a;
        uint64_t product1 = (uint64_t)0xCD9E8D57u * c;
        uint32_t next_a = (uint32_t)(product1 >> 32) ^ b ^ key0;
        uint32_t next_c = (uint32_t)(product0 >> 32) ^ d ^ key1;
        b = (uint32_t)product1;
        d = (uint32_t)product0;
        a = next_a;
        c = next_c;
        key0 += 0x9E3779B9u; /* the golden ratio */
        key1 += 0xBB67AE85u; /* the square root of 3, less 1 */
    }
    return (random_block){{a, b, c, d}};
}

/* A word as a number in [0, 1): its upper 24 bits, so that the result is exact and never rounds up to 1. */
static inline float random_unit(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

/* The block's first word: 32 independent bits. */
uint32_t random_bits(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* Uniform in [0, 1), from the block's first word. */
float random_uniform(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* Normal with mean 0 and variance 1, by Box and Muller's method from the block's first two words; at most 6.7 from 0.
 */
float random_normal(uint64_t seed, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

#endif
