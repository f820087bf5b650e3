/* A data set: see dataset.h. */
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "data/index.h"
#include "data/rows.h"
#include "memory/ledger.h"

struct dataset {
    tokenizer *tokens;
    row_reader *source;
    row_index index;
    token_list ids; /* the tokens of the row in hand, before cutting */
    uint32_t max_sequence_tokens;
    uint64_t max_row_bytes;
    bool append_eos;
    char source_path[FILE_PATH_BYTES];
    char index_path[FILE_PATH_BYTES];
};

static bool ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), ending_length = strlen(ending);
    return length >= ending_length && strcmp(text + length - ending_length, ending) == 0;
}

/* The file that holds a split. False when `path` is one file and the split is not "train", or when a name is too
 * long. */
static bool split_file(char file[FILE_PATH_BYTES], const char *path, const char *split) {
    if (file_is_directory(path)) {
        char name[64];
        int length = snprintf(name, sizeof name, "%s.jsonl", split);
        return length > 0 && (size_t)length < sizeof name && file_join(file, path, name);
    }
    int length = snprintf(file, FILE_PATH_BYTES, "%s", path);
    return length > 0 && length < FILE_PATH_BYTES && strcmp(split, "train") == 0;
}

bool dataset_split_exists(const char *path, const char *split) {
    char file[FILE_PATH_BYTES];
    return split_file(file, path, split) && file_exists(file);
}

static levee_status find_files(dataset *d, const dataset_options *options, levee_error *error) {
    const char *path = options->path, *split = options->split;
    if (!file_exists(path)) {
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: is not there; --data takes a directory with train.jsonl, or one .jsonl or .txt file",
                         path);
    }
    bool directory = file_is_directory(path);
    if (!directory && !ends_with(path, ".jsonl") && !ends_with(path, ".txt")) {
        return error_set(error, LEVEE_USAGE,
                         "%s: --data takes a directory with train.jsonl, or one .jsonl or .txt file", path);
    }
    if (!directory && strcmp(split, "train") != 0) {
        return error_set(error, LEVEE_MISSING_INPUT,
                         "%s: one file is the train split, there is no %s split; use a directory with %s.jsonl", path,
                         split, split);
    }
    char index_name[64];
    int length = snprintf(index_name, sizeof index_name, "%s.index", split);
    bool fits = length > 0 && (size_t)length < sizeof index_name;
    if (!fits || !split_file(d->source_path, path, split) ||
        !file_join(d->index_path, options->index_directory, index_name)) {
        return error_set(error, LEVEE_USAGE, "%.256s: the path is too long; use a shorter one", path);
    }
    if (!file_exists(d->source_path)) {
        return error_set(error, LEVEE_MISSING_INPUT, "%s: is not there; put the %s rows there, or check --data",
                         d->source_path, split);
    }
    return file_make_directory(options->index_directory, error);
}

/* Tokenises a row into d->ids, whole. */
static levee_status encode(dataset *d, const char *text, uint64_t bytes, levee_error *error) {
    token_list *ids = &d->ids;
    ids->count = 0;
    levee_status status = tokenizer_encode(d->tokens, text, bytes, true, ids, error);
    if (status != LEVEE_OK) return status;
    int64_t eos = tokenizer_eos(d->tokens);
    if (!d->append_eos || eos < 0 || (ids->count > 0 && ids->ids[ids->count - 1] == (uint32_t)eos)) return LEVEE_OK;
    return token_list_add(ids, (uint32_t)eos, error);
}

static uint32_t count_after_cutting(const dataset *d) {
    return d->ids.count > d->max_sequence_tokens ? d->max_sequence_tokens : (uint32_t)d->ids.count;
}

static uint64_t hash_ids(const dataset *d, uint64_t seed) {
    return XXH64(d->ids.ids, count_after_cutting(d) * sizeof d->ids.ids[0], seed);
}

