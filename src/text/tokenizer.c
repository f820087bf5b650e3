/* tokenizer.json, from text to ids and back: see tokenizer.h. */
#include "text/tokenizer.h"

#include <string.h>
#include <utf8proc.h>

#include "base/error.h"
#include "base/file.h"
#include "memory/ledger.h"
#include "text/bpe.h"
#include "text/stages.h"

typedef struct added_token {
    uint32_t id;
    char *text;    /* as it is matched */
    char *content; /* as it is decoded */
    uint64_t bytes;
    bool special, normalized, single_word, strip_left, strip_right;
} added_token;

enum { TEMPLATE_IDS = 8 };

struct tokenizer {
    bpe *words;
    stage normalizer, pretokenizer, decoder;
    added_token *added;
    uint32_t added_count, size;
    bool added_starts[256]; /* the first bytes of the added tokens' texts */
    uint32_t before[TEMPLATE_IDS], after[TEMPLATE_IDS];
    unsigned before_count, after_count;
    int64_t bos, eos;
    text_buffer text, scratch, words_text;
    piece_list raw, cooked, pieces, other; /* scratch: see encode_piece */
    token_list raw_ids, cooked_ids;
};

levee_status token_list_reserve(token_list *list, uint64_t count, levee_error *error) {
    if (count <= list->capacity) return LEVEE_OK;
    uint32_t *grown = ledger_resize(LEVEE_TOKENIZER, list->ids, count * sizeof *grown);
    if (!grown) return error_out_of_memory(error, "a list of tokens", count * sizeof *grown);
    list->ids = grown;
    list->capacity = count;
    return LEVEE_OK;
}

levee_status token_list_add(token_list *list, uint32_t id, levee_error *error) {
    levee_status status = LEVEE_OK;
    if (list->count == list->capacity)
        status = token_list_reserve(list, list->capacity ? list->capacity * 2 : 256, error);
    if (status != LEVEE_OK) return status;
    list->ids[list->count++] = id;
    return LEVEE_OK;
}

void token_list_free(token_list *list) {
    ledger_free(list->ids);
    memset(list, 0, sizeof *list);
}

void tokenizer_close(tokenizer *t) {
    if (!t) return;
    bpe_close(t->words);
    stage_close(&t->normalizer);
    stage_close(&t->pretokenizer);
    stage_close(&t->decoder);
    for (uint32_t i = 0; i < t->added_count; i++) {
        ledger_free(t->added[i].text);
        ledger_free(t->added[i].content);
    }
    ledger_free(t->added);
    text_free(&t->text);
    text_free(&t->scratch);
    text_free(&t->words_text);
    pieces_free(&t->raw);
    pieces_free(&t->cooked);
    pieces_free(&t->pieces);
    pieces_free(&t->other);
    token_list_free(&t->raw_ids);
    token_list_free(&t->cooked_ids);
    ledger_free(t);
}

void tokenizer_trim(tokenizer *t) {
    if (!t) return;
    stage_trim(&t->normalizer);
    stage_trim(&t->pretokenizer);
    stage_trim(&t->decoder);
}

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

tokenizer_room tokenizer_room_taken(const tokenizer *t) {
    return (tokenizer_room){
        .text_bytes = larger(t->text.capacity, larger(t->scratch.capacity, t->words_text.capacity)),
        .pieces = larger(larger(t->raw.capacity, t->cooked.capacity), larger(t->pieces.capacity, t->other.capacity)),
        .ids = larger(t->raw_ids.capacity, t->cooked_ids.capacity),
        .symbols = bpe_room(t->words)};
}

/* Texts and pieces swap their places while they are worked on, so that each place is to have room for all. */
levee_status tokenizer_reserve(tokenizer *t, const tokenizer_room *room, levee_error *error) {
    text_buffer *texts[] = {&t->text, &t->scratch, &t->words_text};
    piece_list *lists[] = {&t->raw, &t->cooked, &t->pieces, &t->other};
    levee_status status = bpe_reserve(t->words, room->symbols, error);
    for (unsigned i = 0; i < 3 && room->text_bytes && status == LEVEE_OK; i++)
        status = text_reserve(texts[i], room->text_bytes - 1, error);
    for (unsigned i = 0; i < 4 && status == LEVEE_OK; i++) status = pieces_reserve(lists[i], room->pieces, error);
    if (status == LEVEE_OK) status = token_list_reserve(&t->raw_ids, room->ids, error);
    return status == LEVEE_OK ? token_list_reserve(&t->cooked_ids, room->ids, error) : status;
}

