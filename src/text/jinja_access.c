/* Parts of things: attributes, elements, slices. See jinja_call.h. */

#include "text/jinja_call.h"
#include "text/jinja_text.h"

/* Methods that change what they belong to: the sandbox that chat templates run in refuses them. */
static const char *const unsafe_of_lists[] = {"append", "clear",   "extend", "insert", "pop",
                                              "remove", "reverse", "sort",   NULL};
static const char *const unsafe_of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};

static bool is_among(const char *const *names, jinja_value name) {
    for (; names && *names; names++)
        if (jinja_is_text(name, *names)) return true;
    return false;
}

static const jinja_builtin *methods_of(jinja_value object) {
    switch (object.kind) {
    case JINJA_STRING:
        return jinja_text_methods;
    case JINJA_DICT:
        return jinja_dict_methods;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        return jinja_list_methods;
    case JINJA_LOOP:
        return jinja_loop_methods;
    case JINJA_CYCLER:
        return jinja_cycler_methods;
    default:
        return NULL;
    }
}

static jinja_value neighbour(jinja_run *run, const jinja_loop *loop, bool next) {
    if (next ? loop->index0 + 1 >= loop->items->count : loop->index0 == 0)
        return jinja_undefined_because(run, next ? "there is no next item" : "there is no previous item");
    return loop->items->items[next ? loop->index0 + 1 : loop->index0 - 1];
}

static jinja_value loop_attribute(jinja_run *run, const jinja_loop *loop, jinja_value name) {
    int64_t index = (int64_t)loop->index0, count = (int64_t)loop->items->count;
    if (jinja_is_text(name, "index")) return jinja_integer(index + 1);
    if (jinja_is_text(name, "index0")) return jinja_integer(index);
    if (jinja_is_text(name, "revindex")) return jinja_integer(count - index);
    if (jinja_is_text(name, "revindex0")) return jinja_integer(count - index - 1);
    if (jinja_is_text(name, "first")) return jinja_boolean(index == 0);
    if (jinja_is_text(name, "last")) return jinja_boolean(index + 1 == count);
    if (jinja_is_text(name, "length")) return jinja_integer(count);
    if (jinja_is_text(name, "depth")) return jinja_integer((int64_t)loop->depth0 + 1);
    if (jinja_is_text(name, "depth0")) return jinja_integer((int64_t)loop->depth0);
    if (jinja_is_text(name, "previtem")) return neighbour(run, loop, false);
    if (jinja_is_text(name, "nextitem")) return neighbour(run, loop, true);
    return jinja_missing();
}

static jinja_value other_attribute(jinja_run *run, jinja_value object, jinja_value name) {
    if (object.kind == JINJA_LOOP) return loop_attribute(run, object.loop, name);
    if (object.kind == JINJA_MACRO && jinja_is_text(name, "name")) return object.macro->name;
    if (object.kind == JINJA_CYCLER && jinja_is_text(name, "current"))
        return object.cycler->items->items[object.cycler->at];
    if (object.kind == JINJA_TUPLE && object.list->name) { /* a group of groupby */
        if (jinja_is_text(name, "grouper")) return object.list->items[0];
        if (jinja_is_text(name, "list")) return object.list->items[1];
    }
    if (object.kind == JINJA_NAMESPACE) {
        const jinja_value *there = jinja_dict_find(run, object.dict, name);
        if (there) return *there;
    }
    if (object.kind == JINJA_RANGE) {
        if (jinja_is_text(name, "start")) return jinja_integer(object.range->start);
        if (jinja_is_text(name, "stop")) return jinja_integer(object.range->stop);
        if (jinja_is_text(name, "step")) return jinja_integer(object.range->step);
    }
    return jinja_missing();
}

/* What Python's getattr finds: a method, or an attribute of the few things that have some. Missing: nothing. */
static jinja_value python_attribute(jinja_run *run, jinja_value object, jinja_value name) {
    const jinja_builtin *table = methods_of(object), *found = NULL;
    bool cannot_be_changed = object.kind == JINJA_TUPLE || object.kind == JINJA_RANGE;
    if (table && !(cannot_be_changed && jinja_is_text(name, "copy"))) found = jinja_find_builtin(table, name);
    if ((object.kind == JINJA_LIST && is_among(unsafe_of_lists, name)) ||
        (object.kind == JINJA_DICT && is_among(unsafe_of_dicts, name)))
        return jinja_undefined_because(run,
                                       "access to a method that changes a list or a dict is unsafe; make a new one");
    if (!found) return other_attribute(run, object, name);
    jinja_method *method = jinja_take(run, 1, sizeof *method);
    if (!method) return jinja_nothing();
    *method = (jinja_method){.builtin = found, .subject = object};
    return (jinja_value){.kind = JINJA_METHOD, .method = method};
}

/* What Python's object[index] finds; missing where it raises. */
static jinja_value python_element(jinja_run *run, jinja_value object, jinja_value index) {
    if (object.kind == JINJA_DICT) {
        const jinja_value *there = jinja_dict_find(run, object.dict, index);
        return there ? *there : jinja_missing();
    }
    if (!jinja_is_sequence(object) || (index.kind != JINJA_INTEGER && index.kind != JINJA_BOOLEAN))
        return jinja_missing();
    int64_t at = index.kind == JINJA_BOOLEAN ? index.boolean : index.integer, count = jinja_length(object);
    if (at < 0) at += count;
    if (at < 0 || at >= count) return jinja_missing();
    if (object.kind == JINJA_RANGE) return jinja_integer(object.range->start + at * object.range->step);
    if (object.kind != JINJA_STRING) return object.list->items[at];
    const jinja_string *s = object.string;
    if (!jinja_step(run, s->characters == s->bytes ? 1 : s->bytes / 64)) return jinja_nothing();
    uint64_t begin = jinja_byte_offset(s, (uint64_t)at), length;
    utf8_read(s->text + begin, s->bytes - begin, &length);
    return jinja_text_part(run, s, begin, begin + length);
}

