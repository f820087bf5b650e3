/* A data set: the rows of one split as token ids, read from the disk when they are asked for.
 *
 * Opening goes through the file once, tokenising each row, to learn how long the rows are; what it learns is kept in
 * an index file (index.h) and reused as long as source, tokenizer and options are the same. From then on a data set
 * holds its longest row, as bytes, as JSON and as tokens, whatever the size of the file: rows are read one at a time,
 * in any order, without taking memory.
 *
 * Rows of fewer than 2 tokens predict nothing, nor do those of which no token counts (mask_prompt). They are counted
 * and left out: they have no number, so that no batch can consist of them.
 *
 * What a chat template is told that the time is, is the time when the index was made: so rows stay the same.
 *
 * Memory is booked under `data` and `io`; the mapped index is the kernel's to drop, and is not booked. Not
 * thread-safe: one data set, and its tokenizer, belong to one thread at a time. */
#ifndef LEVEE_DATA_DATASET_H
#define LEVEE_DATA_DATASET_H

#include "data/row_shape.h"
#include "levee.h"
#include "text/tokenizer.h"

typedef struct dataset dataset;

typedef struct dataset_options {
    const char *path;             /* a directory with <split>.jsonl, or one .jsonl or .txt file: the train split */
    const char *split;            /* "train", "valid" or "test" */
    const char *index_directory;  /* where <split>.index lies; made if it is not there */
    uint32_t max_sequence_tokens; /* longer rows are cut; at least 2 */
    uint64_t max_row_bytes;       /* longer rows are refused; 1 to 2^32 - 1 */
    bool append_eos;             /* adds the tokenizer's end token, if it has one, to texts that do not end with it */
    const char *model_directory; /* with the chat template for rows that need one; NULL: there is none */
    bool mask_prompt;            /* only what the model is to say counts in the loss (example.h) */
    row_fields fields;           /* names of fields; NULL: the usual one. They must outlive the data set */
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

/* Rows that were left out because none of their tokens counts in the loss. */
uint64_t dataset_untrained_rows(const dataset *d);

/* Rows with turns that should count in the loss and do not, because the chat template writes them otherwise when
 * others follow, so that their place is not known. */
uint64_t dataset_hidden_rows(const dataset *d);

/* Rows that are longer than max_sequence_tokens, and are cut. */
uint64_t dataset_cut_rows(const dataset *d);

/* Tokens after cutting: of all rows, of the longest row, of row `row` (< dataset_rows). */
uint64_t dataset_tokens(const dataset *d);
uint32_t dataset_longest(const dataset *d);
uint32_t dataset_row_tokens(const dataset *d, uint64_t row);

/* Tokens that count in the loss: of all rows, of row `row`: at least 1, and fewer than its tokens. */
uint64_t dataset_targets(const dataset *d);
uint32_t dataset_row_targets(const dataset *d, uint64_t row);

/* A number that differs for data sets whose rows or tokens differ, wherever they lie. */
uint64_t dataset_fingerprint(const dataset *d);

/* The number of the line, from 1, at which row `row` begins in its file. Reads the file up to there; takes no memory.
 */
levee_status dataset_row_line(dataset *d, uint64_t row, uint64_t *line, levee_error *error);

/* The tokens of row `row`, special tokens and end token included, cut to max_sequence_tokens, into `ids`
 * [max_sequence_tokens]; *count, at least 2, is how many. Takes no memory of its own. Fails with LEVEE_BAD_DATA when
 * the file has changed since it was opened. */
levee_status dataset_read(dataset *d, uint64_t row, uint32_t *ids, uint32_t *count, levee_error *error);

/* Which tokens of the row that was read last count in the loss (batch_add); NULL: each. Until the next call. */
const uint8_t *dataset_loss_mask(const dataset *d);

#endif