uint32_t tokenizer_vocabulary_size(const tokenizer *t) { return t->size; }
int64_t tokenizer_eos(const tokenizer *t) { return t->eos; }
int64_t tokenizer_bos(const tokenizer *t) { return t->bos; }

int64_t tokenizer_find(const tokenizer *t, const char *token) {
    for (uint32_t i = 0; i < t->added_count; i++)
        if (!strcmp(t->added[i].content, token)) return t->added[i].id;
    uint32_t id = bpe_find(t->words, token, strlen(token));
    return id == NO_TOKEN ? -1 : (int64_t)id;
}

levee_status tokenizer_replace_ends(tokenizer *t, const char *bos, const char *eos, levee_error *error) {
    const char *names[] = {bos, eos};
    int64_t *ids[] = {&t->bos, &t->eos};
    for (unsigned i = 0; i < 2; i++) {
        int64_t id = names[i] ? tokenizer_find(t, names[i]) : *ids[i];
        if (names[i] && id < 0)
            return error_set(error, LEVEE_USAGE, "%s: '%.60s' is no token of the model's tokenizer.json",
                             i ? "eos_token" : "bos_token", names[i]);
        *ids[i] = id;
    }
    return LEVEE_OK;
}

/* An added token is matched in normalised text if it asks for that, so its own text is normalised once here. */
static levee_status read_added(tokenizer *t, const json_t *entry, levee_error *error) {
    added_token *a = &t->added[t->added_count];
    const json_t *id = json_object_get(entry, "id"), *content = json_object_get(entry, "content");
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= 1 << 24 ||
        !json_string_length(content))
        return error_set(error, LEVEE_BAD_DATA, "added_tokens: number %u has no id or content", t->added_count);
    a->id = (uint32_t)json_integer_value(id);
    a->special = json_is_true(json_object_get(entry, "special"));
    a->normalized = json_is_true(json_object_get(entry, "normalized"));
    a->single_word = json_is_true(json_object_get(entry, "single_word"));
    a->strip_left = json_is_true(json_object_get(entry, "lstrip"));
    a->strip_right = json_is_true(json_object_get(entry, "rstrip"));
    if (a->id >= t->size) t->size = a->id + 1;
    t->text.bytes = 0;
    levee_status status = text_append(&t->text, json_string_value(content), json_string_length(content), error);
    if (status == LEVEE_OK && a->normalized) status = stage_normalise(&t->normalizer, &t->text, &t->scratch, error);
    if (status != LEVEE_OK) return status;
    a->bytes = t->text.bytes;
    if (a->bytes) t->added_starts[(unsigned char)*t->text.data] = true;
    a->text = ledger_text(LEVEE_TOKENIZER, t->text.data);
    a->content = ledger_text(LEVEE_TOKENIZER, json_string_value(content));
    t->added_count++;
    return a->text && a->content ? LEVEE_OK : error_out_of_memory(error, "an added token", a->bytes);
}

static levee_status read_all_added(tokenizer *t, const json_t *list, levee_error *error) {
    if (!json_array_size(list)) return LEVEE_OK;
    t->added = ledger_alloc_array(LEVEE_TOKENIZER, json_array_size(list), sizeof *t->added);
    if (!t->added) return error_out_of_memory(error, "added tokens", json_array_size(list) * sizeof *t->added);
    levee_status status = LEVEE_OK;
    for (size_t i = 0; i < json_array_size(list) && status == LEVEE_OK; i++)
        status = read_added(t, json_array_get(list, i), error);
    return status;
}

