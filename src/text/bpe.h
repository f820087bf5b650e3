/* The vocabulary and byte-pair encoding over ids. */
#ifndef LEVEE_TEXT_BPE_H
#define LEVEE_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/tokenizer_file.h"

enum { NO_TOKEN = UINT32_MAX };

typedef struct bpe bpe;

/* Reads the "model" of a tokenizer.json. With `byte_level`, words are sequences of bytes, each written in the
 * vocabulary as GPT-2's printable character for it. */
levee_status bpe_open(bpe **result, const tokenizer_file *file, bool byte_level, levee_error *error);
void bpe_close(bpe *b); /* NULL is allowed */

/* The id of a token by its text in the vocabulary; NO_TOKEN when there is none. */
uint32_t bpe_find(const bpe *b, const char *text, uint64_t bytes);

/* The text of an id in the vocabulary; NULL when there is none. */
const char *bpe_text(const bpe *b, uint32_t id, uint64_t *bytes);

/* The highest id + 1. */
uint32_t bpe_size(const bpe *b);

/* Appends the ids of one word. Costs O(n log n) in the word's length. */
levee_status bpe_encode(bpe *b, const char *word, uint64_t bytes, token_list *ids, levee_error *error);

/* For how many symbols of a word there is room; and makes it for at least so many. */
uint64_t bpe_room(const bpe *b);
levee_status bpe_reserve(bpe *b, uint64_t symbols, levee_error *error);

/* GPT-2's printable character of a byte, and back: -1 for a character that stands for none. */
uint32_t bpe_byte_character(unsigned char byte);
int bpe_character_byte(uint32_t character);

#endif
