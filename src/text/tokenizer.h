/* tokenizer.json of a Hugging Face model: text to token ids and back.
 *
 * Byte-pair encoding, byte-level (GPT-2, Llama 3, Qwen2, SmolLM) or SentencePiece-style with byte fallback. What a
 * file asks for and is not known here is refused by name. All memory is booked under `tokenizer`. Not thread-safe:
 * encoding uses scratch that belongs to the tokenizer. */
#ifndef LEVEE_TEXT_TOKENIZER_H
#define LEVEE_TEXT_TOKENIZER_H

#include "levee.h"

typedef struct tokenizer tokenizer;

/* Opens the tokenizer.json of a model directory, and reads the names of its special tokens from tokenizer_config.json
 * if that is there. */
levee_status tokenizer_open(tokenizer **result, const char *directory, levee_error *error);
void tokenizer_close(tokenizer *t); /* NULL is allowed */

/* The highest id + 1, added tokens included. */
uint32_t tokenizer_vocabulary_size(const tokenizer *t);

/* Gives back what matching patterns took and is kept for the next text (pattern_trim). NULL is allowed. */
void tokenizer_trim(tokenizer *t);

/* Scratch that encoding took so far and keeps for the next text: the most of each kind. */
typedef struct tokenizer_room {
    uint64_t text_bytes, pieces, ids, symbols;
} tokenizer_room;

tokenizer_room tokenizer_room_taken(const tokenizer *t);

/* Takes as much at once, of each kind in every place, so that texts which took it before take nothing now, in
 * whatever order they come. */
levee_status tokenizer_reserve(tokenizer *t, const tokenizer_room *room, levee_error *error);

/* Ids of the tokens that end and begin a text; -1 when there is none. */
int64_t tokenizer_eos(const tokenizer *t);
int64_t tokenizer_bos(const tokenizer *t);

/* Takes other tokens for begin and end (NULL: as it is), by their text. One that is not in the vocabulary is
 * LEVEE_USAGE. */
levee_status tokenizer_replace_ends(tokenizer *t, const char *bos, const char *eos, levee_error *error);

typedef enum token_kind { TOKEN_ABSENT, TOKEN_PLAIN, TOKEN_ADDED, TOKEN_SPECIAL } token_kind;

/* What a token is, and its text as the file has it, which belongs to the tokenizer. An id that no token has is
 * TOKEN_ABSENT, and has no text. */
token_kind tokenizer_token(const tokenizer *t, uint32_t id, const char **text, uint64_t *bytes);

/* The id of a token by that text; -1 when there is none. */
int64_t tokenizer_find(const tokenizer *t, const char *text);

/* A growing list of ids; zero-initialise it, free it with token_list_free. */
typedef struct token_list {
    uint32_t *ids;
    uint64_t count, capacity;
} token_list;

levee_status token_list_add(token_list *list, uint32_t id, levee_error *error);

/* Makes room for `count` ids in all. */
levee_status token_list_reserve(token_list *list, uint64_t count, levee_error *error);
void token_list_free(token_list *list);

/* Appends the ids of `bytes` bytes of UTF-8; with `add_special` the post-processor adds what it adds (a BOS). Text
 * that is not UTF-8 is refused with the offset of the byte. NUL is a character like others. Costs O(n log n). */
levee_status tokenizer_encode(tokenizer *t, const char *text, uint64_t bytes, bool add_special, token_list *ids,
                              levee_error *error);

/* The text of `count` ids, NUL-terminated; *bytes (may be NULL) is its length. The caller frees *text with
 * ledger_free. With `skip_special`, special tokens are left out. Bytes that are not UTF-8 become U+FFFD. */
levee_status tokenizer_decode(tokenizer *t, const uint32_t *ids, uint64_t count, bool skip_special, char **text,
                              uint64_t *bytes, levee_error *error);

#endif
