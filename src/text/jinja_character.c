/* Characters as Python sees them: see jinja_character.h. */
#include "text/jinja_character.h"

#include <utf8proc.h>

static utf8proc_category_t category_of(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

bool jinja_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    utf8proc_category_t category = category_of(c);
    return c == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

bool jinja_is_printable(uint32_t c) {
    if (c < 0x80) return c >= ' ' && c != 127;
    switch (category_of(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return false;
    default:
        return true;
    }
}

bool jinja_is_upper(uint32_t c) {
    return c < 0x80 ? c >= 'A' && c <= 'Z' : utf8proc_isupper((utf8proc_int32_t)c) != 0;
}

bool jinja_is_lower(uint32_t c) {
    return c < 0x80 ? c >= 'a' && c <= 'z' : utf8proc_islower((utf8proc_int32_t)c) != 0;
}

bool jinja_is_letter(uint32_t c) {
    utf8proc_category_t category = category_of(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool jinja_is_decimal(uint32_t c) { return category_of(c) == UTF8PROC_CATEGORY_ND; }

bool jinja_is_name(uint32_t c, bool first) {
    if (c == '_' || jinja_is_letter(c)) return true;
    utf8proc_category_t category = category_of(c);
    if (category == UTF8PROC_CATEGORY_NL) return true;
    return !first && (category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_MN ||
                      category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_PC);
}

/* Of the characters that become several, those that common texts have; see docs/chat-templates.md. */
static const struct {
    uint32_t from, upper[3], title[3];
} several[] = {
    {0xdf, {'S', 'S'}, {'S', 's'}},
    {0x149, {0x2bc, 'N'}, {0x2bc, 'N'}},
    {0xfb00, {'F', 'F'}, {'F', 'f'}},
    {0xfb01, {'F', 'I'}, {'F', 'i'}},
    {0xfb02, {'F', 'L'}, {'F', 'l'}},
    {0xfb03, {'F', 'F', 'I'}, {'F', 'f', 'i'}},
    {0xfb04, {'F', 'F', 'L'}, {'F', 'f', 'l'}},
    {0xfb05, {'S', 'T'}, {'S', 't'}},
    {0xfb06, {'S', 'T'}, {'S', 't'}},
};

unsigned jinja_change_case(uint32_t c, jinja_case wanted, uint32_t changed[3]) {
    utf8proc_int32_t code = (utf8proc_int32_t)c;
    for (unsigned i = 0; wanted != CASE_LOWER && i < sizeof several / sizeof *several; i++) {
        if (several[i].from != c) continue;
        unsigned count = 0;
        for (; count < 3 && several[i].upper[count]; count++)
            changed[count] = wanted == CASE_UPPER ? several[i].upper[count] : several[i].title[count];
        return count;
    }
    if (wanted == CASE_LOWER && c == 0x130) {
        changed[0] = 'i';
        changed[1] = 0x307;
        return 2;
    }
    changed[0] = (uint32_t)(wanted == CASE_UPPER   ? utf8proc_toupper(code)
                            : wanted == CASE_LOWER ? utf8proc_tolower(code)
                                                   : utf8proc_totitle(code));
    return 1;
}
