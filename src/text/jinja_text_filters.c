/* Filters on texts. Each takes str() of what it is given. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

/* str() of the subject; NULL after a failure. */
static const jinja_string *subject_text(jinja_run *run, const jinja_call *call) {
    jinja_value text = jinja_to_text(run, call->subject);
    return jinja_failed(run) ? NULL : text.string;
}

static jinja_value upper(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    return s ? jinja_text_case(run, s, CASE_UPPER) : jinja_nothing();
}

static jinja_value lower(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    return s ? jinja_text_case(run, s, CASE_LOWER) : jinja_nothing();
}

static jinja_value capitalize(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    return s ? jinja_text_case(run, s, CASE_TITLE) : jinja_nothing();
}

/* The first of the characters between blanks and opening marks is upper, the rest lower. */
static jinja_value title(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    jinja_builder text = {0};
    bool starts = true, marks = false;
    uint64_t length;
    for (uint64_t at = 0; s && at < s->bytes && jinja_step(run, 1); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        bool mark = jinja_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        starts |= mark != marks;
        marks = mark;
        jinja_put_case(run, &text, c, starts ? CASE_UPPER : CASE_LOWER);
        starts = false;
    }
    return jinja_text_built(run, &text);
}

static jinja_value trim(jinja_run *run, const jinja_call *call) {
    jinja_value text = jinja_to_text(run, call->subject), characters = call->given[0];
    if (characters.kind != JINJA_MISSING && characters.kind != JINJA_NONE && characters.kind != JINJA_STRING)
        jinja_fail(run, "strip arg must be None or str");
    return jinja_failed(run) ? text : jinja_strip(run, text, characters, true, true);
}

static jinja_value replace(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    jinja_value from = jinja_to_text(run, call->given[0]), to = jinja_to_text(run, call->given[1]);
    int64_t count = call->given[2].kind == JINJA_INTEGER ? call->given[2].integer : -1;
    return jinja_failed(run) ? jinja_nothing() : jinja_replace(run, s, from.string, to.string, count);
}

static int64_t number_or(jinja_run *run, jinja_value v, int64_t otherwise) {
    if (v.kind == JINJA_MISSING) return otherwise;
    if (v.kind == JINJA_BOOLEAN) return v.boolean;
    if (v.kind != JINJA_INTEGER) jinja_fail(run, "a whole number is needed, not '%s'", jinja_type_name(v));
    return v.integer;
}

static void put_spaces(jinja_run *run, jinja_builder *b, int64_t count) {
    for (; count > 0 && jinja_step(run, 1); count--) jinja_put(run, b, " ", 1);
}

/* A text or a number of spaces. */
static jinja_value indention(jinja_run *run, jinja_value width) {
    if (width.kind == JINJA_STRING) return width;
    jinja_builder spaces = {0};
    put_spaces(run, &spaces, number_or(run, width, 4));
    return jinja_text_built(run, &spaces);
}

static jinja_value indent(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind != JINJA_STRING) {
        if (!jinja_refuse_undefined(run, call->subject))
            jinja_fail(run, "indent needs a text, not '%s'", jinja_type_name(call->subject));
        return jinja_nothing();
    }
    jinja_builder text = {0}, whole = {0};
    jinja_value by = indention(run, call->given[0]);
    bool first = jinja_truth(run, call->given[1]), blank = jinja_truth(run, call->given[2]);
    jinja_put_text(run, &whole, call->subject);
    jinja_put(run, &whole, "\n", 1);
    jinja_value ended = jinja_text_built(run, &whole);
    jinja_value lines = jinja_failed(run) ? ended : jinja_split_lines(run, ended.string, false);
    for (uint64_t i = 0; !jinja_failed(run) && i < lines.list->count; i++) {
        jinja_value line = lines.list->items[i];
        if (i) jinja_put(run, &text, "\n", 1);
        if (i == 0 ? first : blank || line.string->bytes) jinja_put_text(run, &text, by);
        jinja_put_text(run, &text, line);
    }
    return jinja_text_built(run, &text);
}

static jinja_value center(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    int64_t width = number_or(run, call->given[0], 80), missing = s ? width - (int64_t)s->characters : 0;
    jinja_builder text = {0};
    int64_t left = missing > 0 ? missing / 2 + (missing & width & 1) : 0;
    put_spaces(run, &text, left);
    if (s) jinja_put(run, &text, s->text, s->bytes);
    put_spaces(run, &text, missing - left);
    return jinja_text_built(run, &text);
}

static jinja_value cut(jinja_run *run, const jinja_string *s, int64_t characters, bool words, jinja_value end) {
    uint64_t bytes = jinja_byte_offset(s, characters > 0 ? (uint64_t)characters : 0);
    if (words) {
        uint64_t space = bytes;
        while (space && s->text[space - 1] != ' ') space--;
        if (space) bytes = space - 1;
    }
    jinja_builder text = {0};
    jinja_put(run, &text, s->text, bytes);
    jinja_put_text(run, &text, end);
    return jinja_text_built(run, &text);
}

