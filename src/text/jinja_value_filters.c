/* Filters from one value to another: numbers, defaults, attributes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

static jinja_value absolute(jinja_run *run, const jinja_call *call) {
    jinja_value v = call->subject;
    if (jinja_refuse_undefined(run, v)) return v;
    if (v.kind == JINJA_BOOLEAN) return jinja_integer(v.boolean);
    if (v.kind == JINJA_FLOAT) return jinja_float(fabs(v.real));
    if (v.kind == JINJA_INTEGER)
        return v.integer < 0 ? jinja_arithmetic_value(run, ARITHMETIC_SUBTRACT, jinja_integer(0), v) : v;
    jinja_fail(run, "bad operand type for abs(): '%s'", jinja_type_name(v));
    return v;
}

static jinja_value attribute(jinja_run *run, const jinja_call *call) {
    jinja_value name = call->given[0];
    if (name.kind != JINJA_STRING) jinja_fail(run, "attr needs the name of an attribute");
    /* Attributes only, no elements: of a dict there are its methods. */
    if (jinja_failed(run) || call->subject.kind == JINJA_DICT) return jinja_undefined_name(run, &call->subject, name);
    return jinja_attribute(run, call->subject, name);
}

static jinja_value otherwise(jinja_run *run, const jinja_call *call) {
    bool missing = call->subject.kind == JINJA_UNDEFINED ||
                   (jinja_truth(run, call->given[1]) && !jinja_truth(run, call->subject));
    if (!missing) return call->subject;
    return call->given[0].kind == JINJA_MISSING ? jinja_text(run, "", 0) : call->given[0];
}

/* A text without white space around and underscores between digits, NUL-terminated; false when it is too long. */
static bool plain_number(jinja_run *run, const jinja_string *s, char *text, size_t room) {
    jinja_value stripped =
        jinja_strip(run, (jinja_value){.kind = JINJA_STRING, .string = s}, jinja_missing(), true, true);
    if (jinja_failed(run) || stripped.string->bytes >= room) return false;
    size_t length = 0;
    const jinja_string *t = stripped.string;
    for (uint64_t i = 0; i < t->bytes; i++) {
        bool between = t->text[i] == '_' && i && i + 1 < t->bytes && t->text[i - 1] != '_' && t->text[i + 1] != '_';
        if (!t->text[i] || (t->text[i] == '_' && !between)) return false;
        if (!between) text[length++] = t->text[i];
    }
    text[length] = 0;
    return length > 0;
}

/* Python's float(): decimal digits, inf, nan. */
static bool text_to_float(jinja_run *run, const jinja_string *s, double *number) {
    char text[512], *end;
    if (!plain_number(run, s, text, sizeof text) || strpbrk(text, "xX(pP")) return false;
    *number = strtod(text, &end);
    return end != text && !*end;
}

static bool text_to_integer(jinja_run *run, const jinja_string *s, int base, int64_t *number) {
    char text[128], *end;
    if (!plain_number(run, s, text, sizeof text)) return false;
    const char *digits = text + (*text == '-' || *text == '+');
    char mark = (char)(digits[0] == '0' ? digits[1] | 0x20 : 0);
    bool marked = (base == 16 && mark == 'x') || (base == 8 && mark == 'o') || (base == 2 && mark == 'b');
    if (marked) digits += 2;
    if (*digits == '-' || *digits == '+' || *digits == ' ' || (!marked && (mark == 'x'))) return false;
    errno = 0;
    long long value = strtoll(digits, &end, base);
    if (end == digits || *end) return false;
    if (errno == ERANGE) jinja_fail(run, "a whole number does not fit in 64 bits");
    *number = *text == '-' ? -value : value;
    return true;
}

static jinja_value float_to_integer(jinja_run *run, double number, jinja_value fallback) {
    if (!isfinite(number)) return fallback;
    if (fabs(number) < 9.2e18) return jinja_integer((int64_t)number);
    jinja_fail(run, "a whole number does not fit in 64 bits");
    return fallback;
}

