/* Patterns of tokenizer files: see pattern.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"

#include <pcre2.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

struct pattern {
    char *fixed; /* NULL for a regular expression */
    uint64_t fixed_bytes;
    pcre2_general_context *memory;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

static void *allocate(size_t bytes, void *context) {
    (void)context;
    return ledger_alloc(LEVEE_TOKENIZER, bytes);
}

static void release(void *block, void *context) {
    (void)context;
    ledger_free(block);
}

void pattern_close(pattern *p) {
    if (!p) return;
    ledger_free(p->fixed);
    pcre2_code_free(p->code);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limits);
    pcre2_general_context_free(p->memory);
    ledger_free(p);
}

levee_status pattern_open_regex(pattern **result, const char *expression, levee_error *error) {
    enum { MOST_STEPS = 50000000, MOST_HEAP_KIBIBYTES = 65536 };
    *result = NULL;
    pattern *p = ledger_alloc(LEVEE_TOKENIZER, sizeof *p);
    if (!p) return error_out_of_memory(error, "a pattern", sizeof *p);
    int code = 0;
    PCRE2_SIZE offset = 0;
    p->memory = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *compile = p->memory ? pcre2_compile_context_create(p->memory) : NULL;
    /* \C would cut characters, and matching trusts its text to be UTF-8. */
    if (compile)
        p->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, compile);
    pcre2_compile_context_free(compile);
    if (p->code) {
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not wrong */
        p->match = pcre2_match_data_create_from_pattern(p->code, p->memory);
        p->limits = pcre2_match_context_create(p->memory);
    }
    if (!p->match || !p->limits) {
        PCRE2_UCHAR text[128];
        bool refused = p->code || !code || code == PCRE2_ERROR_HEAP_FAILED;
        pattern_close(p);
        if (refused) return error_out_of_memory(error, "a pattern", sizeof *p);
        pcre2_get_error_message(code, text, sizeof text);
        return error_set(error, LEVEE_BAD_DATA, "the regular expression '%.80s' at %zu: %s", expression, offset,
                         (const char *)text);
    }
    pcre2_set_match_limit(p->limits, MOST_STEPS);
    pcre2_set_heap_limit(p->limits, MOST_HEAP_KIBIBYTES);
    *result = p;
    return LEVEE_OK;
}

void pattern_trim(pattern *p) {
    pcre2_match_data *fresh = p && p->code ? pcre2_match_data_create_from_pattern(p->code, p->memory) : NULL;
    if (!fresh) return;
    pcre2_match_data_free(p->match);
    p->match = fresh;
}

levee_status pattern_open(pattern **result, const json_t *description, const char *where, levee_error *error) {
    const char *regex = json_string_value(json_object_get(description, "Regex"));
    const json_t *fixed = json_object_get(description, "String");
    *result = NULL;
    if (regex) {
        levee_status status = pattern_open_regex(result, regex, error);
        return status == LEVEE_OK ? status : error_context(error, "%s", where);
    }
    if (!json_string_length(fixed))
        return error_set(error, LEVEE_BAD_DATA, "%s: a pattern {\"Regex\"} or {\"String\"} is needed", where);
    pattern *p = ledger_alloc(LEVEE_TOKENIZER, sizeof *p);
    if (p) p->fixed = ledger_text(LEVEE_TOKENIZER, json_string_value(fixed));
    if (!p || !p->fixed) {
        pattern_close(p);
        return error_out_of_memory(error, where, sizeof *p);
    }
    p->fixed_bytes = json_string_length(fixed);
    *result = p;
    return LEVEE_OK;
}

levee_status pattern_next(pattern *p, const char *text, uint64_t bytes, uint64_t from, text_piece *match, bool *found,
                          levee_error *error) {
    *found = false;
    if (p->fixed) {
        const char *at = from < bytes ? memmem(text + from, bytes - from, p->fixed, p->fixed_bytes) : NULL;
        *found = at != NULL;
        if (at) *match = (text_piece){(uint64_t)(at - text), p->fixed_bytes};
        return LEVEE_OK;
    }
    while (from < bytes) {
        int count = pcre2_match(p->code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, p->match, p->limits);
        if (count == PCRE2_ERROR_NOMATCH) return LEVEE_OK;
        if (count == PCRE2_ERROR_NOMEMORY)
            return error_set(error, LEVEE_DOES_NOT_FIT,
                             "the memory to match the tokenizer's pattern was refused; give a larger --memory");
        if (count < 0)
            return error_set(error, LEVEE_BAD_DATA,
                             "the tokenizer's pattern failed at byte %llu of a text (PCRE2 error %d)",
                             (unsigned long long)from, count);
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(p->match);
        if (range[0] < from || range[1] < range[0])
            return error_set(error, LEVEE_BAD_DATA, "the tokenizer's pattern moves a match outside of itself by \\K");
        *match = (text_piece){range[0], range[1] - range[0]};
        *found = match->bytes > 0;
        if (*found) return LEVEE_OK;
        uint64_t length;
        utf8_read(text + range[1], bytes - range[1] ? bytes - range[1] : 1, &length);
        from = range[1] + length;
    }
    return LEVEE_OK;
}
