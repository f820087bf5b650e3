/* A data set: see dataset.h. */
#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "data/example.h"
#include "data/fingerprint.h"
#include "data/index.h"
#include "data/rows.h"
#include "memory/ledger.h"

struct dataset {
    example_maker maker; /* the row in hand, before cutting */
    row_reader *source;
    row_index index;
    row_fields fields;
    uint32_t max_sequence_tokens;
    uint64_t max_row_bytes;
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

static uint32_t count_after_cutting(const dataset *d) {
    return d->maker.ids.count > d->max_sequence_tokens ? d->max_sequence_tokens : (uint32_t)d->maker.ids.count;
}

static uint64_t hash_ids(const dataset *d, uint64_t seed) {
    return XXH64(d->maker.ids.ids, count_after_cutting(d) * sizeof d->maker.ids.ids[0], seed);
}

/* Tokens of the row in hand that count in the loss. */
static uint32_t count_targets(const dataset *d) {
    uint32_t tokens = count_after_cutting(d), targets = 0;
    if (!d->maker.mask) return tokens ? tokens - 1 : 0;
    for (uint32_t i = 1; i < tokens; i++) targets += d->maker.mask[i];
    return targets;
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
        if (example_make(&d->maker, &current.content, NULL) != LEVEE_OK) return false;
        hash = hash_ids(d, hash);
    }
    return hash == d->index.totals.sample_hash;
}

/* Whether the chat template is the one that the index was made with. */
static bool template_matches(const dataset *d) {
    return example_template_hash(&d->maker) == d->index.totals.template_hash;
}

/* Books one row in the totals; true when it gets an entry. */
static bool count_row(const dataset *d, const text_row *current, index_totals *totals, index_entry *entry) {
    uint64_t uncut = d->maker.ids.count;
    *entry = (index_entry){.offset = current->offset,
                           .bytes = current->bytes,
                           .tokens = count_after_cutting(d),
                           .targets = count_targets(d)};
    if (current->parse_bytes > totals->most_parse_bytes) totals->most_parse_bytes = current->parse_bytes;
    if (uncut > totals->longest_uncut) totals->longest_uncut = uncut;
    if (uncut < 2) {
        totals->short_rows++;
        return false;
    }
    totals->hidden_rows += d->maker.hidden_turns > 0;
    if (!entry->targets) {
        totals->untrained_rows++;
        return false;
    }
    if (entry->bytes > totals->longest_bytes) totals->longest_bytes = entry->bytes;
    if (entry->tokens > totals->longest) totals->longest = entry->tokens;
    if (is_in_sample(totals->rows)) totals->sample_hash = hash_ids(d, totals->sample_hash);
    totals->cut_rows += uncut > entry->tokens;
    totals->tokens += entry->tokens;
    totals->targets += entry->targets;
    totals->rows++;
    return true;
}

