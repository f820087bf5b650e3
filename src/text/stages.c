/* Reading the stages of a tokenizer: see stages.h. */
#include "text/stages.h"

#include <string.h>
#include <utf8proc.h>

#include "base/error.h"

typedef levee_status read_step(step *s, const char *type, const json_t *description, const char *where,
                               levee_error *error);

static levee_status bad(levee_error *error, const char *where, const char *problem) {
    return error_set(error, LEVEE_BAD_DATA, "%s: %s", where, problem);
}

static levee_status read_text(step *s, const json_t *description, const char *key, const char *where,
                              levee_error *error) {
    const json_t *text = json_object_get(description, key);
    if (!json_is_string(text) || json_string_length(text) >= STEP_TEXT_BYTES)
        return error_set(error, LEVEE_BAD_DATA, "%s: %s: a short text is needed", where, key);
    memcpy(s->text, json_string_value(text), json_string_length(text) + 1);
    return LEVEE_OK;
}

/* As read_text, for a text that is looked for: an empty one would be found without end. */
static levee_status read_mark(step *s, const json_t *description, const char *key, const char *where,
                              levee_error *error) {
    levee_status status = read_text(s, description, key, where, error);
    if (status != LEVEE_OK || *s->text) return status;
    return error_set(error, LEVEE_BAD_DATA, "%s: %s: a text that is not empty is needed", where, key);
}

/* How often to strip; 0 where the key is absent. */
static levee_status read_times(unsigned *times, const json_t *description, const char *key, const char *where,
                               levee_error *error) {
    const json_t *value = json_object_get(description, key);
    json_int_t number = json_integer_value(value);
    if ((value && !json_is_integer(value)) || number < 0 || number > INT32_MAX)
        return error_set(error, LEVEE_BAD_DATA, "%s: %s: a whole number from 0 is needed", where, key);
    *times = (unsigned)number;
    return LEVEE_OK;
}

