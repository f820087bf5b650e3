/* CRC-32C (Castagnoli), as record files of TensorFlow carry it. A bit at a time: for records of some hundred bytes.
 */
#ifndef LEVEE_BASE_CRC32C_H
#define LEVEE_BASE_CRC32C_H

#include <stdint.h>

uint32_t crc32c(const void *data, uint64_t bytes);

#endif