/* TemplateProcessing: the ids before and after the text. */
static levee_status read_template(tokenizer *t, const json_t *processor, levee_error *error) {
    const json_t *single = json_object_get(processor, "single"),
                 *known = json_object_get(processor, "special_tokens");
    bool seen = false;
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)(uintptr_t)single, i, item) {
        const json_t *special = json_object_get(item, "SpecialToken");
        if (!special) {
            seen = true;
            continue;
        }
        const char *name = json_string_value(json_object_get(special, "id"));
        const json_t *ids = name ? json_object_get(json_object_get(known, name), "ids") : NULL;
        for (size_t k = 0; k < json_array_size(ids); k++) {
            unsigned *count = seen ? &t->after_count : &t->before_count;
            const json_t *id = json_array_get(ids, k);
            if (*count == TEMPLATE_IDS || !json_is_integer(id) || json_integer_value(id) < 0 ||
                json_integer_value(id) >= t->size)
                return error_set(error, LEVEE_BAD_DATA, "post_processor: '%.40s' has no usable ids", name);
            (seen ? t->after : t->before)[(*count)++] = (uint32_t)json_integer_value(id);
        }
    }
    return LEVEE_OK;
}

static levee_status read_post_processor(tokenizer *t, const json_t *processor, levee_error *error) {
    if (!processor || json_is_null(processor)) return LEVEE_OK;
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (type && !strcmp(type, "ByteLevel")) return LEVEE_OK; /* concerns offsets only */
    if (type && !strcmp(type, "TemplateProcessing")) return read_template(t, processor, error);
    if (type && !strcmp(type, "Sequence")) {
        const json_t *list = json_object_get(processor, "processors");
        levee_status status = LEVEE_OK;
        for (size_t i = 0; i < json_array_size(list) && status == LEVEE_OK; i++)
            status = read_post_processor(t, json_array_get(list, i), error);
        return status;
    }
    return error_set(error, LEVEE_BAD_DATA,
                     "post_processor: type '%.40s' is not supported; TemplateProcessing, ByteLevel and Sequence are",
                     type ? type : "(none)");
}

static levee_status read_file(tokenizer *t, const tokenizer_file *f, levee_error *error) {
    const json_t *file = f->tree;
    levee_status status = stage_read_normalizer(&t->normalizer, json_object_get(file, "normalizer"), error);
    if (status == LEVEE_OK)
        status = stage_read_pretokenizer(&t->pretokenizer, json_object_get(file, "pre_tokenizer"), error);
    if (status == LEVEE_OK) status = stage_read_decoder(&t->decoder, json_object_get(file, "decoder"), error);
    if (status == LEVEE_OK) status = bpe_open(&t->words, f, stage_has(&t->pretokenizer, STEP_BYTE_LEVEL), error);
    if (status == LEVEE_OK) t->size = bpe_size(t->words);
    if (status == LEVEE_OK) status = read_all_added(t, json_object_get(file, "added_tokens"), error);
    if (status == LEVEE_OK) status = read_post_processor(t, json_object_get(file, "post_processor"), error);
    return status;
}

/* A special token's name is a string or an object with its content. */
static int64_t named_token(const tokenizer *t, const json_t *names, const char *key) {
    const json_t *name = json_object_get(names, key);
    if (json_is_object(name)) name = json_object_get(name, "content");
    return json_is_string(name) ? tokenizer_find(t, json_string_value(name)) : -1;
}

static levee_status read_special_tokens(tokenizer *t, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    json_t *names;
    t->bos = t->eos = -1;
    if (!file_join(path, directory, "tokenizer_config.json") || !file_exists(path)) return LEVEE_OK;
    levee_status status = json_object_read_reals(&names, path, JSON_FILE_LIMIT_BYTES, error);
    if (status != LEVEE_OK) return status;
    t->bos = named_token(t, names, "bos_token");
    t->eos = named_token(t, names, "eos_token");
    json_decref(names);
    return LEVEE_OK;
}

levee_status tokenizer_open(tokenizer **result, const char *directory, levee_error *error) {
    char path[FILE_PATH_BYTES];
    *result = NULL;
    if (!file_join(path, directory, "tokenizer.json") || !file_exists(path))
        return error_set(error, LEVEE_MISSING_INPUT, "%s: holds no tokenizer.json", directory);
    tokenizer_file file;
    levee_status status = tokenizer_file_open(&file, path, error);
    if (status != LEVEE_OK) return status;
    tokenizer *t = ledger_alloc(LEVEE_TOKENIZER, sizeof *t);
    status = t ? read_file(t, &file, error) : error_out_of_memory(error, path, sizeof *t);
    tokenizer_file_close(&file);
    if (status != LEVEE_OK)
        error_context(error, "%s", path);
    else
        status = read_special_tokens(t, directory, error);
    if (status == LEVEE_OK)
        *result = t;
    else
        tokenizer_close(t);
    return status;
}