/* Folds the tokens of a text into *hash. A text that the tokenizer refuses counts as one without tokens. */
static levee_status hash_text(dataset *d, const char *text, uint64_t bytes, uint64_t *hash, levee_error *error) {
    levee_status status = encode(d, text, bytes, error);
    if (status != LEVEE_OK && status != LEVEE_BAD_DATA) return status;
    uint64_t count = status == LEVEE_OK ? d->ids.count : 0;
    *hash = count ? XXH64(d->ids.ids, count * sizeof d->ids.ids[0], *hash) : *hash + 1;
    return LEVEE_OK;
}

/* Folds what every token stands for, and how that text is tokenised again, into *hash; a few tokens at a time, so
 * that it takes little memory. */
static levee_status hash_vocabulary(dataset *d, uint64_t *hash, levee_error *error) {
    enum { SLICE = 256 };
    uint32_t slice[SLICE], size = tokenizer_vocabulary_size(d->tokens);
    for (uint32_t first = 0; first < size; first += SLICE) {
        uint32_t count = size - first < SLICE ? size - first : SLICE;
        for (uint32_t i = 0; i < count; i++) slice[i] = first + i;
        char *text = NULL;
        uint64_t bytes = 0;
        levee_status status = tokenizer_decode(d->tokens, slice, count, false, &text, &bytes, error);
        if (status == LEVEE_OK) {
            *hash = XXH64(text, bytes, *hash);
            status = hash_text(d, text, bytes, hash, error);
        }
        ledger_free(text);
        if (status != LEVEE_OK) return status;
    }
    return LEVEE_OK;
}

/* Tells tokenizers apart by what they do: with their own vocabulary, and with a text that has what they treat
 * differently: words, case, digits, white space, contractions, marks that combine, scripts without spaces, symbols
 * outside the basic plane. A difference that none of this shows is left to the sample of rows, and to dataset_read,
 * which compares lengths. */
static levee_status fingerprint_tokenizer(dataset *d, uint64_t *fingerprint, levee_error *error) {
    static const char probe[] =
        "The quick brown fox jumps over the lazy dog.\n\n  It's 1234567890 o'clock; WE'LL see\r\n"
        "\tdef f(x): return x**2 != -0.5e-3  # <b>tag</b> {\"key\": [1, 22, 333]}   \n"
        "na\xC3\xAFve cafe\xCC\x81 \xC3\x9C"
        "bergr\xC3\xB6\xC3\x9F"
        "e \xCE\xBB\xCF\x8C\xCE\xB3\xCE\xBF\xCF\x82 "
        "\xD0\xBC\xD0\xB8\xD1\x80 \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D "
        "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 "
        "\xE4\xBD\xA0\xE5\xA5\xBD\xE4\xB8\x96\xE7\x95\x8C \xE3\x81\x93\xE3\x82\x93 "
        "\xF0\x9F\x99\x82\xE2\x80\x94\xEF\xAC\x81\xC2\xA0 ";
    uint64_t facts[] = {0, (uint64_t)tokenizer_bos(d->tokens), (uint64_t)tokenizer_eos(d->tokens),
                        tokenizer_vocabulary_size(d->tokens)};
    levee_status status = hash_text(d, probe, sizeof probe - 1, &facts[0], error);
    if (status == LEVEE_OK) status = hash_vocabulary(d, &facts[0], error);
    *fingerprint = XXH64(facts, sizeof facts, 0);
    return status;
}

/* Rows 0, 1, 2, 4, 8, ... are the sample: few, spread, and known while the rows go by. */
static bool is_in_sample(uint64_t number) { return (number & (number - 1)) == 0; }

/* Whether the sample's rows still give the tokens that they gave when the index was made. */
static bool sample_matches(dataset *d) {
    uint64_t hash = 0;
    for (uint64_t number = 0; number < d->index.totals.rows; number = number ? 2 * number : 1) {
        const index_entry *entry = &d->index.entries[number];
        text_row current;
        if (rows_read(d->source, entry->offset, entry->bytes, &current, NULL) != LEVEE_OK) return false;
        if (encode(d, current.text, current.text_bytes, NULL) != LEVEE_OK) return false;
        hash = hash_ids(d, hash);
    }
    return hash == d->index.totals.sample_hash;
}

