/* Element types: see dtype.h. */
#include "tensor/dtype.h"

#include <string.h>

static const dtype_info descriptions[DTYPE_COUNT] = {
    [DTYPE_F32] = {"f32", "F32", 1, 4},
    [DTYPE_F16] = {"f16", "F16", 1, 2},
    [DTYPE_BF16] = {"bf16", "BF16", 1, 2},
    [DTYPE_I32] = {"i32", "I32", 1, 4},
    [DTYPE_F64] = {"f64", "F64", 1, 8},
    [DTYPE_I64] = {"i64", "I64", 1, 8},
    [DTYPE_I16] = {"i16", "I16", 1, 2},
    [DTYPE_I8] = {"i8", "I8", 1, 1},
    [DTYPE_U64] = {"u64", "U64", 1, 8},
    [DTYPE_U32] = {"u32", "U32", 1, 4},
    [DTYPE_U16] = {"u16", "U16", 1, 2},
    [DTYPE_U8] = {"u8", "U8", 1, 1},
    [DTYPE_BOOL] = {"bool", "BOOL", 1, 1},
    [DTYPE_F8_E4M3] = {"f8_e4m3", "F8_E4M3", 1, 1},
    [DTYPE_F8_E5M2] = {"f8_e5m2", "F8_E5M2", 1, 1},
};

const dtype_info *dtype_describe(dtype type) { return &descriptions[type]; }

bool dtype_is_weight(dtype type) { return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16; }

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

/* `yes` where the condition is 1, `no` where it is 0. Written with masks because gcc does not vectorise a loop in
 * which a floating-point operation stands behind a branch. */
static inline uint32_t pick(uint32_t condition, uint32_t yes, uint32_t no) {
    uint32_t mask = 0u - condition;
    return (yes & mask) | (no & ~mask);
}

/* These give, bit for bit, what the F16C instructions give: NaN stay NaN with the upper bits of their payload and
 * become quiet. A subnormal f32 is at most added to 0.5, so a thread that flushes those to zero gets the same values.
 */
static inline float f16_to_f32(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    uint32_t normal = (magnitude << 13) + 0x38000000u;
    uint32_t subnormal =
        float_to_bits(bits_to_float(magnitude | 0x3f000000u) - 0.5f); /* magnitude * 2^-24, exactly */
    uint32_t special = (magnitude << 13) | 0x7f800000u | pick(magnitude > 0x7c00u, 0x400000u, 0);
    uint32_t finite = pick(magnitude < 0x400u, subnormal, normal);
    return bits_to_float(sign | pick(magnitude >= 0x7c00u, special, finite));
}

static inline uint16_t f32_to_f16(float value) {
    uint32_t bits = float_to_bits(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
    /* Below 2^-14 the addition rounds to f16's fixed step of 2^-24. */
    uint32_t subnormal = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t nan = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    uint32_t finite = pick(magnitude < 0x38800000u, subnormal, normal);
    uint32_t special = pick(magnitude > 0x7f800000u, nan, 0x7c00u);
    return (uint16_t)(sign |
                      pick(magnitude >= 0x477ff000u, special, finite)); /* from there on it rounds past 65504 */
}

static inline float bf16_to_f32(uint16_t half) { return bits_to_float((uint32_t)half << 16); }

static inline uint16_t f32_to_bf16(float value) {
    uint32_t bits = float_to_bits(value);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* One loop for each pair of types, so that each can be vectorised. Mapped data may lie at any address and the
 * caller's rows too, so elements are copied in and out. */
#define WIDEN(name, convert)                                                                                         \
    ALWAYS_INLINE void name##_body(unsigned char *restrict to, const unsigned char *restrict from, uint64_t count) { \
        for (uint64_t i = 0; i < count; i++) {                                                                       \
            uint16_t half;                                                                                           \
            memcpy(&half, from + 2 * i, 2);                                                                          \
            float value = convert(half);                                                                             \
            memcpy(to + 4 * i, &value, 4);                                                                           \
        }                                                                                                            \
    }
#define NARROW(name, convert)                                                                                        \
    ALWAYS_INLINE void name##_body(unsigned char *restrict to, const unsigned char *restrict from, uint64_t count) { \
        for (uint64_t i = 0; i < count; i++) {                                                                       \
            float value;                                                                                             \
            memcpy(&value, from + 4 * i, 4);                                                                         \
            uint16_t half = convert(value);                                                                          \
            memcpy(to + 2 * i, &half, 2);                                                                            \
        }                                                                                                            \
    }

WIDEN(widen_f16, f16_to_f32)
WIDEN(widen_bf16, bf16_to_f32)
NARROW(narrow_f16, f32_to_f16)
NARROW(narrow_bf16, f32_to_bf16)

/* The same loops for the baseline processor, AVX2 and AVX-512, chosen at run time. */
#if defined(__x86_64__)
#define TARGET_AVX2 __attribute__((target("avx2")))
#if defined(__clang__)
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#else
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,prefer-vector-width=512")))
#endif
static bool has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }
static bool has_avx512(void) { return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"); }
#else
#define TARGET_AVX2
#define TARGET_AVX512
static bool has_avx2(void) { return false; }
static bool has_avx512(void) { return false; }
#endif

#define PATHS(name)                                                                                                  \
    TARGET_AVX2 static void name##_avx2(unsigned char *to, const unsigned char *from, uint64_t count) {              \
        name##_body(to, from, count);                                                                                \
    }                                                                                                                \
    TARGET_AVX512 static void name##_avx512(unsigned char *to, const unsigned char *from, uint64_t count) {          \
        name##_body(to, from, count);                                                                                \
    }                                                                                                                \
    static void name##_portable(unsigned char *to, const unsigned char *from, uint64_t count) {                      \
        name##_body(to, from, count);                                                                                \
    }                                                                                                                \
    static void name(unsigned char *to, const unsigned char *from, uint64_t count) {                                 \
        if (has_avx512())                                                                                            \
            name##_avx512(to, from, count);                                                                          \
        else if (has_avx2())                                                                                         \
            name##_avx2(to, from, count);                                                                            \
        else                                                                                                         \
            name##_portable(to, from, count);                                                                        \
    }

PATHS(widen_f16)
PATHS(widen_bf16)
PATHS(narrow_f16)
PATHS(narrow_bf16)

static void to_f32(unsigned char *to, dtype from, const unsigned char *source, uint64_t elements) {
    if (from == DTYPE_BF16)
        widen_bf16(to, source, elements);
    else
        widen_f16(to, source, elements);
}

static void from_f32(dtype to, unsigned char *destination, const unsigned char *source, uint64_t elements) {
    if (to == DTYPE_BF16)
        narrow_bf16(destination, source, elements);
    else
        narrow_f16(destination, source, elements);
}

void dtype_convert(dtype to, void *destination, dtype from, const void *source, uint64_t elements) {
    if (to == from) {
        if (destination != source) memcpy(destination, source, dtype_bytes(to, elements));
    } else if (to == DTYPE_F32) {
        to_f32(destination, from, source, elements);
    } else if (from == DTYPE_F32) {
        from_f32(to, destination, source, elements);
    } else {
        unsigned char between[256 * sizeof(float)];
        for (uint64_t done = 0; done < elements; done += 256) {
            uint64_t count = elements - done < 256 ? elements - done : 256;
            to_f32(between, from, (const unsigned char *)source + 2 * done, count);
            from_f32(to, (unsigned char *)destination + 2 * done, between, count);
        }
    }
}
