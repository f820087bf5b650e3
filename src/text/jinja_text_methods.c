/* Methods of texts, as Python's str has them. */
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

/* The text of an argument; NULL, and a failure, when it is none. */
static const jinja_string *text_argument(jinja_run *run, const jinja_call *call, unsigned number) {
    jinja_value v = call->given[number];
    if (v.kind == JINJA_STRING) return v.string;
    jinja_fail(run, "%s() argument %u must be str, not %s", call->builtin->name, number + 1, jinja_type_name(v));
    return NULL;
}

static int64_t whole_argument(jinja_run *run, const jinja_call *call, unsigned number, int64_t otherwise) {
    jinja_value v = call->given[number];
    if (v.kind == JINJA_MISSING || v.kind == JINJA_NONE) return otherwise;
    if (v.kind == JINJA_BOOLEAN) return v.boolean;
    if (v.kind != JINJA_INTEGER)
        jinja_fail(run, "'%s' object cannot be interpreted as an integer", jinja_type_name(v));
    return v.integer;
}

static jinja_value stripped(jinja_run *run, const jinja_call *call, bool left, bool right) {
    jinja_value set = call->given[0];
    if (set.kind != JINJA_MISSING && set.kind != JINJA_NONE && set.kind != JINJA_STRING)
        jinja_fail(run, "%s arg must be None or str", call->builtin->name);
    return jinja_failed(run) ? jinja_nothing() : jinja_strip(run, call->subject, set, left, right);
}

static jinja_value strip(jinja_run *run, const jinja_call *call) { return stripped(run, call, true, true); }
static jinja_value strip_left(jinja_run *run, const jinja_call *call) { return stripped(run, call, true, false); }
static jinja_value strip_right(jinja_run *run, const jinja_call *call) { return stripped(run, call, false, true); }

/* Has the text, from the character `start` to before `stop`, this at its beginning or end? */
static bool has_affix(jinja_run *run, const jinja_call *call, jinja_value affix, bool at_end) {
    const jinja_string *s = call->subject.string;
    int64_t count = (int64_t)s->characters, start = whole_argument(run, call, 1, 0),
            stop = whole_argument(run, call, 2, count);
    if (affix.kind != JINJA_STRING)
        jinja_fail(run, "%s first arg must be str or a tuple of str, not %s", call->builtin->name,
                   jinja_type_name(affix));
    if (jinja_failed(run)) return false;
    if (start < 0) start = start + count < 0 ? 0 : start + count;
    if (stop < 0) stop = stop + count < 0 ? 0 : stop + count;
    if (stop > count) stop = count;
    if (start > stop) return false;
    uint64_t begin = jinja_byte_offset(s, (uint64_t)start), end = jinja_byte_offset(s, (uint64_t)stop);
    const jinja_string *a = affix.string;
    return end - begin >= a->bytes && !memcmp(s->text + (at_end ? end - a->bytes : begin), a->text, a->bytes);
}

static jinja_value affixed(jinja_run *run, const jinja_call *call, bool at_end) {
    jinja_value affix = call->given[0];
    if (affix.kind != JINJA_TUPLE) return jinja_boolean(has_affix(run, call, affix, at_end));
    for (uint64_t i = 0; i < affix.list->count && jinja_step(run, 1); i++)
        if (has_affix(run, call, affix.list->items[i], at_end)) return jinja_boolean(true);
    return jinja_boolean(false);
}

static jinja_value starts_with(jinja_run *run, const jinja_call *call) { return affixed(run, call, false); }
static jinja_value ends_with(jinja_run *run, const jinja_call *call) { return affixed(run, call, true); }

static jinja_value without_affix(jinja_run *run, const jinja_call *call, bool at_end) {
    const jinja_string *s = call->subject.string, *a = text_argument(run, call, 0);
    if (!a || a->bytes > s->bytes || memcmp(s->text + (at_end ? s->bytes - a->bytes : 0), a->text, a->bytes))
        return call->subject;
    return at_end ? jinja_text_part(run, s, 0, s->bytes - a->bytes) : jinja_text_part(run, s, a->bytes, s->bytes);
}

static jinja_value remove_prefix(jinja_run *run, const jinja_call *call) { return without_affix(run, call, false); }
static jinja_value remove_suffix(jinja_run *run, const jinja_call *call) { return without_affix(run, call, true); }

