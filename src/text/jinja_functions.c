/* Functions that every template can call. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

enum { MOST_RANGE = 100000 }; /* as the sandbox of Jinja2 */

static bool read_whole(jinja_run *run, jinja_value v, int64_t *number) {
    if (jinja_refuse_undefined(run, v)) return false;
    if (v.kind != JINJA_INTEGER && v.kind != JINJA_BOOLEAN)
        jinja_fail(run, "'%s' object cannot be interpreted as an integer", jinja_type_name(v));
    *number = v.kind == JINJA_BOOLEAN ? v.boolean : v.integer;
    return !jinja_failed(run);
}

static uint64_t count_range(int64_t start, int64_t stop, int64_t step) {
    if (step > 0 ? stop <= start : stop >= start) return 0;
    uint64_t distance = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return stride ? (distance - 1) / stride + 1 : 0;
}

static jinja_value range(jinja_run *run, const jinja_call *call) {
    int64_t numbers[3] = {0, 0, 1};
    unsigned count = 0;
    while (count < 3 && call->given[count].kind != JINJA_MISSING &&
           read_whole(run, call->given[count], &numbers[count]))
        count++;
    if (jinja_failed(run)) return jinja_nothing();
    int64_t start = count > 1 ? numbers[0] : 0, stop = count > 1 ? numbers[1] : numbers[0];
    if (numbers[2] == 0) jinja_fail(run, "range() arg 3 must not be zero");
    uint64_t length = jinja_failed(run) ? 0 : count_range(start, stop, numbers[2]);
    if (length > MOST_RANGE) jinja_fail(run, "Range too big. Ranges larger than %d are refused.", MOST_RANGE);
    jinja_range *r = jinja_take(run, 1, sizeof *r);
    if (!r) return jinja_nothing();
    *r = (jinja_range){.start = start, .stop = stop, .step = numbers[2], .count = length};
    return (jinja_value){.kind = JINJA_RANGE, .range = r};
}

/* dict() and namespace(): of a mapping or of pairs, and of keyword arguments. */
static jinja_value make_dict(jinja_run *run, const jinja_call *call, jinja_kind kind) {
    jinja_value result = jinja_dict_make(run, kind, call->all->named_count);
    if (call->all->count > 1) jinja_fail(run, "dict expected at most 1 argument");
    jinja_value from = call->all->count ? call->all->positional[0] : jinja_nothing();
    if (from.kind == JINJA_DICT) {
        for (uint64_t i = 0; i < from.dict->count && !jinja_failed(run); i++)
            jinja_dict_set(run, result.dict, from.dict->entries[i].key, from.dict->entries[i].value);
    } else if (call->all->count) {
        const jinja_list *pairs = jinja_items(run, from);
        for (uint64_t i = 0; pairs && i < pairs->count && jinja_step(run, 1); i++) {
            const jinja_list *pair = jinja_items(run, pairs->items[i]);
            if (pair && pair->count == 2)
                jinja_dict_set(run, result.dict, pair->items[0], pair->items[1]);
            else
                jinja_fail(run, "a dict is made of pairs");
        }
    }
    for (uint64_t i = 0; i < call->all->named_count && !jinja_failed(run); i++)
        jinja_dict_set(run, result.dict, call->all->named[i].name, call->all->named[i].value);
    return result;
}

static jinja_value dict(jinja_run *run, const jinja_call *call) { return make_dict(run, call, JINJA_DICT); }

static jinja_value namespace_of(jinja_run *run, const jinja_call *call) {
    jinja_value space = make_dict(run, call, JINJA_NAMESPACE);
    for (uint64_t i = 0; !jinja_failed(run) && i < space.dict->count; i++) {
        jinja_value name = space.dict->entries[i].key;
        if (name.kind == JINJA_STRING && name.string->bytes && *name.string->text == '_')
            jinja_fail(run, "an attribute of a namespace cannot begin with an underscore");
    }
    return space;
}

static jinja_value raise_exception(jinja_run *run, const jinja_call *call) {
    jinja_value text = jinja_to_text(run, call->given[0]);
    if (jinja_failed(run)) return text;
    const jinja_string *s = text.string;
    jinja_fail(run, "%.*s", (int)(s->bytes < LEVEE_ERROR_BYTES ? s->bytes : LEVEE_ERROR_BYTES), s->text);
    return jinja_nothing();
}

static jinja_value strftime_now(jinja_run *run, const jinja_call *call) {
    enum { FORMAT_BYTES = 256, TEXT_BYTES = 1024 };
    char format[FORMAT_BYTES + 2], text[TEXT_BYTES];
    jinja_value wanted = call->given[0];
    if (wanted.kind != JINJA_STRING || wanted.string->bytes >= FORMAT_BYTES ||
        memchr(wanted.string->text, 0, wanted.string->bytes)) {
        jinja_fail(run, "strftime_now needs a format of less than %d bytes", FORMAT_BYTES);
        return jinja_nothing();
    }
    struct tm now = {0};
    run->clock(run->clock_context, &now);
    /* A character more, so that an empty result is not taken for one that did not fit. */
    memcpy(format, wanted.string->text, wanted.string->bytes);
    memcpy(format + wanted.string->bytes, "|", 2);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t length = strftime(text, sizeof text, format, &now);
#pragma GCC diagnostic pop
    if (!length) jinja_fail(run, "strftime_now gives more than %d bytes", TEXT_BYTES);
    uint64_t place;
    if (length && !utf8_is_valid(text, length, &place)) jinja_fail(run, "strftime_now gives what is not UTF-8");
    return jinja_text_copy(run, text, length ? length - 1 : 0);
}

static jinja_value cycler_of(jinja_run *run, const jinja_list *items, jinja_kind kind) {
    jinja_cycler *c = jinja_take(run, 1, sizeof *c);
    if (!c) return jinja_nothing();
    c->items = items;
    return (jinja_value){.kind = kind, .cycler = c};
}

static jinja_value cycler(jinja_run *run, const jinja_call *call) {
    if (!call->all->count || call->all->named_count) jinja_fail(run, "at least one item has to be provided");
    jinja_value items = jinja_list_make(run, JINJA_LIST, call->all->count);
    jinja_list_extend(run, items.list, call->all->positional, call->all->count);
    return jinja_failed(run) ? jinja_nothing() : cycler_of(run, items.list, JINJA_CYCLER);
}

static jinja_value joiner(jinja_run *run, const jinja_call *call) {
    jinja_value separator = call->given[0].kind == JINJA_MISSING ? jinja_text(run, ", ", 2) : call->given[0];
    jinja_value items = jinja_list_make(run, JINJA_LIST, 1);
    if (jinja_failed(run)) return jinja_nothing();
    jinja_list_add(run, items.list, separator);
    return cycler_of(run, items.list, JINJA_JOINER);
}

const jinja_builtin jinja_functions[] = {
    {"cycler", cycler, "*", 0},
    {"dict", dict, "*", 0},
    {"joiner", joiner, "sep", 0},
    {"namespace", namespace_of, "*", 0},
    {"raise_exception", raise_exception, "message", 1},
    {"range", range, "start stop step", 1},
    {"strftime_now", strftime_now, "format", 1},
    {0},
};
