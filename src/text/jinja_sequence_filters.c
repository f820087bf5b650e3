/* Filters on sequences: choosing, ordering, joining. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

/* ---- A part of an item by a path such as "function.name" or 0. ---- */

static jinja_value path_part(jinja_run *run, const jinja_string *path, uint64_t begin, uint64_t end) {
    int64_t number = 0;
    bool whole = end > begin;
    for (uint64_t i = begin; i < end && whole; i++) {
        whole = path->text[i] >= '0' && path->text[i] <= '9' && number < INT32_MAX;
        number = number * 10 + (path->text[i] - '0');
    }
    return whole ? jinja_integer(number) : jinja_text_part(run, path, begin, end);
}

static jinja_value follow_path(jinja_run *run, jinja_value item, const jinja_string *path, jinja_value otherwise) {
    for (uint64_t begin = 0; begin <= path->bytes && jinja_step(run, 1);) {
        const char *dot = memchr(path->text + begin, '.', path->bytes - begin);
        uint64_t end = dot ? (uint64_t)(dot - path->text) : path->bytes;
        item = jinja_element(run, item, path_part(run, path, begin, end));
        if (item.kind == JINJA_UNDEFINED && otherwise.kind != JINJA_MISSING && otherwise.kind != JINJA_NONE)
            item = otherwise;
        begin = end + 1;
    }
    return item;
}

static jinja_value get_path(jinja_run *run, jinja_value item, jinja_value path, jinja_value otherwise) {
    if (jinja_failed(run) || path.kind == JINJA_MISSING || path.kind == JINJA_NONE) return item;
    if (path.kind == JINJA_STRING) return follow_path(run, item, path.string, otherwise);
    jinja_value part = jinja_element(run, item, path);
    bool replaced = part.kind == JINJA_UNDEFINED && otherwise.kind != JINJA_MISSING && otherwise.kind != JINJA_NONE;
    return replaced ? otherwise : part;
}

/* ---- Lists out of values ---- */

static jinja_value generator(jinja_run *run) { return jinja_list_make(run, JINJA_GENERATOR, 0); }

static jinja_value list_with(jinja_run *run, const jinja_list *items) {
    jinja_value list = jinja_list_make(run, JINJA_LIST, items ? items->count : 0);
    if (items) jinja_list_extend(run, list.list, items->items, items->count);
    return list;
}

static jinja_value to_list(jinja_run *run, const jinja_call *call) {
    return list_with(run, jinja_items(run, call->subject));
}

static jinja_value first(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind == JINJA_GENERATOR && call->subject.list->consumed < call->subject.list->count)
        return call->subject.list->items[call->subject.list->consumed++];
    const jinja_list *items = jinja_items(run, call->subject);
    return items && items->count ? items->items[0]
                                 : jinja_undefined_because(run, "No first item, sequence was empty.");
}

static jinja_value last(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind == JINJA_GENERATOR) {
        jinja_fail(run, "'generator' object is not reversible");
        return jinja_nothing();
    }
    const jinja_list *items = jinja_items(run, call->subject);
    return items && items->count ? items->items[items->count - 1]
                                 : jinja_undefined_because(run, "No last item, sequence was empty.");
}

static jinja_value reverse(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind == JINJA_STRING)
        return jinja_slice(run, call->subject, jinja_none(), jinja_none(), jinja_integer(-1));
    const jinja_list *items = jinja_items(run, call->subject);
    jinja_value result = generator(run);
    for (uint64_t i = items ? items->count : 0; i-- > 0 && !jinja_failed(run);)
        jinja_list_add(run, result.list, items->items[i]);
    return result;
}

static jinja_value join(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->subject);
    jinja_builder text = {0};
    jinja_value separator =
        call->given[0].kind == JINJA_MISSING ? jinja_text(run, "", 0) : jinja_to_text(run, call->given[0]);
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        if (i) jinja_put_text(run, &text, separator);
        jinja_put_text(run, &text, get_path(run, items->items[i], call->given[1], jinja_missing()));
    }
    return jinja_text_built(run, &text);
}

static jinja_value items_of(jinja_run *run, const jinja_call *call) {
    jinja_value result = generator(run);
    if (call->subject.kind != JINJA_DICT) {
        if (call->subject.kind != JINJA_UNDEFINED) jinja_fail(run, "Can only get item pairs from a mapping.");
        return result;
    }
    const jinja_dict *dict = call->subject.dict;
    jinja_list_add_pairs(run, result.list, dict);
    return result;
}

/* ---- map and select ---- */

