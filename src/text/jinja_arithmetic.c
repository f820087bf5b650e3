/* Arithmetic as Python's: floor division, repetition, joining. See jinja_call.h. */
#include <math.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

static jinja_value overflow(jinja_run *run) {
    jinja_fail(run, "a whole number does not fit in 64 bits");
    return jinja_nothing();
}

static jinja_value divide_by_zero(jinja_run *run) {
    jinja_fail(run, "division by zero");
    return jinja_nothing();
}

static jinja_value float_modulo(double a, double b) {
    double rest = fmod(a, b);
    if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
    return jinja_float(rest == 0 ? copysign(0, b) : rest);
}

static jinja_value float_floor(double a, double b) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return jinja_float(copysign(0, a / b));
    double whole = floor(quotient);
    return jinja_float(quotient - whole > 0.5 ? whole + 1 : whole);
}

static jinja_value float_power(jinja_run *run, double a, double b) {
    if (a == 0 && b < 0) {
        jinja_fail(run, "0.0 cannot be raised to a negative power");
        return jinja_nothing();
    }
    double result = pow(a, b);
    if (isnan(result) && !isnan(a) && !isnan(b))
        jinja_fail(run, "the power is a complex number");
    else if (isinf(result) && isfinite(a) && isfinite(b))
        jinja_fail(run, "Numerical result out of range");
    return jinja_float(result);
}

static jinja_value float_arithmetic(jinja_run *run, jinja_arithmetic operation, double a, double b) {
    switch (operation) {
    case ARITHMETIC_ADD:
        return jinja_float(a + b);
    case ARITHMETIC_SUBTRACT:
        return jinja_float(a - b);
    case ARITHMETIC_MULTIPLY:
        return jinja_float(a * b);
    case ARITHMETIC_POWER:
        return float_power(run, a, b);
    default:
        break;
    }
    if (b == 0) return divide_by_zero(run);
    if (operation == ARITHMETIC_DIVIDE) return jinja_float(a / b);
    return operation == ARITHMETIC_MODULO ? float_modulo(a, b) : float_floor(a, b);
}

static jinja_value integer_power(jinja_run *run, int64_t base, int64_t exponent) {
    int64_t result = 1;
    if (exponent < 0) return float_power(run, (double)base, (double)exponent);
    while (exponent) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) return overflow(run);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) return overflow(run);
    }
    return jinja_integer(result);
}

static jinja_value integer_division(jinja_run *run, jinja_arithmetic operation, int64_t a, int64_t b) {
    if (b == 0) return divide_by_zero(run);
    if (operation == ARITHMETIC_DIVIDE) return jinja_float((double)((long double)a / (long double)b));
    if (b == -1) {
        int64_t negated;
        if (operation == ARITHMETIC_MODULO) return jinja_integer(0);
        return __builtin_sub_overflow(0, a, &negated) ? overflow(run) : jinja_integer(negated);
    }
    int64_t quotient = a / b, rest = a % b;
    bool down = rest && (rest < 0) != (b < 0);
    return jinja_integer(operation == ARITHMETIC_MODULO ? rest + (down ? b : 0) : quotient - down);
}

static jinja_value integer_arithmetic(jinja_run *run, jinja_arithmetic operation, int64_t a, int64_t b) {
    int64_t result = 0;
    switch (operation) {
    case ARITHMETIC_ADD:
        return __builtin_add_overflow(a, b, &result) ? overflow(run) : jinja_integer(result);
    case ARITHMETIC_SUBTRACT:
        return __builtin_sub_overflow(a, b, &result) ? overflow(run) : jinja_integer(result);
    case ARITHMETIC_MULTIPLY:
        return __builtin_mul_overflow(a, b, &result) ? overflow(run) : jinja_integer(result);
    case ARITHMETIC_POWER:
        return integer_power(run, a, b);
    default:
        return integer_division(run, operation, a, b);
    }
}

static jinja_value join_lists(jinja_run *run, jinja_value a, jinja_value b) {
    jinja_value list = jinja_list_make(run, a.kind, a.list->count + b.list->count);
    jinja_list_extend(run, list.list, a.list->items, a.list->count);
    jinja_list_extend(run, list.list, b.list->items, b.list->count);
    return list;
}

static bool is_list(jinja_value v) { return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE; }

static jinja_value repeat(jinja_run *run, jinja_value what, int64_t times) {
    if (what.kind == JINJA_STRING) {
        jinja_builder text = {0};
        if (!what.string->bytes) times = 0;
        for (; times > 0 && jinja_step(run, 1); times--) jinja_put_text(run, &text, what);
        return jinja_text_built(run, &text);
    }
    jinja_value list = jinja_list_make(run, what.kind, 0);
    if (!what.list->count) times = 0;
    for (; times > 0 && jinja_step(run, 1); times--)
        jinja_list_extend(run, list.list, what.list->items, what.list->count);
    return list;
}

static bool is_whole(jinja_value v) { return v.kind == JINJA_INTEGER || v.kind == JINJA_BOOLEAN; }
static int64_t whole(jinja_value v) { return v.kind == JINJA_BOOLEAN ? v.boolean : v.integer; }

static jinja_value refuse(jinja_run *run, jinja_arithmetic operation, jinja_value a, jinja_value b) {
    if (operation == ARITHMETIC_ADD && (a.kind == JINJA_STRING || is_list(a)))
        jinja_fail(run, "can only concatenate %s (not \"%s\") to %s", jinja_type_name(a), jinja_type_name(b),
                   jinja_type_name(a));
    else
        jinja_fail(run, "unsupported operand type(s) for %s: '%s' and '%s'", signs[operation], jinja_type_name(a),
                   jinja_type_name(b));
    return jinja_nothing();
}

jinja_value jinja_arithmetic_value(jinja_run *run, jinja_arithmetic operation, jinja_value a, jinja_value b) {
    if (operation == ARITHMETIC_MODULO && a.kind == JINJA_STRING) return jinja_format_percent(run, a.string, b);
    if (jinja_refuse_undefined(run, a) || jinja_refuse_undefined(run, b)) return jinja_nothing();
    if (is_whole(a) && is_whole(b)) return integer_arithmetic(run, operation, whole(a), whole(b));
    if (jinja_is_number(a) && jinja_is_number(b))
        return float_arithmetic(run, operation, jinja_number(a), jinja_number(b));
    if (operation == ARITHMETIC_ADD) {
        if (a.kind == JINJA_STRING && b.kind == JINJA_STRING)
            return jinja_text_append(run, a.string, b.string->text, b.string->bytes);
        if (is_list(a) && a.kind == b.kind) return join_lists(run, a, b);
    }
    if (operation == ARITHMETIC_MULTIPLY) {
        if ((a.kind == JINJA_STRING || is_list(a)) && is_whole(b)) return repeat(run, a, whole(b));
        if ((b.kind == JINJA_STRING || is_list(b)) && is_whole(a)) return repeat(run, b, whole(a));
    }
    return refuse(run, operation, a, b);
}
