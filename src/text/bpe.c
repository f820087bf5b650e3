/* Byte-pair encoding: see bpe.h. A word is a linked list of symbols; a heap gives the pair of lowest rank, leftmost
 * among equals; pairs that have changed since they were pushed are recognised and dropped. */
#include "text/bpe.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "text/buffer.h"

typedef struct token_text {
    uint64_t offset; /* into the texts */
    uint32_t bytes;
    bool present;
} token_text;

typedef struct merge {
    uint32_t left, right; /* left NO_TOKEN: a free slot */
    uint32_t rank, result;
} merge;

typedef struct symbol {
    uint32_t id, previous, next; /* neighbours by index, NO_TOKEN at the ends; id NO_TOKEN: merged away */
} symbol;

typedef struct candidate {
    uint32_t rank, position, left, right;
} candidate;

struct bpe {
    bool byte_level, byte_fallback, fuse_unknown, ignore_merges;
    uint32_t unknown, size;
    text_buffer texts;
    token_text *tokens;  /* by id */
    uint32_t *by_text;   /* open addressing over ids */
    uint32_t text_slots; /* a power of two */
    merge *merges;
    uint32_t merge_slots;
    uint32_t byte_ids[256]; /* of single bytes: by character, or <0xNN> */
    symbol *symbols;        /* scratch */
    candidate *heap;
    uint64_t symbol_capacity, heap_capacity, heap_count;
    text_buffer written;
};

/* GPT-2 writes printable bytes as themselves and the others, in order, from U+0100 on. */
uint32_t bpe_byte_character(unsigned char byte) {
    uint32_t shifted = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
        if (b == byte && printable) return byte;
        if (!printable) shifted++;
    }
    return 256 + shifted - 1;
}

int bpe_character_byte(uint32_t character) {
    if (character < 256 && bpe_byte_character((unsigned char)character) == character) return (int)character;
    for (unsigned b = 0; character >= 256 && character < 324 && b < 256; b++)
        if (bpe_byte_character((unsigned char)b) == character) return (int)b;
    return -1;
}

static uint64_t hash_bytes(const char *text, uint64_t bytes) {
    uint64_t hash = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < bytes; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3ull;
    return hash ^ hash >> 29;
}

static uint64_t hash_pair(uint32_t left, uint32_t right) {
    uint64_t hash = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 31;
}

static uint32_t power_above(uint64_t count) {
    uint32_t power = 16;
    while (power < count * 2) power *= 2;
    return power;
}

uint32_t bpe_find(const bpe *b, const char *text, uint64_t bytes) {
    for (uint64_t slot = hash_bytes(text, bytes);; slot++) {
        uint32_t id = b->by_text[slot & (b->text_slots - 1)];
        if (id == NO_TOKEN) return NO_TOKEN;
        if (b->tokens[id].bytes == bytes && !memcmp(b->texts.data + b->tokens[id].offset, text, bytes)) return id;
    }
}

const char *bpe_text(const bpe *b, uint32_t id, uint64_t *bytes) {
    if (id >= b->size || !b->tokens[id].present) return NULL;
    *bytes = b->tokens[id].bytes;
    return b->texts.data + b->tokens[id].offset;
}

uint32_t bpe_size(const bpe *b) { return b->size; }

static const merge *find_merge(const bpe *b, uint32_t left, uint32_t right) {
    for (uint64_t slot = hash_pair(left, right);; slot++) {
        const merge *m = &b->merges[slot & (b->merge_slots - 1)];
        if (m->left == NO_TOKEN) return NULL;
        if (m->left == left && m->right == right) return m;
    }
}

void bpe_close(bpe *b) {
    if (!b) return;
    text_free(&b->texts);
    text_free(&b->written);
    ledger_free(b->tokens);
    ledger_free(b->by_text);
    ledger_free(b->merges);
    ledger_free(b->symbols);
    ledger_free(b->heap);
    ledger_free(b);
}

static levee_status bad(levee_error *error, const char *problem) {
    return error_set(error, LEVEE_BAD_DATA, "model: %s", problem);
}