static jinja_arguments arguments_behind(const jinja_arguments *a, uint64_t count) {
    return (jinja_arguments){.positional = a->positional + count,
                             .count = a->count - count,
                             .named = a->named,
                             .named_count = a->named_count};
}

static jinja_value named_argument(const jinja_arguments *a, const char *name) {
    for (uint64_t i = 0; i < a->named_count; i++)
        if (jinja_is_text(a->named[i].name, name)) return a->named[i].value;
    return jinja_missing();
}

static jinja_value map(jinja_run *run, const jinja_call *call) {
    const jinja_arguments *a = call->all;
    jinja_value path = a->count ? jinja_missing() : named_argument(a, "attribute");
    jinja_value otherwise = named_argument(a, "default"), result = generator(run);
    if (!a->count && path.kind == JINJA_MISSING) jinja_fail(run, "map requires a filter argument");
    const jinja_list *items = jinja_truth(run, call->subject) ? jinja_items(run, call->subject) : NULL;
    jinja_arguments rest = a->count ? arguments_behind(a, 1) : (jinja_arguments){0};
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++)
        jinja_list_add(run, result.list,
                       a->count ? jinja_apply_filter(run, a->positional[0], items->items[i], &rest)
                                : get_path(run, items->items[i], path, otherwise));
    return result;
}

/* Keeps the items of which a test, or their truth, is `wanted`; with `by_attribute` that of a part of them. */
static jinja_value choose(jinja_run *run, const jinja_call *call, bool wanted, bool by_attribute) {
    const jinja_arguments *a = call->all;
    jinja_value result = generator(run);
    if (by_attribute && !a->count) jinja_fail(run, "Missing parameter for attribute name");
    const jinja_list *items =
        !jinja_failed(run) && jinja_truth(run, call->subject) ? jinja_items(run, call->subject) : NULL;
    uint64_t skipped = by_attribute, all = a->count;
    jinja_arguments rest = all > skipped ? arguments_behind(a, skipped + 1) : (jinja_arguments){0};
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        jinja_value part =
            by_attribute ? get_path(run, items->items[i], a->positional[0], jinja_missing()) : items->items[i];
        bool holds =
            all > skipped ? jinja_apply_test(run, a->positional[skipped], part, &rest) : jinja_truth(run, part);
        if (holds == wanted) jinja_list_add(run, result.list, items->items[i]);
    }
    return result;
}

static jinja_value choose_true(jinja_run *run, const jinja_call *call) { return choose(run, call, true, false); }
static jinja_value choose_false(jinja_run *run, const jinja_call *call) { return choose(run, call, false, false); }
static jinja_value choose_attribute(jinja_run *run, const jinja_call *call) { return choose(run, call, true, true); }
static jinja_value reject_attribute(jinja_run *run, const jinja_call *call) { return choose(run, call, false, true); }

/* ---- Order ---- */

/* What an item is compared by: texts without case unless told otherwise. */
static jinja_value sort_key(jinja_run *run, jinja_value item, jinja_value path, bool with_case) {
    jinja_value key = get_path(run, item, path, jinja_missing());
    return key.kind == JINJA_STRING && !with_case && !jinja_failed(run) ? jinja_text_case(run, key.string, CASE_LOWER)
                                                                        : key;
}

/* sort and groupby take several paths with commas between; each item's key is then the list of its parts. */
static jinja_value sort_keys(jinja_run *run, jinja_value item, jinja_value paths, bool with_case) {
    if (paths.kind != JINJA_STRING || !memchr(paths.string->text, ',', paths.string->bytes))
        return sort_key(run, item, paths, with_case);
    jinja_value names = jinja_split(run, paths.string, jinja_text(run, ",", 1), -1, false);
    jinja_value keys = jinja_list_make(run, JINJA_LIST, 0);
    for (uint64_t i = 0; !jinja_failed(run) && i < names.list->count; i++)
        jinja_list_add(run, keys.list, sort_key(run, item, names.list->items[i], with_case));
    return keys;
}

/* Merges two sorted halves of `order`, a list of indices into `keys`; stable in both directions. */
static void merge(jinja_run *run, const jinja_value *keys, uint64_t *order, uint64_t *other, uint64_t begin,
                  uint64_t middle, uint64_t end, bool down) {
    uint64_t left = begin, right = middle, to = begin;
    while (keys && left < middle && right < end && jinja_step(run, 1)) {
        bool second = down ? jinja_ordered(run, ORDER_LESS, keys[order[left]], keys[order[right]])
                           : jinja_ordered(run, ORDER_LESS, keys[order[right]], keys[order[left]]);
        other[to++] = second ? order[right++] : order[left++];
    }
    while (left < middle) other[to++] = order[left++];
    while (right < end && to < end) other[to++] = order[right++];
    memcpy(order + begin, other + begin, (end - begin) * sizeof *order);
}

