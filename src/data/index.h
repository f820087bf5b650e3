/* The index of a data set: where each of its rows lies and how long it is, in a file beside the run, made once.
 *
 * The file is the entries, then one index_summary: so it is written in one pass, and in mapped memory its pages are
 * the kernel's to drop. It is a cache: whatever does not fit its key, or is damaged, is made again. Numbers are in
 * the machine's own byte order; on another machine the magic number does not match. */
#ifndef LEVEE_DATA_INDEX_H
#define LEVEE_DATA_INDEX_H

#include "base/file.h"
#include "data/example.h"
#include "levee.h"

typedef struct index_entry {
    uint64_t offset;  /* of the row in the source */
    uint32_t bytes;   /* of the row in the source */
    uint32_t tokens;  /* after cutting; at least 2 */
    uint32_t targets; /* tokens that count in the loss; 1 to tokens - 1 */
    uint32_t unused;  /* 0 */
} index_entry;

/* What an index depends on. Compared as bytes: zero-initialise it. */
typedef struct index_key {
    uint64_t source_bytes;
    int64_t source_modified_ns;
    uint64_t tokenizer_fingerprint;
    uint64_t max_row_bytes;
    uint32_t max_sequence_tokens;
    uint32_t append_eos;  /* 0 or 1 */
    uint64_t fields_hash; /* of the names of the fields that are read */
    uint64_t mask_prompt; /* 0 or 1 */
} index_key;

/* Sums over the entries, and over the rows that have none because there is nothing in them to learn. */
typedef struct index_totals {
    uint64_t rows;
    uint64_t tokens;           /* after cutting */
    uint64_t targets;          /* tokens that count in the loss */
    uint64_t cut_rows;         /* that were longer than max_sequence_tokens */
    uint64_t short_rows;       /* that have fewer than 2 tokens, and no entry */
    uint64_t untrained_rows;   /* that have tokens, but none that counts, and no entry */
    uint64_t hidden_rows;      /* with turns that should count, but whose place is not known */
    uint64_t longest_uncut;    /* most tokens of a row, before cutting, short ones included */
    uint32_t longest;          /* most tokens of a row, after cutting */
    uint32_t longest_bytes;    /* most bytes of a row in the source */
    uint64_t most_parse_bytes; /* of memory for parsing a row */
    tokenizer_room scratch;    /* that encoding the rows takes */
    example_room room;         /* that making them into examples takes */
    uint64_t template_hash;    /* of the chat templates; 0: no row needed one */
    uint64_t sample_hash;      /* of the tokens of a few rows: notices a changed tokenizer or source */
} index_totals;

typedef struct index_summary {
    uint64_t magic;
    uint32_t version;
    uint32_t summary_bytes;
    index_key key;
    index_totals totals;
    int64_t made_seconds;  /* since 1970: what a chat template was told that the time is; 0: none asked */
    uint64_t entries_hash; /* xxHash64 of the entries */
    uint64_t summary_hash; /* xxHash64 of this summary up to here */
} index_summary;

_Static_assert(sizeof(index_entry) == 24, "written to disk");
_Static_assert(sizeof(index_summary) == 272, "written to disk");

/* An index in use. */
typedef struct row_index {
    file_mapping mapping;
    const index_entry *entries; /* [totals.rows], in the mapping */
    index_totals totals;
    int64_t made_seconds;
    uint64_t content_hash; /* of totals and entries: the same for another file of the same content */
} row_index;

/* Maps the index at `path` if it is whole, of this version and made for `key`, and checks every entry. False, with
 * nothing mapped, when it is not: the caller then makes a new one. */
bool index_open(row_index *index, const char *path, const index_key *key);

/* Accepts a zeroed index. */
void index_close(row_index *index);

typedef struct index_writer index_writer;

/* Starts an index under a temporary name. Its one buffer is booked under `io`. */
levee_status index_writer_open(index_writer **result, const char *path, levee_error *error);
levee_status index_writer_add(index_writer *w, const index_entry *entry, levee_error *error);

/* Writes the summary and gives the file its name once it is on the disk. */
levee_status index_writer_commit(index_writer *w, const index_key *key, const index_totals *totals,
                                 int64_t made_seconds, levee_error *error);

/* Frees the writer, and removes the temporary file if it was not committed. NULL is allowed. */
void index_writer_close(index_writer *w);

#endif
