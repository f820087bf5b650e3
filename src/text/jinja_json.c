/* Values as json.dumps() writes them: see jinja_text.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_text.h"

static void put_unicode_escape(jinja_run *run, jinja_builder *b, uint32_t c) {
    char text[16];
    if (c >= 0x10000)
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                 0xdc00 + ((c - 0x10000) & 0x3ff));
    else
        snprintf(text, sizeof text, "\\u%04x", c);
    jinja_put_literal(run, b, text);
}

static void put_json_text(jinja_run *run, jinja_builder *b, const json_style *style, const jinja_string *s) {
    static const char names[] = "\"\\nrtbf", values[] = "\"\\\n\r\t\b\f";
    uint64_t length;
    jinja_put(run, b, "\"", 1);
    for (uint64_t at = 0; at < s->bytes && !jinja_failed(run); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        const char *simple = c && c < 0x80 ? strchr(values, (int)c) : NULL;
        if (simple) {
            jinja_put(run, b, "\\", 1);
            jinja_put(run, b, &names[simple - values], 1);
        } else if (c < ' ' || (style->ascii && c > 126)) {
            put_unicode_escape(run, b, c);
        } else {
            jinja_put(run, b, s->text + at, length);
        }
    }
    jinja_put(run, b, "\"", 1);
}

static void put_json_float(jinja_run *run, jinja_builder *b, double number) {
    if (isnan(number))
        jinja_put_literal(run, b, "NaN");
    else if (isinf(number))
        jinja_put_literal(run, b, number < 0 ? "-Infinity" : "Infinity");
    else
        jinja_put_float(run, b, number);
}

static void put_line(jinja_run *run, jinja_builder *b, const json_style *style, uint32_t level) {
    if (!style->indent) return;
    jinja_put(run, b, "\n", 1);
    for (uint32_t i = 0; i < level; i++) jinja_put(run, b, style->indent, style->indent_bytes);
}

static void put_separator(jinja_run *run, jinja_builder *b, const json_style *style, bool first, uint32_t level) {
    if (!first) jinja_put_text(run, b, style->item_separator);
    put_line(run, b, style, level);
}

static void put_list(jinja_run *run, jinja_builder *b, const json_style *style, const jinja_list *list,
                     uint32_t level) {
    jinja_put(run, b, "[", 1);
    for (uint64_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        put_separator(run, b, style, i == 0, level + 1);
        jinja_put_json(run, b, style, list->items[i], level + 1);
    }
    if (list->count) put_line(run, b, style, level);
    jinja_put(run, b, "]", 1);
}

static void put_key(jinja_run *run, jinja_builder *b, const json_style *style, jinja_value key) {
    if (key.kind == JINJA_STRING) {
        put_json_text(run, b, style, key.string);
    } else if (key.kind == JINJA_NONE || jinja_is_number(key)) {
        jinja_put(run, b, "\"", 1);
        jinja_put_json(run, b, style, key, 0);
        jinja_put(run, b, "\"", 1);
    } else {
        jinja_fail(run, "keys must be str, int, float, bool or None, not %s", jinja_type_name(key));
    }
}

/* The entries in the order of their keys, by insertion: dicts in templates are small. */
static jinja_dict sort_keys(jinja_run *run, const jinja_dict *dict) {
    jinja_dict sorted = {.entries = jinja_take(run, dict->count, sizeof *sorted.entries)};
    for (uint64_t i = 0; sorted.entries && i < dict->count && !jinja_failed(run); i++) {
        uint64_t at = sorted.count;
        while (at && jinja_ordered(run, ORDER_LESS, dict->entries[i].key, sorted.entries[at - 1].key)) {
            sorted.entries[at] = sorted.entries[at - 1];
            at--;
        }
        sorted.entries[at] = dict->entries[i];
        sorted.count++;
    }
    return sorted;
}

static void put_dict(jinja_run *run, jinja_builder *b, const json_style *style, const jinja_dict *dict,
                     uint32_t level) {
    jinja_dict sorted;
    if (style->sorted) {
        sorted = sort_keys(run, dict);
        dict = &sorted;
    }
    jinja_put(run, b, "{", 1);
    for (uint64_t i = 0; i < dict->count && jinja_step(run, 1); i++) {
        put_separator(run, b, style, i == 0, level + 1);
        put_key(run, b, style, dict->entries[i].key);
        jinja_put_text(run, b, style->key_separator);
        jinja_put_json(run, b, style, dict->entries[i].value, level + 1);
    }
    if (dict->count) put_line(run, b, style, level);
    jinja_put(run, b, "}", 1);
}

void jinja_put_json(jinja_run *run, jinja_builder *b, const json_style *style, jinja_value v, uint32_t level) {
    switch (v.kind) {
    case JINJA_NONE:
        jinja_put_literal(run, b, "null");
        break;
    case JINJA_BOOLEAN:
        jinja_put_literal(run, b, v.boolean ? "true" : "false");
        break;
    case JINJA_INTEGER:
        jinja_put_text(run, b, v);
        break;
    case JINJA_FLOAT:
        put_json_float(run, b, v.real);
        break;
    case JINJA_STRING:
        put_json_text(run, b, style, v.string);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
        if (!jinja_enter(run)) break;
        if (v.kind == JINJA_DICT)
            put_dict(run, b, style, v.dict, level);
        else
            put_list(run, b, style, v.list, level);
        jinja_leave(run);
        break;
    default:
        jinja_fail(run, "Object of type %s is not JSON serializable", jinja_type_name(v));
        break;
    }
}