/* For what is not long, all that parsing it takes: json_parse_bytes of 1024 bytes that are a pair. */
enum { LIBRARY_BYTES = 16384 };

/* Parses a key or an entry; *parsed is NULL when it is not JSON. What does not fit the small pool is taken without
 * asking the budget, so for a long text it is asked here. */
static levee_status parse_entry(const json_t **parsed, json_span text, pool *library, levee_error *error) {
    enum { LONG_BYTES = 1024 };
    *parsed = NULL;
    levee_status status = text.bytes > LONG_BYTES ? json_check_room("model", text.text, text.bytes, error) : LEVEE_OK;
    if (status != LEVEE_OK) return status;
    bool refused;
    *parsed = json_span_parse(text, library, &refused);
    return refused ? error_out_of_memory(error, "model", text.bytes) : LEVEE_OK;
}

/* How many entries a list or object has, and how many bytes its keys. */
static uint64_t count_entries(json_span text, uint64_t *key_bytes) {
    json_walk walk;
    json_span key, value;
    uint64_t count = 0;
    *key_bytes = 0;
    if (text.text && json_walk_open(&walk, text))
        for (; json_walk_next(&walk, &key, &value); count++) *key_bytes += key.bytes;
    return count;
}

/* Room for token number `id`; ids mostly have no holes, so that the number of entries is room enough. */
static levee_status make_room(bpe *b, uint32_t id, uint32_t *room, levee_error *error) {
    if (id >= b->size) b->size = id + 1;
    if (b->size <= *room) return LEVEE_OK;
    uint32_t larger = b->size + b->size / 4;
    token_text *grown = ledger_resize(LEVEE_TOKENIZER, b->tokens, larger * sizeof *grown);
    if (!grown) return error_out_of_memory(error, "the vocabulary", larger * sizeof *grown);
    b->tokens = grown;
    *room = larger;
    return LEVEE_OK;
}

static levee_status add_token(bpe *b, const char *text, uint32_t id, levee_error *error) {
    uint64_t bytes = strlen(text), slot = hash_bytes(text, bytes);
    if (b->tokens[id].present) return error_set(error, LEVEE_BAD_DATA, "model: vocab: two tokens have id %u", id);
    if (bpe_find(b, text, bytes) != NO_TOKEN)
        return error_set(error, LEVEE_BAD_DATA, "model: vocab: '%.40s' is there twice", text);
    b->tokens[id] = (token_text){.offset = b->texts.bytes, .bytes = (uint32_t)bytes, .present = true};
    while (b->by_text[slot & (b->text_slots - 1)] != NO_TOKEN) slot++;
    b->by_text[slot & (b->text_slots - 1)] = id;
    return text_append(&b->texts, text, bytes, error);
}

enum { MOST_TOKENS = 1 << 24 };

/* One entry of the vocabulary. */
static levee_status read_token(bpe *b, json_span key, json_span value, uint32_t *room, pool *library,
                               levee_error *error) {
    const json_t *parsed;
    levee_status status = parse_entry(&parsed, value, library, error);
    json_int_t number = json_is_integer(parsed) ? json_integer_value(parsed) : -1;
    if (status == LEVEE_OK) status = parse_entry(&parsed, key, library, error);
    if (status != LEVEE_OK) return status;
    const char *text = json_string_value(parsed);
    if (!text)
        return error_set(error, LEVEE_BAD_DATA, "model: vocab: %.*s is no text in quotes",
                         key.bytes < 40 ? (int)key.bytes : 40, key.text);
    if (number < 0 || number >= MOST_TOKENS)
        return error_set(error, LEVEE_BAD_DATA, "model: vocab: '%.40s' has no id from 0 to %d", text,
                         MOST_TOKENS - 1);
    status = make_room(b, (uint32_t)number, room, error);
    return status == LEVEE_OK ? add_token(b, text, (uint32_t)number, error) : status;
}

