/* JSON files whose top level is an object: read whole within a size limit, checked field by field, written
 * atomically.
 *
 * Words. A reader walks one object of one file and keeps the first failure, so that fields can be read one after the
 * other and the status looked at once. Messages read "file: key: what is needed", or "file: section.key: ..." inside
 * a nested object. A key whose value is null counts as absent. Ownership. Objects are Jansson's: the caller gives
 * them back with json_decref. A reader owns nothing. */
#ifndef LEVEE_MEMORY_JSON_H
#define LEVEE_MEMORY_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "levee.h"

/* A configuration file is never larger; a larger one is something else under its name. */
enum { JSON_FILE_LIMIT_BYTES = 16 * 1024 * 1024 };

/* The most memory that the library takes to parse a text, what it frees meanwhile included, rounded up generously:
 * strings are collected in a buffer that doubles and then copied, and each value has a head and a place in its
 * container's table. */
uint64_t json_parse_bytes(const char *text, uint64_t bytes);

/* LEVEE_DOES_NOT_FIT when the budget or the system has no room for that: asked before, because the library cannot be
 * refused (pool.h). */
levee_status json_check_room(const char *path, const char *text, uint64_t bytes, levee_error *error);

/* json_loadb, but that it is safe to refuse the library memory. It is not otherwise: Jansson 2.14 drops a character
 * that it has no memory for, and when that is a closing quote, writes past its buffer. So there is spare memory, not
 * touched before it is needed; when it is, what was parsed is given up: NULL, and json_error_code says
 * json_error_out_of_memory. */
json_t *json_parse(const char *text, uint64_t bytes, size_t flags, json_error_t *problem);

/* Parses `bytes` bytes of `text`; messages name `path`, line and column. Keys that occur twice are refused. */
levee_status json_object_parse(json_t **object, const char *path, const char *text, uint64_t bytes,
                               levee_error *error);

/* Reads and parses a file of at most `limit_bytes`. A file that is not there is LEVEE_MISSING_INPUT. */
levee_status json_object_read(json_t **object, const char *path, uint64_t limit_bytes, levee_error *error);

/* The same, but whole numbers are read as reals, so that one beyond 64 bits is no failure: tokenizer_config.json has
 * a model_max_length of 1e30 where there is no limit. */
levee_status json_object_read_reals(json_t **object, const char *path, uint64_t limit_bytes, levee_error *error);

/* Writes the object, indented by two spaces and ended by a newline; the file is replaced atomically. */
levee_status json_object_write(const json_t *object, const char *path, levee_error *error);

typedef struct json_reader {
    const char *path;
    const char *section; /* of a nested object; NULL at the top */
    const json_t *object;
    levee_status status; /* the first failure */
    levee_error *error;
} json_reader;

/* Records "path: key: <message>" as LEVEE_BAD_DATA unless something failed before. */
void json_refuse(json_reader *r, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool json_is_absent(const json_t *value);

/* The value of `key`, or NULL when it is absent or null. */
const json_t *json_find(const json_reader *r, const char *key);

/* The whole number under `key`, which must lie within [least, most]; `otherwise` where the key is absent. Where
 * `otherwise` is negative the key must be there. After a failure `least` is returned. */
int64_t json_read_whole(json_reader *r, const char *key, int64_t least, int64_t most, int64_t otherwise);

/* The number under `key`, finite and > 0; `otherwise` where the key is absent, or refused when that is NAN. After a
 * failure 1 is returned. */
double json_read_positive(json_reader *r, const char *key, double otherwise);

bool json_read_flag(json_reader *r, const char *key, bool otherwise);

/* The text under `key`, which lives as long as the object. */
const char *json_read_text(json_reader *r, const char *key, const char *otherwise);

#endif
