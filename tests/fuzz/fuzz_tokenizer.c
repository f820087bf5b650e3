/* tokenizer.json: what opens encodes and decodes, with ids of its vocabulary and text that is UTF-8. */

#include "harness.h"
#include "memory/ledger.h"
#include "text/buffer.h"
#include "text/tokenizer.h"

void fuzz_prepare(void) {}

static void decode(tokenizer *t, const token_list *ids, bool skip_special) {
    char *text;
    uint64_t bytes, place;
    levee_error error;
    levee_status status = tokenizer_decode(t, ids->ids, ids->count, skip_special, &text, &bytes, &error);
    if (harness_succeeded(status, &error, NULL))
        harness_require(utf8_is_valid(text, bytes, &place) && !text[bytes], "the decoded text is not UTF-8");
    ledger_free(text);
}

static void encode(tokenizer *t, const char *text, uint64_t bytes) {
    token_list ids = {0};
    levee_error error;
    if (harness_succeeded(tokenizer_encode(t, text, bytes, true, &ids, &error), &error, NULL)) {
        for (uint64_t i = 0; i < ids.count; i++)
            harness_require(ids.ids[i] < tokenizer_vocabulary_size(t), "an id past the vocabulary");
        decode(t, &ids, false);
        decode(t, &ids, true);
    }
    token_list_free(&ids);
}

/* Encodes a text that has a little of everything, and the beginning of the file itself. */
void fuzz_input(const uint8_t *data, size_t bytes) {
    static const char text[] =
        "Hello, w\xC3\xB6rld!  a\tab  abab 12\n<s> \0 \xE2\x96\x81 e\xCC\x81\xF0\x9F\x98\x80 x ";
    enum { BEGINNING = 64 };
    tokenizer *t;
    levee_error error;
    const char *path = harness_write("tokenizer.json", data, bytes);
    if (harness_succeeded(tokenizer_open(&t, harness_directory(), &error), &error, path)) {
        int64_t bos = tokenizer_bos(t), eos = tokenizer_eos(t), size = tokenizer_vocabulary_size(t);
        harness_require(bos >= -1 && bos < size && eos >= -1 && eos < size, "BOS or EOS is no token");
        encode(t, text, sizeof text - 1);
        encode(t, (const char *)data, bytes < BEGINNING ? bytes : BEGINNING);
    }
    tokenizer_close(t);
}