static bool is_word_character(int32_t code) {
    utf8proc_category_t c = utf8proc_category(code);
    return code == '_' || (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NO) || c == UTF8PROC_CATEGORY_PC;
}

static bool is_space_character(int32_t code) {
    utf8proc_category_t c = utf8proc_category(code);
    return (code >= 9 && code <= 13) || code == 0x85 || (c >= UTF8PROC_CATEGORY_ZS && c <= UTF8PROC_CATEGORY_ZP);
}

/* The code point that ends at `end`, and where it starts. */
static int32_t character_before(const char *text, uint64_t end, uint64_t *start) {
    uint64_t length;
    *start = end - 1;
    while (*start > 0 && ((unsigned char)text[*start] & 0xc0) == 0x80) (*start)--;
    return utf8_read(text + *start, end - *start, &length);
}

static bool stands_alone(const char *text, uint64_t bytes, uint64_t begin, uint64_t end) {
    uint64_t at;
    if (begin > 0 && is_word_character(character_before(text, begin, &at))) return false;
    return end == bytes || !is_word_character(utf8_read(text + end, bytes - end, &at));
}

/* The longest added token of this kind that starts here; NULL when there is none. */
static const added_token *added_at(const tokenizer *t, const char *text, uint64_t bytes, bool normalized) {
    const added_token *longest = NULL;
    /* Without this a file of thousands of them costs seconds for each megabyte of text that has none. */
    if (!t->added_starts[(unsigned char)*text]) return NULL;
    for (uint32_t i = 0; i < t->added_count; i++) {
        const added_token *a = &t->added[i];
        if (a->normalized == normalized && a->bytes && a->bytes <= bytes && *a->text == *text &&
            (!longest || a->bytes > longest->bytes) && !memcmp(a->text, text, a->bytes))
            longest = a;
    }
    return longest;
}

/* Splits text at its added tokens into pieces, with the token's id or NO_TOKEN for each. */
static levee_status split_added(const tokenizer *t, const char *text, uint64_t bytes, bool normalized,
                                piece_list *pieces, token_list *ids, levee_error *error) {
    uint64_t done = 0;
    levee_status status = LEVEE_OK;
    pieces->count = ids->count = 0;
    for (uint64_t at = 0; at < bytes && status == LEVEE_OK;) {
        const added_token *a = added_at(t, text + at, bytes - at, normalized);
        if (!a || (a->single_word && !stands_alone(text, bytes, at, at + a->bytes))) {
            at += a ? a->bytes : 1;
            continue;
        }
        uint64_t begin = at, end = at + a->bytes, edge;
        while (a->strip_left && begin > done && is_space_character(character_before(text, begin, &edge)))
            begin = edge;
        while (a->strip_right && end < bytes && is_space_character(utf8_read(text + end, bytes - end, &edge)))
            end += edge;
        if (begin > done) {
            status = pieces_append(pieces, done, begin - done, error);
            if (status == LEVEE_OK) status = token_list_add(ids, NO_TOKEN, error);
        }
        if (status == LEVEE_OK) status = pieces_append(pieces, begin, end - begin, error);
        if (status == LEVEE_OK) status = token_list_add(ids, a->id, error);
        done = at = end;
    }
    if (status == LEVEE_OK && done < bytes) {
        status = pieces_append(pieces, done, bytes - done, error);
        if (status == LEVEE_OK) status = token_list_add(ids, NO_TOKEN, error);
    }
    return status;
}

/* Words of a piece of normalised text that holds no added tokens. */
static levee_status encode_words(tokenizer *t, const char *text, uint64_t bytes, bool first, token_list *ids,
                                 levee_error *error) {
    text_buffer *own = &t->words_text; /* the pre-tokenizer may change the text */
    own->bytes = 0;
    levee_status status = text_append(own, text, bytes, error);
    if (status == LEVEE_OK)
        status = stage_split(&t->pretokenizer, own, &t->scratch, first, &t->pieces, &t->other, error);
    for (uint64_t i = 0; i < t->pieces.count && status == LEVEE_OK; i++)
        status = bpe_encode(t->words, own->data + t->pieces.pieces[i].offset, t->pieces.pieces[i].bytes, ids, error);
    return status;
}