/* Books one row in the totals; true when it gets an entry. */
static bool count_row(const dataset *d, const text_row *current, index_totals *totals, index_entry *entry) {
    uint64_t uncut = d->ids.count;
    *entry = (index_entry){.offset = current->offset, .bytes = current->bytes, .tokens = count_after_cutting(d)};
    if (current->parse_bytes > totals->most_parse_bytes) totals->most_parse_bytes = current->parse_bytes;
    if (uncut > totals->longest_uncut) totals->longest_uncut = uncut;
    if (uncut < 2) {
        totals->short_rows++;
        return false;
    }
    if (entry->bytes > totals->longest_bytes) totals->longest_bytes = entry->bytes;
    if (entry->tokens > totals->longest) totals->longest = entry->tokens;
    if (is_in_sample(totals->rows)) totals->sample_hash = hash_ids(d, totals->sample_hash);
    totals->cut_rows += uncut > entry->tokens;
    totals->tokens += entry->tokens;
    totals->rows++;
    return true;
}

static levee_status index_rows(dataset *d, row_reader *walk, index_writer *writer, index_totals *totals,
                               levee_error *error) {
    for (;;) {
        text_row current;
        levee_status status = rows_next(walk, &current, error);
        if (status != LEVEE_OK || !current.text) return status;
        status = encode(d, current.text, current.text_bytes, error);
        if (status != LEVEE_OK) {
            error_context(error, "%s: line %" PRIu64, d->source_path, current.line);
            return status;
        }
        index_entry entry;
        if (!count_row(d, &current, totals, &entry)) continue;
        status = index_writer_add(writer, &entry, error);
        if (status != LEVEE_OK) return status;
    }
}

static levee_status refuse_useless(const dataset *d, const row_reader *walk, const index_key *key,
                                   const index_totals *totals, levee_error *error) {
    uint64_t source_bytes;
    int64_t modified_ns;
    levee_status status = rows_source(walk, &source_bytes, &modified_ns, error);
    if (status != LEVEE_OK) return status;
    if (source_bytes != key->source_bytes || modified_ns != key->source_modified_ns) {
        return error_set(error, LEVEE_BAD_DATA, "%s: changed while it was read; start again when it is finished",
                         d->source_path);
    }
    if (totals->rows > 0) return LEVEE_OK;
    if (totals->short_rows > 0) {
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: none of its %" PRIu64
                         " rows has 2 tokens, so there is nothing to learn; give longer texts",
                         d->source_path, totals->short_rows);
    }
    return error_set(error, LEVEE_BAD_DATA,
                     "%s: has no rows; give one {\"text\": \"...\"} a line (or, in a .txt file, "
                     "paragraphs)",
                     d->source_path);
}

/* Goes through the source once. Its buffers are given back, so that a run holds the same with an old index as with a
 * new one. */
static levee_status build_index(dataset *d, const index_key *key, levee_error *error) {
    row_reader *walk = NULL;
    index_writer *writer = NULL;
    index_totals totals = {0};
    levee_status status = rows_open(&walk, d->source_path, d->max_row_bytes, error);
    if (status == LEVEE_OK) status = index_writer_open(&writer, d->index_path, error);
    if (status == LEVEE_OK) status = index_rows(d, walk, writer, &totals, error);
    if (status == LEVEE_OK) status = refuse_useless(d, walk, key, &totals, error);
    if (status == LEVEE_OK) status = index_writer_commit(writer, key, &totals, error);
    index_writer_close(writer);
    rows_close(walk);
    token_list_free(&d->ids);
    return status;
}

/* Takes what dataset_read will need, so that it takes nothing later. */
static levee_status reserve(dataset *d, levee_error *error) {
    levee_status status =
        rows_reserve(d->source, d->index.totals.longest_bytes, d->index.totals.most_parse_bytes, error);
    if (status != LEVEE_OK) return status;
    uint64_t capacity = d->index.totals.longest_uncut;
    uint32_t *ids = ledger_alloc_array(LEVEE_DATA, capacity, sizeof *ids);
    if (!ids) return error_out_of_memory(error, "the tokens of the longest row", capacity * sizeof *ids);
    token_list_free(&d->ids);
    d->ids = (token_list){.ids = ids, .capacity = capacity};
    return LEVEE_OK;
}

