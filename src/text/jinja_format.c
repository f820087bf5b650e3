/* text % values and text.format(): see jinja_call.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja_call.h"
#include "text/jinja_text.h"

enum { MOST_WIDTH = 1000000, MOST_PRECISION = 100 };

/* How one value is laid out: the part of Python's format language that templates use. */
typedef struct layout {
    uint32_t fill;
    char align; /* '<', '>', '^', '=' or 0 */
    char sign;  /* '+', ' ' or 0 */
    bool thousands;
    int width, precision; /* -1: none */
    char type;            /* 0: by the value */
} layout;

static void put_fill(jinja_run *run, jinja_builder *b, uint32_t fill, int64_t count) {
    for (; count > 0 && jinja_step(run, 1); count--) jinja_put_character(run, b, fill);
}

/* `sign_bytes` of the text stand before what '=' fills. */
static void put_aligned(jinja_run *run, jinja_builder *b, const layout *l, char align, const jinja_string *s,
                        uint64_t sign_bytes) {
    int64_t missing = l->width - (int64_t)s->characters;
    if (missing < 0) missing = 0;
    int64_t before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    put_fill(run, b, l->fill, before);
    jinja_put(run, b, s->text, align == '=' ? sign_bytes : s->bytes);
    if (align == '=') {
        put_fill(run, b, l->fill, missing);
        jinja_put(run, b, s->text + sign_bytes, s->bytes - sign_bytes);
    } else {
        put_fill(run, b, l->fill, missing - before);
    }
}

static void put_grouped(jinja_run *run, jinja_builder *b, const char *digits) {
    size_t whole = strspn(digits, "0123456789");
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0) jinja_put(run, b, ",", 1);
        jinja_put(run, b, digits + i, 1);
    }
    jinja_put_literal(run, b, digits + whole);
}

/* The number without its sign as text. False when the type does not fit it. */
static bool number_digits(jinja_run *run, const layout *l, jinja_value v, char *digits, size_t room, bool *negative) {
    bool is_float = v.kind == JINJA_FLOAT || strchr("eEfFgG%", l->type ? l->type : 'd') != NULL;
    int64_t whole = v.kind == JINJA_BOOLEAN ? v.boolean : v.kind == JINJA_INTEGER ? v.integer : 0;
    if (!is_float) {
        uint64_t magnitude = whole < 0 ? 0 - (uint64_t)whole : (uint64_t)whole;
        *negative = whole < 0;
        if (!l->type || l->type == 'd' || l->type == 'i' || l->type == 'u')
            snprintf(digits, room, "%" PRIu64, magnitude);
        else if (l->type == 'x' || l->type == 'X')
            snprintf(digits, room, l->type == 'x' ? "%" PRIx64 : "%" PRIX64, magnitude);
        else if (l->type == 'o')
            snprintf(digits, room, "%" PRIo64, magnitude);
        else
            return false;
        return true;
    }
    double number = jinja_number(v);
    *negative = signbit(number) && !isnan(number);
    number = fabs(number);
    int precision = l->precision < 0 ? 6 : l->precision;
    switch (l->type) {
    case 'f':
    case 'F':
        snprintf(digits, room, "%.*f", precision, number);
        return true;
    case '%':
        snprintf(digits, room, "%.*f%%", precision, number * 100);
        return true;
    case 'e':
        snprintf(digits, room, "%.*e", precision, number);
        return true;
    case 'E':
        snprintf(digits, room, "%.*E", precision, number);
        return true;
    case 'g':
        snprintf(digits, room, "%.*g", precision ? precision : 1, number);
        return true;
    case 'G':
        snprintf(digits, room, "%.*G", precision ? precision : 1, number);
        return true;
    case 0:
        if (l->precision < 0) {
            jinja_builder text = {0};
            jinja_put_float(run, &text, number);
            snprintf(digits, room, "%.*s", (int)text.bytes, text.data ? text.data : "");
            return true;
        }
        return false;
    default:
        return false;
    }
}

