/* Methods of dicts, lists, loops and cyclers. */
#include "text/jinja_call.h"

/* ---- dict ---- */

static jinja_value view(jinja_run *run, const jinja_dict *dict, const char *name) {
    jinja_value list = jinja_list_make(run, JINJA_VIEW, dict->count);
    if (!jinja_failed(run)) list.list->name = name;
    return list;
}

static jinja_value items(jinja_run *run, const jinja_call *call) {
    const jinja_dict *dict = call->subject.dict;
    jinja_value list = view(run, dict, "dict_items");
    jinja_list_add_pairs(run, list.list, dict);
    return list;
}

static jinja_value keys(jinja_run *run, const jinja_call *call) {
    const jinja_dict *dict = call->subject.dict;
    jinja_value list = view(run, dict, "dict_keys");
    for (uint64_t i = 0; i < dict->count && !jinja_failed(run); i++)
        jinja_list_add(run, list.list, dict->entries[i].key);
    return list;
}

static jinja_value values(jinja_run *run, const jinja_call *call) {
    const jinja_dict *dict = call->subject.dict;
    jinja_value list = view(run, dict, "dict_values");
    for (uint64_t i = 0; i < dict->count && !jinja_failed(run); i++)
        jinja_list_add(run, list.list, dict->entries[i].value);
    return list;
}

static jinja_value get(jinja_run *run, const jinja_call *call) {
    if (call->given[0].kind == JINJA_LIST || call->given[0].kind == JINJA_DICT)
        jinja_fail(run, "unhashable type: '%s'", jinja_type_name(call->given[0]));
    const jinja_value *there = jinja_dict_find(run, call->subject.dict, call->given[0]);
    if (there) return *there;
    return call->given[1].kind == JINJA_MISSING ? jinja_none() : call->given[1];
}

static jinja_value copy(jinja_run *run, const jinja_call *call) {
    (void)run;
    return call->subject; /* nothing changes it */
}

/* ---- list, tuple, range ---- */

static jinja_value count(jinja_run *run, const jinja_call *call) {
    const jinja_list *list = jinja_items(run, call->subject);
    int64_t found = 0;
    for (uint64_t i = 0; list && i < list->count && jinja_step(run, 1); i++)
        found += jinja_equal(run, list->items[i], call->given[0]);
    return jinja_integer(found);
}

static int64_t bound(jinja_value v, int64_t length, int64_t otherwise) {
    int64_t at = v.kind == JINJA_INTEGER ? v.integer : otherwise;
    if (at < 0) at = at + length < 0 ? 0 : at + length;
    return at > length ? length : at;
}

static jinja_value find_index(jinja_run *run, const jinja_call *call) {
    const jinja_list *list = jinja_items(run, call->subject);
    int64_t length = list ? (int64_t)list->count : 0, end = bound(call->given[2], length, length);
    for (int64_t i = bound(call->given[1], length, 0); i < end && jinja_step(run, 1); i++)
        if (jinja_equal(run, list->items[i], call->given[0])) return jinja_integer(i);
    jinja_fail(run, "the value is not in the %s", jinja_type_name(call->subject));
    return jinja_nothing();
}

/* ---- loop ---- */

static jinja_value loop_cycle(jinja_run *run, const jinja_call *call) {
    if (!call->all->count) {
        jinja_fail(run, "no items for cycling given");
        return jinja_nothing();
    }
    return call->all->positional[call->subject.loop->index0 % call->all->count];
}

static jinja_value loop_changed(jinja_run *run, const jinja_call *call) {
    jinja_loop *loop = call->subject.loop;
    jinja_value now = jinja_list_make(run, JINJA_TUPLE, call->all->count);
    jinja_list_extend(run, now.list, call->all->positional, call->all->count);
    if (jinja_failed(run)) return jinja_nothing();
    jinja_value before = {.kind = JINJA_TUPLE, .list = (jinja_list *)loop->changed};
    if (loop->changed && jinja_equal(run, before, now)) return jinja_boolean(false);
    loop->changed = now.list;
    return jinja_boolean(true);
}

/* ---- cycler ---- */

static jinja_value cycler_next(jinja_run *run, const jinja_call *call) {
    (void)run;
    jinja_cycler *c = call->subject.cycler;
    jinja_value item = c->items->items[c->at];
    c->at = (c->at + 1) % c->items->count;
    return item;
}

static jinja_value cycler_reset(jinja_run *run, const jinja_call *call) {
    (void)run;
    call->subject.cycler->at = 0;
    return jinja_none();
}

const jinja_builtin jinja_dict_methods[] = {
    {"copy", copy, "", 0}, {"get", get, "key default", 1}, {"items", items, "", 0},
    {"keys", keys, "", 0}, {"values", values, "", 0},      {0},
};

const jinja_builtin jinja_list_methods[] = {
    {"copy", copy, "", 0},
    {"count", count, "value", 1},
    {"index", find_index, "value start stop", 1},
    {0},
};

const jinja_builtin jinja_loop_methods[] = {
    {"changed", loop_changed, "*", 0},
    {"cycle", loop_cycle, "*", 0},
    {0},
};

const jinja_builtin jinja_cycler_methods[] = {
    {"next", cycler_next, "", 0},
    {"reset", cycler_reset, "", 0},
    {0},
};
