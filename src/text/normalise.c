/* Running a normalizer and a pre-tokenizer: see stages.h. */
#include <string.h>
#include <utf8proc.h>

#include "base/error.h"
#include "text/stages.h"

static void swap(text_buffer *a, text_buffer *b) {
    text_buffer kept = *a;
    *a = *b;
    *b = kept;
}

/* Every match of s->match in a piece becomes s->text; the result is appended to `to`. */
static levee_status replace(const step *s, const char *text, uint64_t bytes, text_buffer *to, levee_error *error) {
    uint64_t done = 0;
    levee_status status = LEVEE_OK;
    while (status == LEVEE_OK) {
        text_piece match;
        bool found;
        status = pattern_next(s->match, text, bytes, done, &match, &found, error);
        if (status != LEVEE_OK || !found) break;
        status = text_append(to, text + done, match.offset - done, error);
        if (status == LEVEE_OK) status = text_append(to, s->text, strlen(s->text), error);
        done = match.offset + match.bytes;
    }
    return status == LEVEE_OK ? text_append(to, text + done, bytes - done, error) : status;
}

/* The library decomposes into `to`, which is empty, and composes there: so it takes no memory that is not booked. */
static levee_status unicode(const text_buffer *text, int option, text_buffer *to, levee_error *error) {
    if (!text->bytes) return text_append(to, "", 0, error);
    const utf8proc_uint8_t *from = (const utf8proc_uint8_t *)text->data;
    utf8proc_ssize_t bytes = (utf8proc_ssize_t)text->bytes;
    utf8proc_option_t options = (utf8proc_option_t)option;
    utf8proc_ssize_t length = utf8proc_decompose(from, bytes, NULL, 0, options);
    if (length >= 0) {
        levee_status status = text_reserve(to, (uint64_t)length * sizeof(utf8proc_int32_t) + 1, error);
        if (status != LEVEE_OK) return status;
        utf8proc_int32_t *codes = (utf8proc_int32_t *)(void *)to->data; /* blocks of the ledger are aligned */
        length = utf8proc_decompose(from, bytes, codes, length, options);
        if (length >= 0) length = utf8proc_reencode(codes, length, options);
    }
    if (length < 0) return error_set(error, LEVEE_BAD_DATA, "normalizer: %s", utf8proc_errmsg(length));
    to->bytes = (uint64_t)length;
    to->data[length] = 0;
    return LEVEE_OK;
}

static levee_status lowercase(const text_buffer *text, text_buffer *to, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (uint64_t at = 0, length; at < text->bytes && status == LEVEE_OK; at += length) {
        char character[4];
        int32_t code = utf8_read(text->data + at, text->bytes - at, &length);
        status = text_append(to, character, utf8_write((uint32_t)utf8proc_tolower(code), character), error);
    }
    return status;
}

