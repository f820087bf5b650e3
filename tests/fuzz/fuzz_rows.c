/* Rows, as JSONL and as paragraphs: a row that came by its turn comes by its offset too, the same and without taking
 * memory. */
#include <string.h>

#include "data/rows.h"
#include "harness.h"
#include "memory/ledger.h"
#include "text/buffer.h"

enum { MOST_ROW_BYTES = 200 };

void fuzz_prepare(void) {}

static void check_row(row_reader *other, const text_row *row, const char *path, size_t file_bytes) {
    text_row read;
    levee_error error;
    uint64_t place;
    harness_require(row->bytes > 0 && row->bytes <= MOST_ROW_BYTES, "a row is empty or too long");
    harness_require(row->line > 0 && row->offset + row->bytes <= file_bytes, "a row is outside of its file");
    harness_require(row->content.kind == ROW_CHAT || row->content.text_bytes <= row->bytes, "a text is too long");
    harness_require(row->content.kind == ROW_CHAT ||
                        utf8_is_valid(row->content.text, row->content.text_bytes, &place),
                    "a row's text is too long or not UTF-8");
    if (!harness_succeeded(rows_reserve(other, row->bytes, row->parse_bytes, &error), &error, path)) return;
    uint64_t count = ledger_allocation_count();
    harness_require(harness_succeeded(rows_read(other, row->offset, row->bytes, &read, &error), &error, path),
                    "a row cannot be read again");
    harness_require(ledger_allocation_count() == count, "reading a row again took memory");
    harness_require(read.content.kind == row->content.kind, "a row read again is of another kind");
    if (row->content.kind == ROW_CHAT) {
        harness_require(
            json_array_size(row->content.messages) > 0 && json_equal(read.content.messages, row->content.messages) &&
                (row->content.tools ? json_equal(read.content.tools, row->content.tools) : !read.content.tools),
            "a conversation read again is another");
        return;
    }
    harness_require(read.content.text_bytes == row->content.text_bytes &&
                        !memcmp(read.content.text, row->content.text, row->content.text_bytes),
                    "a row read again is another");
}

static void read_rows(const char *path, size_t file_bytes) {
    row_reader *r, *other;
    levee_error error;
    uint64_t end = 0;
    if (!harness_succeeded(rows_open(&r, path, MOST_ROW_BYTES, &error), &error, path)) return;
    if (harness_succeeded(rows_open(&other, path, MOST_ROW_BYTES, &error), &error, path)) {
        text_row row;
        while (harness_succeeded(rows_next(r, &row, &error), &error, path) && row.content.kind) {
            harness_require(row.offset >= end, "rows overlap");
            end = row.offset + row.bytes;
            check_row(other, &row, path, file_bytes);
        }
    }
    rows_close(other);
    rows_close(r);
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    read_rows(harness_write("rows.jsonl", data, bytes), bytes);
    read_rows(harness_write("rows.txt", data, bytes), bytes);
}
