/* What is done with strings: see jinja_text.h. */
#include "text/jinja_text.h"

#include <string.h>

uint64_t jinja_byte_offset(const jinja_string *s, uint64_t index) {
    if (s->characters == s->bytes || index >= s->characters) return index >= s->characters ? s->bytes : index;
    uint64_t at = 0, length;
    for (; index; index--, at += length) utf8_read(s->text + at, s->bytes - at, &length);
    return at;
}

uint64_t jinja_character_index(const jinja_string *s, uint64_t offset) {
    if (s->characters == s->bytes) return offset;
    uint64_t count = 0;
    for (uint64_t i = 0; i < offset; i++) count += ((unsigned char)s->text[i] & 0xc0) != 0x80;
    return count;
}

jinja_value jinja_text_part(jinja_run *run, const jinja_string *s, uint64_t begin, uint64_t end) {
    return jinja_text(run, s->text + begin, end - begin);
}

static bool is_among(uint32_t c, const jinja_string *characters) {
    uint64_t length;
    if (!characters) return jinja_is_space(c);
    for (uint64_t at = 0; at < characters->bytes; at += length)
        if ((uint32_t)utf8_read(characters->text + at, characters->bytes - at, &length) == c) return true;
    return false;
}

jinja_value jinja_strip(jinja_run *run, jinja_value text, jinja_value characters, bool left, bool right) {
    const jinja_string *s = text.string;
    const jinja_string *set = characters.kind == JINJA_STRING ? characters.string : NULL;
    uint64_t begin = 0, end = s->bytes, length, cost = 1 + (set ? set->bytes / 16 : 0);
    while (left && begin < end && jinja_step(run, cost) &&
           is_among((uint32_t)utf8_read(s->text + begin, end - begin, &length), set))
        begin += length;
    while (right && end > begin && jinja_step(run, cost)) {
        uint64_t before = end - 1;
        while (before > begin && ((unsigned char)s->text[before] & 0xc0) == 0x80) before--;
        if (!is_among((uint32_t)utf8_read(s->text + before, end - before, &length), set)) break;
        end = before;
    }
    return jinja_text_part(run, s, begin, end);
}

uint64_t jinja_find(jinja_run *run, const jinja_string *s, const jinja_string *part, uint64_t begin, uint64_t end,
                    bool last) {
    if (begin > end || end - begin < part->bytes) return UINT64_MAX;
    if (!last) {
        const char *at =
            part->bytes ? memmem(s->text + begin, end - begin, part->text, part->bytes) : s->text + begin;
        jinja_step(run, 1 + ((at ? (uint64_t)(at - s->text) : end) - begin) / 64);
        return at ? (uint64_t)(at - s->text) : UINT64_MAX;
    }
    for (uint64_t at = end - part->bytes + 1; at-- > begin && jinja_step(run, 1 + part->bytes / 64);)
        if (!memcmp(s->text + at, part->text, part->bytes)) return at;
    return UINT64_MAX;
}

/* An empty `from` is found before each character and at the end. */
static jinja_value put_between(jinja_run *run, const jinja_string *s, const jinja_string *to, int64_t count) {
    jinja_builder b = {0};
    uint64_t at = 0, length;
    while (!jinja_failed(run)) {
        if (count) {
            jinja_put(run, &b, to->text, to->bytes);
            count -= count > 0;
        }
        if (at == s->bytes) break;
        utf8_read(s->text + at, s->bytes - at, &length);
        jinja_put(run, &b, s->text + at, length);
        at += length;
        jinja_step(run, 1);
    }
    return jinja_text_built(run, &b);
}

jinja_value jinja_replace(jinja_run *run, const jinja_string *s, const jinja_string *from, const jinja_string *to,
                          int64_t count) {
    if (!from->bytes) return put_between(run, s, to, count);
    jinja_builder b = {0};
    uint64_t at = 0;
    for (; count && !jinja_failed(run); count -= count > 0) {
        uint64_t found = jinja_find(run, s, from, at, s->bytes, false);
        if (found == UINT64_MAX) break;
        jinja_put(run, &b, s->text + at, found - at);
        jinja_put(run, &b, to->text, to->bytes);
        at = found + from->bytes;
    }
    jinja_put(run, &b, s->text + at, s->bytes - at);
    return jinja_text_built(run, &b);
}

static void reverse(jinja_list *list) {
    for (uint64_t i = 0, k = list->count; i + 1 < k; i++) {
        jinja_value other = list->items[--k];
        list->items[k] = list->items[i];
        list->items[i] = other;
    }
}

