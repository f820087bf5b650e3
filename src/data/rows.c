/* Rows of text out of a file, through a bounded buffer: see rows.h. */
#include "data/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
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

    char *held; /* [capacity], the raw bytes of the current row */
    uint64_t held_bytes, capacity;

    pool json; /* of the current row, because its text points into it */
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
    *filled = 0;
    while (*filled < bytes) {
        ssize_t count = pread(r->file, to + *filled, bytes - *filled, (off_t)(offset + *filled));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            return error_set(error, LEVEE_IO_ERROR, "%s: byte %" PRIu64 ": cannot be read: %s", r->path,
                             offset + *filled, strerror(errno));
        }
        if (count == 0) break;
        *filled += (uint64_t)count;
    }
    return LEVEE_OK;
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
    r->paragraphs = ends_with(path, ".txt");
    r->path = ledger_text(LEVEE_DATA, path);
    levee_status status = LEVEE_OK;
    if (!r->path) {
        status = error_out_of_memory(error, path, strlen(path) + 1);
        goto fail;
    }
    r->file = open(path, O_RDONLY | O_CLOEXEC);
    if (r->file < 0) {
        status =
            error_set(error, LEVEE_MISSING_INPUT, "%s: cannot be opened: %s; check --data", path, strerror(errno));
        goto fail;
    }
    struct stat about;
    if (fstat(r->file, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = error_set(error, LEVEE_MISSING_INPUT,
                           "%s: is not a regular file; rows are read more than once, so "
                           "save them in a file",
                           path);
        goto fail;
    }
    char mark[BYTE_ORDER_MARK_BYTES];
    uint64_t filled;
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

void rows_close(row_reader *r) {
    if (!r) return;
    pool_close(&r->json);
    if (r->file >= 0) close(r->file);
    ledger_free(r->held);
    ledger_free(r->chunk);
    ledger_free(r->path);
    ledger_free(r);
}

levee_status rows_source(const row_reader *r, uint64_t *bytes, int64_t *modified_ns, levee_error *error) {
    struct stat about;
    if (fstat(r->file, &about) != 0) {
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be examined: %s", r->path, strerror(errno));
    }
    *bytes = (uint64_t)about.st_size;
    *modified_ns = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
    return LEVEE_OK;
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

/* Appends the next line, with its line end, to the held bytes. Nothing is appended at the end of the file. `place` is
 * the row that the line would belong to, for messages. */
static levee_status hold_line(row_reader *r, const text_row *place, levee_error *error) {
    for (;;) {
        if (r->chunk_used == r->chunk_filled) {
            r->chunk_offset += r->chunk_filled;
            r->chunk_used = 0;
            r->chunk_filled = 0;
            levee_status status = read_at(r, r->chunk, CHUNK_BYTES, r->chunk_offset, &r->chunk_filled, error);
            if (status != LEVEE_OK) return status;
            if (r->chunk_filled == 0) return LEVEE_OK;
        }
        const char *from = r->chunk + r->chunk_used;
        uint64_t left = r->chunk_filled - r->chunk_used;
        const char *end = memchr(from, '\n', left);
        uint64_t count = end ? (uint64_t)(end - from) + 1 : left;
        levee_status status = hold(r, from, count, error);
        if (status != LEVEE_OK) return status;
        r->chunk_used += count;
        /* White space that turns out to end the row is not part of it, but must not fill memory either. */
        bool too_much = r->held_bytes > r->max_row_bytes + CHUNK_BYTES;
        if (too_much || trimmed(r->held, r->held_bytes) > r->max_row_bytes) return too_long(r, place, error);
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

static const char *json_type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* Takes the text out of the parsed object, or says why there is none. */
static levee_status text_of_object(const row_reader *r, const json_t *object, text_row *current, levee_error *error) {
    if (!json_is_object(object)) {
        return bad_row(r, current, error, "the row is %s, not an object; write it as {\"text\": \"...\"}",
                       json_type_name(object));
    }
    const json_t *text = json_object_get(object, "text");
    if (json_is_string(text)) {
        current->text = json_string_value(text);
        current->text_bytes = json_string_length(text);
        return LEVEE_OK;
    }
    if (text) {
        return bad_row(r, current, error, "\"text\" is %s, not a string; write it as {\"text\": \"...\"}",
                       json_type_name(text));
    }
    const char *shape = json_object_get(object, "messages")     ? "{\"messages\"}"
                        : json_object_get(object, "prompt")     ? "{\"prompt\", \"completion\"}"
                        : json_object_get(object, "completion") ? "{\"prompt\", \"completion\"}"
                                                                : NULL;
    if (shape) {
        return bad_row(r, current, error,
                       "this is a %s row, but only {\"text\"} rows are read; write it out as {\"text\": \"...\"}",
                       shape);
    }
    return bad_row(r, current, error, "the row has no field \"text\"; write it as {\"text\": \"...\"}");
}

/* Parses the held bytes, in memory that is there before the parser starts. */
static levee_status parse_json(row_reader *r, text_row *current, levee_error *error) {
    current->parse_bytes = json_parse_bytes(r->held, current->bytes);
    levee_status status = pool_reserve(&r->json, current->parse_bytes, error);
    if (status != LEVEE_OK) return error_context(error, "%s", r->path);
    /* Numbers as reals: a field that we do not read may hold an integer of any size. */
    json_error_t problem;
    pool_enter(&r->json);
    const json_t *object =
        json_loadb(r->held, current->bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &problem);
    pool_leave();
    if (object) return text_of_object(r, object, current, error);
    if (json_error_code(&problem) == json_error_out_of_memory)
        return error_out_of_memory(error, r->path, current->parse_bytes);
    return bad_row(r, current, error, "is not JSON: %s (column %d); write one object per line, {\"text\": \"...\"}",
                   problem.text, problem.column);
}

/* Turns the held bytes [0, current->bytes) into the row's text. */
static levee_status extract_text(row_reader *r, text_row *current, levee_error *error) {
    uint64_t valid;
    if (!utf8_is_valid(r->held, current->bytes, &valid)) {
        return bad_row(r, current, error, "byte %" PRIu64 " of the row (0x%02X) is not UTF-8; save the file as UTF-8",
                       valid + 1, (unsigned char)r->held[valid]);
    }
    if (r->paragraphs) {
        current->text = r->held;
        current->text_bytes = unify_line_ends(r->held, current->bytes);
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
    return extract_text(r, next, error);
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
    return extract_text(r, read, error);
}