jinja_value jinja_attribute(jinja_run *run, jinja_value object, jinja_value name) {
    if (jinja_refuse_undefined(run, object)) return jinja_nothing();
    jinja_value value = python_attribute(run, object, name);
    if (value.kind == JINJA_MISSING) value = python_element(run, object, name);
    return value.kind == JINJA_MISSING ? jinja_undefined_name(run, &object, name) : value;
}

jinja_value jinja_element(jinja_run *run, jinja_value object, jinja_value index) {
    if (jinja_refuse_undefined(run, object)) return jinja_nothing();
    jinja_value value = python_element(run, object, index);
    if (value.kind == JINJA_MISSING && index.kind == JINJA_STRING) value = python_attribute(run, object, index);
    return value.kind == JINJA_MISSING ? jinja_undefined_name(run, &object, index) : value;
}

/* A bound of a slice; `otherwise` where it is left open. */
static int64_t bound(jinja_run *run, jinja_value v, int64_t otherwise) {
    if (v.kind == JINJA_MISSING || v.kind == JINJA_NONE) return otherwise;
    if (v.kind == JINJA_BOOLEAN) return v.boolean;
    if (v.kind != JINJA_INTEGER)
        jinja_fail(run, "slice indices must be integers or None or have an __index__ method");
    return v.integer;
}

static int64_t clamp(int64_t v, int64_t least, int64_t most) { return v < least ? least : v > most ? most : v; }

/* Where a slice begins and ends and how many items it has, by Python's rules. */
static uint64_t slice_count(int64_t length, int64_t *start, int64_t *end, int64_t step) {
    int64_t stop = *end;
    int64_t least = step < 0 ? -1 : 0, most = step < 0 ? length - 1 : length;
    if (*start < 0) *start += length;
    if (stop < 0) stop += length;
    *start = clamp(*start, least, most);
    *end = stop = clamp(stop, least, most);
    if (step > 0 ? stop <= *start : stop >= *start) return 0;
    uint64_t distance = step > 0 ? (uint64_t)(stop - *start) : (uint64_t)(*start - stop);
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return stride ? (distance - 1) / stride + 1 : 0;
}

static jinja_value slice_text(jinja_run *run, const jinja_string *s, int64_t start, int64_t step, uint64_t count) {
    if (!jinja_step(run, s->bytes / 64)) return jinja_nothing();
    if (step == 1 || !count) {
        uint64_t begin = jinja_byte_offset(s, (uint64_t)start);
        return jinja_text_part(run, s, begin, count ? jinja_byte_offset(s, (uint64_t)start + count) : begin);
    }
    uint64_t *offsets = jinja_take(run, s->characters, sizeof *offsets), length;
    jinja_builder text = {0};
    for (uint64_t at = 0, i = 0; offsets && at < s->bytes; at += length, i++) {
        offsets[i] = at;
        utf8_read(s->text + at, s->bytes - at, &length);
    }
    for (uint64_t i = 0; offsets && i < count && jinja_step(run, 1); i++) {
        uint64_t at = offsets[start + (int64_t)i * step];
        utf8_read(s->text + at, s->bytes - at, &length);
        jinja_put(run, &text, s->text + at, length);
    }
    return jinja_text_built(run, &text);
}

/* A part of a range is a range. */
static jinja_value slice_range(jinja_run *run, const jinja_range *r, int64_t start, int64_t stop, int64_t step,
                               uint64_t count) {
    jinja_range *part = jinja_take(run, 1, sizeof *part);
    if (!part) return jinja_nothing();
    part->count = count;
    bool fits = !__builtin_mul_overflow(start, r->step, &part->start) &&
                !__builtin_add_overflow(part->start, r->start, &part->start) &&
                !__builtin_mul_overflow(stop, r->step, &part->stop) &&
                !__builtin_add_overflow(part->stop, r->start, &part->stop) &&
                !__builtin_mul_overflow(step, r->step, &part->step);
    if (!fits) jinja_fail(run, "a whole number does not fit in 64 bits");
    return (jinja_value){.kind = JINJA_RANGE, .range = part};
}

jinja_value jinja_slice(jinja_run *run, jinja_value object, jinja_value start, jinja_value stop, jinja_value step) {
    if (jinja_refuse_undefined(run, object)) return jinja_nothing();
    if (!jinja_is_sequence(object)) {
        jinja_fail(run, object.kind == JINJA_DICT ? "unhashable type: 'slice'" : "'%s' object is not subscriptable",
                   jinja_type_name(object));
        return jinja_nothing();
    }
    int64_t stride = bound(run, step, 1), length = jinja_length(object);
    if (stride == 0) jinja_fail(run, "slice step cannot be zero");
    int64_t first = bound(run, start, stride < 0 ? INT64_MAX : 0);
    int64_t last = bound(run, stop, stride < 0 ? INT64_MIN / 2 : INT64_MAX);
    if (jinja_failed(run)) return jinja_nothing();
    uint64_t count = slice_count(length, &first, &last, stride);
    if (object.kind == JINJA_STRING) return slice_text(run, object.string, first, stride, count);
    if (object.kind == JINJA_RANGE) return slice_range(run, object.range, first, last, stride, count);
    const jinja_list *items = jinja_items(run, object);
    jinja_value list = jinja_list_make(run, object.kind == JINJA_TUPLE ? JINJA_TUPLE : JINJA_LIST, count);
    for (uint64_t i = 0; items && i < count && !jinja_failed(run); i++)
        jinja_list_add(run, list.list, items->items[first + (int64_t)i * stride]);
    return list;
}
