/* The order in which an epoch visits the rows: see order.h.
 *
 * A Feistel network is a bijection of 2 * half_bits bits whatever its round function is. The smallest one that holds
 * `count` is walked until it lands below `count`: the walk follows a cycle that contains `index` itself, so it ends,
 * and no two indices end at the same place. The domain is less than 4 * count + 4, so a walk takes 4 turns on average
 * at most. */
#include "data/order.h"

#include "base/random.h"

/* Halves can be one bit wide, where a round has few functions to choose from: with four rounds the test finds counts
 * below 20 unfair, with six it does not. */
enum { ORDER_ROUNDS = 8 };

static uint32_t half_bits(uint64_t count) {
    uint32_t bits = 1;
    while (bits < 32 && (uint64_t)1 << (2 * bits) < count) bits++;
    return bits;
}

static uint64_t permute_domain(uint64_t seed, uint64_t epoch, uint32_t bits, uint64_t value) {
    uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1);
    uint32_t left = (uint32_t)(value >> bits) & mask;
    uint32_t right = (uint32_t)value & mask;
    for (uint32_t round = 0; round < ORDER_ROUNDS; round++) {
        uint32_t mixed = random_bits(seed, right, round, (uint32_t)epoch, (uint32_t)(epoch >> 32)) & mask;
        uint32_t next_right = left ^ mixed;
        left = right;
        right = next_right;
    }
    return (uint64_t)left << bits | right;
}

uint64_t order_permute(uint64_t seed, uint64_t epoch, uint64_t count, uint64_t index) {
    if (count < 2) return 0;
    uint32_t bits = half_bits(count);
    do {
        index = permute_domain(seed, epoch, bits, index);
    } while (index >= count);
    return index;
}