static void sort_list(jinja_run *run, jinja_list *list, const jinja_value *keys, bool down) {
    uint64_t count = list->count, *order = jinja_take(run, count, sizeof *order);
    uint64_t *other = jinja_take(run, count, sizeof *other);
    jinja_value *sorted = jinja_take(run, count, sizeof *sorted);
    if (!order || !other || !sorted) return;
    for (uint64_t i = 0; i < count; i++) order[i] = i;
    for (uint64_t width = 1; width < count && !jinja_failed(run); width *= 2)
        for (uint64_t at = 0; at + width < count && !jinja_failed(run); at += 2 * width)
            merge(run, keys, order, other, at, at + width, at + 2 * width < count ? at + 2 * width : count, down);
    for (uint64_t i = 0; i < count; i++) sorted[i] = list->items[order[i]];
    list->items = sorted;
    list->capacity = count;
}

static void sort_by(jinja_run *run, jinja_list *list, jinja_value path, bool with_case, bool down) {
    jinja_value *keys = jinja_take(run, list->count + 1, sizeof *keys);
    for (uint64_t i = 0; keys && i < list->count && !jinja_failed(run); i++)
        keys[i] = sort_keys(run, list->items[i], path, with_case);
    if (!jinja_failed(run) && list->count) sort_list(run, list, keys, down);
}

static jinja_value sort(jinja_run *run, const jinja_call *call) {
    jinja_value list = to_list(run, call);
    if (!jinja_failed(run))
        sort_by(run, list.list, call->given[2], jinja_truth(run, call->given[1]), jinja_truth(run, call->given[0]));
    return list;
}

static jinja_value dictsort(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind != JINJA_DICT) {
        if (!jinja_refuse_undefined(run, call->subject)) jinja_fail(run, "dictsort needs a mapping");
        return jinja_nothing();
    }
    bool by_value = jinja_is_text(call->given[1], "value");
    if (!by_value && call->given[1].kind != JINJA_MISSING && !jinja_is_text(call->given[1], "key"))
        jinja_fail(run, "You can only sort by either \"key\" or \"value\"");
    jinja_value pairs = items_of(run, call);
    if (jinja_failed(run)) return jinja_nothing();
    pairs.kind = JINJA_LIST;
    sort_by(run, pairs.list, jinja_integer(by_value), jinja_truth(run, call->given[0]),
            jinja_truth(run, call->given[2]));
    return pairs;
}

static jinja_value extreme(jinja_run *run, const jinja_call *call, jinja_order order) {
    const jinja_list *items = jinja_items(run, call->subject);
    jinja_value best = jinja_undefined_because(run, "No aggregated item, sequence was empty."), best_key = best;
    bool with_case = jinja_truth(run, call->given[0]);
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        jinja_value key = sort_key(run, items->items[i], call->given[1], with_case);
        if (i && !jinja_ordered(run, order, key, best_key)) continue;
        best = items->items[i];
        best_key = key;
    }
    return best;
}

static jinja_value least(jinja_run *run, const jinja_call *call) { return extreme(run, call, ORDER_LESS); }
static jinja_value greatest(jinja_run *run, const jinja_call *call) { return extreme(run, call, ORDER_GREATER); }

static jinja_value unique(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->subject);
    jinja_value result = generator(run), seen = jinja_dict_make(run, JINJA_DICT, 0);
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        jinja_value key = sort_key(run, items->items[i], call->given[1], jinja_truth(run, call->given[0]));
        if (jinja_failed(run) || jinja_dict_find(run, seen.dict, key)) continue;
        jinja_dict_set(run, seen.dict, key, jinja_none());
        jinja_list_add(run, result.list, items->items[i]);
    }
    return result;
}

