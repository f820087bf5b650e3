/* The tokens of a template: see jinja_lexer.h. */
#include "text/jinja_lexer.h"

#include <stdlib.h>
#include <string.h>

#include "text/jinja_character.h"

static const char *const token_names[TOKEN_KIND_COUNT] = {
    "the end of the template",
    "text",
    "'{{'",
    "'}}'",
    "'{%'",
    "'%}'",
    "a name",
    "a string",
    "a whole number",
    "a number",
    "**",
    "//",
    "==",
    "!=",
    ">=",
    "<=",
    ">",
    "<",
    "=",
    "+",
    "-",
    "/",
    "*",
    "%",
    "~",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ".",
    ":",
    "|",
    ",",
    ";",
};

const char *jinja_token_name(jinja_token_kind kind) { return token_names[kind]; }

bool jinja_source_read(jinja_run *run, jinja_source *source, const char *text, uint64_t bytes) {
    char *copy = jinja_take(run, bytes + 1, 1);
    if (!copy) return false;
    uint64_t length = 0;
    for (uint64_t i = 0; i < bytes; i++) {
        bool carriage_return = text[i] == '\r';
        copy[length++] = carriage_return ? '\n' : text[i];
        if (carriage_return && i + 1 < bytes && text[i + 1] == '\n') i++;
    }
    if (length && copy[length - 1] == '\n') length--;
    source->text = copy;
    source->bytes = length;
    return true;
}

void jinja_lexer_open(jinja_lexer *l, jinja_run *run) {
    *l = (jinja_lexer){.run = run, .text = run->source->text, .bytes = run->source->bytes};
}

static bool starts_at(const jinja_lexer *l, uint64_t at, const char *word) {
    size_t length = strlen(word);
    return l->bytes - at >= length && !memcmp(l->text + at, word, length);
}

static char byte_at(const jinja_lexer *l, uint64_t at) { return at < l->bytes ? l->text[at] : 0; }

static uint64_t skip_space(const jinja_lexer *l, uint64_t at) {
    uint64_t length;
    while (at < l->bytes && jinja_is_space((uint32_t)utf8_read(l->text + at, l->bytes - at, &length))) at += length;
    return at;
}

/* Where the text before `end` ends when the white space at its end is taken away. */
static uint64_t strip_before(const jinja_lexer *l, uint64_t begin, uint64_t end) {
    while (end > begin) {
        uint64_t before = end - 1, length;
        while (before > begin && ((unsigned char)l->text[before] & 0xc0) == 0x80) before--;
        if (!jinja_is_space((uint32_t)utf8_read(l->text + before, end - before, &length))) break;
        end = before;
    }
    return end;
}

static jinja_token fail_at(jinja_lexer *l, uint64_t at, const char *problem) {
    l->run->place = (uint32_t)at;
    jinja_fail(l->run, "%s", problem);
    l->at = l->bytes;
    return (jinja_token){.kind = TOKEN_END, .offset = (uint32_t)at};
}

/* The end of a tag that closes with `close` at `at`: minus takes the white space behind it, a block without a plus
 * the line end behind it. False when there is none here. */
static bool end_tag(jinja_lexer *l, uint64_t at, const char *close, bool block, uint64_t *end) {
    bool minus = byte_at(l, at) == '-' && starts_at(l, at + 1, close);
    bool plus = block && byte_at(l, at) == '+' && starts_at(l, at + 1, close);
    if (!minus && !plus && !starts_at(l, at, close)) return false;
    *end = at + 2 + (minus || plus);
    if (minus) *end = skip_space(l, *end);
    if (block && !minus && !plus && byte_at(l, *end) == '\n') (*end)++;
    return true;
}

/* The text [begin, tag) before a tag whose sign is `sign`, as white-space control leaves it. */
static jinja_token data_before(const jinja_lexer *l, uint64_t begin, uint64_t tag, char sign, bool variable) {
    uint64_t end = tag;
    if (sign == '-') {
        end = strip_before(l, begin, tag);
    } else if (sign != '+' && !variable) {
        uint64_t line = tag;
        while (line > begin && l->text[line - 1] != '\n') line--;
        bool line_starts = line > begin || begin == 0 || l->text[begin - 1] == '\n';
        if (line_starts && skip_space(l, line) >= tag) end = line;
    }
    return (jinja_token){
        .kind = TOKEN_DATA, .offset = (uint32_t)begin, .text = l->text + begin, .bytes = end - begin};
}