static void put_number(jinja_run *run, jinja_builder *b, const layout *l, jinja_value v) {
    char digits[512];
    bool negative = false;
    if (!number_digits(run, l, v, digits, sizeof digits, &negative)) {
        jinja_fail(run, "the format '%c' is not known here for '%s'", l->type ? l->type : '.', jinja_type_name(v));
        return;
    }
    jinja_builder text = {0};
    if (negative || l->sign) jinja_put(run, &text, negative ? "-" : &l->sign, 1);
    uint64_t sign_bytes = text.bytes;
    if (l->thousands)
        put_grouped(run, &text, digits);
    else
        jinja_put_literal(run, &text, digits);
    jinja_value built = jinja_text_built(run, &text);
    if (!jinja_failed(run)) put_aligned(run, b, l, l->align ? l->align : '>', built.string, sign_bytes);
}

static void put_words(jinja_run *run, jinja_builder *b, const layout *l, jinja_value v) {
    jinja_value text = jinja_to_text(run, v);
    if (jinja_failed(run)) return;
    if (l->precision >= 0 && (uint64_t)l->precision < text.string->characters)
        text = jinja_text_part(run, text.string, 0, jinja_byte_offset(text.string, (uint64_t)l->precision));
    if (!jinja_failed(run)) put_aligned(run, b, l, l->align ? l->align : '<', text.string, 0);
}

static int read_number(const char *text, uint64_t end, uint64_t *at, int otherwise) {
    int number = otherwise;
    for (; *at < end && text[*at] >= '0' && text[*at] <= '9'; (*at)++) {
        number = (number < 0 ? 0 : number) * 10 + (text[*at] - '0');
        if (number > MOST_WIDTH) number = MOST_WIDTH;
    }
    return number;
}

/* The values of %: a tuple's one after the other, or one value. */
typedef struct percent_values {
    jinja_value values;
    uint64_t used;
} percent_values;

static jinja_value next_value(jinja_run *run, percent_values *p) {
    bool several = p->values.kind == JINJA_TUPLE;
    if (p->used >= (several ? p->values.list->count : 1)) {
        jinja_fail(run, "not enough arguments for format string");
        return jinja_nothing();
    }
    return several ? p->values.list->items[p->used++] : (p->used++, p->values);
}

/* %(name)s takes a value of a dict. */
static jinja_value named_value(jinja_run *run, const jinja_string *f, uint64_t *at, percent_values *p) {
    uint64_t begin = *at + 1;
    const char *end = memchr(f->text + begin, ')', f->bytes - begin);
    if (!end || p->values.kind != JINJA_DICT) {
        jinja_fail(run, end ? "format requires a mapping" : "incomplete format key");
        return jinja_nothing();
    }
    *at = (uint64_t)(end - f->text) + 1;
    jinja_value key = jinja_text_part(run, f, begin, *at - 1);
    jinja_value *there = jinja_failed(run) ? NULL : jinja_dict_find(run, p->values.dict, key);
    if (!there) jinja_fail(run, "the format's key is not in the mapping");
    return there ? *there : jinja_nothing();
}

static void put_percent(jinja_run *run, jinja_builder *b, const layout *l, jinja_value v) {
    if (l->type == 'r') {
        jinja_builder text = {0};
        jinja_put_repr(run, &text, v);
        put_words(run, b, l, jinja_text_built(run, &text));
    } else if (l->type == 's') {
        put_words(run, b, l, v);
    } else if (!jinja_refuse_undefined(run, v)) {
        if (strchr("diu", l->type) && v.kind == JINJA_FLOAT && fabs(v.real) < 9e18)
            v = jinja_integer((int64_t)v.real);
        if (!jinja_is_number(v) || !strchr("diuxXoeEfFgG", l->type))
            jinja_fail(run, "%%%c format: a number is required, not %s", l->type, jinja_type_name(v));
        else
            put_number(run, b, l, v);
    }
}