/* Pairs of a key and the items that have it; a key's text is that of its first item. */
static jinja_value groupby(jinja_run *run, const jinja_call *call) {
    bool with_case = jinja_truth(run, call->given[2]);
    jinja_value list = to_list(run, call), groups = jinja_list_make(run, JINJA_LIST, 0), previous = jinja_nothing();
    jinja_list *group = NULL;
    if (jinja_failed(run)) return list;
    jinja_value *keys = jinja_take(run, list.list->count + 1, sizeof *keys);
    for (uint64_t i = 0; keys && i < list.list->count && !jinja_failed(run); i++) {
        jinja_value key = get_path(run, list.list->items[i], call->given[0], call->given[1]);
        list.list->items[i] = jinja_pair(run, key, list.list->items[i]);
        keys[i] = sort_key(run, key, jinja_missing(), with_case);
    }
    if (!jinja_failed(run) && list.list->count) sort_list(run, list.list, keys, false);
    for (uint64_t i = 0; i < list.list->count && !jinja_failed(run); i++) {
        const jinja_value *pair = list.list->items[i].list->items;
        jinja_value key = sort_key(run, pair[0], jinja_missing(), with_case);
        if (!group || !jinja_equal(run, key, previous)) {
            jinja_value members = jinja_list_make(run, JINJA_LIST, 0);
            jinja_value pair_of_group = jinja_pair(run, pair[0], members);
            if (jinja_failed(run)) break;
            pair_of_group.list->name = "group";
            jinja_list_add(run, groups.list, pair_of_group);
            group = members.list;
        }
        jinja_list_add(run, group, pair[1]);
        previous = key;
    }
    return groups;
}

static jinja_value sum(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->subject);
    jinja_value total = call->given[1].kind == JINJA_MISSING ? jinja_integer(0) : call->given[1];
    if (total.kind == JINJA_STRING) jinja_fail(run, "sum() can't sum strings [use ''.join(seq) instead]");
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++)
        total = jinja_arithmetic_value(run, ARITHMETIC_ADD, total,
                                       get_path(run, items->items[i], call->given[0], jinja_missing()));
    return total;
}

/* ---- Pieces ---- */

static int64_t piece_count(jinja_run *run, jinja_value v) {
    if (v.kind == JINJA_INTEGER && v.integer > 0) return v.integer;
    jinja_fail(run, "a whole number above 0 is needed");
    return 1;
}

static jinja_value batch(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->subject);
    int64_t width = piece_count(run, call->given[0]);
    bool fills = call->given[1].kind != JINJA_MISSING && call->given[1].kind != JINJA_NONE;
    jinja_value result = generator(run), row = jinja_nothing();
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        if (i % (uint64_t)width == 0) {
            row = jinja_list_make(run, JINJA_LIST, 0);
            if (!jinja_failed(run)) jinja_list_add(run, result.list, row);
        }
        if (!jinja_failed(run)) jinja_list_add(run, row.list, items->items[i]);
    }
    while (fills && row.kind == JINJA_LIST && row.list->count < (uint64_t)width && jinja_step(run, 1))
        jinja_list_add(run, row.list, call->given[1]);
    return result;
}

static jinja_value slice(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->subject);
    uint64_t pieces = (uint64_t)piece_count(run, call->given[0]), at = 0;
    bool fills = call->given[1].kind != JINJA_MISSING && call->given[1].kind != JINJA_NONE;
    jinja_value result = generator(run);
    for (uint64_t i = 0; items && i < pieces && jinja_step(run, 1); i++) {
        uint64_t longer = items->count % pieces, count = items->count / pieces + (i < longer);
        jinja_value row = jinja_list_make(run, JINJA_LIST, count);
        for (uint64_t k = 0; k < count && !jinja_failed(run); k++) jinja_list_add(run, row.list, items->items[at++]);
        if (fills && i >= longer && !jinja_failed(run)) jinja_list_add(run, row.list, call->given[1]);
        if (!jinja_failed(run)) jinja_list_add(run, result.list, row);
    }
    return result;
}

const jinja_builtin jinja_sequence_filters[] = {
    {"batch", batch, "linecount fill_with", 1},
    {"dictsort", dictsort, "case_sensitive by reverse", 0},
    {"first", first, "", 0},
    {"groupby", groupby, "attribute default case_sensitive", 1},
    {"items", items_of, "", 0},
    {"join", join, "d attribute", 0},
    {"last", last, "", 0},
    {"list", to_list, "", 0},
    {"map", map, "*", 0},
    {"max", greatest, "case_sensitive attribute", 0},
    {"min", least, "case_sensitive attribute", 0},
    {"reject", choose_false, "*", 0},
    {"rejectattr", reject_attribute, "*", 0},
    {"reverse", reverse, "", 0},
    {"select", choose_true, "*", 0},
    {"selectattr", choose_attribute, "*", 0},
    {"slice", slice, "slices fill_with", 1},
    {"sort", sort, "reverse case_sensitive attribute", 0},
    {"sum", sum, "attribute start", 0},
    {"unique", unique, "case_sensitive attribute", 0},
    {0},
};