static jinja_value split(jinja_run *run, const jinja_call *call, bool from_right) {
    jinja_value separator = call->given[0];
    if (separator.kind != JINJA_MISSING && separator.kind != JINJA_NONE && separator.kind != JINJA_STRING)
        jinja_fail(run, "must be str or None, not %s", jinja_type_name(separator));
    int64_t most = whole_argument(run, call, 1, -1);
    return jinja_failed(run) ? jinja_nothing() : jinja_split(run, call->subject.string, separator, most, from_right);
}

static jinja_value split_left(jinja_run *run, const jinja_call *call) { return split(run, call, false); }
static jinja_value split_right(jinja_run *run, const jinja_call *call) { return split(run, call, true); }

static jinja_value split_lines(jinja_run *run, const jinja_call *call) {
    return jinja_split_lines(run, call->subject.string, jinja_truth(run, call->given[0]));
}

static jinja_value partition(jinja_run *run, const jinja_call *call, bool last) {
    const jinja_string *s = call->subject.string, *separator = text_argument(run, call, 0);
    if (separator && !separator->bytes) jinja_fail(run, "empty separator");
    jinja_value parts = jinja_list_make(run, JINJA_TUPLE, 3), nothing = jinja_text(run, "", 0);
    if (jinja_failed(run) || !separator) return parts;
    uint64_t at = jinja_find(run, s, separator, 0, s->bytes, last);
    bool found = at != UINT64_MAX;
    jinja_value before = found ? jinja_text_part(run, s, 0, at) : last ? nothing : call->subject;
    jinja_value behind = found  ? jinja_text_part(run, s, at + separator->bytes, s->bytes)
                         : last ? call->subject
                                : nothing;
    jinja_list_add(run, parts.list, before);
    jinja_list_add(run, parts.list, found ? call->given[0] : nothing);
    jinja_list_add(run, parts.list, behind);
    return parts;
}

static jinja_value partition_left(jinja_run *run, const jinja_call *call) { return partition(run, call, false); }
static jinja_value partition_right(jinja_run *run, const jinja_call *call) { return partition(run, call, true); }

static jinja_value replace(jinja_run *run, const jinja_call *call) {
    const jinja_string *from = text_argument(run, call, 0), *to = text_argument(run, call, 1);
    int64_t count = whole_argument(run, call, 2, -1);
    return jinja_failed(run) ? jinja_nothing() : jinja_replace(run, call->subject.string, from, to, count);
}

static jinja_value join(jinja_run *run, const jinja_call *call) {
    const jinja_list *items = jinja_items(run, call->given[0]);
    jinja_builder text = {0};
    for (uint64_t i = 0; items && i < items->count && jinja_step(run, 1); i++) {
        if (items->items[i].kind != JINJA_STRING)
            jinja_fail(run, "sequence item %llu: expected str instance, %s found", (unsigned long long)i,
                       jinja_type_name(items->items[i]));
        if (i) jinja_put_text(run, &text, call->subject);
        jinja_put_text(run, &text, items->items[i]);
    }
    return jinja_text_built(run, &text);
}

/* The byte range of the characters [start, stop) that the arguments 1 and 2 name. */
static bool searched_range(jinja_run *run, const jinja_call *call, uint64_t *begin, uint64_t *end) {
    const jinja_string *s = call->subject.string;
    int64_t count = (int64_t)s->characters, start = whole_argument(run, call, 1, 0),
            stop = whole_argument(run, call, 2, count);
    if (start < 0) start = start + count < 0 ? 0 : start + count;
    if (stop < 0) stop = stop + count < 0 ? 0 : stop + count;
    if (stop > count) stop = count;
    if (jinja_failed(run) || start > stop) return false;
    *begin = jinja_byte_offset(s, (uint64_t)start);
    *end = jinja_byte_offset(s, (uint64_t)stop);
    return jinja_step(run, s->bytes / 64);
}

