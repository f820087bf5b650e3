/* Files of JSON objects: see jsonl.h. */
#include "report/jsonl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/json.h"
#include "memory/json_walk.h"
#include "memory/ledger.h"

levee_status jsonl_open(jsonl_reader *r, const char *path, levee_error *error) {
    uint64_t bytes;
    memset(r, 0, sizeof *r);
    r->descriptor = -1;
    snprintf(r->path, sizeof r->path, "%s", path);
    levee_status status = file_open(path, &r->descriptor, &bytes, error);
    if (status != LEVEE_OK) return status;
    r->held = ledger_alloc(LEVEE_IO, JSONL_LINE_BYTES);
    return r->held ? LEVEE_OK : error_out_of_memory(error, path, JSONL_LINE_BYTES);
}

void jsonl_close(jsonl_reader *r) {
    if (r->held || r->descriptor > 0) file_close(r->descriptor);
    pool_close(&r->json);
    ledger_free(r->held);
    memset(r, 0, sizeof *r);
    r->descriptor = -1;
}

void jsonl_refuse(jsonl_reader *r) {
    if (!r->unreadable++) r->first_unreadable = r->line;
}

/* Reads more behind what is held, which goes to the front. */
static levee_status fill(jsonl_reader *r, levee_error *error) {
    uint64_t got = 0, kept = r->end - r->begin;
    memmove(r->held, r->held + r->begin, kept);
    r->begin = 0;
    r->end = kept;
    levee_status status =
        file_read_next(r->descriptor, r->path, r->held + kept, JSONL_LINE_BYTES - kept, &got, error);
    r->end += got;
    r->at_end = !got;
    return status;
}

/* The next line without its end, as a span of what is held; of one that is too long nothing. */
static levee_status next_line(jsonl_reader *r, json_span *line, levee_error *error) {
    bool too_long = false;
    *line = (json_span){0};
    for (;;) {
        const char *from = r->held + r->begin, *newline = memchr(from, '\n', r->end - r->begin);
        if (newline || (r->at_end && r->begin < r->end)) {
            uint64_t bytes = newline ? (uint64_t)(newline - from) : r->end - r->begin;
            if (!too_long) *line = (json_span){from, bytes};
            r->begin += bytes + (newline != NULL);
            r->cut_short = !newline;
            break;
        }
        if (r->at_end) return LEVEE_OK;
        if (r->end - r->begin == JSONL_LINE_BYTES) {
            too_long = true;
            r->begin = r->end;
        }
        levee_status status = fill(r, error);
        if (status != LEVEE_OK) return status;
        if (r->at_end && too_long && r->begin == r->end) break; /* the end of a long line without an end */
    }
    r->line++;
    if (!line->text) *line = (json_span){"", 0};
    return LEVEE_OK;
}

static bool is_blank(json_span line) { return !line.bytes || (line.bytes == 1 && *line.text == '\r'); }

/* Whole numbers are read as reals, because "no limit" is UINT64_MAX, which is more than the library's integers hold.
 */
static levee_status parse(jsonl_reader *r, json_span line, const json_t **object, levee_error *error) {
    json_error_t problem;
    uint64_t needed = json_parse_bytes(line.text, line.bytes);
    levee_status status = pool_reserve(&r->json, needed, error);
    if (status != LEVEE_OK) return status;
    pool_enter(&r->json);
    *object = json_parse(line.text, line.bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &problem);
    pool_leave();
    bool refused = !*object && json_error_code(&problem) == json_error_out_of_memory;
    return refused ? error_out_of_memory(error, r->path, needed) : LEVEE_OK;
}

levee_status jsonl_next(jsonl_reader *r, const json_t **object, levee_error *error) {
    json_span line;
    *object = NULL;
    for (;;) {
        levee_status status = next_line(r, &line, error);
        if (status != LEVEE_OK || !line.text) return status;
        if (!is_blank(line)) status = parse(r, line, object, error);
        if (status != LEVEE_OK || json_is_object(*object)) return status;
        *object = NULL;
        jsonl_refuse(r);
    }
}

double jsonl_number(const json_t *object, const char *key, double otherwise) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

bool jsonl_count(const json_t *object, const char *key, uint64_t *count) {
    double value = jsonl_number(object, key, -1);
    bool known = value >= 0 && value < 0x1p63 && value == floor(value);
    *count = known ? (uint64_t)value : 0;
    return known;
}

void jsonl_text(const json_t *object, const char *key, char *text, size_t room) {
    const char *value = json_string_value(json_object_get(object, key));
    snprintf(text, room, "%s", value ? value : "");
}