static levee_status read_vocabulary(bpe *b, json_span vocabulary, levee_error *error) {
    uint64_t key_bytes, count = count_entries(vocabulary, &key_bytes);
    json_walk walk;
    if (!count || !json_walk_open(&walk, vocabulary) || !walk.object || count > MOST_TOKENS)
        return bad(error, "vocab: an object of tokens is needed");
    uint32_t room = (uint32_t)count;
    b->text_slots = power_above(count);
    b->tokens = ledger_alloc_array(LEVEE_TOKENIZER, room, sizeof *b->tokens);
    b->by_text = ledger_alloc_array(LEVEE_TOKENIZER, b->text_slots, sizeof *b->by_text);
    if (!b->tokens || !b->by_text) return error_out_of_memory(error, "the vocabulary", room * sizeof *b->tokens);
    memset(b->by_text, 0xff, b->text_slots * sizeof *b->by_text);
    levee_status status = text_reserve(&b->texts, key_bytes, error);
    unsigned char memory[LIBRARY_BYTES];
    pool library = {.memory = memory, .capacity = sizeof memory};
    json_span key, value;
    while (status == LEVEE_OK && json_walk_next(&walk, &key, &value))
        status = read_token(b, key, value, &room, &library, error);
    pool_empty(&library);
    return status == LEVEE_OK && walk.failed ? bad(error, "vocab: is not JSON") : status;
}

/* One merge, "left right" or ["left", "right"]. */
static levee_status read_merge(bpe *b, const json_t *entry, uint32_t rank, levee_error *error) {
    const char *left = NULL, *right = NULL;
    uint64_t left_bytes = 0;
    if (json_is_string(entry)) {
        left = json_string_value(entry);
        const char *space = strchr(left, ' ');
        right = space ? space + 1 : NULL;
        left_bytes = space ? (uint64_t)(space - left) : 0;
    } else if (json_array_size(entry) == 2) {
        left = json_string_value(json_array_get(entry, 0));
        right = json_string_value(json_array_get(entry, 1));
        left_bytes = left ? strlen(left) : 0;
    }
    if (!left || !right)
        return error_set(error, LEVEE_BAD_DATA, "model: merges: number %u is no pair of tokens", rank);
    b->written.bytes = 0;
    levee_status status = text_append(&b->written, left, left_bytes, error);
    if (status == LEVEE_OK) status = text_append(&b->written, right, strlen(right), error);
    if (status != LEVEE_OK) return status;
    merge m = {.left = bpe_find(b, left, left_bytes),
               .right = bpe_find(b, right, strlen(right)),
               .rank = rank,
               .result = bpe_find(b, b->written.data, b->written.bytes)};
    if (m.left == NO_TOKEN || m.right == NO_TOKEN || m.result == NO_TOKEN)
        return error_set(
            error, LEVEE_BAD_DATA,
            "model: merges: number %u ('%.40s' and '%.40s'): a part or the result is not in the vocabulary", rank,
            left, right);
    uint64_t slot = hash_pair(m.left, m.right);
    for (;; slot++) {
        merge *free_slot = &b->merges[slot & (b->merge_slots - 1)];
        bool same = free_slot->left == m.left && free_slot->right == m.right;
        if (free_slot->left != NO_TOKEN && !same) continue;
        *free_slot = m;
        return LEVEE_OK;
    }
}

static levee_status read_merges(bpe *b, json_span merges, levee_error *error) {
    uint64_t key_bytes, count = count_entries(merges, &key_bytes);
    json_walk walk;
    if (!merges.text || !json_walk_open(&walk, merges) || walk.object || count > UINT32_MAX / 4)
        return bad(error, "merges: a list is needed");
    b->merge_slots = power_above(count);
    b->merges = ledger_alloc_array(LEVEE_TOKENIZER, b->merge_slots, sizeof *b->merges);
    if (!b->merges) return error_out_of_memory(error, "the merges", b->merge_slots * sizeof *b->merges);
    memset(b->merges, 0xff, b->merge_slots * sizeof *b->merges);
    levee_status status = LEVEE_OK;
    unsigned char memory[LIBRARY_BYTES];
    pool library = {.memory = memory, .capacity = sizeof memory};
    json_span key, value;
    for (uint32_t i = 0; status == LEVEE_OK && json_walk_next(&walk, &key, &value); i++) {
        const json_t *entry;
        status = parse_entry(&entry, value, &library, error);
        if (status == LEVEE_OK) status = read_merge(b, entry, i, error);
    }
    pool_empty(&library);
    return status == LEVEE_OK && walk.failed ? bad(error, "merges: is not JSON") : status;
}

