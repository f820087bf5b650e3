/* A data set: the rows of one split as token ids, read from the disk when they are asked for.
 *
 * Opening goes through the file once, tokenising each row, to learn how long the rows are; what it learns is kept in
 * an index file (index.h) and reused as long as source, tokenizer and options are the same. From then on a data set
 * holds its longest row, as bytes, as JSON and as tokens, whatever the size of the file: rows are read one at a time,
 * in any order, without taking memory.
 *
 * Rows of fewer than 2 tokens predict nothing. They are counted and left out: they have no number, so that no batch
 * can consist of them.
 *
 * Memory is booked under `data` and `io`; the mapped index is the kernel's to drop, and is not booked. Not
 * thread-safe: one data set, and its tokenizer, belong to one thread at a time. */
#ifndef LEVEE_DATA_DATASET_H
#define LEVEE_DATA_DATASET_H

#include "levee.h"
#include "text/tokenizer.h"

typedef struct dataset dataset;

typedef struct dataset_options {
    const char *path;             /* a directory with <split>.jsonl, or one .jsonl or .txt file: the train split */
    const char *split;            /* "train", "valid" or "test" */
    const char *index_directory;  /* where <split>.index lies; made if it is not there */
    uint32_t max_sequence_tokens; /* longer rows are cut; at least 2 */
    uint64_t max_row_bytes;       /* longer rows are refused; 1 to 2^32 - 1 */
    bool append_eos;              /* adds the tokenizer's end token, if it has one, to rows that do not end with it */
} dataset_options;

/* Opens a split, and builds its index unless a usable one is there. `tokens` must outlive the data set. The caller
 * closes the result. Fails with LEVEE_MISSING_INPUT when there is no such file, with LEVEE_BAD_DATA, naming the line,
 * at the first row that cannot be read, and when no row has 2 tokens. */
levee_status dataset_open(dataset **result, const dataset_options *options, tokenizer *tokens, levee_error *error);

/* NULL is allowed. */
void dataset_close(dataset *d);

/* Whether `path` has a file for this split. */
bool dataset_split_exists(const char *path, const char *split);

/* Rows that can be trained on: at least 1. They keep the order of the file. */
uint64_t dataset_rows(const dataset *d);

/* Rows that were left out because they have fewer than 2 tokens. */
uint64_t dataset_short_rows(const dataset *d);

/* Rows that are longer than max_sequence_tokens, and are cut. */
uint64_t dataset_cut_rows(const dataset *d);

/* Tokens after cutting: of all rows, of the longest row, of row `row` (< dataset_rows). */
uint64_t dataset_tokens(const dataset *d);
uint32_t dataset_longest(const dataset *d);
uint32_t dataset_row_tokens(const dataset *d, uint64_t row);

/* The tokens of row `row`, special tokens and end token included, cut to max_sequence_tokens, into `ids`
 * [max_sequence_tokens]; *count, at least 2, is how many. Takes no memory of its own. Fails with LEVEE_BAD_DATA when
 * the file has changed since it was opened. */
levee_status dataset_read(dataset *d, uint64_t row, uint32_t *ids, uint32_t *count, levee_error *error);

#endif