static jinja_value to_integer(jinja_run *run, const jinja_call *call) {
    jinja_value v = call->subject;
    jinja_value fallback = call->given[0].kind == JINJA_MISSING ? jinja_integer(0) : call->given[0];
    int64_t base = call->given[1].kind == JINJA_INTEGER ? call->given[1].integer : 10, whole;
    double number;
    if (jinja_refuse_undefined(run, v)) return v;
    if (v.kind == JINJA_BOOLEAN) return jinja_integer(v.boolean);
    if (v.kind == JINJA_INTEGER) return v;
    if (v.kind == JINJA_FLOAT) return float_to_integer(run, v.real, fallback);
    if (v.kind != JINJA_STRING) return fallback;
    if (base >= 2 && base <= 36 && text_to_integer(run, v.string, (int)base, &whole)) return jinja_integer(whole);
    if (text_to_float(run, v.string, &number)) return float_to_integer(run, number, fallback);
    return fallback;
}

static jinja_value to_float(jinja_run *run, const jinja_call *call) {
    jinja_value v = call->subject;
    double number;
    if (jinja_refuse_undefined(run, v)) return v;
    if (jinja_is_number(v)) return jinja_float(jinja_number(v));
    if (v.kind == JINJA_STRING && text_to_float(run, v.string, &number)) return jinja_float(number);
    return call->given[0].kind == JINJA_MISSING ? jinja_float(0) : call->given[0];
}

/* To the nearest, halves to even, by the decimal digits: as Python's round(). */
static double round_common(double number, int precision) {
    char text[400], *end;
    if (precision >= 0) {
        snprintf(text, sizeof text, "%.*f", precision > 22 ? 22 : precision, number);
        return strtod(text, &end);
    }
    double scale = pow(10, -precision);
    return nearbyint(number / scale) * scale;
}

static jinja_value round_number(jinja_run *run, const jinja_call *call) {
    jinja_value v = call->subject, method = call->given[1];
    int64_t precision = call->given[0].kind == JINJA_INTEGER ? call->given[0].integer : 0;
    bool common = method.kind == JINJA_MISSING || jinja_is_text(method, "common");
    bool up = jinja_is_text(method, "ceil");
    if (jinja_refuse_undefined(run, v)) return v;
    if (!jinja_is_number(v) || precision < -300 || precision > 300 ||
        (!common && !up && !jinja_is_text(method, "floor"))) {
        jinja_fail(run, "round needs a number, and a method that is 'common', 'ceil' or 'floor'");
        return v;
    }
    double number = jinja_number(v), scale = pow(10, (double)precision);
    if (!isfinite(number)) return jinja_float(number);
    if (common && v.kind != JINJA_FLOAT && precision >= 0)
        return jinja_integer(v.kind == JINJA_BOOLEAN ? v.boolean : v.integer);
    if (common) {
        double rounded = round_common(number, (int)precision);
        return v.kind == JINJA_FLOAT ? jinja_float(rounded) : float_to_integer(run, rounded, v);
    }
    return jinja_float((up ? ceil(number * scale) : floor(number * scale)) / scale);
}

static jinja_value length(jinja_run *run, const jinja_call *call) {
    int64_t count = jinja_length(call->subject);
    if (count < 0) jinja_fail(run, "object of type '%s' has no len()", jinja_type_name(call->subject));
    return jinja_integer(count);
}

const jinja_builtin jinja_value_filters[] = {
    {"abs", absolute, "", 0},
    {"attr", attribute, "name", 1},
    {"count", length, "", 0},
    {"d", otherwise, "default_value boolean", 0},
    {"default", otherwise, "default_value boolean", 0},
    {"float", to_float, "default", 0},
    {"int", to_integer, "default base", 0},
    {"length", length, "", 0},
    {"round", round_number, "precision method", 0},
    {0},
};
