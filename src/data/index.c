/* The index of a data set: see index.h. */
#include "data/index.h"

#include <stddef.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* to hold a hash's state in our own memory */
#include <xxhash.h>

#include "base/error.h"
#include "memory/ledger.h"

enum { INDEX_VERSION = 4, BUFFERED_ENTRIES = 4096 };

static const uint64_t index_magic = UINT64_C(0x58444e494556454c); /* "LEVEINDX" on a little-endian machine */

struct index_writer {
    file_writer file;
    XXH64_state_t hash;
    uint32_t buffered;
    index_entry buffer[BUFFERED_ENTRIES]; /* because the file's writer makes a system call of each write */
};

static uint64_t hash_of_summary(const index_summary *summary) {
    return XXH64(summary, offsetof(index_summary, summary_hash), index_magic);
}

/* The rows lie in the source, one after another, and their tokens add up. */
static bool entries_are_sound(const index_entry *entries, const index_key *key, const index_totals *totals) {
    uint64_t end = 0, tokens = 0, targets = 0;
    for (uint64_t i = 0; i < totals->rows; i++) {
        const index_entry *entry = &entries[i];
        bool inside = entry->offset >= end && entry->offset <= key->source_bytes &&
                      entry->bytes <= key->source_bytes - entry->offset && entry->bytes <= totals->longest_bytes;
        if (!inside || entry->tokens < 2 || entry->tokens > totals->longest) return false;
        if (!entry->targets || entry->targets >= entry->tokens) return false;
        end = entry->offset + entry->bytes;
        tokens += entry->tokens;
        targets += entry->targets;
    }
    return tokens == totals->tokens && targets == totals->targets && totals->longest <= key->max_sequence_tokens &&
           totals->longest <= totals->longest_uncut && totals->longest_bytes <= key->max_row_bytes;
}

static bool is_usable(row_index *index, const index_key *key) {
    const file_mapping *mapping = &index->mapping;
    index_totals *totals = &index->totals;
    index_summary summary;
    if (mapping->bytes < sizeof summary) return false;
    uint64_t entries_bytes = mapping->bytes - sizeof summary;
    memcpy(&summary, mapping->data + entries_bytes, sizeof summary);
    if (summary.magic != index_magic || summary.version != INDEX_VERSION || summary.summary_bytes != sizeof summary) {
        return false;
    }
    if (summary.summary_hash != hash_of_summary(&summary)) return false;
    if (memcmp(&summary.key, key, sizeof *key) != 0) return false;
    if (entries_bytes % sizeof(index_entry) != 0 || summary.totals.rows != entries_bytes / sizeof(index_entry)) {
        return false;
    }
    if (summary.entries_hash != XXH64(mapping->data, entries_bytes, 0)) return false;
    *totals = summary.totals;
    index->made_seconds = summary.made_seconds;
    index->content_hash = XXH64(totals, sizeof *totals, summary.entries_hash);
    return entries_are_sound((const index_entry *)(const void *)mapping->data, key, totals);
}

bool index_open(row_index *index, const char *path, const index_key *key) {
    *index = (row_index){0};
    if (file_map(&index->mapping, path, NULL) != LEVEE_OK) return false;
    if (!is_usable(index, key)) {
        index_close(index);
        return false;
    }
    index->entries = (const index_entry *)(const void *)index->mapping.data;
    return true;
}

void index_close(row_index *index) {
    file_unmap(&index->mapping);
    *index = (row_index){0};
}

levee_status index_writer_open(index_writer **result, const char *path, levee_error *error) {
    *result = NULL;
    index_writer *w = ledger_alloc(LEVEE_IO, sizeof *w);
    if (!w) return error_out_of_memory(error, path, sizeof *w);
    levee_status status = file_writer_open(&w->file, path, error);
    if (status != LEVEE_OK) {
        ledger_free(w);
        return status;
    }
    XXH64_reset(&w->hash, 0);
    *result = w;
    return LEVEE_OK;
}

static levee_status write_buffered(index_writer *w, levee_error *error) {
    uint64_t bytes = w->buffered * sizeof w->buffer[0];
    w->buffered = 0;
    XXH64_update(&w->hash, w->buffer, bytes);
    return file_writer_write(&w->file, w->buffer, bytes, error);
}

levee_status index_writer_add(index_writer *w, const index_entry *entry, levee_error *error) {
    w->buffer[w->buffered++] = *entry;
    return w->buffered == BUFFERED_ENTRIES ? write_buffered(w, error) : LEVEE_OK;
}

levee_status index_writer_commit(index_writer *w, const index_key *key, const index_totals *totals,
                                 int64_t made_seconds, levee_error *error) {
    levee_status status = write_buffered(w, error);
    if (status != LEVEE_OK) return status;
    index_summary summary = {
        .magic = index_magic,
        .version = INDEX_VERSION,
        .summary_bytes = sizeof summary,
        .key = *key,
        .totals = *totals,
        .made_seconds = made_seconds,
        .entries_hash = XXH64_digest(&w->hash),
    };
    summary.summary_hash = hash_of_summary(&summary);
    status = file_writer_write(&w->file, &summary, sizeof summary, error);
    return status == LEVEE_OK ? file_writer_commit(&w->file, error) : status;
}

void index_writer_close(index_writer *w) {
    if (!w) return;
    file_writer_abandon(&w->file);
    ledger_free(w);
}
