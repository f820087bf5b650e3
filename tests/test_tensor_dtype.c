/* Element types: their sizes, and conversions over every f16 and bf16 value against a slow reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/dtype.h"

enum { HALVES = 65536 };

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A 16-bit floating-point number with that many bits of exponent and fraction, by its definition. */
typedef struct format {
    dtype type;
    int exponent_bits, fraction_bits;
} format;

static const format formats[] = {{DTYPE_F16, 5, 10}, {DTYPE_BF16, 8, 7}};

static double slow_decode(const format *f, uint16_t half) {
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int fraction = half & ((1 << f->fraction_bits) - 1),
        exponent = half >> f->fraction_bits & ((1 << f->exponent_bits) - 1);
    double sign = half & 0x8000 ? -1 : 1;
    if (exponent == (1 << f->exponent_bits) - 1) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - f->fraction_bits);
    return sign * ldexp(fraction + (1 << f->fraction_bits), exponent - bias - f->fraction_bits);
}

/* Rounds to the nearest multiple of the step at that size, ties to the even one; NaN is not asked for. */
static double slow_round(const format *f, float value) {
    int bias = (1 << (f->exponent_bits - 1)) - 1, exponent;
    if (value == 0 || !isfinite(value)) return value;
    frexp(value, &exponent);
    int least = 1 - bias;
    double step = ldexp(1, (exponent - 1 < least ? least : exponent - 1) - f->fraction_bits);
    double rounded = nearbyint(value / step) * step;
    return fabs(rounded) >= ldexp(1, bias + 1) ? copysign(INFINITY, value) : rounded;
}

static void describes_types(void **state) {
    (void)state;
    const struct {
        dtype type;
        const char *name, *stored;
        uint64_t bytes;
    } cases[] = {{DTYPE_F32, "f32", "F32", 28},           {DTYPE_F16, "f16", "F16", 14},
                 {DTYPE_BF16, "bf16", "BF16", 14},        {DTYPE_I32, "i32", "I32", 28},
                 {DTYPE_F64, "f64", "F64", 56},           {DTYPE_I64, "i64", "I64", 56},
                 {DTYPE_I16, "i16", "I16", 14},           {DTYPE_I8, "i8", "I8", 7},
                 {DTYPE_U64, "u64", "U64", 56},           {DTYPE_U32, "u32", "U32", 28},
                 {DTYPE_U16, "u16", "U16", 14},           {DTYPE_U8, "u8", "U8", 7},
                 {DTYPE_BOOL, "bool", "BOOL", 7},         {DTYPE_F8_E4M3, "f8_e4m3", "F8_E4M3", 7},
                 {DTYPE_F8_E5M2, "f8_e5m2", "F8_E5M2", 7}};
    assert_int_equal(sizeof cases / sizeof *cases, DTYPE_COUNT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dtype found = DTYPE_COUNT;
        assert_string_equal(dtype_describe(cases[i].type)->name, cases[i].name);
        assert_true(dtype_from_safetensors(cases[i].stored, &found));
        assert_int_equal(found, cases[i].type);
        assert_int_equal(dtype_bytes(cases[i].type, 7), cases[i].bytes);
        assert_int_equal(dtype_bytes(cases[i].type, 0), 0);
        assert_int_equal(dtype_is_weight(cases[i].type), i < 3);
    }
    dtype untouched = DTYPE_I32;
    const char *const unknown[] = {"F4", "F8_E8M0", "C64", "i64", "f32", ""};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_false(dtype_from_safetensors(unknown[i], &untouched));
    assert_int_equal(untouched, DTYPE_I32);
}

static void widens_every_value(void **state) {
    (void)state;
    uint16_t *halves = malloc(HALVES * sizeof *halves), *back = malloc(HALVES * sizeof *back);
    float *wide = malloc(HALVES * sizeof *wide);
    for (unsigned i = 0; i < HALVES; i++) halves[i] = (uint16_t)i;
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        const format *f = &formats[k];
        dtype_convert(DTYPE_F32, wide, f->type, halves, HALVES);
        dtype_convert(f->type, back, DTYPE_F32, wide, HALVES);
        for (unsigned i = 0; i < HALVES; i++) {
            double expected = slow_decode(f, halves[i]);
            if (isnan(expected)) {
                /* NaN stay NaN, and what makes one quiet is the highest bit of its fraction. */
                assert_true(isnan(wide[i]));
                assert_int_equal(back[i], halves[i] | 1 << (f->fraction_bits - 1));
            } else {
                if (bits_of(wide[i]) != bits_of((float)expected))
                    fail_msg("%s %04x gives %a instead of %a", dtype_describe(f->type)->name, i, (double)wide[i],
                             expected);
                assert_int_equal(back[i], halves[i]);
            }
        }
    }
    free(halves), free(back), free(wide);
}

