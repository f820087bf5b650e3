/* Values as Python prints them: see jinja_text.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

static void put_integer(jinja_run *run, jinja_builder *b, int64_t number) {
    char text[32];
    jinja_put(run, b, text, (uint64_t)snprintf(text, sizeof text, "%" PRId64, number));
}

/* The fewest digits that give the number again, as "d.ddde+xx": returns the digits, sets the exponent. */
static unsigned shortest_digits(double number, char digits[24], int *exponent) {
    char text[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, number);
        if (strtod(text, NULL) == number) break;
    }
    unsigned count = 0;
    const char *mark = strchr(text, 'e');
    for (const char *c = text; c < mark; c++)
        if (*c >= '0' && *c <= '9') digits[count++] = *c;
    *exponent = (int)strtol(mark + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0') count--;
    return count;
}

static void put_zeros(jinja_run *run, jinja_builder *b, int count) {
    while (count-- > 0) jinja_put(run, b, "0", 1);
}

/* Without an exponent from 1e-4 to below 1e16, as Python's repr. */
void jinja_put_float(jinja_run *run, jinja_builder *b, double number) {
    if (isnan(number)) {
        jinja_put_literal(run, b, "nan");
        return;
    }
    if (signbit(number)) jinja_put_literal(run, b, "-");
    if (isinf(number)) {
        jinja_put_literal(run, b, "inf");
        return;
    }
    char digits[24], tail[16];
    int exponent;
    unsigned count = shortest_digits(fabs(number), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        jinja_put(run, b, digits, 1);
        if (count > 1) jinja_put_literal(run, b, ".");
        jinja_put(run, b, digits + 1, count - 1);
        snprintf(tail, sizeof tail, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        jinja_put_literal(run, b, tail);
    } else if (exponent < 0) {
        jinja_put_literal(run, b, "0.");
        put_zeros(run, b, -exponent - 1);
        jinja_put(run, b, digits, count);
    } else {
        unsigned whole = (unsigned)exponent + 1;
        jinja_put(run, b, digits, count < whole ? count : whole);
        put_zeros(run, b, (int)whole - (int)count);
        jinja_put_literal(run, b, ".");
        if (count > whole)
            jinja_put(run, b, digits + whole, count - whole);
        else
            jinja_put_literal(run, b, "0");
    }
}

static void put_escaped(jinja_run *run, jinja_builder *b, uint32_t c) {
    char text[16];
    if (c == '\n')
        jinja_put_literal(run, b, "\\n");
    else if (c == '\r')
        jinja_put_literal(run, b, "\\r");
    else if (c == '\t')
        jinja_put_literal(run, b, "\\t");
    else {
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        jinja_put_literal(run, b, text);
    }
}

/* In single quotes, unless the text has those and no double ones. */
static void put_quoted(jinja_run *run, jinja_builder *b, const jinja_string *s) {
    char quote = memchr(s->text, '\'', s->bytes) && !memchr(s->text, '"', s->bytes) ? '"' : '\'';
    uint64_t length;
    jinja_put(run, b, &quote, 1);
    for (uint64_t at = 0; at < s->bytes && !jinja_failed(run); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        if (c == (unsigned char)quote || c == '\\') jinja_put(run, b, "\\", 1);
        if (jinja_is_printable(c))
            jinja_put(run, b, s->text + at, length);
        else
            put_escaped(run, b, c);
    }
    jinja_put(run, b, &quote, 1);
}

static void put_items(jinja_run *run, jinja_builder *b, const jinja_list *list, const char *open, const char *close) {
    jinja_put_literal(run, b, open);
    for (uint64_t i = 0; i < list->count && jinja_step(run, 1); i++) {
        if (i) jinja_put_literal(run, b, ", ");
        jinja_put_repr(run, b, list->items[i]);
    }
    jinja_put_literal(run, b, close);
}

static void put_dict(jinja_run *run, jinja_builder *b, const jinja_dict *dict) {
    jinja_put_literal(run, b, "{");
    for (uint64_t i = 0; i < dict->count && jinja_step(run, 1); i++) {
        if (i) jinja_put_literal(run, b, ", ");
        jinja_put_repr(run, b, dict->entries[i].key);
        jinja_put_literal(run, b, ": ");
        jinja_put_repr(run, b, dict->entries[i].value);
    }
    jinja_put_literal(run, b, "}");
}

static void put_range(jinja_run *run, jinja_builder *b, const jinja_range *r) {
    char text[96];
    if (r->step == 1)
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", r->start, r->stop);
    else
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", r->start, r->stop, r->step);
    jinja_put_literal(run, b, text);
}

static void put_compound(jinja_run *run, jinja_builder *b, jinja_value v) {
    switch (v.kind) {
    case JINJA_LIST:
        put_items(run, b, v.list, "[", "]");
        break;
    case JINJA_TUPLE:
        put_items(run, b, v.list, "(", v.list->count == 1 ? ",)" : ")");
        break;
    case JINJA_VIEW:
        jinja_put_literal(run, b, v.list->name);
        put_items(run, b, v.list, "([", "])");
        break;
    case JINJA_NAMESPACE:
        jinja_put_literal(run, b, "<Namespace ");
        put_dict(run, b, v.dict);
        jinja_put_literal(run, b, ">");
        break;
    default:
        put_dict(run, b, v.dict);
        break;
    }
}

/* What has no text of its own: Python's has an address, which differs from run to run, and is left out. */
static void put_thing(jinja_run *run, jinja_builder *b, jinja_value v) {
    char text[64];
    if (v.kind == JINJA_LOOP) {
        snprintf(text, sizeof text, "<LoopContext %llu/%llu>", (unsigned long long)v.loop->index0 + 1,
                 (unsigned long long)v.loop->items->count);
        jinja_put_literal(run, b, text);
    } else if (v.kind == JINJA_MACRO) {
        jinja_put_literal(run, b, "<Macro ");
        if (v.macro->name.kind == JINJA_STRING)
            jinja_put_repr(run, b, v.macro->name);
        else
            jinja_put_literal(run, b, "anonymous");
        jinja_put_literal(run, b, ">");
    } else {
        snprintf(text, sizeof text, "<%s object>", jinja_type_name(v));
        jinja_put_literal(run, b, text);
    }
}

void jinja_put_repr(jinja_run *run, jinja_builder *b, jinja_value v) {
    switch (v.kind) {
    case JINJA_UNDEFINED:
        jinja_put_literal(run, b, "Undefined");
        break;
    case JINJA_NONE:
        jinja_put_literal(run, b, "None");
        break;
    case JINJA_BOOLEAN:
        jinja_put_literal(run, b, v.boolean ? "True" : "False");
        break;
    case JINJA_INTEGER:
        put_integer(run, b, v.integer);
        break;
    case JINJA_FLOAT:
        jinja_put_float(run, b, v.real);
        break;
    case JINJA_STRING:
        put_quoted(run, b, v.string);
        break;
    case JINJA_RANGE:
        put_range(run, b, v.range);
        break;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
    case JINJA_DICT:
    case JINJA_NAMESPACE:
        if (!jinja_enter(run)) break;
        put_compound(run, b, v);
        jinja_leave(run);
        break;
    default:
        put_thing(run, b, v);
        break;
    }
}

void jinja_put_text(jinja_run *run, jinja_builder *b, jinja_value v) {
    if (v.kind == JINJA_STRING)
        jinja_put(run, b, v.string->text, v.string->bytes);
    else if (v.kind != JINJA_UNDEFINED)
        jinja_put_repr(run, b, v);
}

jinja_value jinja_to_text(jinja_run *run, jinja_value v) {
    jinja_builder text = {0};
    if (v.kind == JINJA_STRING) return v;
    jinja_put_text(run, &text, v);
    return jinja_text_built(run, &text);
}