static levee_status open_index(dataset *d, levee_error *error) {
    index_key key = {
        .max_row_bytes = d->max_row_bytes,
        .max_sequence_tokens = d->max_sequence_tokens,
        .append_eos = d->append_eos,
    };
    levee_status status = rows_source(d->source, &key.source_bytes, &key.source_modified_ns, error);
    if (status == LEVEE_OK) status = fingerprint_tokenizer(d, &key.tokenizer_fingerprint, error);
    if (status != LEVEE_OK) return status;
    if (index_open(&d->index, d->index_path, &key)) {
        status = reserve(d, error);
        if (status != LEVEE_OK || sample_matches(d)) return status;
        index_close(&d->index);
    }
    status = build_index(d, &key, error);
    if (status != LEVEE_OK) return status;
    if (!index_open(&d->index, d->index_path, &key)) {
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be read back as it was written; check the disk",
                         d->index_path);
    }
    return reserve(d, error);
}

levee_status dataset_open(dataset **result, const dataset_options *options, tokenizer *tokens, levee_error *error) {
    *result = NULL;
    if (options->max_sequence_tokens < 2) {
        return error_set(error, LEVEE_USAGE,
                         "--max-seq-length: %" PRIu32 " is too short to learn from; give at least 2",
                         options->max_sequence_tokens);
    }
    dataset *d = ledger_alloc(LEVEE_DATA, sizeof *d);
    if (!d) return error_out_of_memory(error, "the data set", sizeof *d);
    d->tokens = tokens;
    d->max_sequence_tokens = options->max_sequence_tokens;
    d->max_row_bytes = options->max_row_bytes;
    d->append_eos = options->append_eos;
    levee_status status = find_files(d, options, error);
    if (status == LEVEE_OK) status = rows_open(&d->source, d->source_path, d->max_row_bytes, error);
    if (status == LEVEE_OK) status = open_index(d, error);
    if (status != LEVEE_OK) {
        dataset_close(d);
        return status;
    }
    *result = d;
    return LEVEE_OK;
}

void dataset_close(dataset *d) {
    if (!d) return;
    token_list_free(&d->ids);
    index_close(&d->index);
    rows_close(d->source);
    ledger_free(d);
}

uint64_t dataset_rows(const dataset *d) { return d->index.totals.rows; }

uint64_t dataset_short_rows(const dataset *d) { return d->index.totals.short_rows; }

uint64_t dataset_cut_rows(const dataset *d) { return d->index.totals.cut_rows; }

uint64_t dataset_tokens(const dataset *d) { return d->index.totals.tokens; }

uint32_t dataset_longest(const dataset *d) { return d->index.totals.longest; }

uint32_t dataset_row_tokens(const dataset *d, uint64_t number) { return d->index.entries[number].tokens; }

levee_status dataset_read(dataset *d, uint64_t number, uint32_t *ids, uint32_t *count, levee_error *error) {
    *count = 0;
    if (number >= d->index.totals.rows) {
        return error_set(error, LEVEE_INTERNAL, "%s: row %" PRIu64 " was asked for, but there are %" PRIu64,
                         d->source_path, number, d->index.totals.rows);
    }
    const index_entry *entry = &d->index.entries[number];
    text_row current;
    levee_status status = rows_read(d->source, entry->offset, entry->bytes, &current, error);
    if (status != LEVEE_OK) return status;
    status = encode(d, current.text, current.text_bytes, error);
    if (status != LEVEE_OK) {
        error_context(error, "%s: byte %" PRIu64, d->source_path, entry->offset);
        return status;
    }
    uint32_t tokens = count_after_cutting(d);
    if (tokens != entry->tokens) {
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: byte %" PRIu64
                         ": the row has other tokens than when %s was made; remove that and start again",
                         d->source_path, entry->offset, d->index_path);
    }
    memcpy(ids, d->ids.ids, tokens * sizeof ids[0]);
    *count = tokens;
    return LEVEE_OK;
}
