/* A tokenizer as GGUF's metadata: see tokenizer_gguf.h. */
#include "text/tokenizer_gguf.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "text/chat_template.h"

/* GGUF's kinds of tokens. */
enum { KIND_NORMAL = 1, KIND_UNKNOWN, KIND_CONTROL, KIND_USER_DEFINED, KIND_UNUSED, KIND_BYTE };

static bool is_type(const json_t *step, const char *type) {
    const char *given = json_string_value(json_object_get(step, "type"));
    return given && !strcmp(given, type);
}

/* A byte-level step that puts no space in front. */
static bool is_byte_level(const json_t *step, bool splits) {
    const json_t *regex = json_object_get(step, "use_regex");
    return is_type(step, "ByteLevel") && !json_is_true(json_object_get(step, "add_prefix_space")) &&
           (regex ? json_is_true(regex) : true) == splits;
}

/* GGUF's name of a pattern that cuts text into words; NULL when it has none. */
static const char *pattern_name(const json_t *step) {
    static const char *const names[][2] = {
        {"llama-bpe", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+"
                      "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
        {"qwen2", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+"
                  "[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}};
    const char *pattern = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
    const char *behavior = json_string_value(json_object_get(step, "behavior"));
    bool plain = behavior && !strcmp(behavior, "Isolated") && !json_is_true(json_object_get(step, "invert"));
    for (unsigned i = 0; pattern && plain && i < sizeof names / sizeof *names; i++)
        if (!strcmp(pattern, names[i][1])) return names[i][0];
    return NULL;
}

static const char *split_name(const json_t *splitter) {
    const json_t *list = is_type(splitter, "Sequence") ? json_object_get(splitter, "pretokenizers") : NULL;
    const json_t *first = list ? json_array_get(list, 0) : splitter, *second = json_array_get(list, 1);
    size_t count = list ? json_array_size(list) : 1;
    if (count == 1 && is_byte_level(first, true)) return "gpt-2";
    bool digits = is_type(first, "Digits") && json_is_true(json_object_get(first, "individual_digits"));
    if (count == 2 && digits && is_byte_level(second, true)) return "smollm";
    return count == 2 && is_type(first, "Split") && is_byte_level(second, false) ? pattern_name(first) : NULL;
}

/* SentencePiece writes spaces as this. */
static bool replaces_spaces(const json_t *step, bool *prefix) {
    bool found = false;
    if (is_type(step, "Sequence")) {
        const json_t *list = json_object_get(step, "normalizers");
        for (size_t i = 0; i < json_array_size(list); i++)
            found = replaces_spaces(json_array_get(list, i), prefix) || found;
    }
    if (is_type(step, "Prepend")) *prefix = true;
    if (is_type(step, "Metaspace")) {
        const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
        *prefix = !scheme || strcmp(scheme, "never");
    }
    const char *replaced = json_string_value(json_object_get(json_object_get(step, "pattern"), "String"));
    return found || is_type(step, "Metaspace") || (is_type(step, "Replace") && replaced && !strcmp(replaced, " "));
}

/* Gives every merge, as two texts in a row separated by a space, to a function. */
typedef levee_status visit_merge(void *context, const char *both, uint64_t bytes, uint64_t left_bytes, uint32_t rank,
                                 levee_error *error);

static levee_status each_merge(const tokenizer_gguf *g, visit_merge *visit, void *context, levee_error *error) {
    unsigned char memory[16384];
    pool library = {.memory = memory, .capacity = sizeof memory};
    text_buffer both = {0};
    json_walk walk;
    json_span key, value;
    levee_status status = LEVEE_OK;
    if (!json_walk_open(&walk, g->file.merges)) return LEVEE_OK;
    for (uint32_t rank = 0; status == LEVEE_OK && json_walk_next(&walk, &key, &value); rank++) {
        bool refused;
        const json_t *merge = json_span_parse(value, &library, &refused);
        const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge);
        const char *right = json_string_value(json_array_get(merge, 1)), *space = left ? strchr(left, ' ') : NULL;
        if (!left || (!right && !space)) {
            status = error_set(error, LEVEE_INTERNAL, "tokenizer.json: merge number %u changed", rank);
            break;
        }
        both.bytes = 0;
        uint64_t left_bytes = right ? strlen(left) : (uint64_t)(space - left);
        status = text_append(&both, left, left_bytes, error);
        if (status == LEVEE_OK) status = text_append(&both, " ", 1, error);
        if (!right) right = space + 1;
        if (status == LEVEE_OK) status = text_append(&both, right, strlen(right), error);
        if (status == LEVEE_OK) status = visit(context, both.data, both.bytes, left_bytes, rank, error);
    }
    pool_empty(&library);
    text_free(&both);
    return status;
}

/* The earlier a merge, the higher the score of what it makes: then a reader that merges the highest score first
 * merges in the same order. */
static levee_status score_merge(void *context, const char *both, uint64_t bytes, uint64_t left_bytes, uint32_t rank,
                                levee_error *error) {
    tokenizer_gguf *g = context;
    char made[1024];
    if (bytes >= sizeof made) return LEVEE_OK; /* it keeps the lowest score */
    memcpy(made, both, left_bytes);
    memcpy(made + left_bytes, both + left_bytes + 1, bytes - left_bytes - 1);
    made[bytes - 1] = 0;
    (void)error;
    int64_t id = tokenizer_find(g->tokens, made);
    if (id >= 0 && id < g->size && g->scores[id] < -(float)rank) g->scores[id] = -(float)rank;
    return LEVEE_OK;
}

static levee_status make_scores(tokenizer_gguf *g, levee_error *error) {
    static const float lowest = -1e9f; /* below every merge: such a token is never made of others */
    g->scores = ledger_alloc_array(LEVEE_IO, g->size, sizeof *g->scores);
    if (!g->scores) return error_out_of_memory(error, "scores of tokens", g->size * sizeof *g->scores);
    for (uint32_t i = 0; i < g->size; i++) g->scores[i] = lowest;
    return each_merge(g, score_merge, g, error);
}

static levee_status recognise(tokenizer_gguf *g, const char *directory, levee_error *error) {
    const json_t *model = json_object_get(g->file.tree, "model");
    const json_t *normalizer = json_object_get(g->file.tree, "normalizer");
    const json_t *splitter = json_object_get(g->file.tree, "pre_tokenizer");
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    g->unknown = unknown ? tokenizer_find(g->tokens, unknown) : -1;
    g->split = split_name(splitter);
    if (g->split) return LEVEE_OK;
    bool pieces = json_is_true(json_object_get(model, "byte_fallback")) &&
                  (replaces_spaces(normalizer, &g->space_prefix) || replaces_spaces(splitter, &g->space_prefix));
    if (pieces) return make_scores(g, error);
    return error_set(error, LEVEE_BAD_DATA,
                     "%s/tokenizer.json: pre_tokenizer: GGUF has no name for this one that is known here; those of "
                     "GPT-2, Llama 3, Qwen2 and SmolLM2 are, and SentencePiece's; --format hf writes it as it is",
                     directory);
}

/* What is put around a text. */
static levee_status find_ends(tokenizer_gguf *g, levee_error *error) {
    token_list ids = {0};
    levee_status status = tokenizer_encode(g->tokens, "", 0, true, &ids, error);
    bool first_begins = ids.count && (int64_t)ids.ids[0] != g->eos;
    if (first_begins && tokenizer_bos(g->tokens) < 0) g->bos = ids.ids[0]; /* the tokenizer names none, but adds it */
    g->adds_bos = ids.count && (int64_t)ids.ids[0] == g->bos;
    g->adds_eos = ids.count && (int64_t)ids.ids[ids.count - 1] == g->eos && (ids.count > 1 || !g->adds_bos);
    token_list_free(&ids);
    return status;
}

levee_status tokenizer_gguf_open(tokenizer_gguf *g, tokenizer *tokens, const char *directory, uint32_t size,
                                 int64_t bos, int64_t eos, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *g = (tokenizer_gguf){.tokens = tokens, .size = size, .bos = tokenizer_bos(tokens), .eos = tokenizer_eos(tokens)};
    if (g->bos < 0) g->bos = bos;
    if (g->eos < 0) g->eos = eos;
    if (!file_join(path, directory, "tokenizer.json"))
        return error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directory);
    levee_status status = tokenizer_file_open(&g->file, path, error);
    if (status == LEVEE_OK) status = recognise(g, directory, error);
    if (status == LEVEE_OK) status = find_ends(g, error);
    if (status == LEVEE_OK) status = chat_template_read(&g->chat_template, directory, error);
    if (status != LEVEE_OK) tokenizer_gguf_close(g);
    return status;
}

void tokenizer_gguf_close(tokenizer_gguf *g) {
    tokenizer_file_close(&g->file);
    text_free(&g->chat_template);
    ledger_free(g->scores);
    memset(g, 0, sizeof *g);
}

static int32_t kind_of(const tokenizer_gguf *g, uint32_t id) {
    const char *text;
    uint64_t bytes;
    token_kind kind = tokenizer_token(g->tokens, id, &text, &bytes);
    if (kind == TOKEN_ABSENT) return KIND_UNUSED;
    if (!g->split && (int64_t)id == g->unknown) return KIND_UNKNOWN;
    if (kind != TOKEN_PLAIN) return kind == TOKEN_SPECIAL ? KIND_CONTROL : KIND_USER_DEFINED;
    return !g->split && bytes == 6 && !memcmp(text, "<0x", 3) ? KIND_BYTE : KIND_NORMAL;
}

static void write_token(const tokenizer_gguf *g, gguf_writer *w, uint32_t id) {
    const char *text;
    uint64_t bytes;
    char filler[24];
    if (tokenizer_token(g->tokens, id, &text, &bytes) == TOKEN_ABSENT) {
        bytes = (uint64_t)snprintf(filler, sizeof filler, "[PAD%u]", id);
        text = filler;
    }
    gguf_item_text(w, text, bytes);
}

static levee_status write_merge(void *context, const char *both, uint64_t bytes, uint64_t left_bytes, uint32_t rank,
                                levee_error *error) {
    gguf_writer *w = context;
    (void)left_bytes, (void)rank, (void)error;
    gguf_item_text(w, both, bytes);
    return w->status;
}

static void write_merges(const tokenizer_gguf *g, gguf_writer *w) {
    json_walk walk;
    json_span key, value;
    uint64_t count = 0;
    if (json_walk_open(&walk, g->file.merges))
        while (json_walk_next(&walk, &key, &value)) count++;
    gguf_begin_list(w, "tokenizer.ggml.merges", GGUF_TEXT, count);
    if (w->file) gguf_fail(w, each_merge(g, write_merge, w, w->error));
}

static void write_vocabulary(const tokenizer_gguf *g, gguf_writer *w) {
    gguf_begin_list(w, "tokenizer.ggml.tokens", GGUF_TEXT, g->size);
    for (uint32_t i = 0; i < g->size && w->file; i++) write_token(g, w, i);
    gguf_begin_list(w, "tokenizer.ggml.token_type", GGUF_INT32, g->size);
    for (uint32_t i = 0; i < g->size && w->file; i++) gguf_item_int(w, kind_of(g, i));
    if (g->split) {
        write_merges(g, w);
        return;
    }
    gguf_begin_list(w, "tokenizer.ggml.scores", GGUF_FLOAT32, g->size);
    for (uint32_t i = 0; i < g->size; i++) gguf_item_float(w, g->scores[i]);
}

void tokenizer_gguf_write(const tokenizer_gguf *g, gguf_writer *w) {
    gguf_put_text(w, "tokenizer.ggml.model", g->split ? "gpt2" : "llama");
    gguf_put_text(w, "tokenizer.ggml.pre", g->split ? g->split : "default");
    write_vocabulary(g, w);
    if (g->bos >= 0) gguf_put_uint(w, "tokenizer.ggml.bos_token_id", (uint32_t)g->bos);
    if (g->eos >= 0) gguf_put_uint(w, "tokenizer.ggml.eos_token_id", (uint32_t)g->eos);
    if (g->unknown >= 0) gguf_put_uint(w, "tokenizer.ggml.unknown_token_id", (uint32_t)g->unknown);
    gguf_put_flag(w, "tokenizer.ggml.add_bos_token", g->adds_bos);
    gguf_put_flag(w, "tokenizer.ggml.add_eos_token", g->adds_eos);
    if (!g->split) gguf_put_flag(w, "tokenizer.ggml.add_space_prefix", g->space_prefix);
    if (g->chat_template.bytes) gguf_put_text(w, "tokenizer.chat_template", g->chat_template.data);
}