/* A piece of raw text between added tokens: normalised, split again at those that are matched after it, encoded. */
static levee_status encode_piece(tokenizer *t, const char *text, uint64_t bytes, bool first, token_list *ids,
                                 levee_error *error) {
    t->text.bytes = 0;
    levee_status status = text_append(&t->text, text, bytes, error);
    if (status == LEVEE_OK) status = stage_normalise(&t->normalizer, &t->text, &t->scratch, error);
    if (status == LEVEE_OK)
        status = split_added(t, t->text.data, t->text.bytes, true, &t->cooked, &t->cooked_ids, error);
    for (uint64_t i = 0; i < t->cooked.count && status == LEVEE_OK; i++) {
        text_piece piece = t->cooked.pieces[i];
        status = t->cooked_ids.ids[i] != NO_TOKEN
                     ? token_list_add(ids, t->cooked_ids.ids[i], error)
                     : encode_words(t, t->text.data + piece.offset, piece.bytes, first && i == 0, ids, error);
    }
    return status;
}

levee_status tokenizer_encode(tokenizer *t, const char *text, uint64_t bytes, bool add_special, token_list *ids,
                              levee_error *error) {
    uint64_t offset;
    if (!utf8_is_valid(text, bytes, &offset))
        return error_set(error, LEVEE_BAD_DATA, "the text is not UTF-8 at byte %llu", (unsigned long long)offset);
    levee_status status = split_added(t, text, bytes, false, &t->raw, &t->raw_ids, error);
    for (unsigned i = 0; add_special && i < t->before_count && status == LEVEE_OK; i++)
        status = token_list_add(ids, t->before[i], error);
    for (uint64_t i = 0; i < t->raw.count && status == LEVEE_OK; i++) {
        text_piece piece = t->raw.pieces[i];
        status = t->raw_ids.ids[i] != NO_TOKEN
                     ? token_list_add(ids, t->raw_ids.ids[i], error)
                     : encode_piece(t, text + piece.offset, piece.bytes, i == 0, ids, error);
    }
    for (unsigned i = 0; add_special && i < t->after_count && status == LEVEE_OK; i++)
        status = token_list_add(ids, t->after[i], error);
    return status;
}

static const added_token *added_by_id(const tokenizer *t, uint32_t id) {
    for (uint32_t i = 0; i < t->added_count; i++)
        if (t->added[i].id == id) return &t->added[i];
    return NULL;
}

token_kind tokenizer_token(const tokenizer *t, uint32_t id, const char **text, uint64_t *bytes) {
    const added_token *added = added_by_id(t, id);
    *bytes = 0;
    *text = added ? added->content : bpe_text(t->words, id, bytes);
    if (added) *bytes = strlen(added->content);
    if (added) return added->special ? TOKEN_SPECIAL : TOKEN_ADDED;
    return *text ? TOKEN_PLAIN : TOKEN_ABSENT;
}

levee_status tokenizer_decode(tokenizer *t, const uint32_t *ids, uint64_t count, bool skip_special, char **text,
                              uint64_t *bytes, levee_error *error) {
    levee_status status = LEVEE_OK;
    *text = NULL;
    t->text.bytes = 0;
    t->pieces.count = 0;
    for (uint64_t i = 0; i < count && status == LEVEE_OK; i++) {
        const char *token;
        uint64_t length;
        token_kind kind = tokenizer_token(t, ids[i], &token, &length);
        if (kind == TOKEN_ABSENT || (kind == TOKEN_SPECIAL && skip_special)) continue;
        uint64_t begin = t->text.bytes;
        status = text_append(&t->text, token, length, error);
        if (status == LEVEE_OK) status = pieces_append(&t->pieces, begin, length, error);
    }
    if (status == LEVEE_OK) status = stage_decode(&t->decoder, &t->text, &t->pieces, &t->scratch, &t->other, error);
    if (status != LEVEE_OK) return status;
    *text = ledger_alloc(LEVEE_TOKENIZER, t->text.bytes + 1);
    if (!*text) return error_out_of_memory(error, "decoded text", t->text.bytes);
    if (t->text.bytes) memcpy(*text, t->text.data, t->text.bytes);
    if (bytes) *bytes = t->text.bytes;
    return LEVEE_OK;
}
