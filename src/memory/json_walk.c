/* JSON piece by piece: see json_walk.h. */
#include "memory/json_walk.h"

static bool is_white(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static char here(const json_walk *w) { return w->at < w->all.bytes ? w->all.text[w->at] : 0; }

static void pass_white(json_walk *w) {
    while (w->at < w->all.bytes && is_white(w->all.text[w->at])) w->at++;
}

/* Goes past a string, whose opening quote is here; false when it does not end. */
static bool pass_string(json_walk *w) {
    for (w->at++; w->at < w->all.bytes; w->at++) {
        char c = w->all.text[w->at];
        if (c == '\\') w->at++;
        if (c == '"') return w->at++ < w->all.bytes;
    }
    return false;
}

/* Goes past a value: to its closing bracket, or to what ends a word. */
static bool pass_value(json_walk *w) {
    uint64_t depth = 0, begin = w->at;
    while (w->at < w->all.bytes) {
        char c = here(w);
        if (c == '"') {
            if (!pass_string(w)) return false;
            if (!depth) return true;
            continue;
        }
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (!depth && (closes || c == ',' || is_white(c))) break;
        w->at++;
        depth += opens;
        depth -= closes;
        if (closes && !depth) return true;
    }
    return !depth && w->at > begin;
}

static json_span since(const json_walk *w, uint64_t begin) {
    return (json_span){.text = w->all.text + begin, .bytes = w->at - begin};
}

bool json_walk_open(json_walk *w, json_span text) {
    *w = (json_walk){.all = text};
    pass_white(w);
    w->object = here(w) == '{';
    bool either = w->object || here(w) == '[';
    w->at += either;
    return either;
}

static bool fail(json_walk *w) {
    w->failed = true;
    if (w->at > w->all.bytes) w->at = w->all.bytes; /* past a last backslash */
    return false;
}

bool json_walk_next(json_walk *w, json_span *key, json_span *value) {
    *key = *value = (json_span){0};
    if (w->failed) return false;
    pass_white(w);
    if (here(w) == (w->object ? '}' : ']')) return false;
    if (w->started) {
        if (here(w) != ',') return fail(w);
        w->at++;
        pass_white(w);
    }
    w->started = true;
    uint64_t begin = w->at;
    if (w->object) {
        if (here(w) != '"' || !pass_string(w)) return fail(w);
        *key = since(w, begin);
        pass_white(w);
        if (here(w) != ':') return fail(w);
        w->at++;
        pass_white(w);
        begin = w->at;
    }
    if (!pass_value(w)) return fail(w);
    *value = since(w, begin);
    return true;
}

json_t *json_span_parse(json_span span, pool *memory, bool *refused) {
    json_error_t problem;
    if (memory) {
        pool_empty(memory);
        pool_enter(memory);
    }
    json_t *parsed = json_parse(span.text, span.bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &problem);
    if (memory) pool_leave();
    *refused = !parsed && json_error_code(&problem) == json_error_out_of_memory;
    return parsed;
}