static void find_bytes(bpe *b) {
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        unsigned bytes = 6;
        if (b->byte_level) bytes = utf8_write(bpe_byte_character((unsigned char)byte), text);
        b->byte_ids[byte] = bpe_find(b, text, bytes);
    }
}

static bool is_empty_text(const json_t *value) { return !value || json_is_null(value) || !json_string_length(value); }

levee_status bpe_open(bpe **result, const tokenizer_file *file, bool byte_level, levee_error *error) {
    const json_t *model = json_object_get(file->tree, "model");
    *result = NULL;
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type ? strcmp(type, "BPE") != 0 : !file->merges.text)
        return error_set(error, LEVEE_BAD_DATA, "model: type '%.40s' is not supported; BPE is",
                         type ? type : "(none)");
    if (!is_empty_text(json_object_get(model, "continuing_subword_prefix")) ||
        !is_empty_text(json_object_get(model, "end_of_word_suffix")))
        return bad(error, "continuing_subword_prefix and end_of_word_suffix are not supported");
    bpe *b = ledger_alloc(LEVEE_TOKENIZER, sizeof *b);
    if (!b) return error_out_of_memory(error, "the tokenizer", sizeof *b);
    b->byte_level = byte_level;
    b->byte_fallback = json_is_true(json_object_get(model, "byte_fallback"));
    b->fuse_unknown = json_is_true(json_object_get(model, "fuse_unk"));
    b->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
    b->unknown = NO_TOKEN;
    levee_status status = read_vocabulary(b, file->vocabulary, error);
    if (status == LEVEE_OK) status = read_merges(b, file->merges, error);
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    if (status == LEVEE_OK && unknown) b->unknown = bpe_find(b, unknown, strlen(unknown));
    if (status == LEVEE_OK) {
        find_bytes(b);
        *result = b;
    } else {
        bpe_close(b);
    }
    return status;
}

