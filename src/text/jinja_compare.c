/* Values compared as in Python: see jinja_value.h. */
#include <math.h>
#include <string.h>

#include "text/jinja_value.h"

static bool equal_lists(jinja_run *run, const jinja_list *a, const jinja_list *b) {
    if (a->count != b->count) return false;
    for (uint64_t i = 0; i < a->count; i++)
        if (!jinja_equal(run, a->items[i], b->items[i])) return false;
    return true;
}

static bool equal_dicts(jinja_run *run, const jinja_dict *a, const jinja_dict *b) {
    if (a->count != b->count) return false;
    for (uint64_t i = 0; i < a->count; i++) {
        const jinja_value *other = jinja_dict_find(run, b, a->entries[i].key);
        if (!other || !jinja_equal(run, a->entries[i].value, *other)) return false;
    }
    return true;
}

/* As exact as Python: a whole number and a float are equal only if both are the same number. */
static bool equal_numbers(jinja_value a, jinja_value b) {
    if (a.kind == JINJA_FLOAT && b.kind == JINJA_FLOAT) return a.real == b.real;
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT) {
        int64_t x = a.kind == JINJA_BOOLEAN ? a.boolean : a.integer;
        return x == (b.kind == JINJA_BOOLEAN ? b.boolean : b.integer);
    }
    return (a.kind == JINJA_FLOAT ? (long double)a.real : (long double)a.integer) ==
           (b.kind == JINJA_FLOAT ? (long double)b.real : (long double)b.integer);
}

/* Of two values of one kind, with items. */
static bool equal_within(jinja_run *run, jinja_value a, jinja_value b) {
    switch (a.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_lists(run, a.list, b.list);
    case JINJA_VIEW:
        return !strcmp(a.list->name, b.list->name) && equal_lists(run, a.list, b.list);
    default:
        return equal_dicts(run, a.dict, b.dict);
    }
}

static bool equal_ranges(const jinja_range *a, const jinja_range *b) {
    if (a->count != b->count) return false;
    return !a->count || (a->start == b->start && (a->count == 1 || a->step == b->step));
}

bool jinja_equal(jinja_run *run, jinja_value a, jinja_value b) {
    if (a.kind == JINJA_BOOLEAN) a = jinja_integer(a.boolean);
    if (b.kind == JINJA_BOOLEAN) b = jinja_integer(b.boolean);
    if (jinja_is_number(a) && jinja_is_number(b)) return equal_numbers(a, b);
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    case JINJA_STRING:
        return a.string->bytes == b.string->bytes && jinja_step(run, a.string->bytes / 64) &&
               !memcmp(a.string->text, b.string->text, a.string->bytes);
    case JINJA_RANGE:
        return equal_ranges(a.range, b.range);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
    case JINJA_DICT:
        break;
    default:
        return a.list == b.list; /* the same thing: all pointers of the union */
    }
    if (a.list == b.list) return true;
    if (!jinja_enter(run)) return false;
    bool equal = equal_within(run, a, b);
    jinja_leave(run);
    return equal;
}

static bool holds(jinja_order order, bool less, bool equal) {
    switch (order) {
    case ORDER_LESS:
        return less;
    case ORDER_LESS_EQUAL:
        return less || equal;
    case ORDER_GREATER:
        return !less && !equal;
    default:
        return !less;
    }
}

static bool ordered_numbers(jinja_order order, jinja_value a, jinja_value b) {
    long double x = a.kind == JINJA_INTEGER ? (long double)a.integer : (long double)jinja_number(a);
    long double y = b.kind == JINJA_INTEGER ? (long double)b.integer : (long double)jinja_number(b);
    if (isnan(x) || isnan(y)) return false;
    return holds(order, x < y, x == y);
}

static bool ordered_strings(jinja_order order, const jinja_string *a, const jinja_string *b) {
    int sign = memcmp(a->text, b->text, a->bytes < b->bytes ? a->bytes : b->bytes);
    if (!sign) sign = a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
    return holds(order, sign < 0, sign == 0);
}

static bool ordered_lists(jinja_run *run, jinja_order order, const jinja_list *a, const jinja_list *b) {
    if (!jinja_enter(run)) return false;
    uint64_t i = 0;
    while (i < a->count && i < b->count && jinja_equal(run, a->items[i], b->items[i])) i++;
    bool result = i < a->count && i < b->count ? jinja_ordered(run, order, a->items[i], b->items[i])
                                               : holds(order, a->count < b->count, a->count == b->count);
    jinja_leave(run);
    return result;
}

bool jinja_ordered(jinja_run *run, jinja_order order, jinja_value a, jinja_value b) {
    static const char *const signs[] = {"<", "<=", ">", ">="};
    if (jinja_refuse_undefined(run, a) || jinja_refuse_undefined(run, b) || !jinja_step(run, 1)) return false;
    if (jinja_is_number(a) && jinja_is_number(b)) return ordered_numbers(order, a, b);
    if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) return ordered_strings(order, a.string, b.string);
    if ((a.kind == JINJA_LIST || a.kind == JINJA_TUPLE) && a.kind == b.kind)
        return ordered_lists(run, order, a.list, b.list);
    jinja_fail(run, "'%s' not supported between instances of '%s' and '%s'", signs[order], jinja_type_name(a),
               jinja_type_name(b));
    return false;
}

static bool text_contains(jinja_run *run, const jinja_string *text, jinja_value part) {
    if (part.kind != JINJA_STRING) {
        jinja_fail(run, "'in <string>' requires string as left operand, not %s", jinja_type_name(part));
        return false;
    }
    if (!jinja_step(run, text->bytes / 64)) return false;
    return !part.string->bytes || memmem(text->text, text->bytes, part.string->text, part.string->bytes);
}

bool jinja_contains(jinja_run *run, jinja_value container, jinja_value item) {
    if (container.kind == JINJA_STRING) return text_contains(run, container.string, item);
    if (container.kind == JINJA_DICT && !jinja_is_key(run, item))
        jinja_fail(run, "unhashable type: '%s'", jinja_type_name(item));
    if (container.kind == JINJA_DICT) return jinja_dict_find(run, container.dict, item) != NULL;
    if (!jinja_is_iterable(container)) {
        jinja_fail(run, "argument of type '%s' is not iterable", jinja_type_name(container));
        return false;
    }
    const jinja_list *items = jinja_items(run, container);
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++)
        if (jinja_equal(run, items->items[i], item)) return true;
    return false;
}