static void put_percent_field(jinja_run *run, jinja_builder *b, const jinja_string *f, uint64_t *at,
                              percent_values *p) {
    layout l = {.fill = ' ', .align = '>', .precision = -1, .type = 's'};
    bool named = *at < f->bytes && f->text[*at] == '(';
    jinja_value value = named ? named_value(run, f, at, p) : jinja_nothing();
    for (; *at < f->bytes && f->text[*at] && strchr("-+ 0#", f->text[*at]); (*at)++) {
        char flag = f->text[*at];
        if (flag == '-') l.align = '<';
        if (flag == '+' || (flag == ' ' && !l.sign)) l.sign = flag;
        if (flag == '0' && l.align == '>') {
            l.fill = '0';
            l.align = '=';
        }
    }
    l.width = read_number(f->text, f->bytes, at, 0);
    if (*at < f->bytes && f->text[*at] == '.') {
        (*at)++;
        l.precision = read_number(f->text, f->bytes, at, 0);
        if (l.precision > MOST_PRECISION) l.precision = MOST_PRECISION;
    }
    if (*at >= f->bytes) {
        jinja_fail(run, "incomplete format");
        return;
    }
    l.type = f->text[(*at)++];
    if (l.type == '%') {
        jinja_put(run, b, "%", 1);
        return;
    }
    if (!l.type || !strchr("srdiuxXoeEfFgG", l.type)) {
        jinja_fail(run, "unsupported format character in %%-formatting");
        return;
    }
    if (l.type == 's' || l.type == 'r') {
        if (l.align == '=') l.align = '>';
        l.fill = ' ';
    } else if (l.align == '<') {
        l.fill = ' ';
    }
    if (!named) value = next_value(run, p);
    if (!jinja_failed(run)) put_percent(run, b, &l, value);
}

jinja_value jinja_format_percent(jinja_run *run, const jinja_string *format, jinja_value values) {
    jinja_builder b = {0};
    percent_values p = {.values = values};
    for (uint64_t at = 0; at < format->bytes && jinja_step(run, 1);) {
        uint64_t begin = at;
        while (at < format->bytes && format->text[at] != '%') at++;
        jinja_put(run, &b, format->text + begin, at - begin);
        if (at == format->bytes) break;
        at++;
        put_percent_field(run, &b, format, &at, &p);
    }
    bool rest = values.kind == JINJA_TUPLE ? p.used < values.list->count
                                           : !p.used && values.kind != JINJA_DICT && values.kind != JINJA_LIST;
    if (rest) jinja_fail(run, "not all arguments converted during string formatting");
    return jinja_text_built(run, &b);
}

static bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

/* [[fill]align][sign][0][width][,][.precision][type] */
static bool read_layout(const char *text, uint64_t bytes, layout *l) {
    uint64_t at = 0, length = 0;
    *l = (layout){.fill = ' ', .precision = -1};
    if (bytes) utf8_read(text, bytes, &length);
    if (bytes > length && is_align(text[length])) {
        l->fill = (uint32_t)utf8_read(text, bytes, &length);
        at = length;
    }
    if (at < bytes && is_align(text[at])) l->align = text[at++];
    if (at < bytes && (text[at] == '+' || text[at] == ' ' || text[at] == '-')) {
        if (text[at] != '-') l->sign = text[at];
        at++;
    }
    if (at < bytes && text[at] == '0' && !l->align) {
        l->fill = '0';
        l->align = '=';
    }
    l->width = read_number(text, bytes, &at, 0);
    if (at < bytes && text[at] == ',') {
        l->thousands = true;
        at++;
    }
    if (at < bytes && text[at] == '.') {
        at++;
        l->precision = read_number(text, bytes, &at, 0);
        if (l->precision > MOST_PRECISION) l->precision = MOST_PRECISION;
    }
    if (at < bytes) l->type = text[at++];
    return at == bytes && (!l->type || strchr("sdxXoeEfFgG%", l->type));
}

