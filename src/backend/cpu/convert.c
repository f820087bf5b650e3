/* Conversions between element types: see convert.h. Each element is copied out of its bytes, because mapped data may
 * lie at any address; compilers turn that into unaligned vector loads. */
#include "backend/cpu/convert.h"

#include <string.h>

#include "backend/cpu/vector.h"

typedef struct conversion {
    unsigned char *to;
    const unsigned char *from;
} conversion;

VECTOR_INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

VECTOR_INLINE uint32_t half_word(const unsigned char *from, uint64_t i) {
    uint16_t word;
    memcpy(&word, from + 2 * i, 2);
    return word;
}

/* The multiplication renormalises subnormals without a branch; infinities and NaN keep their exponent. */
VECTOR_INLINE uint32_t f16_to_f32_bits(uint32_t half) {
    uint32_t sign = (half & 0x8000u) << 16, magnitude = (half & 0x7fffu) << 13, normal;
    float scaled = float_of_bits(magnitude) * 0x1p112f;
    memcpy(&normal, &scaled, sizeof normal);
    return sign | (magnitude >= 0x7c00u << 13 ? magnitude | 0x7f800000u : normal);
}

/* To nearest even; NaN stays NaN. */
VECTOR_INLINE uint16_t f32_bits_to_bf16(uint32_t bits) {
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

VECTOR_INLINE void bf16_to_f32_body(conversion *c, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        uint32_t bits = half_word(c->from, i) << 16;
        memcpy(c->to + 4 * i, &bits, 4);
    }
}
VECTOR_PATHS(bf16_to_f32, conversion)

VECTOR_INLINE void f16_to_f32_body(conversion *c, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        uint32_t bits = f16_to_f32_bits(half_word(c->from, i));
        memcpy(c->to + 4 * i, &bits, 4);
    }
}
VECTOR_PATHS(f16_to_f32, conversion)

VECTOR_INLINE void f32_to_bf16_body(conversion *c, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        uint32_t bits;
        memcpy(&bits, c->from + 4 * i, 4);
        uint16_t word = f32_bits_to_bf16(bits);
        memcpy(c->to + 2 * i, &word, 2);
    }
}
VECTOR_PATHS(f32_to_bf16, conversion)

VECTOR_INLINE void f16_to_bf16_body(conversion *c, uint64_t begin, uint64_t end) {
    for (uint64_t i = begin; i < end; i++) {
        uint16_t word = f32_bits_to_bf16(f16_to_f32_bits(half_word(c->from, i)));
        memcpy(c->to + 2 * i, &word, 2);
    }
}
VECTOR_PATHS(f16_to_bf16, conversion)

void convert_values(instruction_set set, dtype to, void *destination, dtype from, const void *source,
                    uint64_t elements) {
    conversion c = {.to = destination, .from = source};
    if (to == from)
        memcpy(destination, source, dtype_bytes(to, elements));
    else if (to == DTYPE_F32 && from == DTYPE_BF16)
        bf16_to_f32(set, &c, 0, elements);
    else if (to == DTYPE_F32 && from == DTYPE_F16)
        f16_to_f32(set, &c, 0, elements);
    else if (to == DTYPE_BF16 && from == DTYPE_F32)
        f32_to_bf16(set, &c, 0, elements);
    else if (to == DTYPE_BF16 && from == DTYPE_F16)
        f16_to_bf16(set, &c, 0, elements);
    else
        dtype_convert(to, destination, from, source, elements);
}
