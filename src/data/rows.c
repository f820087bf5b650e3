/* Rows of text out of a file, through a bounded buffer: see rows.h. */
#include "data/rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "text/buffer.h"

enum {
    CHUNK_BYTES = 64 * 1024, /* read at a time; also the row buffer's first size */
    BYTE_ORDER_MARK_BYTES = 3,
};

/* Invariants: chunk_used <= chunk_filled <= CHUNK_BYTES; held_bytes <= capacity; chunk_offset is the place in the
 * file of chunk[0]. */
struct row_reader {
    char *path;
    int file;
    bool paragraphs;
    uint64_t max_row_bytes;

    char *chunk; /* [CHUNK_BYTES], from the first rows_next on */
    uint64_t chunk_offset, chunk_filled, chunk_used;
    uint64_t line; /* number of the line that is read next */
    bool within;   /* a line that is too long, and was given up */

    char *held; /* [capacity], the raw bytes of the current row */
    uint64_t held_bytes, capacity;

    row_fields fields;
    pool json; /* of the current row, because its content points into it */
};

static bool is_white(char byte) { return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n'; }

/* `bytes` without the white space at the end. */
static uint64_t trimmed(const char *text, uint64_t bytes) {
    while (bytes > 0 && is_white(text[bytes - 1])) bytes--;
    return bytes;
}

static levee_status bad_row(const row_reader *r, const text_row *place, levee_error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "path: line 17: what is wrong; remedy" */
static levee_status bad_row(const row_reader *r, const text_row *place, levee_error *error, const char *format, ...) {
    char what[LEVEE_ERROR_BYTES / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    bool by_line = place->line > 0;
    return error_set(error, LEVEE_BAD_DATA, "%s: %s %" PRIu64 ": %s", r->path, by_line ? "line" : "byte",
                     by_line ? place->line : place->offset, what);
}

static levee_status too_long(const row_reader *r, const text_row *place, levee_error *error) {
    return bad_row(r, place, error,
                   "the row has more than %" PRIu64 " bytes; split it, or allow longer ones with --max-row-bytes",
                   r->max_row_bytes);
}

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text);
    size_t ending_length = strlen(ending);
    return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* Reads until `bytes` are there or the file ends; *filled says how many came. */
static levee_status read_at(const row_reader *r, char *to, uint64_t bytes, uint64_t offset, uint64_t *filled,
                            levee_error *error) {
    return file_read_at(r->file, r->path, to, bytes, offset, filled, error);
}

levee_status rows_open(row_reader **result, const char *path, uint64_t max_row_bytes, levee_error *error) {
    *result = NULL;
    if (max_row_bytes == 0 || max_row_bytes > UINT32_MAX) {
        return error_set(error, LEVEE_USAGE, "--max-row-bytes: %" PRIu64 " is not between 1 and %" PRIu32,
                         max_row_bytes, UINT32_MAX);
    }
    row_reader *r = ledger_alloc(LEVEE_DATA, sizeof *r);
    if (!r) return error_out_of_memory(error, path, sizeof *r);
    r->file = -1;
    r->max_row_bytes = max_row_bytes;
    r->line = 1;
    r->fields = row_fields_usual();
    r->paragraphs = ends_with(path, ".txt");
    r->path = ledger_text(LEVEE_DATA, path);
    levee_status status = LEVEE_OK;
    if (!r->path) {
        status = error_out_of_memory(error, path, strlen(path) + 1);
        goto fail;
    }
    uint64_t bytes, filled;
    status = file_open(path, &r->file, &bytes, error); /* rows are read more than once, so a regular one is needed */
    if (status != LEVEE_OK) {
        error_context(error, "--data");
        goto fail;
    }
    char mark[BYTE_ORDER_MARK_BYTES];
    status = read_at(r, mark, BYTE_ORDER_MARK_BYTES, 0, &filled, error);
    if (status != LEVEE_OK) goto fail;
    if (filled == BYTE_ORDER_MARK_BYTES && memcmp(mark, "\xEF\xBB\xBF", BYTE_ORDER_MARK_BYTES) == 0) {
        r->chunk_offset = BYTE_ORDER_MARK_BYTES;
    }
    *result = r;
    return LEVEE_OK;
fail:
    rows_close(r);
    return status;
}

void rows_name_fields(row_reader *r, const row_fields *fields) { r->fields = *fields; }

void rows_close(row_reader *r) {
    if (!r) return;
    pool_close(&r->json);
    file_close(r->file);
    ledger_free(r->held);
    ledger_free(r->chunk);
    ledger_free(r->path);
    ledger_free(r);
}

levee_status rows_source(const row_reader *r, uint64_t *bytes, int64_t *modified_ns, levee_error *error) {
    return file_identify(r->file, r->path, bytes, modified_ns, error);
}

static levee_status make_room(row_reader *r, uint64_t bytes, levee_error *error) {
    if (bytes <= r->capacity) return LEVEE_OK;
    char *larger = ledger_resize(LEVEE_IO, r->held, bytes);
    if (!larger) return error_out_of_memory(error, r->path, bytes);
    r->held = larger;
    r->capacity = bytes;
    return LEVEE_OK;
}

levee_status rows_reserve(row_reader *r, uint64_t bytes, uint64_t parse_bytes, levee_error *error) {
    levee_status status = make_room(r, bytes, error);
    return status == LEVEE_OK ? pool_reserve(&r->json, parse_bytes, error) : status;
}

/* Appends to the held bytes, doubling their buffer. That never passes max_row_bytes + 2 * CHUNK_BYTES: too_long comes
 * first. */
static levee_status hold(row_reader *r, const char *bytes, uint64_t count, levee_error *error) {
    uint64_t needed = r->held_bytes + count;
    if (needed > r->capacity) {
        uint64_t most = r->max_row_bytes + 2 * CHUNK_BYTES;
        uint64_t doubled = r->capacity < CHUNK_BYTES ? CHUNK_BYTES : 2 * r->capacity;
        uint64_t wanted = doubled > most ? most : doubled;
        levee_status status = make_room(r, wanted < needed ? needed : wanted, error);
        if (status != LEVEE_OK) return status;
    }
    memcpy(r->held + r->held_bytes, bytes, count);
    r->held_bytes += count;
    return LEVEE_OK;
}

/* Reads on when all of the chunk was used; it is empty then at the end of the file. */
static levee_status fill_chunk(row_reader *r, levee_error *error) {
    if (r->chunk_used < r->chunk_filled) return LEVEE_OK;
    r->chunk_offset += r->chunk_filled;
    r->chunk_used = 0;
    r->chunk_filled = 0;
    return read_at(r, r->chunk, CHUNK_BYTES, r->chunk_offset, &r->chunk_filled, error);
}

/* Passes over the rest of a line that was given up. */
static levee_status leave_line(row_reader *r, levee_error *error) {
    while (r->within) {
        levee_status status = fill_chunk(r, error);
        if (status != LEVEE_OK || r->chunk_filled == 0) return status;
        const char *from = r->chunk + r->chunk_used;
        const char *end = memchr(from, '\n', r->chunk_filled - r->chunk_used);
        r->chunk_used = end ? (uint64_t)(end - r->chunk) + 1 : r->chunk_filled;
        r->within = !end;
        if (end) r->line++;
    }
    return LEVEE_OK;
}

/* Appends the next line, with its line end, to the held bytes. Nothing is appended at the end of the file. `place` is
 * the row that the line would belong to, for messages. */
static levee_status hold_line(row_reader *r, const text_row *place, levee_error *error) {
    for (;;) {
        levee_status status = fill_chunk(r, error);
        if (status != LEVEE_OK || r->chunk_filled == 0) return status;
        const char *from = r->chunk + r->chunk_used;
        uint64_t left = r->chunk_filled - r->chunk_used;
        const char *end = memchr(from, '\n', left);
        uint64_t count = end ? (uint64_t)(end - from) + 1 : left;
        status = hold(r, from, count, error);
        if (status != LEVEE_OK) return status;
        r->chunk_used += count;
        /* White space that turns out to end the row is not part of it, but must not fill memory either. */
        bool too_much = r->held_bytes > r->max_row_bytes + CHUNK_BYTES;
        if (too_much || trimmed(r->held, r->held_bytes) > r->max_row_bytes) {
            r->within = !end;
            if (end) r->line++;
            return too_long(r, place, error);
        }
        if (end) {
            r->line++;
            return LEVEE_OK;
        }
    }
}

/* Turns each "\r\n" into "\n" in place; returns the new length. */
static uint64_t unify_line_ends(char *text, uint64_t bytes) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < bytes; i++) {
        if (text[i] == '\r' && i + 1 < bytes && text[i + 1] == '\n') continue;
        text[kept++] = text[i];
    }
    return kept;
}

