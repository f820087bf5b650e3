/* The tests behind `is`. */
#include "text/jinja_call.h"
#include "text/jinja_text.h"

static jinja_value defined(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind != JINJA_UNDEFINED);
}

static jinja_value undefined(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_UNDEFINED);
}

static jinja_value none(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_NONE);
}

static jinja_value boolean(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_BOOLEAN);
}

static jinja_value is_true(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_BOOLEAN && call->subject.boolean);
}

static jinja_value is_false(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_BOOLEAN && !call->subject.boolean);
}

static jinja_value integer(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_INTEGER);
}

static jinja_value real(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_FLOAT);
}

static jinja_value number(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(jinja_is_number(call->subject));
}

static jinja_value string(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_STRING);
}

static jinja_value mapping(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(call->subject.kind == JINJA_DICT);
}

/* What has a length and elements: dicts too, and undefined values by Jinja2's way of asking. */
static jinja_value sequence(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(jinja_is_sequence(call->subject) || call->subject.kind == JINJA_DICT ||
                         call->subject.kind == JINJA_UNDEFINED);
}

static jinja_value iterable(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(jinja_is_iterable(call->subject));
}

static jinja_value callable(jinja_run *run, const jinja_call *call) {
    (void)run;
    switch (call->subject.kind) {
    case JINJA_UNDEFINED: /* has a __call__, which raises */
    case JINJA_FUNCTION:
    case JINJA_METHOD:
    case JINJA_MACRO:
    case JINJA_LOOP:
    case JINJA_JOINER:
        return jinja_boolean(true);
    default:
        return jinja_boolean(false);
    }
}

static jinja_value modulo(jinja_run *run, const jinja_call *call, jinja_value by, int64_t rest) {
    jinja_value value = jinja_arithmetic_value(run, ARITHMETIC_MODULO, call->subject, by);
    return jinja_boolean(!jinja_failed(run) && jinja_equal(run, value, jinja_integer(rest)));
}

static jinja_value odd(jinja_run *run, const jinja_call *call) { return modulo(run, call, jinja_integer(2), 1); }
static jinja_value even(jinja_run *run, const jinja_call *call) { return modulo(run, call, jinja_integer(2), 0); }
static jinja_value divisible(jinja_run *run, const jinja_call *call) { return modulo(run, call, call->given[0], 0); }

/* Python's isupper() and islower(): there is a letter with a case, and none of the other. */
static jinja_value has_case(jinja_run *run, jinja_value v, bool upper) {
    jinja_value text = jinja_to_text(run, v);
    bool some = false;
    uint64_t length;
    if (jinja_failed(run)) return text;
    for (uint64_t at = 0; at < text.string->bytes && jinja_step(run, 1); at += length) {
        uint32_t c = (uint32_t)utf8_read(text.string->text + at, text.string->bytes - at, &length);
        if (upper ? jinja_is_lower(c) : jinja_is_upper(c)) return jinja_boolean(false);
        some |= upper ? jinja_is_upper(c) : jinja_is_lower(c);
    }
    return jinja_boolean(some);
}

static jinja_value is_lower(jinja_run *run, const jinja_call *call) { return has_case(run, call->subject, false); }
static jinja_value is_upper(jinja_run *run, const jinja_call *call) { return has_case(run, call->subject, true); }

static jinja_value equal(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_equal(run, call->subject, call->given[0]));
}

static jinja_value unequal(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(!jinja_equal(run, call->subject, call->given[0]));
}

static jinja_value less(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_ordered(run, ORDER_LESS, call->subject, call->given[0]));
}

static jinja_value less_equal(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_ordered(run, ORDER_LESS_EQUAL, call->subject, call->given[0]));
}

static jinja_value greater(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_ordered(run, ORDER_GREATER, call->subject, call->given[0]));
}

static jinja_value greater_equal(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_ordered(run, ORDER_GREATER_EQUAL, call->subject, call->given[0]));
}

static jinja_value is_in(jinja_run *run, const jinja_call *call) {
    return jinja_boolean(jinja_contains(run, call->given[0], call->subject));
}

/* Python's `is`: the same thing; small values are the same when they are equal and of one kind. */
static jinja_value same(jinja_run *run, const jinja_call *call) {
    jinja_value a = call->subject, b = call->given[0];
    if (a.kind != b.kind) return jinja_boolean(false);
    bool small = a.kind == JINJA_NONE || jinja_is_number(a) || a.kind == JINJA_STRING;
    return jinja_boolean(small ? jinja_equal(run, a, b) : a.list == b.list);
}

static jinja_value escaped(jinja_run *run, const jinja_call *call) {
    (void)run, (void)call;
    return jinja_boolean(false);
}

static jinja_value is_filter(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(jinja_find_filter(call->subject) != NULL);
}

static jinja_value is_test(jinja_run *run, const jinja_call *call) {
    (void)run;
    return jinja_boolean(jinja_find_builtin(jinja_tests, call->subject) != NULL);
}

const jinja_builtin jinja_tests[] = {
    {"!=", unequal, "b", 1},
    {"<", less, "b", 1},
    {"<=", less_equal, "b", 1},
    {"==", equal, "b", 1},
    {">", greater, "b", 1},
    {">=", greater_equal, "b", 1},
    {"boolean", boolean, "", 0},
    {"callable", callable, "", 0},
    {"defined", defined, "", 0},
    {"divisibleby", divisible, "num", 1},
    {"eq", equal, "b", 1},
    {"equalto", equal, "b", 1},
    {"escaped", escaped, "", 0},
    {"even", even, "", 0},
    {"false", is_false, "", 0},
    {"filter", is_filter, "", 0},
    {"float", real, "", 0},
    {"ge", greater_equal, "b", 1},
    {"greaterthan", greater, "b", 1},
    {"gt", greater, "b", 1},
    {"in", is_in, "seq", 1},
    {"integer", integer, "", 0},
    {"iterable", iterable, "", 0},
    {"le", less_equal, "b", 1},
    {"lessthan", less, "b", 1},
    {"lower", is_lower, "", 0},
    {"lt", less, "b", 1},
    {"mapping", mapping, "", 0},
    {"ne", unequal, "b", 1},
    {"none", none, "", 0},
    {"number", number, "", 0},
    {"odd", odd, "", 0},
    {"sameas", same, "other", 1},
    {"sequence", sequence, "", 0},
    {"string", string, "", 0},
    {"test", is_test, "", 0},
    {"true", is_true, "", 0},
    {"undefined", undefined, "", 0},
    {"upper", is_upper, "", 0},
    {0},
};