static jinja_value find(jinja_run *run, const jinja_call *call, bool last, bool must) {
    const jinja_string *s = call->subject.string, *part = text_argument(run, call, 0);
    uint64_t begin, end, at = UINT64_MAX;
    if (part && searched_range(run, call, &begin, &end)) at = jinja_find(run, s, part, begin, end, last);
    if (at != UINT64_MAX) return jinja_integer((int64_t)jinja_character_index(s, at));
    if (must) jinja_fail(run, "substring not found");
    return jinja_integer(-1);
}

static jinja_value find_first(jinja_run *run, const jinja_call *call) { return find(run, call, false, false); }
static jinja_value find_last(jinja_run *run, const jinja_call *call) { return find(run, call, true, false); }
static jinja_value index_first(jinja_run *run, const jinja_call *call) { return find(run, call, false, true); }
static jinja_value index_last(jinja_run *run, const jinja_call *call) { return find(run, call, true, true); }

static jinja_value count(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = call->subject.string, *part = text_argument(run, call, 0);
    uint64_t begin, end;
    int64_t found = 0;
    if (!part || !searched_range(run, call, &begin, &end)) return jinja_integer(0);
    if (!part->bytes)
        return jinja_integer((int64_t)(jinja_character_index(s, end) - jinja_character_index(s, begin)) + 1);
    while (jinja_step(run, 1)) {
        uint64_t at = jinja_find(run, s, part, begin, end, false);
        if (at == UINT64_MAX) break;
        found++;
        begin = at + part->bytes;
    }
    return jinja_integer(found);
}

static jinja_value upper(jinja_run *run, const jinja_call *call) {
    return jinja_text_case(run, call->subject.string, CASE_UPPER);
}

static jinja_value lower(jinja_run *run, const jinja_call *call) {
    return jinja_text_case(run, call->subject.string, CASE_LOWER);
}

static jinja_value capitalize(jinja_run *run, const jinja_call *call) {
    return jinja_text_case(run, call->subject.string, CASE_TITLE);
}

/* Letters that stand behind a letter are lower, others upper. */
static jinja_value title(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = call->subject.string;
    jinja_builder text = {0};
    bool inside = false;
    uint64_t length;
    for (uint64_t at = 0; at < s->bytes && jinja_step(run, 1); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        jinja_put_case(run, &text, c, inside ? CASE_LOWER : CASE_TITLE);
        inside = jinja_is_upper(c) || jinja_is_lower(c);
    }
    return jinja_text_built(run, &text);
}

static jinja_value swap_case(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = call->subject.string;
    jinja_builder text = {0};
    uint64_t length;
    for (uint64_t at = 0; at < s->bytes && jinja_step(run, 1); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        jinja_put_case(run, &text, c, jinja_is_upper(c) ? CASE_LOWER : CASE_UPPER);
    }
    return jinja_text_built(run, &text);
}

/* Is every character so, and is there one? */
static jinja_value all_are(jinja_run *run, const jinja_call *call, bool (*is)(uint32_t c)) {
    const jinja_string *s = call->subject.string;
    uint64_t length;
    for (uint64_t at = 0; at < s->bytes && jinja_step(run, 1); at += length)
        if (!is((uint32_t)utf8_read(s->text + at, s->bytes - at, &length))) return jinja_boolean(false);
    return jinja_boolean(s->bytes > 0);
}

static bool is_letter_or_digit(uint32_t c) { return jinja_is_letter(c) || jinja_is_decimal(c); }

static jinja_value is_digit(jinja_run *run, const jinja_call *call) { return all_are(run, call, jinja_is_decimal); }
static jinja_value is_alpha(jinja_run *run, const jinja_call *call) { return all_are(run, call, jinja_is_letter); }
static jinja_value is_alnum(jinja_run *run, const jinja_call *call) { return all_are(run, call, is_letter_or_digit); }
static jinja_value is_space(jinja_run *run, const jinja_call *call) { return all_are(run, call, jinja_is_space); }

static jinja_value tested(jinja_run *run, const jinja_call *call, const char *test) {
    jinja_arguments none = {0};
    jinja_value name = jinja_text(run, test, strlen(test));
    return jinja_boolean(!jinja_failed(run) && jinja_apply_test(run, name, call->subject, &none));
}

static jinja_value is_upper(jinja_run *run, const jinja_call *call) { return tested(run, call, "upper"); }
static jinja_value is_lower(jinja_run *run, const jinja_call *call) { return tested(run, call, "lower"); }

