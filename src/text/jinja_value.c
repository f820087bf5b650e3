/* Values of the template language: see jinja_value.h. */
#include "text/jinja_value.h"

#include <string.h>

#include "text/jinja_text.h"

static uint64_t count_characters(const char *text, uint64_t bytes) {
    uint64_t count = 0;
    for (uint64_t i = 0; text && i < bytes; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

jinja_value jinja_text(jinja_run *run, const char *text, uint64_t bytes) {
    jinja_string *s = jinja_step(run, bytes / 64) ? jinja_take(run, 1, sizeof *s) : NULL;
    if (!s) return jinja_nothing();
    *s = (jinja_string){.text = text ? text : "", .bytes = bytes, .characters = count_characters(text, bytes)};
    return (jinja_value){.kind = JINJA_STRING, .string = s};
}

jinja_value jinja_text_copy(jinja_run *run, const char *text, uint64_t bytes) {
    jinja_builder copy = {0};
    jinja_put(run, &copy, text, bytes);
    return jinja_text_built(run, &copy);
}

jinja_value jinja_text_built(jinja_run *run, const jinja_builder *b) { return jinja_text(run, b->data, b->bytes); }

jinja_value jinja_text_append(jinja_run *run, const jinja_string *text, const char *more, uint64_t bytes) {
    jinja_builder *store = text->store;
    bool ends_there = store && store->data && text->text + text->bytes == store->data + store->bytes;
    if (!ends_there) {
        store = jinja_take(run, 1, sizeof *store);
        if (store) jinja_put(run, store, text->text, text->bytes);
    }
    if (store) jinja_put(run, store, more, bytes);
    jinja_string *s = jinja_take(run, 1, sizeof *s);
    if (!s || !store || jinja_failed(run)) return jinja_nothing();
    *s = (jinja_string){.text = store->data ? store->data : "",
                        .bytes = store->bytes,
                        .characters = text->characters + count_characters(more, bytes),
                        .store = store};
    return (jinja_value){.kind = JINJA_STRING, .string = s};
}

jinja_value jinja_list_make(jinja_run *run, jinja_kind kind, uint64_t capacity) {
    jinja_list *list = jinja_take(run, 1, sizeof *list);
    if (list && capacity) list->items = jinja_take(run, capacity, sizeof *list->items);
    if (!list || (capacity && !list->items)) return jinja_nothing();
    list->capacity = capacity;
    return (jinja_value){.kind = kind, .list = list};
}

/* `array` with room for one more than `count` things of `size` bytes; NULL after a failure. */
static void *grow(jinja_run *run, void *array, uint64_t count, uint64_t *capacity, uint64_t size) {
    if (count < *capacity) return array;
    uint64_t larger = *capacity ? *capacity * 2 : 4;
    void *grown = array;
    if (!array || !jinja_arena_extend(run->arena, array, *capacity * size, larger * size)) {
        grown = jinja_take(run, larger, size);
        if (grown && array) memcpy(grown, array, count * size);
    }
    if (grown) *capacity = larger;
    return grown;
}

void jinja_list_add(jinja_run *run, jinja_list *list, jinja_value item) {
    if (!list || !jinja_step(run, 1)) return;
    jinja_value *items = grow(run, list->items, list->count, &list->capacity, sizeof *items);
    if (!items) return;
    list->items = items;
    list->items[list->count++] = item;
}

jinja_value jinja_dict_make(jinja_run *run, jinja_kind kind, uint64_t capacity) {
    jinja_dict *dict = jinja_take(run, 1, sizeof *dict);
    if (dict && capacity) dict->entries = jinja_take(run, capacity, sizeof *dict->entries);
    if (!dict || (capacity && !dict->entries)) return jinja_nothing();
    dict->capacity = capacity;
    return (jinja_value){.kind = kind, .dict = dict};
}

bool jinja_is_key(jinja_run *run, jinja_value v) {
    if (v.kind == JINJA_TUPLE) {
        bool fine = jinja_enter(run);
        if (!fine) return false;
        for (uint64_t i = 0; i < v.list->count && fine; i++) fine = jinja_is_key(run, v.list->items[i]);
        jinja_leave(run);
        return fine;
    }
    return v.kind != JINJA_LIST && v.kind != JINJA_DICT && v.kind != JINJA_VIEW;
}

jinja_value *jinja_dict_find(jinja_run *run, const jinja_dict *dict, jinja_value key) {
    for (uint64_t i = 0; dict && i < dict->count && jinja_step(run, 1); i++)
        if (jinja_equal(run, dict->entries[i].key, key)) return &dict->entries[i].value;
    return NULL;
}

void jinja_dict_set(jinja_run *run, jinja_dict *dict, jinja_value key, jinja_value value) {
    if (!dict || jinja_failed(run)) return;
    if (!jinja_is_key(run, key)) {
        jinja_fail(run, "unhashable type: '%s'", jinja_type_name(key));
        return;
    }
    jinja_value *there = jinja_dict_find(run, dict, key);
    if (there) {
        *there = value;
        return;
    }
    jinja_entry *entries = grow(run, dict->entries, dict->count, &dict->capacity, sizeof *entries);
    if (!entries) return;
    dict->entries = entries;
    dict->entries[dict->count++] = (jinja_entry){.key = key, .value = value};
}

jinja_value jinja_pair(jinja_run *run, jinja_value first, jinja_value second) {
    jinja_value pair = jinja_list_make(run, JINJA_TUPLE, 2);
    if (jinja_failed(run)) return pair;
    jinja_list_add(run, pair.list, first);
    jinja_list_add(run, pair.list, second);
    return pair;
}

void jinja_list_extend(jinja_run *run, jinja_list *list, const jinja_value *items, uint64_t count) {
    for (uint64_t i = 0; i < count && !jinja_failed(run); i++) jinja_list_add(run, list, items[i]);
}

void jinja_list_add_pairs(jinja_run *run, jinja_list *list, const jinja_dict *dict) {
    for (uint64_t i = 0; i < dict->count && !jinja_failed(run); i++)
        jinja_list_add(run, list, jinja_pair(run, dict->entries[i].key, dict->entries[i].value));
}

static jinja_value undefined_make(jinja_run *run, jinja_undefined what) {
    jinja_undefined *u = jinja_take(run, 1, sizeof *u);
    if (u) memcpy(u, &what, sizeof what);
    return (jinja_value){.kind = JINJA_UNDEFINED, .undefined = u};
}

static const char *object_name(jinja_value v) {
    switch (v.kind) {
    case JINJA_NONE:
        return "None";
    case JINJA_NAMESPACE:
        return "namespace object";
    case JINJA_LOOP:
        return "loop object";
    case JINJA_MACRO:
        return "macro object";
    case JINJA_DICT:
        return "dict object";
    case JINJA_LIST:
        return "list object";
    case JINJA_STRING:
        return "str object";
    case JINJA_INTEGER:
        return "int object";
    case JINJA_FLOAT:
        return "float object";
    case JINJA_BOOLEAN:
        return "bool object";
    case JINJA_TUPLE:
        return "tuple object";
    case JINJA_RANGE:
        return "range object";
    case JINJA_VIEW:
        return v.list->name;
    case JINJA_GENERATOR:
        return "generator object";
    default:
        return "object";
    }
}

jinja_value jinja_undefined_name(jinja_run *run, const jinja_value *owner, jinja_value name) {
    return undefined_make(run, (jinja_undefined){.owner = owner ? object_name(*owner) : NULL, .name = name});
}

jinja_value jinja_undefined_because(jinja_run *run, const char *message) {
    return undefined_make(run, (jinja_undefined){.message = message});
}

bool jinja_refuse_undefined(jinja_run *run, jinja_value v) {
    if (v.kind != JINJA_UNDEFINED) return false;
    const jinja_undefined *u = v.undefined;
    jinja_builder name = {0};
    if (u && !u->message) jinja_put_repr(run, &name, u->name);
    if (!u)
        jinja_fail(run, "an undefined value is used");
    else if (u->message)
        jinja_fail(run, "%s", u->message);
    else if (!u->owner)
        jinja_fail(run, "%.*s is undefined", (int)name.bytes, name.data ? name.data : "");
    else if (u->name.kind == JINJA_STRING)
        jinja_fail(run, "'%s' has no attribute %.*s", u->owner, (int)name.bytes, name.data ? name.data : "");
    else
        jinja_fail(run, "%s has no element %.*s", u->owner, (int)name.bytes, name.data ? name.data : "");
    return true;
}

const char *jinja_type_name(jinja_value v) {
    static const char *const names[] = {
        [JINJA_UNDEFINED] = "Undefined", [JINJA_MISSING] = "missing",     [JINJA_NONE] = "NoneType",
        [JINJA_BOOLEAN] = "bool",        [JINJA_INTEGER] = "int",         [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",          [JINJA_LIST] = "list",           [JINJA_TUPLE] = "tuple",
        [JINJA_VIEW] = "dict view",      [JINJA_GENERATOR] = "generator", [JINJA_DICT] = "dict",
        [JINJA_NAMESPACE] = "Namespace", [JINJA_RANGE] = "range",         [JINJA_LOOP] = "LoopContext",
        [JINJA_MACRO] = "Macro",         [JINJA_FUNCTION] = "function",   [JINJA_METHOD] = "method",
        [JINJA_CYCLER] = "Cycler",       [JINJA_JOINER] = "Joiner",
    };
    return v.kind == JINJA_VIEW ? v.list->name : names[v.kind];
}

bool jinja_is_text(jinja_value v, const char *text) {
    return v.kind == JINJA_STRING && v.string->bytes == strlen(text) &&
           !memcmp(v.string->text, text, v.string->bytes);
}

bool jinja_is_number(jinja_value v) {
    return v.kind == JINJA_BOOLEAN || v.kind == JINJA_INTEGER || v.kind == JINJA_FLOAT;
}

double jinja_number(jinja_value v) {
    return v.kind == JINJA_FLOAT ? v.real : v.kind == JINJA_BOOLEAN ? v.boolean : (double)v.integer;
}

bool jinja_is_sequence(jinja_value v) {
    return v.kind == JINJA_LIST || v.kind == JINJA_TUPLE || v.kind == JINJA_STRING || v.kind == JINJA_RANGE;
}

bool jinja_is_iterable(jinja_value v) {
    return jinja_is_sequence(v) || v.kind == JINJA_DICT || v.kind == JINJA_VIEW || v.kind == JINJA_GENERATOR ||
           v.kind == JINJA_UNDEFINED || v.kind == JINJA_LOOP;
}

int64_t jinja_length(jinja_value v) {
    switch (v.kind) {
    case JINJA_UNDEFINED:
        return 0;
    case JINJA_STRING:
        return (int64_t)v.string->characters;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return (int64_t)v.list->count;
    case JINJA_DICT:
        return (int64_t)v.dict->count;
    case JINJA_RANGE:
        return (int64_t)v.range->count;
    default:
        return -1;
    }
}

bool jinja_truth(jinja_run *run, jinja_value v) {
    (void)run;
    switch (v.kind) {
    case JINJA_NONE:
    case JINJA_MISSING:
        return false;
    case JINJA_BOOLEAN:
        return v.boolean;
    case JINJA_INTEGER:
        return v.integer != 0;
    case JINJA_FLOAT:
        return v.real != 0;
    default:
        return jinja_length(v) != 0;
    }
}

static const jinja_list *characters_of(jinja_run *run, const jinja_string *s) {
    jinja_value list = jinja_list_make(run, JINJA_LIST, s->characters);
    uint64_t length;
    for (uint64_t at = 0; at < s->bytes && !jinja_failed(run); at += length) {
        utf8_read(s->text + at, s->bytes - at, &length);
        jinja_list_add(run, list.list, jinja_text(run, s->text + at, length));
    }
    return jinja_failed(run) ? NULL : list.list;
}

static const jinja_list *list_of(jinja_run *run, jinja_value v) {
    jinja_value list = jinja_list_make(run, JINJA_LIST,
                                       v.kind == JINJA_DICT    ? v.dict->count
                                       : v.kind == JINJA_RANGE ? v.range->count
                                                               : 0);
    if (jinja_failed(run)) return NULL;
    for (uint64_t i = 0; v.kind == JINJA_DICT && i < v.dict->count; i++)
        jinja_list_add(run, list.list, v.dict->entries[i].key);
    for (uint64_t i = 0; v.kind == JINJA_RANGE && i < v.range->count; i++)
        jinja_list_add(run, list.list, jinja_integer(v.range->start + (int64_t)i * v.range->step));
    return list.list;
}

/* What is left of a generator; nothing is left then. */
static const jinja_list *rest_of(jinja_run *run, jinja_list *generator) {
    jinja_list *rest = jinja_take(run, 1, sizeof *rest);
    if (!rest) return NULL;
    rest->items = generator->items ? generator->items + generator->consumed : NULL;
    rest->count = rest->capacity = generator->count - generator->consumed;
    generator->consumed = generator->count;
    return rest;
}

const jinja_list *jinja_items(jinja_run *run, jinja_value v) {
    if (jinja_failed(run)) return NULL;
    switch (v.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
        return v.list;
    case JINJA_GENERATOR:
        return rest_of(run, v.list);
    case JINJA_STRING:
        return characters_of(run, v.string);
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_UNDEFINED:
        return list_of(run, v);
    default:
        jinja_fail(run, "'%s' object is not iterable", jinja_type_name(v));
        return NULL;
    }
}