static levee_status index_rows(dataset *d, row_reader *walk, index_writer *writer, index_totals *totals,
                               levee_error *error) {
    for (;;) {
        text_row current;
        levee_status status = rows_next(walk, &current, error);
        if (status != LEVEE_OK || !current.content.kind) return status;
        status = example_make(&d->maker, &current.content, error);
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
    if (totals->untrained_rows > 0) {
        return error_set(
            error, LEVEE_BAD_DATA,
            "%s: none of its %" PRIu64
            " rows has a token to learn: --mask-prompt leaves only what the role \"assistant\" says, within "
            "the first --max-seq-length tokens; check the roles, or raise that",
            d->source_path, totals->untrained_rows + totals->short_rows);
    }
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
    if (status == LEVEE_OK) rows_name_fields(walk, &d->fields);
    d->maker.now_seconds = 0;
    d->maker.told_time = false;
    if (status == LEVEE_OK) status = index_writer_open(&writer, d->index_path, error);
    if (status == LEVEE_OK) status = index_rows(d, walk, writer, &totals, error);
    if (status == LEVEE_OK) status = refuse_useless(d, walk, key, &totals, error);
    totals.scratch = tokenizer_room_taken(d->maker.tokens);
    totals.room = example_room_taken(&d->maker);
    totals.template_hash = example_template_hash(&d->maker);
    int64_t made_seconds = d->maker.told_time ? d->maker.now_seconds : 0;
    if (status == LEVEE_OK) status = index_writer_commit(writer, key, &totals, made_seconds, error);
    index_writer_close(writer);
    rows_close(walk);
    example_release(&d->maker);
    return status;
}

/* Takes what dataset_read will need, so that it takes nothing later. */
static levee_status reserve(dataset *d, levee_error *error) {
    levee_status status =
        rows_reserve(d->source, d->index.totals.longest_bytes, d->index.totals.most_parse_bytes, error);
    if (status == LEVEE_OK) status = tokenizer_reserve(d->maker.tokens, &d->index.totals.scratch, error);
    if (status != LEVEE_OK) return status;
    d->maker.now_seconds = d->index.made_seconds;
    return example_reserve(&d->maker, &d->index.totals.room, d->index.totals.longest_uncut, error);
}

static uint64_t hash_fields(const row_fields *fields) {
    const char *names[] = {fields->text, fields->prompt, fields->completion, fields->chat};
    uint64_t hash = 0;
    for (unsigned i = 0; i < 4; i++) hash = XXH64(names[i], strlen(names[i]) + 1, hash);
    return hash;
}

static levee_status open_index(dataset *d, levee_error *error) {
    index_key key = {
        .max_row_bytes = d->max_row_bytes,
        .max_sequence_tokens = d->max_sequence_tokens,
        .append_eos = d->maker.append_eos,
        .fields_hash = hash_fields(&d->fields),
        .mask_prompt = d->maker.mask_prompt,
    };
    levee_status status = rows_source(d->source, &key.source_bytes, &key.source_modified_ns, error);
    if (status == LEVEE_OK) status = fingerprint_tokenizer(&d->maker, &key.tokenizer_fingerprint, error);
    if (status != LEVEE_OK) return status;
    if (index_open(&d->index, d->index_path, &key)) {
        status = reserve(d, error);
        /* A template that is gone is found out by the rows that need it. */
        if ((status != LEVEE_OK && status != LEVEE_BAD_DATA) ||
            (status == LEVEE_OK && template_matches(d) && sample_matches(d)))
            return status;
        index_close(&d->index);
        example_release(&d->maker);
    }
    status = build_index(d, &key, error);
    if (status != LEVEE_OK) return status;
    if (!index_open(&d->index, d->index_path, &key)) {
        return error_set(error, LEVEE_IO_ERROR, "%s: cannot be read back as it was written; check the disk",
                         d->index_path);
    }
    return reserve(d, error);
}

static void set_usual_fields(row_fields *fields) {
    const row_fields usual = row_fields_usual();
    if (!fields->text) fields->text = usual.text;
    if (!fields->prompt) fields->prompt = usual.prompt;
    if (!fields->completion) fields->completion = usual.completion;
    if (!fields->chat) fields->chat = usual.chat;
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
    d->maker = (example_maker){.tokens = tokens,
                               .model_directory = options->model_directory,
                               .append_eos = options->append_eos,
                               .mask_prompt = options->mask_prompt};
    d->fields = options->fields;
    set_usual_fields(&d->fields);
    d->max_sequence_tokens = options->max_sequence_tokens;
    d->max_row_bytes = options->max_row_bytes;
    levee_status status = find_files(d, options, error);
    if (status == LEVEE_OK) status = rows_open(&d->source, d->source_path, d->max_row_bytes, error);
    if (status == LEVEE_OK) rows_name_fields(d->source, &d->fields);
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
    example_release(&d->maker);
    index_close(&d->index);
    rows_close(d->source);
    ledger_free(d);
}

uint64_t dataset_rows(const dataset *d) { return d->index.totals.rows; }

uint64_t dataset_short_rows(const dataset *d) { return d->index.totals.short_rows; }

uint64_t dataset_cut_rows(const dataset *d) { return d->index.totals.cut_rows; }

uint64_t dataset_untrained_rows(const dataset *d) { return d->index.totals.untrained_rows; }

uint64_t dataset_hidden_rows(const dataset *d) { return d->index.totals.hidden_rows; }

uint64_t dataset_targets(const dataset *d) { return d->index.totals.targets; }

uint32_t dataset_row_targets(const dataset *d, uint64_t number) { return d->index.entries[number].targets; }

const uint8_t *dataset_loss_mask(const dataset *d) { return d->maker.mask; }

uint64_t dataset_tokens(const dataset *d) { return d->index.totals.tokens; }

uint32_t dataset_longest(const dataset *d) { return d->index.totals.longest; }

uint32_t dataset_row_tokens(const dataset *d, uint64_t number) { return d->index.entries[number].tokens; }

uint64_t dataset_fingerprint(const dataset *d) { return d->index.content_hash; }

levee_status dataset_row_line(dataset *d, uint64_t number, uint64_t *line, levee_error *error) {
    return rows_line(d->source, d->index.entries[number].offset, line, error);
}

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
    status = example_make(&d->maker, &current.content, error);
    if (status != LEVEE_OK) {
        error_context(error, "%s: byte %" PRIu64, d->source_path, entry->offset);
        return status;
    }
    uint32_t tokens = count_after_cutting(d);
    if (tokens != entry->tokens || count_targets(d) != entry->targets) {
        return error_set(error, LEVEE_BAD_DATA,
                         "%s: byte %" PRIu64
                         ": the row has other tokens than when %s was made; remove that and start again",
                         d->source_path, entry->offset, d->index_path);
    }
    memcpy(ids, d->maker.ids.ids, tokens * sizeof ids[0]);
    *count = tokens;
    return LEVEE_OK;
}
