/* Growing text, pieces and UTF-8: see buffer.h. */
#include "text/buffer.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

levee_status text_reserve(text_buffer *b, uint64_t bytes, levee_error *error) {
    if (bytes < b->capacity) return LEVEE_OK;
    char *grown = ledger_resize(LEVEE_TOKENIZER, b->data, bytes + 1);
    if (!grown) return error_out_of_memory(error, "text to be tokenised", bytes + 1);
    b->data = grown;
    b->capacity = bytes + 1;
    return LEVEE_OK;
}

levee_status text_append(text_buffer *b, const char *text, uint64_t bytes, levee_error *error) {
    if (b->bytes + bytes >= b->capacity) {
        levee_status status = text_reserve(b, (b->bytes + bytes) * 2 + 1, error);
        if (status != LEVEE_OK) return status;
    }
    if (bytes) memcpy(b->data + b->bytes, text, bytes);
    b->bytes += bytes;
    b->data[b->bytes] = 0;
    return LEVEE_OK;
}

void text_free(text_buffer *b) {
    ledger_free(b->data);
    memset(b, 0, sizeof *b);
}

levee_status pieces_reserve(piece_list *list, uint64_t count, levee_error *error) {
    if (count <= list->capacity) return LEVEE_OK;
    text_piece *grown = ledger_resize(LEVEE_TOKENIZER, list->pieces, count * sizeof *grown);
    if (!grown) return error_out_of_memory(error, "pieces of text", count * sizeof *grown);
    list->pieces = grown;
    list->capacity = count;
    return LEVEE_OK;
}

levee_status pieces_append(piece_list *list, uint64_t offset, uint64_t bytes, levee_error *error) {
    levee_status status = LEVEE_OK;
    if (list->count == list->capacity) status = pieces_reserve(list, list->capacity ? list->capacity * 2 : 64, error);
    if (status != LEVEE_OK) return status;
    list->pieces[list->count++] = (text_piece){offset, bytes};
    return LEVEE_OK;
}

void pieces_free(piece_list *list) {
    ledger_free(list->pieces);
    memset(list, 0, sizeof *list);
}

/* The legal range of the second byte narrows after some first bytes: no overlong forms, no surrogates, nothing past
 * U+10FFFF (Unicode 15, table 3-7). */
int32_t utf8_read(const char *text, uint64_t bytes, uint64_t *length) {
    const unsigned char *s = (const unsigned char *)text;
    unsigned first = s[0], needed, low = 0x80, high = 0xbf;
    *length = 1;
    if (first < 0x80) return (int32_t)first;
    if (first >= 0xc2 && first <= 0xdf)
        needed = 1;
    else if (first >= 0xe0 && first <= 0xef)
        needed = 2;
    else if (first >= 0xf0 && first <= 0xf4)
        needed = 3;
    else
        return -1;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    uint32_t code = first & (0x3fu >> needed);
    for (unsigned i = 1; i <= needed; i++) {
        if (i >= bytes || s[i] < low || s[i] > high) return -1;
        code = code << 6 | (s[i] & 0x3f);
        (*length)++;
        low = 0x80, high = 0xbf;
    }
    return (int32_t)code;
}

unsigned utf8_write(uint32_t code_point, char text[4]) {
    unsigned char *s = (unsigned char *)text;
    if (code_point < 0x80) {
        s[0] = (unsigned char)code_point;
        return 1;
    }
    unsigned more = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
    static const unsigned char marks[] = {0, 0xc0, 0xe0, 0xf0};
    s[0] = (unsigned char)(marks[more] | code_point >> 6 * more);
    for (unsigned i = 1; i <= more; i++) s[i] = (unsigned char)(0x80 | (code_point >> 6 * (more - i) & 0x3f));
    return more + 1;
}

bool utf8_is_valid(const char *text, uint64_t bytes, uint64_t *offset) {
    uint64_t length;
    for (*offset = 0; *offset < bytes; *offset += length)
        if (utf8_read(text + *offset, bytes - *offset, &length) < 0) return false;
    return true;
}