static bool is_sign(char c) { return c == '-' || c == '+'; }

/* {% raw %} at `at`? Then *end is where its text begins. */
static bool raw_begins(jinja_lexer *l, uint64_t at, uint64_t *end) {
    if (!starts_at(l, at, "{%")) return false;
    at = skip_space(l, at + 2 + is_sign(byte_at(l, at + 2)));
    if (!starts_at(l, at, "raw")) return false;
    at = skip_space(l, at + 3);
    bool minus = byte_at(l, at) == '-';
    if (!starts_at(l, at + minus, "%}")) return false;
    *end = minus ? skip_space(l, at + 3) : at + 2;
    return true;
}

static jinja_token read_raw(jinja_lexer *l, uint64_t tag, uint64_t begin) {
    for (uint64_t at = begin; at < l->bytes; at++) {
        if (!starts_at(l, at, "{%")) continue;
        char sign = byte_at(l, at + 2);
        uint64_t word = skip_space(l, at + 2 + is_sign(sign));
        uint64_t end;
        if (!starts_at(l, word, "endraw") || !end_tag(l, skip_space(l, word + 6), "%}", true, &end)) continue;
        l->at = end;
        return data_before(l, begin, at, sign, false);
    }
    return fail_at(l, tag, "a raw block has no {% endraw %}");
}

static bool skip_comment(jinja_lexer *l, uint64_t tag) {
    for (uint64_t at = tag + 2 + is_sign(byte_at(l, tag + 2)); at < l->bytes; at++)
        if (end_tag(l, at, "#}", true, &l->at)) return true;
    fail_at(l, tag, "a comment has no #}");
    return false;
}

static uint64_t find_tag(const jinja_lexer *l, uint64_t at) {
    for (; at < l->bytes; at++) {
        char next = byte_at(l, at + 1);
        if (l->text[at] == '{' && (next == '{' || next == '%' || next == '#')) break;
    }
    return at;
}

