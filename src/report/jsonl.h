/* A file of JSON objects, one a line, read once from its start to its end in memory that does not grow with it. What
 * is no object is counted and passed over: a report on a run must not fail because a line of its log was cut short.
 */
#ifndef LEVEE_REPORT_JSONL_H
#define LEVEE_REPORT_JSONL_H

#include <jansson.h>

#include "base/file.h"
#include "memory/pool.h"

/* Longer lines are none of ours. */
enum { JSONL_LINE_BYTES = 16384 };

typedef struct jsonl_reader {
    int descriptor; /* -1 when closed */
    char path[FILE_PATH_BYTES];
    char *held;          /* [JSONL_LINE_BYTES], from the ledger */
    uint64_t begin, end; /* of what was read and not looked at yet, within `held` */
    bool at_end;         /* of the file */
    pool json;
    uint64_t line;             /* the number of the last one, from 1 */
    uint64_t unreadable;       /* lines so far that were no object */
    uint64_t first_unreadable; /* its number */
    bool cut_short;            /* the last line has no end: it is written just now, or its writer was killed */
} jsonl_reader;

/* LEVEE_MISSING_INPUT when it is not there. jsonl_close is due in any case, and accepts a zeroed reader. */
levee_status jsonl_open(jsonl_reader *r, const char *path, levee_error *error);
void jsonl_close(jsonl_reader *r);

/* The next object, or NULL at the end; it lasts until the next call, and needs no json_decref. Fails when the file
 * cannot be read or memory is refused. */
levee_status jsonl_next(jsonl_reader *r, const json_t **object, levee_error *error);

/* Counts the line that was read last as unreadable: it is an object, but says nothing that is known. */
void jsonl_refuse(jsonl_reader *r);

/* The number under a key; `otherwise` when there is none: null, or something else. */
double jsonl_number(const json_t *object, const char *key, double otherwise);

/* The whole number under a key, from 0 and below 2^63; false when there is none. Beyond 2^53 it may be rounded. */
bool jsonl_count(const json_t *object, const char *key, uint64_t *count);

/* Copies the text under a key, as much as fits; "" when there is none. */
void jsonl_text(const json_t *object, const char *key, char *text, size_t room);

#endif
