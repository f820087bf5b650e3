/* JSON files: see json.h. */
#include "memory/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "memory/region.h"

uint64_t json_parse_bytes(const char *json, uint64_t bytes) {
    uint64_t values = 1;
    bool in_string = false;
    for (uint64_t i = 0; i < bytes; i++) {
        if (json[i] == '"') in_string = !in_string;
        if (in_string && json[i] == '\\') i++;
        values += !in_string && (json[i] == ',' || json[i] == ':' || json[i] == '[' || json[i] == '{');
    }
    return 4096 + 6 * bytes + 1024 * values;
}

levee_status json_check_room(const char *path, const char *text, uint64_t bytes, levee_error *error) {
    uint64_t needed = json_parse_bytes(text, bytes);
    return ledger_has_room(needed) ? LEVEE_OK : error_out_of_memory(error, path, needed);
}

static json_t *refuse_parsing(json_error_t *problem) {
    memset(problem, 0, sizeof *problem);
    problem->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory; /* where json_error_code looks */
    return NULL;
}

json_t *json_parse(const char *text, uint64_t bytes, size_t flags, json_error_t *problem) {
    region spare = {0};
    uint64_t needed = json_parse_bytes(text, bytes);
    if (pool_room() < needed &&
        (region_open(&spare, needed, NULL) != LEVEE_OK || region_commit(&spare, needed, NULL) != LEVEE_OK)) {
        region_close(&spare);
        return refuse_parsing(problem);
    }
    pool_was_refused();
    pool_set_spare(spare.base, spare.committed_bytes);
    json_t *parsed = json_loadb(text, bytes, flags, problem);
    bool refused = pool_was_refused();
    if (refused) json_decref(parsed);
    pool_set_spare(NULL, 0);
    region_close(&spare);
    return refused ? refuse_parsing(problem) : parsed;
}

static levee_status parse_object(json_t **object, const char *path, const char *text, uint64_t bytes, size_t flags,
                                 levee_error *error) {
    json_error_t problem;
    *object = NULL;
    levee_status status = json_check_room(path, text, bytes, error);
    if (status != LEVEE_OK) return status;
    json_t *parsed = json_parse(text, bytes, JSON_REJECT_DUPLICATES | flags, &problem);
    if (json_is_object(parsed)) {
        *object = parsed;
        return LEVEE_OK;
    }
    if (!parsed && json_error_code(&problem) == json_error_out_of_memory)
        return error_out_of_memory(error, path, bytes);
    if (parsed) {
        json_decref(parsed);
        return error_set(error, LEVEE_BAD_DATA, "%s: line 1, column 1: an object { ... } is needed", path);
    }
    return error_set(error, LEVEE_BAD_DATA, "%s: line %d, column %d: %s", path, problem.line, problem.column,
                     problem.text);
}

levee_status json_object_parse(json_t **object, const char *path, const char *text, uint64_t bytes,
                               levee_error *error) {
    return parse_object(object, path, text, bytes, 0, error);
}

/* A small file is read, because one that is cut while it is mapped would end the process; and so that reading it
 * takes no memory. */
static levee_status read_object(json_t **object, const char *path, uint64_t limit_bytes, size_t flags,
                                levee_error *error) {
    char small[32768];
    uint64_t bytes;
    *object = NULL;
    levee_status status = file_read(path, small, sizeof small, &bytes, error);
    if (status == LEVEE_OK && bytes > limit_bytes)
        status =
            error_set(error, LEVEE_BAD_DATA, "%s: has %llu bytes, but at most %llu are read; is it the right file?",
                      path, (unsigned long long)bytes, (unsigned long long)limit_bytes);
    if (status != LEVEE_OK) return status;
    if (bytes <= sizeof small) return parse_object(object, path, small, bytes, flags, error);
    file_mapping text;
    status = file_map(&text, path, error);
    if (status == LEVEE_OK) status = parse_object(object, path, (const char *)text.data, text.bytes, flags, error);
    file_unmap(&text);
    return status;
}

levee_status json_object_read(json_t **object, const char *path, uint64_t limit_bytes, levee_error *error) {
    return read_object(object, path, limit_bytes, 0, error);
}

levee_status json_object_read_reals(json_t **object, const char *path, uint64_t limit_bytes, levee_error *error) {
    return read_object(object, path, limit_bytes, JSON_DECODE_INT_AS_REAL, error);
}

/* Text on its way into a file: the library hands it over a few bytes at a time. */
typedef struct text_output {
    file_writer *writer;
    char text[4096];
    uint64_t used;
    levee_status status;
    levee_error *error;
} text_output;

static void put_out(text_output *o) {
    if (o->status == LEVEE_OK) o->status = file_writer_write(o->writer, o->text, o->used, o->error);
    o->used = 0;
}

static int take_text(const char *text, size_t bytes, void *context) {
    text_output *o = context;
    while (bytes) {
        uint64_t room = sizeof o->text - o->used, count = bytes < room ? bytes : room;
        memcpy(o->text + o->used, text, count);
        o->used += count;
        text += count;
        bytes -= count;
        if (o->used == sizeof o->text) put_out(o);
    }
    return 0;
}

levee_status json_object_write(const json_t *object, const char *path, levee_error *error) {
    if (pool_was_refused() || !object) return error_out_of_memory(error, path, 4096);
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status != LEVEE_OK) return status;
    text_output output = {.writer = &writer, .error = error};
    bool whole = !json_dump_callback(object, take_text, &output, JSON_INDENT(2));
    if ((pool_was_refused() || !whole) && output.status == LEVEE_OK)
        output.status = error_out_of_memory(error, path, sizeof output);
    take_text("\n", 1, &output);
    put_out(&output);
    status = output.status;
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

void json_refuse(json_reader *r, const char *key, const char *format, ...) {
    if (r->status != LEVEE_OK) return;
    char problem[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    r->status = error_set(r->error, LEVEE_BAD_DATA, "%s: %s%s%s: %s", r->path, r->section ? r->section : "",
                          r->section ? "." : "", key, problem);
}

bool json_is_absent(const json_t *value) { return !value || json_is_null(value); }

const json_t *json_find(const json_reader *r, const char *key) {
    const json_t *value = json_object_get(r->object, key);
    return json_is_absent(value) ? NULL : value;
}

int64_t json_read_whole(json_reader *r, const char *key, int64_t least, int64_t most, int64_t otherwise) {
    const json_t *value = json_find(r, key);
    if (!value && otherwise >= 0) return otherwise;
    int64_t number = json_integer_value(value);
    if (json_is_integer(value) && number >= least && number <= most) return number;
    json_refuse(r, key, "a whole number from %lld to %lld is needed", (long long)least, (long long)most);
    return least;
}

double json_read_positive(json_reader *r, const char *key, double otherwise) {
    const json_t *value = json_find(r, key);
    if (!value && !isnan(otherwise)) return otherwise;
    double number = json_number_value(value);
    if (json_is_number(value) && number > 0 && isfinite(number)) return number;
    json_refuse(r, key, "a number above 0 is needed");
    return 1;
}

bool json_read_flag(json_reader *r, const char *key, bool otherwise) {
    const json_t *value = json_find(r, key);
    if (!value) return otherwise;
    if (!json_is_boolean(value)) json_refuse(r, key, "true or false is needed");
    return json_is_true(value);
}

const char *json_read_text(json_reader *r, const char *key, const char *otherwise) {
    const json_t *value = json_find(r, key);
    if (!value) return otherwise;
    if (!json_is_string(value)) json_refuse(r, key, "a text in quotes is needed");
    return json_is_string(value) ? json_string_value(value) : otherwise;
}