static bool is_space(int32_t code) {
    utf8proc_category_t category = utf8proc_category(code);
    return (code >= 9 && code <= 13) || code == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
           category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

static levee_status strip(const step *s, const text_buffer *text, text_buffer *to, levee_error *error) {
    uint64_t begin = 0, end = text->bytes, length;
    while (s->start && begin < end && is_space(utf8_read(text->data + begin, end - begin, &length))) begin += length;
    while (s->stop && end > begin) {
        uint64_t back = 1;
        while (back < 4 && end - back > begin && ((unsigned char)text->data[end - back] & 0xc0) == 0x80) back++;
        if (!is_space(utf8_read(text->data + end - back, back, &length))) break;
        end -= back;
    }
    return text_append(to, text->data + begin, end - begin, error);
}

levee_status stage_normalise(stage *s, text_buffer *text, text_buffer *scratch, levee_error *error) {
    levee_status status = LEVEE_OK;
    for (unsigned i = 0; i < s->count && status == LEVEE_OK; i++) {
        const step *now = &s->steps[i];
        scratch->bytes = 0;
        if (now->kind == STEP_PREPEND) {
            if (text->bytes) status = text_append(scratch, now->text, strlen(now->text), error);
            if (status == LEVEE_OK) status = text_append(scratch, text->data, text->bytes, error);
        } else if (now->kind == STEP_REPLACE) {
            status = replace(now, text->data, text->bytes, scratch, error);
        } else if (now->kind == STEP_UNICODE) {
            status = unicode(text, now->option, scratch, error);
        } else if (now->kind == STEP_LOWERCASE) {
            status = lowercase(text, scratch, error);
        } else {
            status = strip(now, text, scratch, error);
        }
        swap(text, scratch);
    }
    return status;
}

/* Adds a piece unless it is empty. */
static levee_status add(piece_list *list, uint64_t begin, uint64_t end, levee_error *error) {
    return begin < end ? pieces_append(list, begin, end - begin, error) : LEVEE_OK;
}

/* One stretch between or of matches, according to the behaviour of the split. */
static levee_status add_stretch(const step *s, piece_list *to, uint64_t first_of_piece, uint64_t begin, uint64_t end,
                                bool matched, bool *previous_matched, levee_error *error) {
    bool has_previous = to->count > first_of_piece;
    text_piece *previous = has_previous ? &to->pieces[to->count - 1] : NULL;
    bool join = false;
    if (begin == end) return LEVEE_OK;
    if (s->behaviour == SPLIT_REMOVED && matched) return LEVEE_OK;
    if (s->behaviour == SPLIT_WITH_PREVIOUS) join = has_previous && matched && !*previous_matched;
    if (s->behaviour == SPLIT_WITH_NEXT) join = has_previous && !matched && *previous_matched;
    if (s->behaviour == SPLIT_CONTIGUOUS) join = has_previous && matched == *previous_matched;
    *previous_matched = matched;
    if (join) {
        previous->bytes += end - begin;
        return LEVEE_OK;
    }
    return add(to, begin, end, error);
}

static levee_status split_piece(const step *s, const char *text, text_piece piece, piece_list *to,
                                levee_error *error) {
    uint64_t done = 0, first = to->count;
    bool previous = false;
    levee_status status = LEVEE_OK;
    while (status == LEVEE_OK) {
        text_piece match;
        bool found;
        status = pattern_next(s->match, text + piece.offset, piece.bytes, done, &match, &found, error);
        if (status != LEVEE_OK || !found) break;
        status =
            add_stretch(s, to, first, piece.offset + done, piece.offset + match.offset, s->invert, &previous, error);
        if (status == LEVEE_OK)
            status = add_stretch(s, to, first, piece.offset + match.offset, piece.offset + match.offset + match.bytes,
                                 !s->invert, &previous, error);
        done = match.offset + match.bytes;
    }
    if (status != LEVEE_OK) return status;
    return add_stretch(s, to, first, piece.offset + done, piece.offset + piece.bytes, s->invert, &previous, error);
}

/* Copies the pieces into `to`, each changed as the step asks: a space in front, or spaces replaced. */
static levee_status rewrite(const step *s, const text_buffer *text, bool first, piece_list *pieces, text_buffer *to,
                            levee_error *error) {
    const char *space = s->kind == STEP_METASPACE ? s->text : " ";
    uint64_t space_bytes = strlen(space);
    levee_status status = LEVEE_OK;
    to->bytes = 0;
    for (uint64_t i = 0; i < pieces->count && status == LEVEE_OK; i++) {
        text_piece *piece = &pieces->pieces[i];
        const char *from = text->data + piece->offset;
        uint64_t begin = to->bytes;
        bool already = *from == ' ' || (piece->bytes >= space_bytes && !memcmp(from, space, space_bytes));
        bool wanted = s->prefix_space && (!s->prefix_first_only || (first && i == 0));
        if (wanted && !already) status = text_append(to, space, space_bytes, error);
        for (uint64_t k = 0; k < piece->bytes && status == LEVEE_OK; k++)
            status =
                from[k] == ' ' ? text_append(to, space, space_bytes, error) : text_append(to, from + k, 1, error);
        *piece = (text_piece){begin, to->bytes - begin};
    }
    return status;
}

/* Metaspace splits before each replaced space. */
static levee_status split_before(const step *s, const text_buffer *text, text_piece piece, piece_list *to,
                                 levee_error *error) {
    uint64_t begin = piece.offset, end = piece.offset + piece.bytes, space_bytes = strlen(s->text);
    levee_status status = LEVEE_OK;
    for (uint64_t at = begin + 1; at + space_bytes <= end && status == LEVEE_OK; at++)
        if (!memcmp(text->data + at, s->text, space_bytes)) {
            status = add(to, begin, at, error);
            begin = at;
        }
    return status == LEVEE_OK ? add(to, begin, end, error) : status;
}

levee_status stage_split(stage *s, text_buffer *text, text_buffer *scratch, bool first, piece_list *words,
                         piece_list *other, levee_error *error) {
    words->count = 0;
    levee_status status = add(words, 0, text->bytes, error);
    for (unsigned i = 0; i < s->count && status == LEVEE_OK; i++) {
        const step *now = &s->steps[i];
        if (now->kind == STEP_METASPACE || (now->kind == STEP_BYTE_LEVEL && now->prefix_space)) {
            status = rewrite(now, text, first, words, scratch, error);
            swap(text, scratch);
        }
        bool by_pattern = now->match != NULL, by_space = now->kind == STEP_METASPACE && now->split;
        if (!by_pattern && !by_space) continue;
        step gpt2 = *now;
        if (now->kind == STEP_BYTE_LEVEL) gpt2.behaviour = SPLIT_ISOLATED;
        other->count = 0;
        for (uint64_t k = 0; k < words->count && status == LEVEE_OK; k++)
            status = by_pattern ? split_piece(&gpt2, text->data, words->pieces[k], other, error)
                                : split_before(now, text, words->pieces[k], other, error);
        piece_list kept = *words;
        *words = *other;
        *other = kept;
    }
    return status;
}