static jinja_value truncate_text(jinja_run *run, const jinja_call *call) {
    if (call->subject.kind != JINJA_STRING && call->subject.kind != JINJA_UNDEFINED)
        jinja_fail(run, "truncate needs a text, not '%s'", jinja_type_name(call->subject));
    const jinja_string *s = subject_text(run, call);
    int64_t length = number_or(run, call->given[0], 255), leeway = 5;
    if (call->given[3].kind != JINJA_NONE) leeway = number_or(run, call->given[3], 5);
    jinja_value end = call->given[2].kind == JINJA_STRING ? call->given[2] : jinja_text(run, "...", 3);
    if (jinja_failed(run)) return end;
    int64_t end_length = (int64_t)end.string->characters;
    if (length < end_length || leeway < 0) {
        jinja_fail(run, "truncate needs a length of at least %lld and a leeway of at least 0", (long long)end_length);
        return end;
    }
    if ((int64_t)s->characters - leeway <= length) return (jinja_value){.kind = JINJA_STRING, .string = s};
    return cut(run, s, length - end_length, !jinja_truth(run, call->given[1]), end);
}

/* Runs of letters, digits and underscores. */
static jinja_value wordcount(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    int64_t count = 0;
    bool inside = false;
    uint64_t length;
    for (uint64_t at = 0; s && at < s->bytes && jinja_step(run, 1); at += length) {
        bool word = jinja_is_name((uint32_t)utf8_read(s->text + at, s->bytes - at, &length), false);
        count += word && !inside;
        inside = word;
    }
    return jinja_integer(count);
}

static jinja_value escape(jinja_run *run, const jinja_call *call) {
    static const char marks[] = "&<>'\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const jinja_string *s = subject_text(run, call);
    jinja_builder text = {0};
    for (uint64_t i = 0; s && i < s->bytes && jinja_step(run, 1); i++) {
        const char *mark = s->text[i] ? strchr(marks, s->text[i]) : NULL;
        if (mark)
            jinja_put_literal(run, &text, names[mark - marks]);
        else
            jinja_put(run, &text, s->text + i, 1);
    }
    return jinja_text_built(run, &text);
}

static jinja_value urlencode_text(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    jinja_builder text = {0};
    for (uint64_t i = 0; s && i < s->bytes && jinja_step(run, 1); i++) {
        static const char hexadecimal[] = "0123456789ABCDEF";
        unsigned char c = (unsigned char)s->text[i];
        char escaped[] = {'%', hexadecimal[c >> 4], hexadecimal[c & 15]};
        bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_.-~/", c));
        jinja_put(run, &text, plain ? s->text + i : escaped, plain ? 1 : 3);
    }
    return jinja_text_built(run, &text);
}

static jinja_value format(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = subject_text(run, call);
    const jinja_arguments *a = call->all;
    if (!s) return jinja_nothing();
    if (a->count && a->named_count) {
        jinja_fail(run, "can't handle positional and keyword arguments at the same time");
        return jinja_nothing();
    }
    jinja_value values = a->named_count ? jinja_dict_make(run, JINJA_DICT, a->named_count)
                                        : jinja_list_make(run, JINJA_TUPLE, a->count);
    for (uint64_t i = 0; i < a->named_count && !jinja_failed(run); i++)
        jinja_dict_set(run, values.dict, a->named[i].name, a->named[i].value);
    jinja_list_extend(run, values.list, a->positional, a->count);
    return jinja_failed(run) ? jinja_nothing() : jinja_format_percent(run, s, values);
}

static jinja_value to_string(jinja_run *run, const jinja_call *call) { return jinja_to_text(run, call->subject); }

static json_style read_style(jinja_run *run, const jinja_call *call) {
    json_style style = {.ascii = jinja_truth(run, call->given[0]), .sorted = jinja_truth(run, call->given[3])};
    jinja_value indent_by = call->given[1], separators = call->given[2];
    if (indent_by.kind != JINJA_MISSING && indent_by.kind != JINJA_NONE) {
        jinja_value by = indention(run, indent_by);
        if (!jinja_failed(run)) {
            style.indent = by.string->text;
            style.indent_bytes = by.string->bytes;
        }
    }
    style.item_separator = jinja_text(run, style.indent ? "," : ", ", style.indent ? 1 : 2);
    style.key_separator = jinja_text(run, ": ", 2);
    if (separators.kind == JINJA_MISSING || separators.kind == JINJA_NONE) return style;
    const jinja_list *pair = jinja_items(run, separators);
    if (pair && pair->count == 2 && pair->items[0].kind == JINJA_STRING && pair->items[1].kind == JINJA_STRING) {
        style.item_separator = pair->items[0];
        style.key_separator = pair->items[1];
    } else {
        jinja_fail(run, "separators must be two strings");
    }
    return style;
}

static jinja_value tojson(jinja_run *run, const jinja_call *call) {
    json_style style = read_style(run, call);
    jinja_builder text = {0};
    if (!jinja_failed(run)) jinja_put_json(run, &text, &style, call->subject, 0);
    return jinja_text_built(run, &text);
}

const jinja_builtin jinja_text_filters[] = {
    {"capitalize", capitalize, "", 0},
    {"center", center, "width", 0},
    {"e", escape, "", 0},
    {"escape", escape, "", 0},
    {"forceescape", escape, "", 0},
    {"format", format, "*", 0},
    {"indent", indent, "width first blank", 0},
    {"lower", lower, "", 0},
    {"replace", replace, "old new count", 2},
    {"safe", to_string, "", 0},
    {"string", to_string, "", 0},
    {"title", title, "", 0},
    {"tojson", tojson, "ensure_ascii indent separators sort_keys", 0},
    {"trim", trim, "chars", 0},
    {"truncate", truncate_text, "length killwords end leeway", 0},
    {"upper", upper, "", 0},
    {"urlencode", urlencode_text, "", 0},
    {"wordcount", wordcount, "", 0},
    {0},
};