/* Parses with whole numbers as they are, which a chat template can tell from others; or, where one is too large for
 * 64 bits, with all numbers as reals, since it may stand in a field that nobody reads. */
static const json_t *parse_numbers(row_reader *r, const text_row *current, bool *reals, json_error_t *problem) {
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    *reals = false;
    const json_t *object = json_parse(r->held, current->bytes, flags, problem);
    if (object || json_error_code(problem) != json_error_numeric_overflow) return object;
    *reals = true;
    pool_leave();
    pool_empty(&r->json);
    pool_enter(&r->json);
    return json_parse(r->held, current->bytes, flags | JSON_DECODE_INT_AS_REAL, problem);
}

/* Parses the held bytes, in memory that is there before the parser starts. */
static levee_status parse_json(row_reader *r, text_row *current, levee_error *error) {
    current->parse_bytes = json_parse_bytes(r->held, current->bytes) + ROW_SHAPE_BYTES;
    levee_status status = pool_reserve(&r->json, current->parse_bytes, error);
    if (status != LEVEE_OK) return error_context(error, "%s", r->path);
    json_error_t problem;
    bool reals;
    char wrong[LEVEE_ERROR_BYTES / 2] = "";
    pool_enter(&r->json);
    const json_t *object = parse_numbers(r, current, &reals, &problem);
    if (object) row_content_read(&current->content, object, &r->fields, wrong, sizeof wrong);
    pool_leave();
    if (object && *wrong) return bad_row(r, current, error, "%s", wrong);
    if (object && reals && current->content.kind == ROW_CHAT)
        return bad_row(r, current, error, "a whole number does not fit 64 bits; write it as a text");
    if (object) return LEVEE_OK;
    if (json_error_code(&problem) == json_error_out_of_memory)
        return error_out_of_memory(error, r->path, current->parse_bytes);
    return bad_row(r, current, error, "is not JSON: %s (column %d); write one object per line, {\"text\": \"...\"}",
                   problem.text, problem.column);
}