/* The next token outside of tags. Data may be empty. */
static jinja_token next_data(jinja_lexer *l) {
    uint64_t begin = l->at, tag = find_tag(l, begin), raw;
    if (tag == l->bytes && begin == tag) return (jinja_token){.kind = TOKEN_END, .offset = (uint32_t)tag};
    if (tag == l->bytes) {
        l->at = tag;
        return (jinja_token){
            .kind = TOKEN_DATA, .offset = (uint32_t)begin, .text = l->text + begin, .bytes = tag - begin};
    }
    bool variable = l->text[tag + 1] == '{';
    jinja_token data = data_before(l, begin, tag, byte_at(l, tag + 2), variable);
    if (data.bytes) {
        l->at = tag; /* comes back here with begin == tag */
        return data;
    }
    if (raw_begins(l, tag, &raw)) return read_raw(l, tag, raw);
    if (l->text[tag + 1] == '#') return skip_comment(l, tag) ? next_data(l) : (jinja_token){.kind = TOKEN_END};
    l->state = variable ? LEX_VARIABLE : LEX_BLOCK;
    l->at = tag + 2 + is_sign(byte_at(l, tag + 2));
    return (jinja_token){.kind = variable ? TOKEN_VARIABLE_BEGIN : TOKEN_BLOCK_BEGIN, .offset = (uint32_t)tag};
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits, with single underscores between them. */
static uint64_t skip_digits(const jinja_lexer *l, uint64_t at) {
    if (!is_digit(byte_at(l, at))) return at;
    while (is_digit(byte_at(l, at)) || (byte_at(l, at) == '_' && is_digit(byte_at(l, at + 1)))) at++;
    return at;
}

/* The end of a number with a fraction or an exponent that begins at `at`; `at` when none does. */
static uint64_t float_end(const jinja_lexer *l, uint64_t at) {
    if (!is_digit(byte_at(l, at)) || (at > 0 && l->text[at - 1] == '.')) return at;
    uint64_t end = skip_digits(l, at), begin = end;
    if (byte_at(l, end) == '.' && is_digit(byte_at(l, end + 1))) end = skip_digits(l, end + 1);
    bool exponent = byte_at(l, end) == 'e' || byte_at(l, end) == 'E';
    uint64_t digits = end + 1 + (exponent && is_sign(byte_at(l, end + 1)));
    if (exponent && is_digit(byte_at(l, digits))) end = skip_digits(l, digits);
    return end == begin ? at : end;
}

static jinja_token read_float(jinja_lexer *l, uint64_t end) {
    enum { MOST_DIGITS = 400 };
    char digits[MOST_DIGITS + 1];
    uint64_t count = 0, begin = l->at;
    for (uint64_t i = begin; i < end; i++) {
        if (l->text[i] == '_') continue;
        if (count == MOST_DIGITS) return fail_at(l, begin, "a number has too many digits");
        digits[count++] = l->text[i];
    }
    digits[count] = 0;
    l->at = end;
    return (jinja_token){.kind = TOKEN_FLOAT, .offset = (uint32_t)begin, .real = strtod(digits, NULL)};
}

static unsigned digit_value(char c) {
    if (is_digit(c)) return (unsigned)(c - '0');
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 99;
}

/* Zeros alone when it begins with one: "007" is two numbers, which the parser then refuses. */
static jinja_token read_integer(jinja_lexer *l) {
    uint64_t begin = l->at, at = begin;
    unsigned base = 10;
    char mark = (char)(byte_at(l, at + 1) | 0x20);
    if (l->text[at] == '0' && (mark == 'x' || mark == 'o' || mark == 'b')) {
        unsigned marked = mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
        uint64_t first = at + 2 + (byte_at(l, at + 2) == '_');
        if (digit_value(byte_at(l, first)) < marked) {
            base = marked;
            at = first;
        }
    }
    bool zeros = base == 10 && l->text[at] == '0';
    int64_t number = 0;
    for (;; at++) {
        char c = byte_at(l, at), next = byte_at(l, at + 1);
        if (c == '_' && digit_value(next) < (zeros ? 1 : base)) continue;
        if (digit_value(c) >= (zeros ? 1 : base)) break;
        if (__builtin_mul_overflow(number, (int64_t)base, &number) ||
            __builtin_add_overflow(number, (int64_t)digit_value(c), &number))
            return fail_at(l, begin, "a whole number does not fit in 64 bits");
    }
    l->at = at;
    return (jinja_token){.kind = TOKEN_INTEGER, .offset = (uint32_t)begin, .integer = number};
}

/* Up to `most` digits of a base after `at`; the number must have `least`. */
static bool read_digits(const char *text, uint64_t end, uint64_t *at, unsigned base, unsigned least, unsigned most,
                        uint32_t *value) {
    unsigned count = 0;
    *value = 0;
    while (count < most && *at < end && digit_value(text[*at]) < base) {
        *value = *value * base + digit_value(text[(*at)++]);
        count++;
    }
    return count >= least;
}

/* One escape, *at behind its backslash. Python keeps what it does not know, with the backslash. */
static const char *unescape(jinja_lexer *l, jinja_builder *b, uint64_t *at, uint64_t end) {
    static const char names[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
    char c = l->text[*at];
    const char *simple = c ? strchr(names, c) : NULL;
    uint32_t value;
    if (simple || c == '\n') {
        (*at)++;
        if (simple) jinja_put(l->run, b, &values[simple - names], 1);
        return NULL;
    }
    if (c == 'N') return "\\N{...} in a string is not known; write the character itself";
    if (digit_value(c) < 8) {
        read_digits(l->text, end, at, 8, 1, 3, &value);
    } else if (c == 'x' || c == 'u' || c == 'U') {
        unsigned count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        (*at)++;
        if (!read_digits(l->text, end, at, 16, count, count, &value)) return "an escape in a string is cut short";
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return "an escape in a string is no character";
    } else {
        jinja_put(l->run, b, "\\", 1);
        return NULL;
    }
    jinja_put_character(l->run, b, value);
    return NULL;
}

static jinja_token read_string(jinja_lexer *l) {
    uint64_t begin = l->at, end = begin + 1;
    bool escapes = false;
    while (end < l->bytes && l->text[end] != l->text[begin]) {
        escapes |= l->text[end] == '\\';
        end += l->text[end] == '\\' ? 2 : 1;
    }
    if (end >= l->bytes) return fail_at(l, begin, "a string has no closing quote");
    jinja_token token = {.kind = TOKEN_STRING, .offset = (uint32_t)begin};
    token.text = l->text + begin + 1;
    token.bytes = end - begin - 1;
    jinja_builder text = {0};
    for (uint64_t at = begin + 1; escapes && at < end;) {
        uint64_t plain = at;
        while (at < end && l->text[at] != '\\') at++;
        jinja_put(l->run, &text, l->text + plain, at - plain);
        const char *problem = at < end ? (at++, unescape(l, &text, &at, end)) : NULL;
        if (problem) return fail_at(l, at, problem);
    }
    if (escapes) {
        token.text = text.data ? text.data : "";
        token.bytes = text.bytes;
    }
    l->at = end + 1;
    return token;
}

static uint64_t name_end(const jinja_lexer *l, uint64_t at) {
    uint64_t length;
    bool first = true;
    while (at < l->bytes && jinja_is_name((uint32_t)utf8_read(l->text + at, l->bytes - at, &length), first)) {
        at += length;
        first = false;
    }
    return at;
}

static jinja_token read_operator(jinja_lexer *l) {
    uint64_t begin = l->at;
    unsigned kind = TOKEN_FIRST_OPERATOR; /* those of two characters stand first */
    while (kind < TOKEN_KIND_COUNT && !starts_at(l, begin, token_names[kind])) kind++;
    if (kind == TOKEN_KIND_COUNT) return fail_at(l, begin, "there is a character that has no place here");
    char c = l->text[begin];
    if (c == '(' || c == '[' || c == '{') {
        if (l->brackets == LEXER_DEEPEST_BRACKETS) return fail_at(l, begin, "too many brackets are open");
        l->closing[l->brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!l->brackets) return fail_at(l, begin, "a bracket closes that was not open");
        if (l->closing[--l->brackets] != c) return fail_at(l, begin, "another bracket must close before this one");
    }
    l->at = begin + strlen(token_names[kind]);
    return (jinja_token){.kind = (jinja_token_kind)kind, .offset = (uint32_t)begin};
}

static jinja_token next_in_tag(jinja_lexer *l) {
    bool block = l->state == LEX_BLOCK;
    uint64_t end;
    for (;;) { /* the end is looked for before white space, as the minus belongs to it */
        uint64_t begin = l->at;
        if (begin >= l->bytes) return (jinja_token){.kind = TOKEN_END, .offset = (uint32_t)l->bytes};
        if (!l->brackets && end_tag(l, begin, block ? "%}" : "}}", block, &end)) {
            l->state = LEX_DATA;
            l->at = end;
            return (jinja_token){.kind = block ? TOKEN_BLOCK_END : TOKEN_VARIABLE_END, .offset = (uint32_t)begin};
        }
        l->at = skip_space(l, begin);
        if (l->at == begin) break;
    }
    char c = l->text[l->at];
    end = float_end(l, l->at);
    if (end > l->at) return read_float(l, end);
    if (is_digit(c)) return read_integer(l);
    end = name_end(l, l->at);
    if (end > l->at) {
        jinja_token name = {
            .kind = TOKEN_NAME, .offset = (uint32_t)l->at, .text = l->text + l->at, .bytes = end - l->at};
        l->at = end;
        return name;
    }
    return c == '\'' || c == '"' ? read_string(l) : read_operator(l);
}

jinja_token jinja_lexer_next(jinja_lexer *l) {
    if (!jinja_step(l->run, 1)) return (jinja_token){.kind = TOKEN_END};
    return l->state == LEX_DATA ? next_data(l) : next_in_tag(l);
}
