/* JSON as values: see jinja_json_value.h. */
#include "text/jinja_json_value.h"

#include <string.h>

static jinja_value from_array(jinja_run *run, const json_t *json) {
    size_t count = json_array_size(json);
    jinja_value list = jinja_list_make(run, JINJA_LIST, count);
    for (size_t i = 0; i < count && !jinja_failed(run); i++)
        jinja_list_add(run, list.list, jinja_from_json(run, json_array_get(json, i)));
    return list;
}

/* Keys of an object are unique already, so they are not looked for. */
static void add_entry(jinja_run *run, jinja_dict *dict, const char *key, jinja_value value) {
    jinja_value name = jinja_text(run, key, strlen(key));
    if (!jinja_failed(run)) dict->entries[dict->count++] = (jinja_entry){.key = name, .value = value};
}

static jinja_value from_object(jinja_run *run, const json_t *json) {
    const char *key;
    const json_t *value;
    jinja_value dict = jinja_dict_make(run, JINJA_DICT, json_object_size(json));
    json_object_foreach((json_t *)json, key, value) {
        if (jinja_failed(run)) break;
        add_entry(run, dict.dict, key, jinja_from_json(run, value));
    }
    return dict;
}

jinja_value jinja_from_json(jinja_run *run, const json_t *json) {
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_TRUE:
        return jinja_boolean(true);
    case JSON_FALSE:
        return jinja_boolean(false);
    case JSON_INTEGER:
        return jinja_integer(json_integer_value(json));
    case JSON_REAL:
        return jinja_float(json_real_value(json));
    case JSON_STRING:
        return jinja_text(run, json_string_value(json), json_string_length(json));
    case JSON_NULL:
        return jinja_none();
    default:
        break;
    }
    if (!jinja_enter(run)) return jinja_nothing();
    jinja_value value = json_is_array(json) ? from_array(run, json) : from_object(run, json);
    jinja_leave(run);
    return value;
}

static bool is_there(const json_t *value) { return value && !json_is_null(value); }

static const json_t *reasoning_of(const json_t *message) {
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *there = json_object_get(message, names[i]);
        if (is_there(there)) return there;
    }
    return NULL;
}

/* "thinking" comes first, "reasoning_content" where it was or last. */
static jinja_value from_message(jinja_run *run, const json_t *message) {
    const char *key;
    const json_t *value, *reasoning = reasoning_of(message), *thinking = json_object_get(message, "thinking");
    jinja_value dict = jinja_dict_make(run, JINJA_DICT, json_object_size(message) + 2);
    if (reasoning && !jinja_failed(run))
        add_entry(run, dict.dict, "thinking", jinja_from_json(run, is_there(thinking) ? thinking : reasoning));
    json_object_foreach((json_t *)message, key, value) {
        bool replaced = reasoning && !strcmp(key, "reasoning_content");
        if (!is_there(value) || (reasoning && !strcmp(key, "thinking")) || jinja_failed(run)) continue;
        add_entry(run, dict.dict, key, jinja_from_json(run, replaced ? reasoning : value));
    }
    if (reasoning && !is_there(json_object_get(message, "reasoning_content")) && !jinja_failed(run))
        add_entry(run, dict.dict, "reasoning_content", jinja_from_json(run, reasoning));
    return dict;
}

jinja_value jinja_messages_from_json(jinja_run *run, const json_t *messages, uint64_t count) {
    if (!json_is_array(messages)) jinja_fail(run, "messages must be a list");
    uint64_t all = json_array_size(messages);
    if (count > all) count = all;
    jinja_value list = jinja_list_make(run, JINJA_LIST, count);
    for (uint64_t i = 0; i < count && !jinja_failed(run); i++) {
        const json_t *message = json_array_get(messages, i);
        if (!json_is_object(message)) jinja_fail(run, "message %llu is no object", (unsigned long long)i + 1);
        if (!jinja_failed(run)) jinja_list_add(run, list.list, from_message(run, message));
    }
    return list;
}
