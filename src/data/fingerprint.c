/* What tells tokenizers apart: see fingerprint.h. */
#include "data/fingerprint.h"

#include <xxhash.h>

#include "memory/ledger.h"

/* Folds the tokens of a text into *hash. A text that the tokenizer refuses counts as one without tokens. */
static levee_status hash_text(example_maker *m, const char *text, uint64_t bytes, uint64_t *hash,
                              levee_error *error) {
    levee_status status = example_encode_text(m, text, bytes, error);
    if (status != LEVEE_OK && status != LEVEE_BAD_DATA) return status;
    uint64_t count = status == LEVEE_OK ? m->ids.count : 0;
    *hash = count ? XXH64(m->ids.ids, count * sizeof m->ids.ids[0], *hash) : *hash + 1;
    return LEVEE_OK;
}

/* Folds what every token stands for, and how that text is tokenised again, into *hash; a few tokens at a time, so
 * that it takes little memory. */
static levee_status hash_vocabulary(example_maker *m, uint64_t *hash, levee_error *error) {
    enum { SLICE = 256 };
    uint32_t slice[SLICE], size = tokenizer_vocabulary_size(m->tokens);
    for (uint32_t first = 0; first < size; first += SLICE) {
        uint32_t count = size - first < SLICE ? size - first : SLICE;
        for (uint32_t i = 0; i < count; i++) slice[i] = first + i;
        char *text = NULL;
        uint64_t bytes = 0;
        levee_status status = tokenizer_decode(m->tokens, slice, count, false, &text, &bytes, error);
        if (status == LEVEE_OK) {
            *hash = XXH64(text, bytes, *hash);
            status = hash_text(m, text, bytes, hash, error);
        }
        ledger_free(text);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

levee_status fingerprint_tokenizer(example_maker *m, uint64_t *fingerprint, levee_error *error) {
    static const char probe[] =
        "The quick brown fox jumps over the lazy dog.\n\n  It's 1234567890 o'clock; WE'LL see\r\n"
        "\tdef f(x): return x**2 != -0.5e-3  # <b>tag</b> {\"key\": [1, 22, 333]}   \n"
        "na\xC3\xAFve cafe\xCC\x81 \xC3\x9C"
        "bergr\xC3\xB6\xC3\x9F"
        "e \xCE\xBB\xCF\x8C\xCE\xB3\xCE\xBF\xCF\x82 "
        "\xD0\xBC\xD0\xB8\xD1\x80 \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D "
        "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 "
        "\xE4\xBD\xA0\xE5\xA5\xBD\xE4\xB8\x96\xE7\x95\x8C \xE3\x81\x93\xE3\x82\x93 "
        "\xF0\x9F\x99\x82\xE2\x80\x94\xEF\xAC\x81\xC2\xA0 ";
    uint64_t facts[] = {0, (uint64_t)tokenizer_bos(m->tokens), (uint64_t)tokenizer_eos(m->tokens),
                        tokenizer_vocabulary_size(m->tokens)};
    levee_status status = hash_text(m, probe, sizeof probe - 1, &facts[0], error);
    if (status == LEVEE_OK) status = hash_vocabulary(m, &facts[0], error);
    *fingerprint = XXH64(facts, sizeof facts, 0);
    return status;
}