/* Around each representable value and each tie between two: the neighbours on both sides, in f32. */
static void narrows_to_the_nearest(void **state) {
    (void)state;
    enum { AROUND = 7, COUNT = HALVES * AROUND * 2 };
    float *values = malloc(COUNT * sizeof *values);
    uint16_t *narrow = malloc(COUNT * sizeof *narrow);
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        const format *f = &formats[k];
        for (unsigned i = 0; i < HALVES; i++)
            for (int j = 0; j < AROUND; j++) {
                double here = slow_decode(f, (uint16_t)i), next = slow_decode(f, (uint16_t)(i + 1));
                uint32_t value = bits_of((float)here), tie = bits_of((float)((here + next) / 2));
                values[(i * AROUND + (unsigned)j) * 2] = float_of(value + (uint32_t)(j - AROUND / 2));
                values[(i * AROUND + (unsigned)j) * 2 + 1] = float_of(tie + (uint32_t)(j - AROUND / 2));
            }
        dtype_convert(f->type, narrow, DTYPE_F32, values, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            double got = slow_decode(f, narrow[i]);
            if (isnan(values[i])) {
                assert_true(isnan(got));
                continue;
            }
            double expected = slow_round(f, values[i]);
            if (got != expected || !signbit(got) != !signbit(values[i]))
                fail_msg("%s of %a gives %a instead of %a", dtype_describe(f->type)->name, (double)values[i], got,
                         expected);
        }
    }
    free(values), free(narrow);
}

static void narrows_any_bits(void **state) {
    (void)state;
    enum { COUNT = 1 << 20 };
    float *values = malloc(COUNT * sizeof *values);
    uint16_t *narrow = malloc(COUNT * sizeof *narrow);
    uint32_t random = 12345;
    for (unsigned i = 0; i < COUNT; i++) {
        random = random * 1664525u + 1013904223u;
        values[i] = float_of(random ^ random >> 16);
    }
    for (size_t k = 0; k < sizeof formats / sizeof *formats; k++) {
        dtype_convert(formats[k].type, narrow, DTYPE_F32, values, COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            double got = slow_decode(&formats[k], narrow[i]), expected = slow_round(&formats[k], values[i]);
            if (!(isnan(values[i]) ? isnan(got) : got == expected))
                fail_msg("%s of %a gives %a", dtype_describe(formats[k].type)->name, (double)values[i], got);
        }
    }
    free(values), free(narrow);
}

/* Mapped tensors lie at any address; every length has its own tail after the vectors. Nothing is written beyond. */
static void takes_any_address_and_length(void **state) {
    (void)state;
    enum { MOST = 300 };
    static const dtype pairs[][2] = {{DTYPE_F32, DTYPE_F16},   {DTYPE_F32, DTYPE_BF16}, {DTYPE_F16, DTYPE_F32},
                                     {DTYPE_BF16, DTYPE_F32},  {DTYPE_F16, DTYPE_BF16}, {DTYPE_BF16, DTYPE_F16},
                                     {DTYPE_BF16, DTYPE_BF16}, {DTYPE_I32, DTYPE_I32}};
    unsigned char from[4 * MOST + 8], to[4 * MOST + 8], expected[4 * MOST];
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        for (uint64_t count = 0; count <= MOST; count += count < 70 ? 1 : 23)
            for (unsigned shift = 0; shift < 4; shift++) {
                dtype to_type = pairs[p][0], from_type = pairs[p][1];
                for (unsigned i = 0; i < sizeof from; i++) from[i] = (unsigned char)(i * 73 + 11);
                uint64_t step_from = dtype_bytes(from_type, 1), step_to = dtype_bytes(to_type, 1);
                for (uint64_t i = 0; i < count; i++)
                    dtype_convert(to_type, expected + i * step_to, from_type, from + shift + i * step_from, 1);
                memset(to, 0xa5, sizeof to);
                dtype_convert(to_type, to + shift, from_type, from + shift, count);
                assert_memory_equal(to + shift, expected, count * step_to);
                for (uint64_t i = shift + count * step_to; i < sizeof to; i++) assert_int_equal(to[i], 0xa5);
            }
    float same[3] = {1, 2, 3};
    dtype_convert(DTYPE_F32, same, DTYPE_F32, same, 3);
    assert_true(same[0] == 1 && same[2] == 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_types),
        cmocka_unit_test(widens_every_value),
        cmocka_unit_test(narrows_to_the_nearest),
        cmocka_unit_test(narrows_any_bits),
        cmocka_unit_test(takes_any_address_and_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