/* Turns the held bytes [0, current->bytes) into the row's content. */
static levee_status extract_content(row_reader *r, text_row *current, levee_error *error) {
    uint64_t valid;
    if (!utf8_is_valid(r->held, current->bytes, &valid)) {
        return bad_row(r, current, error, "byte %" PRIu64 " of the row (0x%02X) is not UTF-8; save the file as UTF-8",
                       valid + 1, (unsigned char)r->held[valid]);
    }
    if (r->paragraphs) {
        uint64_t bytes = unify_line_ends(r->held, current->bytes);
        current->content = (row_content){.kind = ROW_TEXT, .text = r->held, .text_bytes = bytes};
        return LEVEE_OK;
    }
    return parse_json(r, current, error);
}

static void forget_current(row_reader *r) {
    pool_empty(&r->json);
    r->held_bytes = 0;
}

levee_status rows_next(row_reader *r, text_row *next, levee_error *error) {
    forget_current(r);
    *next = (text_row){0};
    if (!r->chunk) r->chunk = ledger_alloc(LEVEE_IO, CHUNK_BYTES);
    if (!r->chunk) return error_out_of_memory(error, r->path, CHUNK_BYTES);
    levee_status left = leave_line(r, error);
    if (left != LEVEE_OK) return left;
    for (;;) {
        uint64_t before = r->held_bytes;
        if (before == 0) {
            next->offset = r->chunk_offset + r->chunk_used;
            next->line = r->line;
        }
        levee_status status = hold_line(r, next, error);
        if (status != LEVEE_OK) return status;
        bool at_end = r->held_bytes == before;
        if (at_end && before == 0) return LEVEE_OK;
        bool blank = trimmed(r->held + before, r->held_bytes - before) == 0;
        if (blank && before == 0) {
            r->held_bytes = 0;
            continue;
        }
        if (blank || !r->paragraphs) break;
    }
    next->bytes = (uint32_t)trimmed(r->held, r->held_bytes);
    return extract_content(r, next, error);
}

levee_status rows_read(row_reader *r, uint64_t offset, uint32_t bytes, text_row *read, levee_error *error) {
    forget_current(r);
    *read = (text_row){.offset = offset, .bytes = bytes};
    levee_status status = make_room(r, bytes, error);
    if (status != LEVEE_OK) return status;
    uint64_t filled;
    status = read_at(r, r->held, bytes, offset, &filled, error);
    if (status != LEVEE_OK) return status;
    if (filled < bytes) {
        return bad_row(r, read, error,
                       "the file ends within the row; it has changed while it was in use, start again");
    }
    return extract_content(r, read, error);
}

levee_status rows_line(const row_reader *r, uint64_t offset, uint64_t *line, levee_error *error) {
    char piece[16 * 1024];
    uint64_t filled;
    *line = 1;
    for (uint64_t done = 0; done < offset; done += filled) {
        uint64_t left = offset - done;
        levee_status status = read_at(r, piece, left < sizeof piece ? left : sizeof piece, done, &filled, error);
        if (status != LEVEE_OK) return status;
        if (!filled) break;
        for (uint64_t i = 0; i < filled; i++) *line += piece[i] == '\n';
    }
    return LEVEE_OK;
}
