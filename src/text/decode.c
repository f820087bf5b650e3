/* Running a decoder: see stages.h. */
#include <string.h>

#include "text/bpe.h"
#include "text/stages.h"

/* U+FFFD in UTF-8 */
static const char replacement[] = "\xef\xbf\xbd";

/* Appends bytes as text; each stretch that is not UTF-8 becomes one replacement character. */
static levee_status append_lossy(text_buffer *to, const char *bytes, uint64_t count, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (uint64_t at = 0, length; at < count && status == LEVEE_OK; at += length) {
        bool valid = utf8_read(bytes + at, count - at, &length) >= 0;
        status = valid ? text_append(to, bytes + at, length, error) : text_append(to, replacement, 3, error);
    }
    return status;
}

/* A token's characters to bytes; a token with any other character stands for itself. */
static levee_status append_byte_level(text_buffer *to, const char *text, uint64_t bytes, levee_error *error) {
    uint64_t begin = to->bytes;
    for (uint64_t at = 0, length; at < bytes; at += length) {
        int byte = bpe_character_byte((uint32_t)utf8_read(text + at, bytes - at, &length));
        char character = (char)byte;
        if (byte < 0) {
            to->bytes = begin;
            return text_append(to, text, bytes, error);
        }
        levee_status status = text_append(to, &character, 1, error);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

/* All tokens as one text. Characters may lie across tokens, so that only the whole can be read as UTF-8, on which the
 * steps that follow rely. */
static levee_status byte_level(text_buffer *text, piece_list *tokens, text_buffer *joined, levee_error *error) {
    levee_status status = LEVEE_OK;
    if (!tokens->count) return status;
    joined->bytes = 0;
    for (uint64_t i = 0; i < tokens->count && status == LEVEE_OK; i++)
        status = append_byte_level(joined, text->data + tokens->pieces[i].offset, tokens->pieces[i].bytes, error);
    text->bytes = 0;
    tokens->count = 0;
    if (status == LEVEE_OK) status = append_lossy(text, joined->data, joined->bytes, error);
    return status == LEVEE_OK ? pieces_append(tokens, 0, text->bytes, error) : status;
}

/* "<0x0A>" is byte 10; -1 for anything else. */
static int fallback_byte(const char *text, uint64_t bytes) {
    static const char digits[] = "0123456789ABCDEF";
    if (bytes != 6 || memcmp(text, "<0x", 3) || text[5] != '>') return -1;
    const char *high = memchr(digits, text[3], 16), *low = memchr(digits, text[4], 16);
    return high && low ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

/* Ends a run of fallback bytes that begins at `begin` of `to`: one piece if it is UTF-8, else a replacement for each.
 */
static levee_status end_run(text_buffer *to, uint64_t begin, piece_list *pieces, levee_error *error) {
    uint64_t count = to->bytes - begin, offset;
    levee_status status = LEVEE_OK;
    if (!count) return LEVEE_OK;
    if (!utf8_is_valid(to->data + begin, count, &offset)) {
        to->bytes = begin;
        for (uint64_t i = 0; i < count && status == LEVEE_OK; i++) status = text_append(to, replacement, 3, error);
    }
    return status == LEVEE_OK ? pieces_append(pieces, begin, to->bytes - begin, error) : status;
}

static levee_status byte_fallback(const text_buffer *text, const piece_list *tokens, text_buffer *to,
                                  piece_list *pieces, levee_error *error) {
    uint64_t run = 0;
    levee_status status = LEVEE_OK;
    for (uint64_t i = 0; i < tokens->count && status == LEVEE_OK; i++) {
        const char *token = text->data + tokens->pieces[i].offset;
        uint64_t bytes = tokens->pieces[i].bytes;
        int byte = fallback_byte(token, bytes);
        char character = (char)byte;
        if (byte >= 0) {
            status = text_append(to, &character, 1, error);
            continue;
        }
        status = end_run(to, run, pieces, error);
        run = to->bytes;
        if (status == LEVEE_OK) status = text_append(to, token, bytes, error);
        if (status == LEVEE_OK) status = pieces_append(pieces, run, bytes, error);
        run = to->bytes;
    }
    return status == LEVEE_OK ? end_run(to, run, pieces, error) : status;
}

/* A token with its matches replaced. */
static levee_status replace_token(const step *s, const char *token, uint64_t bytes, text_buffer *to,
                                  levee_error *error) {
    uint64_t done = 0;
    levee_status status = LEVEE_OK;
    for (;;) {
        text_piece match;
        bool found;
        status = pattern_next(s->match, token, bytes, done, &match, &found, error);
        if (status != LEVEE_OK || !found) break;
        status = text_append(to, token + done, match.offset - done, error);
        if (status == LEVEE_OK) status = text_append(to, s->text, strlen(s->text), error);
        if (status != LEVEE_OK) break;
        done = match.offset + match.bytes;
    }
    return status == LEVEE_OK ? text_append(to, token + done, bytes - done, error) : status;
}

static levee_status strip_token(const step *s, const char *token, uint64_t bytes, text_buffer *to,
                                levee_error *error) {
    uint64_t mark = strlen(s->text), begin = 0, end = bytes;
    for (unsigned i = 0; i < s->start && end - begin >= mark && !memcmp(token + begin, s->text, mark); i++)
        begin += mark;
    for (unsigned i = 0; i < s->stop && end - begin >= mark && !memcmp(token + end - mark, s->text, mark); i++)
        end -= mark;
    return text_append(to, token + begin, end - begin, error);
}

/* Replaced spaces become spaces again; the one that was put in front of the whole text goes. */
static levee_status metaspace_token(const step *s, const char *token, uint64_t bytes, bool first, text_buffer *to,
                                    levee_error *error) {
    uint64_t mark = strlen(s->text);
    levee_status status = LEVEE_OK;
    for (uint64_t at = 0; at < bytes && status == LEVEE_OK;) {
        bool space = bytes - at >= mark && !memcmp(token + at, s->text, mark);
        if (!(space && first && at == 0 && s->prefix_space))
            status = space ? text_append(to, " ", 1, error) : text_append(to, token + at, 1, error);
        at += space ? mark : 1;
    }
    return status;
}

static levee_status decode_token(const step *s, const char *token, uint64_t bytes, bool first, text_buffer *to,
                                 levee_error *error) {
    switch (s->kind) {
    case STEP_REPLACE:
        return replace_token(s, token, bytes, to, error);
    case STEP_STRIP:
        return strip_token(s, token, bytes, to, error);
    case STEP_METASPACE:
        return metaspace_token(s, token, bytes, first, to, error);
    default:
        return text_append(to, token, bytes, error);
    }
}

static levee_status run_step(const step *s, const text_buffer *text, const piece_list *tokens, text_buffer *to,
                             piece_list *pieces, levee_error *error) {
    levee_status status = LEVEE_OK;
    to->bytes = 0;
    pieces->count = 0;
    if (s->kind == STEP_BYTE_FALLBACK) return byte_fallback(text, tokens, to, pieces, error);
    for (uint64_t i = 0; i < tokens->count && status == LEVEE_OK; i++) {
        uint64_t begin = to->bytes;
        status = decode_token(s, text->data + tokens->pieces[i].offset, tokens->pieces[i].bytes, i == 0, to, error);
        if (status == LEVEE_OK) status = pieces_append(pieces, begin, to->bytes - begin, error);
    }
    if (status == LEVEE_OK && s->kind == STEP_FUSE && pieces->count) {
        pieces->count = 0;
        status = pieces_append(pieces, 0, to->bytes, error);
    }
    return status;
}

levee_status stage_decode(stage *s, text_buffer *text, piece_list *tokens, text_buffer *scratch, piece_list *other,
                          levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < s->count && status == LEVEE_OK; i++) {
        if (s->steps[i].kind == STEP_BYTE_LEVEL) {
            status = byte_level(text, tokens, scratch, error);
            continue;
        }
        status = run_step(&s->steps[i], text, tokens, scratch, other, error);
        text_buffer kept = *text;
        *text = *scratch;
        *scratch = kept;
        piece_list kept_pieces = *tokens;
        *tokens = *other;
        *other = kept_pieces;
    }
    /* Without a decoder, tokens are words. */
    scratch->bytes = 0;
    for (uint64_t i = 0; i < tokens->count && status == LEVEE_OK; i++) {
        if (!s->count && i) status = text_append(scratch, " ", 1, error);
        if (status == LEVEE_OK)
            status = text_append(scratch, text->data + tokens->pieces[i].offset, tokens->pieces[i].bytes, error);
    }
    text->bytes = 0;
    return status == LEVEE_OK ? append_lossy(text, scratch->data, scratch->bytes, error) : status;
}
