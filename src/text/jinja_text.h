/* Values as text, and what is done with strings: by characters, not bytes. */
#ifndef LEVEE_TEXT_JINJA_TEXT_H
#define LEVEE_TEXT_JINJA_TEXT_H

#include "text/jinja_character.h"
#include "text/jinja_value.h"

/* Python's str() and repr(). */
void jinja_put_text(jinja_run *run, jinja_builder *b, jinja_value v);
void jinja_put_repr(jinja_run *run, jinja_builder *b, jinja_value v);

/* str() as a value; a string is itself. */
jinja_value jinja_to_text(jinja_run *run, jinja_value v);

void jinja_put_float(jinja_run *run, jinja_builder *b, double number);

typedef struct json_style {
    bool ascii, sorted;
    const char *indent; /* NULL: all on one line */
    uint64_t indent_bytes;
    jinja_value item_separator, key_separator; /* strings */
} json_style;

/* json.dumps(). */
void jinja_put_json(jinja_run *run, jinja_builder *b, const json_style *style, jinja_value v, uint32_t level);

/* The byte at which the character with this index (<= characters) begins. */
uint64_t jinja_byte_offset(const jinja_string *s, uint64_t index);
uint64_t jinja_character_index(const jinja_string *s, uint64_t offset);

/* Bytes as a part of `s`, without a copy. */
jinja_value jinja_text_part(jinja_run *run, const jinja_string *s, uint64_t begin, uint64_t end);

/* Strips white space, or the characters of the string `characters`, at the ends. */
jinja_value jinja_strip(jinja_run *run, jinja_value text, jinja_value characters, bool left, bool right);

/* Replaces up to `count` times; all when it is negative. */
jinja_value jinja_replace(jinja_run *run, const jinja_string *s, const jinja_string *from, const jinja_string *to,
                          int64_t count);

/* Where `part` is in [begin, end) bytes of `s`, from the front or the back; UINT64_MAX: nowhere. */
uint64_t jinja_find(jinja_run *run, const jinja_string *s, const jinja_string *part, uint64_t begin, uint64_t end,
                    bool last);

/* str.split() at `separator`, or where it is no string, at white space; at most `most` cuts if that is not negative.
 */
jinja_value jinja_split(jinja_run *run, const jinja_string *s, jinja_value separator, int64_t most, bool from_right);
jinja_value jinja_split_lines(jinja_run *run, const jinja_string *s, bool keep_ends);

/* Every character in another case; CASE_TITLE makes the first upper and the rest lower. */
jinja_value jinja_text_case(jinja_run *run, const jinja_string *s, jinja_case wanted);
void jinja_put_case(jinja_run *run, jinja_builder *b, uint32_t character, jinja_case wanted);

#endif