/* Fills up to a width, with the text at the left, the right or in the middle. */
static jinja_value justify(jinja_run *run, const jinja_call *call, int64_t parts_left, int64_t parts) {
    const jinja_string *s = call->subject.string;
    int64_t width = whole_argument(run, call, 0, 0), missing = width - (int64_t)s->characters;
    const jinja_string *fill = call->given[1].kind == JINJA_MISSING ? NULL : text_argument(run, call, 1);
    if (fill && fill->characters != 1) jinja_fail(run, "The fill character must be exactly one character long");
    if (missing <= 0) return call->subject;
    int64_t left = parts == 2 ? missing / 2 + (missing & width & 1) : parts_left * missing;
    jinja_builder text = {0};
    for (int64_t i = 0; i < left && jinja_step(run, 1); i++)
        jinja_put(run, &text, fill ? fill->text : " ", fill ? fill->bytes : 1);
    jinja_put(run, &text, s->text, s->bytes);
    for (int64_t i = left; i < missing && jinja_step(run, 1); i++)
        jinja_put(run, &text, fill ? fill->text : " ", fill ? fill->bytes : 1);
    return jinja_text_built(run, &text);
}

static jinja_value left_justify(jinja_run *run, const jinja_call *call) { return justify(run, call, 0, 1); }
static jinja_value right_justify(jinja_run *run, const jinja_call *call) { return justify(run, call, 1, 1); }
static jinja_value center(jinja_run *run, const jinja_call *call) { return justify(run, call, 1, 2); }

static jinja_value zero_fill(jinja_run *run, const jinja_call *call) {
    const jinja_string *s = call->subject.string;
    int64_t missing = whole_argument(run, call, 0, 0) - (int64_t)s->characters;
    uint64_t sign = s->bytes && (*s->text == '-' || *s->text == '+');
    jinja_builder text = {0};
    jinja_put(run, &text, s->text, sign);
    for (; missing > 0 && jinja_step(run, 1); missing--) jinja_put(run, &text, "0", 1);
    jinja_put(run, &text, s->text + sign, s->bytes - sign);
    return jinja_text_built(run, &text);
}

static jinja_value format(jinja_run *run, const jinja_call *call) {
    return jinja_format_braces(run, call->subject.string, call->all);
}

const jinja_builtin jinja_text_methods[] = {
    {"capitalize", capitalize, "", 0},
    {"casefold", lower, "", 0},
    {"center", center, "width fillchar", 1},
    {"count", count, "sub start end", 1},
    {"endswith", ends_with, "suffix start end", 1},
    {"find", find_first, "sub start end", 1},
    {"format", format, "*", 0},
    {"index", index_first, "sub start end", 1},
    {"isalnum", is_alnum, "", 0},
    {"isalpha", is_alpha, "", 0},
    {"isdecimal", is_digit, "", 0},
    {"isdigit", is_digit, "", 0},
    {"islower", is_lower, "", 0},
    {"isnumeric", is_digit, "", 0},
    {"isspace", is_space, "", 0},
    {"isupper", is_upper, "", 0},
    {"join", join, "iterable", 1},
    {"ljust", left_justify, "width fillchar", 1},
    {"lower", lower, "", 0},
    {"lstrip", strip_left, "chars", 0},
    {"partition", partition_left, "sep", 1},
    {"removeprefix", remove_prefix, "prefix", 1},
    {"removesuffix", remove_suffix, "suffix", 1},
    {"replace", replace, "old new count", 2},
    {"rfind", find_last, "sub start end", 1},
    {"rindex", index_last, "sub start end", 1},
    {"rjust", right_justify, "width fillchar", 1},
    {"rpartition", partition_right, "sep", 1},
    {"rsplit", split_right, "sep maxsplit", 0},
    {"rstrip", strip_right, "chars", 0},
    {"split", split_left, "sep maxsplit", 0},
    {"splitlines", split_lines, "keepends", 0},
    {"startswith", starts_with, "prefix start end", 1},
    {"strip", strip, "chars", 0},
    {"swapcase", swap_case, "", 0},
    {"title", title, "", 0},
    {"upper", upper, "", 0},
    {"zfill", zero_fill, "width", 1},
    {0},
};
