/* CRC-32C: see crc32c.h. */
#include "base/crc32c.h"

uint32_t crc32c(const void *data, uint64_t bytes) {
    static const uint32_t polynomial = 0x82f63b78; /* 0x1edc6f41, lowest bit first */
    const unsigned char *at = data;
    uint32_t sum = UINT32_MAX;
    for (uint64_t i = 0; i < bytes; i++) {
        sum ^= at[i];
        for (unsigned bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1 ? polynomial : 0);
    }
    return ~sum;
}