static levee_status read_normalizer_step(step *s, const char *type, const json_t *description, const char *where,
                                         levee_error *error) {
    static const struct {
        const char *name;
        int option;
    } forms[] = {{"NFC", UTF8PROC_COMPOSE},
                 {"NFD", UTF8PROC_DECOMPOSE},
                 {"NFKC", UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                 {"NFKD", UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(type, forms[i].name)) {
            s->kind = STEP_UNICODE;
            s->option = UTF8PROC_STABLE | forms[i].option;
            return LEVEE_OK;
        }
    if (!strcmp(type, "Prepend")) {
        s->kind = STEP_PREPEND;
        return read_text(s, description, "prepend", where, error);
    }
    if (!strcmp(type, "Replace")) {
        s->kind = STEP_REPLACE;
        levee_status status = read_text(s, description, "content", where, error);
        return status == LEVEE_OK ? pattern_open(&s->match, json_object_get(description, "pattern"), where, error)
                                  : status;
    }
    if (!strcmp(type, "Lowercase")) {
        s->kind = STEP_LOWERCASE;
        return LEVEE_OK;
    }
    if (!strcmp(type, "Strip")) {
        s->kind = STEP_STRIP;
        s->start = json_is_true(json_object_get(description, "strip_left"));
        s->stop = json_is_true(json_object_get(description, "strip_right"));
        return LEVEE_OK;
    }
    return error_set(
        error, LEVEE_BAD_DATA,
        "%s: type '%.40s' is not supported; NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip and "
        "Sequence are",
        where, type);
}

static levee_status read_metaspace(step *s, const json_t *description, const char *where, levee_error *error) {
    s->kind = STEP_METASPACE;
    const char *scheme = json_string_value(json_object_get(description, "prepend_scheme"));
    const json_t *older = json_object_get(description, "add_prefix_space");
    s->prefix_space = scheme ? strcmp(scheme, "never") != 0 : !json_is_false(older);
    s->prefix_first_only = scheme && !strcmp(scheme, "first");
    s->split = !json_is_false(json_object_get(description, "split"));
    return read_mark(s, description, "replacement", where, error);
}

static levee_status read_split(step *s, const json_t *description, const char *where, levee_error *error) {
    static const char *const behaviours[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                             "Contiguous"};
    const char *behaviour = json_string_value(json_object_get(description, "behavior"));
    s->kind = STEP_SPLIT;
    s->invert = json_is_true(json_object_get(description, "invert"));
    unsigned i = 0;
    while (i < 5 && (!behaviour || strcmp(behaviour, behaviours[i]))) i++;
    if (i == 5) return bad(error, where, "behavior: is not one that is known");
    s->behaviour = (split_behaviour)i;
    return pattern_open(&s->match, json_object_get(description, "pattern"), where, error);
}

/* GPT-2's split, as its authors published it. */
static const char gpt2_words[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static levee_status read_pretokenizer_step(step *s, const char *type, const json_t *description, const char *where,
                                           levee_error *error) {
    if (!strcmp(type, "Split")) return read_split(s, description, where, error);
    if (!strcmp(type, "Metaspace")) return read_metaspace(s, description, where, error);
    if (!strcmp(type, "Digits")) {
        bool each = json_is_true(json_object_get(description, "individual_digits"));
        *s = (step){.kind = STEP_SPLIT, .behaviour = SPLIT_ISOLATED};
        return pattern_open_regex(&s->match, each ? "\\p{N}" : "\\p{N}+", error);
    }
    if (!strcmp(type, "ByteLevel")) {
        s->kind = STEP_BYTE_LEVEL;
        s->prefix_space = !json_is_false(json_object_get(description, "add_prefix_space"));
        s->split = !json_is_false(json_object_get(description, "use_regex"));
        return s->split ? pattern_open_regex(&s->match, gpt2_words, error) : LEVEE_OK;
    }
    return error_set(error, LEVEE_BAD_DATA,
                     "%s: type '%.40s' is not supported; Split, Digits, ByteLevel, Metaspace and Sequence are", where,
                     type);
}

static levee_status read_decoder_step(step *s, const char *type, const json_t *description, const char *where,
                                      levee_error *error) {
    if (!strcmp(type, "ByteLevel")) return s->kind = STEP_BYTE_LEVEL, LEVEE_OK;
    if (!strcmp(type, "ByteFallback")) return s->kind = STEP_BYTE_FALLBACK, LEVEE_OK;
    if (!strcmp(type, "Fuse")) return s->kind = STEP_FUSE, LEVEE_OK;
    if (!strcmp(type, "Metaspace")) return read_metaspace(s, description, where, error);
    if (!strcmp(type, "Strip")) {
        s->kind = STEP_STRIP;
        levee_status status = read_times(&s->start, description, "start", where, error);
        if (status == LEVEE_OK) status = read_times(&s->stop, description, "stop", where, error);
        return status == LEVEE_OK ? read_mark(s, description, "content", where, error) : status;
    }
    if (!strcmp(type, "Replace")) return read_normalizer_step(s, type, description, where, error);
    return error_set(
        error, LEVEE_BAD_DATA,
        "%s: type '%.40s' is not supported; ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip and "
        "Sequence are",
        where, type);
}

static levee_status read_stage(stage *s, const json_t *description, const char *where, const char *list,
                               read_step *read_one, levee_error *error) {
    if (!description || json_is_null(description)) return LEVEE_OK;
    const char *type = json_string_value(json_object_get(description, "type"));
    if (!type) return bad(error, where, "has no type");
    if (!strcmp(type, "Sequence")) {
        const json_t *steps = json_object_get(description, list);
        levee_status status = json_is_array(steps) ? LEVEE_OK : bad(error, where, "a sequence without steps");
        for (size_t i = 0; i < json_array_size(steps) && status == LEVEE_OK; i++)
            status = read_stage(s, json_array_get(steps, i), where, list, read_one, error);
        return status;
    }
    if (s->count == STAGE_STEPS) return bad(error, where, "has more than 16 steps");
    return read_one(&s->steps[s->count++], type, description, where, error);
}

levee_status stage_read_normalizer(stage *s, const json_t *description, levee_error *error) {
    return read_stage(s, description, "normalizer", "normalizers", read_normalizer_step, error);
}

levee_status stage_read_pretokenizer(stage *s, const json_t *description, levee_error *error) {
    return read_stage(s, description, "pre_tokenizer", "pretokenizers", read_pretokenizer_step, error);
}

levee_status stage_read_decoder(stage *s, const json_t *description, levee_error *error) {
    return read_stage(s, description, "decoder", "decoders", read_decoder_step, error);
}

void stage_close(stage *s) {
    for (unsigned i = 0; i < s->count; i++) pattern_close(s->steps[i].match);
    memset(s, 0, sizeof *s);
}

void stage_trim(stage *s) {
    for (unsigned i = 0; i < s->count; i++) pattern_trim(s->steps[i].match);
}

bool stage_has(const stage *s, step_kind kind) {
    for (unsigned i = 0; i < s->count; i++)
        if (s->steps[i].kind == kind) return true;
    return false;
}
