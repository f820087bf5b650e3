/* Patterns over lines: see steps.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "watch/steps.h"

#include <ctype.h>
#include <pcre2.h>

#include "base/error.h"
#include "memory/ledger.h"

/* A line that needs more than this does not match: no pattern may hold the guard up. */
enum { MOST_MATCH_STEPS = 200000, MOST_HEAP_KIBIBYTES = 1024 };

struct step_pattern {
    pcre2_general_context *memory;
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    uint32_t groups;
    uint64_t last; /* number of a step */
};

static void *allocate(size_t bytes, void *context) {
    (void)context;
    return ledger_alloc(LEVEE_RUNTIME, bytes);
}

static void release(void *block, void *context) {
    (void)context;
    ledger_free(block);
}

void step_pattern_close(step_pattern *p) {
    if (!p) return;
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->memory);
    ledger_free(p);
}

static levee_status refuse(const char *expression, int code, size_t offset, levee_error *error) {
    PCRE2_UCHAR text[128];
    if (!code || code == PCRE2_ERROR_HEAP_FAILED)
        return error_out_of_memory(error, "--step-pattern", sizeof(step_pattern));
    pcre2_get_error_message(code, text, sizeof text);
    return error_set(error, LEVEE_USAGE, "--step-pattern '%.200s': at character %zu, before '%.20s': %s", expression,
                     offset, expression + offset, (const char *)text);
}

levee_status step_pattern_open(step_pattern **result, const char *expression, levee_error *error) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    *result = NULL;
    step_pattern *p = ledger_alloc(LEVEE_RUNTIME, sizeof *p);
    if (!p) return error_out_of_memory(error, "--step-pattern", sizeof *p);
    p->memory = pcre2_general_context_create(allocate, release, NULL);
    pcre2_compile_context *compile = p->memory ? pcre2_compile_context_create(p->memory) : NULL;
    if (compile) /* output of any program: it need not be UTF-8 */
        p->code = pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                                &code, &offset, compile);
    pcre2_compile_context_free(compile);
    if (p->code) {
        code = 0;
        pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not wrong */
        pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &p->groups);
        p->match = pcre2_match_data_create_from_pattern(p->code, p->memory);
        p->limits = pcre2_match_context_create(p->memory);
    }
    if (!p->match || !p->limits) {
        step_pattern_close(p);
        return refuse(expression, code, offset, error);
    }
    pcre2_set_match_limit(p->limits, MOST_MATCH_STEPS);
    pcre2_set_heap_limit(p->limits, MOST_HEAP_KIBIBYTES);
    *result = p;
    return LEVEE_OK;
}

/* By how much the number that the first group matched is larger than the last; one that is no number is none. */
static uint64_t count_to(step_pattern *p, const char *digits, size_t bytes) {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++)
        if (!isdigit((unsigned char)digits[i]) || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(digits[i] - '0'), &number))
            return 0;
    uint64_t steps = number > p->last ? number - p->last : 0;
    if (steps) p->last = number;
    return steps;
}

uint64_t step_pattern_count(step_pattern *p, const char *line, size_t bytes) {
    int found = pcre2_match(p->code, (PCRE2_SPTR)line, bytes, 0, 0, p->match, p->limits);
    if (found < 0) return 0;
    const PCRE2_SIZE *ranges = pcre2_get_ovector_pointer(p->match);
    if (!p->groups) return 1;
    return found > 1 && ranges[2] != PCRE2_UNSET ? count_to(p, line + ranges[2], ranges[3] - ranges[2]) : 0;
}

uint64_t step_lines_take(step_lines *l, step_pattern *p, const char *piece, size_t bytes) {
    uint64_t steps = 0;
    for (size_t i = 0; i < bytes; i++) {
        bool ends = piece[i] == '\n' || piece[i] == '\r';
        if (!ends && l->bytes < sizeof l->text) l->text[l->bytes++] = piece[i];
        if (!ends) continue;
        if (l->bytes) steps += step_pattern_count(p, l->text, l->bytes);
        l->bytes = 0;
    }
    return steps;
}