static void split_at(jinja_run *run, jinja_list *list, const jinja_string *s, const jinja_string *separator,
                     int64_t most, bool from_right) {
    uint64_t begin = 0, end = s->bytes;
    for (; most && !jinja_failed(run); most -= most > 0) {
        uint64_t found = jinja_find(run, s, separator, begin, end, from_right);
        if (found == UINT64_MAX) break;
        uint64_t behind = found + separator->bytes;
        jinja_list_add(run, list,
                       from_right ? jinja_text_part(run, s, behind, end) : jinja_text_part(run, s, begin, found));
        if (from_right)
            end = found;
        else
            begin = behind;
    }
    jinja_list_add(run, list, jinja_text_part(run, s, begin, end));
    if (from_right) reverse(list);
}

/* Words between white space; what is left after `most` cuts keeps its white space inside. */
static void split_words(jinja_run *run, jinja_list *list, const jinja_string *s, int64_t most, bool from_right) {
    jinja_value rest = jinja_text_part(run, s, 0, s->bytes);
    while (!jinja_failed(run)) {
        rest = jinja_strip(run, rest, jinja_none(), !from_right, from_right);
        if (jinja_failed(run) || !rest.string->bytes) break;
        const jinja_string *r = rest.string;
        uint64_t length, begin = 0, end = r->bytes;
        if (!most) {
            jinja_list_add(run, list, rest);
            break;
        }
        if (from_right) {
            begin = end;
            while (begin) {
                uint64_t before = begin - 1;
                while (before && ((unsigned char)r->text[before] & 0xc0) == 0x80) before--;
                if (jinja_is_space((uint32_t)utf8_read(r->text + before, end - before, &length))) break;
                begin = before;
            }
            jinja_list_add(run, list, jinja_text_part(run, r, begin, end));
            rest = jinja_text_part(run, r, 0, begin);
        } else {
            for (end = 0; end < r->bytes; end += length)
                if (jinja_is_space((uint32_t)utf8_read(r->text + end, r->bytes - end, &length))) break;
            jinja_list_add(run, list, jinja_text_part(run, r, 0, end));
            rest = jinja_text_part(run, r, end, r->bytes);
        }
        jinja_step(run, 1 + (end - begin) / 16);
        most -= most > 0;
    }
    if (from_right && !jinja_failed(run)) reverse(list);
}

jinja_value jinja_split(jinja_run *run, const jinja_string *s, jinja_value separator, int64_t most, bool from_right) {
    jinja_value list = jinja_list_make(run, JINJA_LIST, 0);
    if (jinja_failed(run)) return list;
    if (separator.kind != JINJA_STRING)
        split_words(run, list.list, s, most, from_right);
    else if (!separator.string->bytes)
        jinja_fail(run, "empty separator");
    else
        split_at(run, list.list, s, separator.string, most, from_right);
    return list;
}

static bool ends_line(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

jinja_value jinja_split_lines(jinja_run *run, const jinja_string *s, bool keep_ends) {
    jinja_value list = jinja_list_make(run, JINJA_LIST, 0);
    uint64_t begin = 0, length;
    for (uint64_t at = 0; at < s->bytes && !jinja_failed(run);) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        uint64_t end = at;
        at += length;
        if (c == '\r' && at < s->bytes && s->text[at] == '\n') at++;
        if (!ends_line(c)) continue;
        jinja_list_add(run, list.list, jinja_text_part(run, s, begin, keep_ends ? at : end));
        begin = at;
    }
    if (begin < s->bytes && !jinja_failed(run))
        jinja_list_add(run, list.list, jinja_text_part(run, s, begin, s->bytes));
    return list;
}

void jinja_put_case(jinja_run *run, jinja_builder *b, uint32_t character, jinja_case wanted) {
    uint32_t changed[3];
    unsigned count = jinja_change_case(character, wanted, changed);
    for (unsigned i = 0; i < count; i++) jinja_put_character(run, b, changed[i]);
}

jinja_value jinja_text_case(jinja_run *run, const jinja_string *s, jinja_case wanted) {
    jinja_builder b = {0};
    uint64_t length;
    for (uint64_t at = 0; at < s->bytes && jinja_step(run, 1); at += length) {
        uint32_t c = (uint32_t)utf8_read(s->text + at, s->bytes - at, &length);
        jinja_put_case(run, &b, c, wanted == CASE_TITLE && at ? CASE_LOWER : wanted);
    }
    return jinja_text_built(run, &b);
}