static bool before(const candidate *a, const candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(bpe *b, candidate c) {
    uint64_t i = b->heap_count++;
    for (; i > 0 && before(&c, &b->heap[(i - 1) / 2]); i = (i - 1) / 2) b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = c;
}

static candidate heap_pop(bpe *b) {
    candidate top = b->heap[0], last = b->heap[--b->heap_count];
    uint64_t i = 0;
    for (;;) {
        uint64_t child = 2 * i + 1;
        if (child >= b->heap_count) break;
        if (child + 1 < b->heap_count && before(&b->heap[child + 1], &b->heap[child])) child++;
        if (!before(&b->heap[child], &last)) break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

static void push_pair(bpe *b, uint32_t position) {
    const symbol *left = &b->symbols[position];
    if (left->next == NO_TOKEN) return;
    uint32_t right = b->symbols[left->next].id;
    const merge *m = find_merge(b, left->id, right);
    if (m) heap_push(b, (candidate){.rank = m->rank, .position = position, .left = left->id, .right = right});
}

uint64_t bpe_room(const bpe *b) { return b->symbol_capacity; }

/* Each symbol starts at most one pair at first, and each merge, of which there are fewer than symbols, adds two. */
levee_status bpe_reserve(bpe *b, uint64_t symbols, levee_error *error) {
    if (symbols <= b->symbol_capacity) return LEVEE_OK;
    symbol *grown = ledger_resize(LEVEE_TOKENIZER, b->symbols, symbols * sizeof *grown);
    if (grown) b->symbols = grown;
    candidate *heap = ledger_resize(LEVEE_TOKENIZER, b->heap, symbols * 3 * sizeof *heap);
    if (heap) b->heap = heap;
    if (!grown || !heap) return error_out_of_memory(error, "a word to be tokenised", symbols * 3 * sizeof *heap);
    b->symbol_capacity = symbols;
    return LEVEE_OK;
}

static levee_status reserve(bpe *b, uint64_t symbols, levee_error *error) {
    if (symbols > UINT32_MAX / 4) return error_set(error, LEVEE_BAD_DATA, "a word of more than a gigabyte");
    return symbols <= b->symbol_capacity ? LEVEE_OK : bpe_reserve(b, symbols * 2, error);
}

/* Splits a word into its first symbols; returns how many. */
static uint32_t first_symbols(bpe *b, const char *word, uint64_t bytes) {
    uint32_t count = 0;
    bool last_unknown = false;
    for (uint64_t at = 0, length = 1; at < bytes; at += length) {
        length = 1;
        if (b->byte_level) {
            uint32_t id = b->byte_ids[(unsigned char)word[at]];
            if (id == NO_TOKEN) id = b->unknown;
            if (id != NO_TOKEN) b->symbols[count++].id = id;
            continue;
        }
        utf8_read(word + at, bytes - at, &length);
        uint32_t id = bpe_find(b, word + at, length);
        bool unknown = id == NO_TOKEN;
        if (unknown && b->byte_fallback) {
            bool all = true;
            for (uint64_t i = 0; i < length; i++) all = all && b->byte_ids[(unsigned char)word[at + i]] != NO_TOKEN;
            for (uint64_t i = 0; all && i < length; i++)
                b->symbols[count++].id = b->byte_ids[(unsigned char)word[at + i]];
            unknown = !all;
        } else if (!unknown) {
            b->symbols[count++].id = id;
        }
        if (unknown && b->unknown != NO_TOKEN && !(b->fuse_unknown && last_unknown))
            b->symbols[count++].id = b->unknown;
        last_unknown = unknown;
    }
    for (uint32_t i = 0; i < count; i++) {
        b->symbols[i].previous = i ? i - 1 : NO_TOKEN;
        b->symbols[i].next = i + 1 < count ? i + 1 : NO_TOKEN;
    }
    return count;
}

static void merge_all(bpe *b, uint32_t count) {
    b->heap_count = 0;
    for (uint32_t i = 0; i < count; i++) push_pair(b, i);
    while (b->heap_count) {
        candidate c = heap_pop(b);
        symbol *left = &b->symbols[c.position];
        if (left->id != c.left || left->next == NO_TOKEN || b->symbols[left->next].id != c.right) continue;
        symbol *right = &b->symbols[left->next];
        left->id = find_merge(b, c.left, c.right)->result;
        right->id = NO_TOKEN;
        left->next = right->next;
        if (right->next != NO_TOKEN) b->symbols[right->next].previous = c.position;
        push_pair(b, c.position);
        if (left->previous != NO_TOKEN) push_pair(b, left->previous);
    }
}

/* The word as the vocabulary writes it. */
static levee_status write_word(bpe *b, const char *word, uint64_t bytes, levee_error *error) {
    b->written.bytes = 0;
    if (!b->byte_level) return text_append(&b->written, word, bytes, error);
    levee_status status = LEVEE_OK;
    for (uint64_t i = 0; i < bytes && status == LEVEE_OK; i++) {
        char character[4];
        unsigned length = utf8_write(bpe_byte_character((unsigned char)word[i]), character);
        status = text_append(&b->written, character, length, error);
    }
    return status;
}

levee_status bpe_encode(bpe *b, const char *word, uint64_t bytes, token_list *ids, levee_error *error) {
    enum { LONGEST_WHOLE_WORD = 512 };
    if (!bytes) return LEVEE_OK;
    if (b->ignore_merges && bytes <= LONGEST_WHOLE_WORD) {
        levee_status status = write_word(b, word, bytes, error);
        if (status != LEVEE_OK) return status;
        uint32_t whole = bpe_find(b, b->written.data, b->written.bytes);
        if (whole != NO_TOKEN) return token_list_add(ids, whole, error);
    }
    levee_status status = reserve(b, bytes, error);
    if (status != LEVEE_OK) return status;
    uint32_t count = first_symbols(b, word, bytes);
    merge_all(b, count);
    for (uint32_t i = 0; i < count && status == LEVEE_OK; i++)
        if (b->symbols[i].id != NO_TOKEN) status = token_list_add(ids, b->symbols[i].id, error);
    return status;
}
