/* Element types: see dtype.h. */
#include "tensor/dtype.h"

#include <string.h>

static const dtype_info descriptions[DTYPE_COUNT] = {
    [DTYPE_F32] = {"f32", "F32", 1, 4},
    [DTYPE_F16] = {"f16", "F16", 1, 2},
    [DTYPE_BF16] = {"bf16", "BF16", 1, 2},
    [DTYPE_I32] = {"i32", "I32", 1, 4},
};

const dtype_info *dtype_describe(dtype type) { return &descriptions[type]; }

bool dtype_from_safetensors(const char *name, dtype *type) {
    for (unsigned i = 0; i < DTYPE_COUNT; i++)
        if (!strcmp(name, descriptions[i].safetensors_name)) {
            *type = (dtype)i;
            return true;
        }
    return false;
}

uint64_t dtype_bytes(dtype type, uint64_t elements) {
    const dtype_info *d = &descriptions[type];
    return (elements + d->block_elements - 1) / d->block_elements * d->block_bytes;
}

static inline float bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The magic multiplication renormalises subnormals without a branch; infinities and NaN keep their exponent. */
static inline float f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    uint32_t normal = float_to_bits(bits_to_float(magnitude << 13) * 0x1p112f);
    uint32_t special = (magnitude << 13) | 0x7f800000u;
    return bits_to_float(sign | (magnitude >= 0x7c00u ? special : normal));
}

static inline uint16_t f32_to_f16(float value) {
    uint32_t bits = float_to_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds past 65504 */
    if (magnitude < 0x38800000u)                                     /* subnormal: let the addition round */
        return (uint16_t)(sign | (float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u));
    uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

static inline uint16_t f32_to_bf16(float value) {
    uint32_t bits = float_to_bits(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static void to_f32(float *to, dtype from, const void *source, uint64_t elements) {
    /* Mapped data may lie at any address, so each element is copied out. */
    const unsigned char *bytes = source;
    uint16_t half;
    if (from == DTYPE_BF16)
        for (uint64_t i = 0; i < elements; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            to[i] = bits_to_float((uint32_t)half << 16);
        }
    else
        for (uint64_t i = 0; i < elements; i++) {
            memcpy(&half, bytes + 2 * i, 2);
            to[i] = f16_to_f32(half);
        }
}

static void from_f32(dtype to, void *destination, const void *source, uint64_t elements) {
    unsigned char *out = destination;
    const unsigned char *in = source;
    for (uint64_t i = 0; i < elements; i++) {
        float value;
        memcpy(&value, in + 4 * i, 4);
        uint16_t half = to == DTYPE_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
        memcpy(out + 2 * i, &half, 2);
    }
}

void dtype_convert(dtype to, void *destination, dtype from, const void *source, uint64_t elements) {
    if (to == from) {
        if (destination != source) memcpy(destination, source, dtype_bytes(to, elements));
    } else if (to == DTYPE_F32) {
        to_f32(destination, from, source, elements);
    } else if (from == DTYPE_F32) {
        from_f32(to, destination, source, elements);
    } else {
        float between[256];
        for (uint64_t done = 0; done < elements; done += 256) {
            uint64_t count = elements - done < 256 ? elements - done : 256;
            to_f32(between, from, (const unsigned char *)source + 2 * done, count);
            from_f32(to, (unsigned char *)destination + 2 * done, between, count);
        }
    }
}
