/* Rows of text out of a file, through a bounded buffer: a 50 GB file needs no more memory than its longest row.
 *
 * A file whose name ends in ".txt" holds a row per paragraph: lines up to a blank line or the end of the file, with
 * their line ends as "\n". Any other file is JSONL: a row per line, an object of one of the shapes of row_shape.h. In
 * both, UTF-8 is required, blank lines between rows, white space at the end of a row, "\r\n" for "\n" and a byte
 * order mark at the start of the file are passed over.
 *
 * A row is an offset and a length in bytes, so that it can be read again without what precedes it.
 * Not thread-safe: one reader belongs to one thread. Buffers are booked under `io`,
 * the JSON parser's memory (pool.h) under `runtime`. */
#ifndef LEVEE_DATA_ROWS_H
#define LEVEE_DATA_ROWS_H

#include <stdint.h>

#include "data/row_shape.h"

typedef struct row_reader row_reader;

typedef struct text_row {
    uint64_t offset;      /* of its first byte in the file */
    uint32_t bytes;       /* in the file, without the line end */
    uint64_t line;        /* of its first byte, from 1; 0 when the row was read by its offset */
    row_content content;  /* valid until the next call on the reader */
    uint64_t parse_bytes; /* the memory that parsing it as JSON was given; 0 for a paragraph */
} text_row;

/* Opens a file. A row of more than `max_row_bytes` (1 to 2^32 - 1) is an error when it is reached: LEVEE_BAD_DATA.
 * Fails with LEVEE_MISSING_INPUT when the file cannot be opened. The caller closes the result; `path` is copied. */
levee_status rows_open(row_reader **result, const char *path, uint64_t max_row_bytes, levee_error *error);

/* Gives the fields other names than the usual ones; the names must outlive the reader. */
void rows_name_fields(row_reader *r, const row_fields *fields);

/* NULL is allowed. */
void rows_close(row_reader *r);

/* What tells a changed file from an unchanged one. */
levee_status rows_source(const row_reader *r, uint64_t *bytes, int64_t *modified_ns, levee_error *error);

/* Makes room for a row of `bytes` and `parse_bytes`, so that rows_read of one no larger takes no memory. */
levee_status rows_reserve(row_reader *r, uint64_t bytes, uint64_t parse_bytes, levee_error *error);

/* The next row in the order of the file; its content is ROW_NONE at the end. A row that cannot be used is
 * LEVEE_BAD_DATA with its line number. */
levee_status rows_next(row_reader *r, text_row *next, levee_error *error);

/* The row at an offset that rows_next reported, with its length then. Independent of where rows_next is. */
levee_status rows_read(row_reader *r, uint64_t offset, uint32_t bytes, text_row *read, levee_error *error);

/* The number of the line, from 1, that the byte at an offset belongs to: counts, and takes no memory. */
levee_status rows_line(const row_reader *r, uint64_t offset, uint64_t *line, levee_error *error);

#endif
