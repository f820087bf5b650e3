/* Tokens as text while they come: see text_stream.h.
 *
 * What a token adds depends on the one before it (a decoder may strip the first space), so each is decoded together
 * with those that were printed last, and the new text is what goes beyond theirs. */
#include "train/text_stream.h"

#include <string.h>

#include "memory/ledger.h"

/* Does the text end within a character, as far as that can be seen? */
static bool ends_broken(const char *text, uint64_t bytes) {
    return bytes >= 3 && !memcmp(text + bytes - 3, "\xef\xbf\xbd", 3);
}

levee_status text_stream_tell(text_stream *s, const token_list *ids, bool end, levee_error *error) {
    char *before = NULL, *all = NULL;
    uint64_t before_bytes = 0, all_bytes = 0;
    const uint32_t *from = ids->ids + s->begin;
    if (ids->count == s->told) return LEVEE_OK;
    levee_status status = tokenizer_decode(s->tokens, from, s->told - s->begin, true, &before, &before_bytes, error);
    if (status == LEVEE_OK)
        status = tokenizer_decode(s->tokens, from, ids->count - s->begin, true, &all, &all_bytes, error);
    if (status == LEVEE_OK && (end || !ends_broken(all, all_bytes))) {
        if (s->print && all_bytes > before_bytes) s->print(s->context, all + before_bytes);
        s->begin = s->told;
        s->told = ids->count;
    }
    ledger_free(before);
    ledger_free(all);
    return status;
}