/* The value that a field names: "", "2", "name", and behind that .attribute and [index]. */
static jinja_value field_value(jinja_run *run, const jinja_string *f, uint64_t begin, uint64_t end,
                               uint64_t *automatic, const jinja_arguments *a) {
    uint64_t at = begin;
    while (at < end && f->text[at] != '.' && f->text[at] != '[') at++;
    jinja_value name = jinja_text_part(run, f, begin, at), value = jinja_missing();
    if (jinja_failed(run)) return value;
    uint64_t digits = begin;
    uint64_t index = (uint64_t)read_number(f->text, at, &digits, 0);
    bool number = at > begin && digits == at;
    if (at == begin) {
        number = true;
        index = (*automatic)++;
    }
    if (number && index < a->count) value = a->positional[index];
    for (uint64_t i = 0; !number && i < a->named_count; i++)
        if (jinja_equal(run, a->named[i].name, name)) value = a->named[i].value;
    if (value.kind == JINJA_MISSING) jinja_fail(run, "format() lacks the argument of a field");
    if (at < end && !jinja_failed(run)) jinja_fail(run, "parts of arguments in format() are not known here");
    return value;
}

static void put_braces_field(jinja_run *run, jinja_builder *b, const jinja_string *f, uint64_t begin, uint64_t end,
                             uint64_t *automatic, const jinja_arguments *a) {
    uint64_t name_end = begin;
    while (name_end < end && f->text[name_end] != ':' && f->text[name_end] != '!') name_end++;
    jinja_value value = field_value(run, f, begin, name_end, automatic, a);
    layout l;
    uint64_t at = name_end;
    if (at < end && f->text[at] == '!') {
        bool representation = at + 1 < end && f->text[at + 1] == 'r';
        jinja_builder text = {0};
        if (representation)
            jinja_put_repr(run, &text, value);
        else
            jinja_put_text(run, &text, value);
        value = jinja_text_built(run, &text);
        at = at + 2 < end ? at + 2 : end;
    }
    if (at < end) at++; /* the colon */
    if (jinja_failed(run)) return;
    if (!read_layout(f->text + at, end - at, &l)) {
        jinja_fail(run, "this format is not known here");
    } else if (jinja_is_number(value) && (value.kind != JINJA_BOOLEAN || l.type) && l.type != 's') {
        put_number(run, b, &l, value);
    } else if (l.type && l.type != 's') {
        jinja_fail(run, "Unknown format code '%c' for object of type '%s'", l.type, jinja_type_name(value));
    } else {
        if (l.align == '=') l.align = '<';
        put_words(run, b, &l, value);
    }
}

jinja_value jinja_format_braces(jinja_run *run, const jinja_string *f, const jinja_arguments *arguments) {
    jinja_builder b = {0};
    uint64_t automatic = 0;
    for (uint64_t at = 0; at < f->bytes && jinja_step(run, 1);) {
        char c = f->text[at];
        bool doubled = at + 1 < f->bytes && f->text[at + 1] == c;
        if ((c == '{' || c == '}') && doubled) {
            jinja_put(run, &b, &c, 1);
            at += 2;
        } else if (c == '}') {
            jinja_fail(run, "Single '}' encountered in format string");
        } else if (c == '{') {
            const char *end = memchr(f->text + at, '}', f->bytes - at);
            if (!end) {
                jinja_fail(run, "expected '}' before end of string");
                break;
            }
            put_braces_field(run, &b, f, at + 1, (uint64_t)(end - f->text), &automatic, arguments);
            at = (uint64_t)(end - f->text) + 1;
        } else {
            uint64_t begin = at;
            while (at < f->bytes && f->text[at] != '{' && f->text[at] != '}') at++;
            jinja_put(run, &b, f->text + begin, at - begin);
        }
    }
    return jinja_text_built(run, &b);
}
