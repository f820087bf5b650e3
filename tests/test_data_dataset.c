/* The data room from the file to the batch: rows, their errors, the index and when it is made again, bounded memory,
 * and the flat micro-batch. The tokenizer is a real one that the test writes: byte-level, without merges, so that the
 * id of a token is the value of a byte and 256 is the end token. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/random.h"
#include "data/batch.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "memory/ledger.h"
#include "memory/pool.h"

enum { EOS = 256, IDS = 1 << 16 };

typedef struct fixture {
    char directory[64];
    tokenizer *plain;   /* bytes */
    tokenizer *merging; /* the same, but "ab" is one token */
    uint32_t ids[IDS];
} fixture;

static void write_file(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static const char *in_directory(const fixture *f, char path[FILE_PATH_BYTES], const char *name) {
    assert_true(file_join(path, f->directory, name));
    return path;
}

static void write_named(const fixture *f, const char *name, const char *text) {
    char path[FILE_PATH_BYTES];
    write_file(in_directory(f, path, name), text, strlen(text));
}

/* The byte-level alphabet: printable bytes stand for themselves, the others for characters from U+0100 on. */
static uint32_t character_of_byte(uint32_t byte) {
    uint32_t other = 0;
    for (uint32_t b = 0; b < 256; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
        if (b == byte) return printable ? b : 256 + other;
        other += !printable;
    }
    return 0;
}

static tokenizer *make_tokenizer(const fixture *f, const char *name, const char *merges) {
    char directory[FILE_PATH_BYTES], path[FILE_PATH_BYTES], error_free[LEVEE_ERROR_BYTES] = "";
    levee_error error = {0};
    assert_int_equal(file_make_directory(in_directory(f, directory, name), &error), LEVEE_OK);
    assert_true(file_join(path, directory, "tokenizer.json"));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file,
            "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 256, \"content\": \"<|endoftext|>\", "
            "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
            "\"special\": true}], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
            "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null, "
            "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {");
    for (uint32_t byte = 0; byte < 256; byte++) fprintf(file, "\"\\u%04x\": %u, ", character_of_byte(byte), byte);
    fprintf(file, "\"ab\": 257}, \"merges\": [%s]}}", merges);
    assert_int_equal(fclose(file), 0);
    assert_true(file_join(path, directory, "tokenizer_config.json"));
    static const char names[] = "{\"eos_token\": \"<|endoftext|>\"}";
    write_file(path, names, sizeof names - 1);
    tokenizer *result = NULL;
    levee_status status = tokenizer_open(&result, directory, &error);
    assert_string_equal(error.message, error_free);
    assert_int_equal(status, LEVEE_OK);
    return result;
}

static int set_up(void **state) {
    pool_hook_json();
    fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    snprintf(f->directory, sizeof f->directory, "/tmp/levee-data-XXXXXX");
    if (!mkdtemp(f->directory)) return -1;
    f->plain = make_tokenizer(f, "plain", "");
    f->merging = make_tokenizer(f, "merging", "[\"a\", \"b\"]");
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tokenizer_close(f->plain);
    tokenizer_close(f->merging);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->directory);
    int failed = system(command);
    /* Nothing that was opened in any test may still be booked. */
    if (ledger_booked(LEVEE_CATEGORY_COUNT) != 0) failed = -1;
    free(f);
    return failed;
}

static dataset_options options_for(const fixture *f, const char *path) {
    return (dataset_options){.path = path,
                             .split = "train",
                             .index_directory = f->directory,
                             .max_sequence_tokens = 1000,
                             .max_row_bytes = 1 << 20,
                             .append_eos = true};
}

/* Opens the text as the named file; fails the test, showing the message, when that does not work. */
static dataset *open_named(const fixture *f, const char *name, tokenizer *tokens) {
    char path[FILE_PATH_BYTES];
    dataset_options options = options_for(f, in_directory(f, path, name));
    levee_error error = {0};
    dataset *d = NULL;
    if (dataset_open(&d, &options, tokens, &error) != LEVEE_OK) fail_msg("%s", error.message);
    return d;
}

/* Row `row` is exactly these bytes, then the end token. */
static void assert_row(fixture *f, dataset *d, uint64_t row, const char *text, size_t bytes) {
    uint32_t count = 0;
    levee_error error = {0};
    if (dataset_read(d, row, f->ids, &count, &error) != LEVEE_OK) fail_msg("%s", error.message);
    assert_int_equal(count, bytes + 1);
    assert_int_equal(count, dataset_row_tokens(d, row));
    for (size_t i = 0; i < bytes; i++) assert_int_equal(f->ids[i], (unsigned char)text[i]);
    assert_int_equal(f->ids[bytes], EOS);
}

static void reads_jsonl(void **state) {
    fixture *f = *state;
    write_named(f, "a.jsonl",
                "\xEF\xBB\xBF{\"text\": \"first\"}\r\n"
                "\n   \t \r\n"
                "  {\"other\": 123456789012345678901234567890, \"text\": \"caf\\u00e9 \xC3\xA9 \\ud83d\\ude42\"}  \n"
                "{\"text\": \"a\\u0000b\\n\"}\n"
                "{\"text\": \"no line end\", \"prompt\": 1}");
    dataset *d = open_named(f, "a.jsonl", f->plain);
    assert_int_equal(dataset_rows(d), 4);
    assert_row(f, d, 3, "no line end", 11);
    assert_row(f, d, 0, "first", 5);
    assert_row(f, d, 1, "caf\xC3\xA9 \xC3\xA9 \xF0\x9F\x99\x82", 13);
    assert_row(f, d, 2, "a\0b\n", 4);
    assert_row(f, d, 0, "first", 5);
    assert_int_equal(dataset_longest(d), 14);
    assert_int_equal(dataset_tokens(d), 6 + 14 + 5 + 12);
    assert_int_equal(dataset_cut_rows(d), 0);
    assert_int_equal(dataset_short_rows(d), 0);
    uint32_t count;
    levee_error error;
    assert_int_equal(dataset_read(d, 4, f->ids, &count, &error), LEVEE_INTERNAL);
    dataset_close(d);
}

static void reads_paragraphs(void **state) {
    fixture *f = *state;
    write_named(f, "a.txt",
                "\xEF\xBB\xBFOne line.\r\n\r\n \t\r\n\n  Two\r\nlines.  \nAnd {\"text\": 3}\n\nlast\n\n\n");
    dataset *d = open_named(f, "a.txt", f->plain);
    assert_int_equal(dataset_rows(d), 3);
    assert_row(f, d, 2, "last", 4);
    assert_row(f, d, 1, "  Two\nlines.  \nAnd {\"text\": 3}", 30);
    assert_row(f, d, 0, "One line.", 9);
    dataset_close(d);
}

static void cuts_and_leaves_out(void **state) {
    fixture *f = *state;
    write_named(f, "cut.jsonl",
                "{\"text\": \"\"}\n{\"text\": \"abcdefgh\"}\n{\"text\": \"abc\"}\n{\"text\": \"x<|endoftext|>\"}\n"
                "{\"text\": \"<|endoftext|>\"}\n{\"text\": \"abcd\"}\n");
    char path[FILE_PATH_BYTES];
    dataset_options options = options_for(f, in_directory(f, path, "cut.jsonl"));
    options.max_sequence_tokens = 4;
    dataset *d = NULL;
    levee_error error = {0};
    assert_int_equal(dataset_open(&d, &options, f->plain, &error), LEVEE_OK);
    assert_int_equal(dataset_rows(d), 4);
    assert_int_equal(dataset_short_rows(d), 2);
    assert_int_equal(dataset_cut_rows(d), 2);
    assert_int_equal(dataset_longest(d), 4);
    assert_int_equal(dataset_tokens(d), 4 + 4 + 2 + 4);
    uint32_t count;
    f->ids[4] = 999; /* must stay */
    assert_int_equal(dataset_read(d, 0, f->ids, &count, &error), LEVEE_OK);
    assert_memory_equal(f->ids, ((uint32_t[]){'a', 'b', 'c', 'd', 999}), 5 * sizeof(uint32_t));
    assert_int_equal(dataset_read(d, 2, f->ids, &count, &error), LEVEE_OK);
    assert_int_equal(count, 2);
    assert_memory_equal(f->ids, ((uint32_t[]){'x', EOS}), 2 * sizeof(uint32_t));
    assert_row(f, d, 1, "abc", 3);
    dataset_close(d);

    options.append_eos = false;
    assert_int_equal(dataset_open(&d, &options, f->plain, &error), LEVEE_OK);
    assert_int_equal(dataset_read(d, 1, f->ids, &count, &error), LEVEE_OK);
    assert_int_equal(count, 3);
    dataset_close(d);
}

typedef struct refusal {
    const char *name, *text;
    levee_status status;
    const char *says[3];
} refusal;

static const refusal refusals[] = {
    {"e.jsonl", "{\"text\": \"ok\"}\n\n{\"text\": \"ok\"\n", LEVEE_BAD_DATA, {"e.jsonl: line 3: ", "not JSON"}},
    {"e.jsonl", "{\"text\": \"ok\"}\nhello\n", LEVEE_BAD_DATA, {"line 2: ", "not JSON", "{\"text\""}},
    {"e.jsonl", "{\"text\": \"ok\"} {\"text\": \"ok\"}\n", LEVEE_BAD_DATA, {"line 1: ", "not JSON"}},
    {"e.jsonl", "[\"ok\"]\n", LEVEE_BAD_DATA, {"line 1: ", "an array, not an object", "{\"text\""}},
    {"e.jsonl", "\r\n\r\n17\r\n", LEVEE_BAD_DATA, {"line 3: ", "a number, not an object"}},
    {"e.jsonl", "{\"text\": null}\n", LEVEE_BAD_DATA, {"line 1: ", "\"text\" is null, not a string"}},
    {"e.jsonl", "{\"text\": [1]}\n", LEVEE_BAD_DATA, {"line 1: ", "\"text\" is an array, not a string"}},
    {"e.jsonl", "{\"txt\": \"ok\"}\n", LEVEE_BAD_DATA, {"line 1: ", "no field \"text\"", "write it as"}},
    {"e.jsonl",
     "{\"prompt\": \"a\", \"completion\": \"b\"}\n",
     LEVEE_BAD_DATA,
     {"line 1: ", "needs a chat template", "chat_template.jinja"}},
    {"e.jsonl", "{\"prompt\": \"a\"}\n", LEVEE_BAD_DATA, {"line 1: ", "\"prompt\" without \"completion\""}},
    {"e.jsonl",
     "{\"prompt\": \"a\", \"completion\": 3}\n",
     LEVEE_BAD_DATA,
     {"line 1: ", "\"completion\" is a number, not a string"}},
    {"e.jsonl", "{\"messages\": []}\n", LEVEE_BAD_DATA, {"line 1: ", "\"messages\" is empty"}},
    {"e.jsonl", "{\"messages\": \"hi\"}\n", LEVEE_BAD_DATA, {"line 1: ", "is a string, not an array"}},
    {"e.jsonl", "{\"messages\": [1]}\n", LEVEE_BAD_DATA, {"line 1: ", "number 1 of \"messages\" is not an object"}},
    {"e.jsonl", "{\"messages\": [{}]}\n", LEVEE_BAD_DATA, {"line 1: ", "has no \"role\""}},
    {"e.jsonl",
     "{\"messages\": [{\"role\": \"user\"}], \"tools\": 1}\n",
     LEVEE_BAD_DATA,
     {"line 1: ", "\"tools\" is a number, not an array"}},
    {"e.jsonl",
     "{\"messages\": [{\"role\": \"user\", \"content\": 123456789012345678901234567890}]}\n",
     LEVEE_BAD_DATA,
     {"line 1: ", "does not fit 64 bits"}},
    {"e.jsonl", "{\"text\": \"a\xFFz\"}\n", LEVEE_BAD_DATA, {"line 1: ", "byte 12 of the row (0xFF)", "UTF-8"}},
    {"e.jsonl", "{\"text\": \"\xC0\x80\"}\n", LEVEE_BAD_DATA, {"line 1: ", "UTF-8"}},
    {"e.jsonl", "{\"text\": \"\xED\xA0\x80\"}\n", LEVEE_BAD_DATA, {"line 1: ", "UTF-8"}},
    {"e.jsonl", "{\"text\": \"\\ud800\"}\n", LEVEE_BAD_DATA, {"line 1: ", "not JSON"}},
    {"e.jsonl", "", LEVEE_BAD_DATA, {"e.jsonl: ", "no rows"}},
    {"e.jsonl", "\n \n", LEVEE_BAD_DATA, {"e.jsonl: ", "no rows"}},
    {"e.jsonl", "{\"text\": \"\"}\n{\"text\": \"\"}\n", LEVEE_BAD_DATA, {"none of its 2 rows has 2 tokens"}},
    {"e.txt", "one\n\ntwo\nth\xE2\x82ree\n", LEVEE_BAD_DATA, {"e.txt: line 3: ", "byte 7 of the row (0xE2)"}},
    {"e.csv", "text\nok\n", LEVEE_USAGE, {"e.csv: ", ".jsonl or .txt"}},
};

static void assert_refused(const dataset_options *options, tokenizer *tokens, const refusal *expected) {
    dataset *d = NULL;
    levee_error error = {0};
    levee_status status = dataset_open(&d, options, tokens, &error);
    if (status != expected->status) fail_msg("status %d for %s: %s", status, expected->text, error.message);
    assert_null(d);
    assert_int_equal(error.status, status);
    for (size_t i = 0; i < 3 && expected->says[i]; i++) {
        if (!strstr(error.message, expected->says[i])) fail_msg("no '%s' in: %s", expected->says[i], error.message);
    }
    dataset_options silent = *options;
    assert_int_equal(dataset_open(&d, &silent, tokens, NULL), expected->status);
}

static void refuses_bad_rows(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        char path[FILE_PATH_BYTES];
        write_named(f, refusals[i].name, refusals[i].text);
        dataset_options options = options_for(f, in_directory(f, path, refusals[i].name));
        assert_refused(&options, f->plain, &refusals[i]);
        assert_false(file_exists(in_directory(f, path, "train.index.partial")));
    }
}

/* A row of exactly the limit is read, one byte more is refused, in both formats and across the reader's chunks. */
static void limits_row_bytes(void **state) {
    fixture *f = *state;
    static const uint64_t limits[] = {20, 4096, 65535, 65536, 65537, 200000};
    enum { MOST = 200000 + 64 };
    char *text = malloc(MOST), path[FILE_PATH_BYTES];
    assert_non_null(text);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        for (int format = 0; format < 2; format++) {
            for (uint64_t over = 0; over < 2; over++) {
                const char *name = format ? "long.txt" : "long.jsonl";
                const char *before = format ? "ok\n\n" : "{\"text\": \"ok\"}\n\n";
                const char *head = format ? "" : "{\"text\":\"", *tail = format ? "" : "\"}";
                size_t fill = (size_t)(limits[i] + over) - strlen(head) - strlen(tail);
                size_t bytes = (size_t)sprintf(text, "%s%s", before, head);
                memset(text + bytes, 'x', fill);
                bytes += fill;
                bytes += (size_t)sprintf(text + bytes, "%s \r\n \n", tail);
                write_file(in_directory(f, path, name), text, bytes);
                dataset_options options = options_for(f, path);
                options.max_row_bytes = limits[i];
                options.max_sequence_tokens = 1 << 20;
                dataset *d = NULL;
                levee_error error = {0};
                levee_status status = dataset_open(&d, &options, f->plain, &error);
                if (over) {
                    assert_int_equal(status, LEVEE_BAD_DATA);
                    assert_non_null(strstr(error.message, ": line 3: "));
                    assert_non_null(strstr(error.message, "--max-row-bytes"));
                } else {
                    if (status != LEVEE_OK) fail_msg("%s", error.message);
                    assert_int_equal(dataset_rows(d), 2);
                    assert_int_equal(dataset_longest(d), fill + 1);
                    dataset_close(d);
                }
            }
        }
    }
    free(text);
}

static void finds_splits(void **state) {
    fixture *f = *state;
    char directory[FILE_PATH_BYTES], path[FILE_PATH_BYTES], index_directory[FILE_PATH_BYTES];
    levee_error error = {0};
    assert_int_equal(file_make_directory(in_directory(f, directory, "set"), &error), LEVEE_OK);
    assert_true(file_join(path, directory, "valid.jsonl"));
    write_file(path, "{\"text\": \"ok\"}\n", 15);
    assert_true(dataset_split_exists(directory, "valid"));
    assert_false(dataset_split_exists(directory, "train"));
    assert_true(dataset_split_exists(path, "train"));
    assert_false(dataset_split_exists(path, "valid"));
    assert_false(dataset_split_exists("/nowhere.jsonl", "train"));

    dataset_options options = options_for(f, directory);
    options.index_directory = in_directory(f, index_directory, "made/here");
    assert_refused(&options, f->plain, &(refusal){.status = LEVEE_MISSING_INPUT, .says = {"set/train.jsonl: "}});
    dataset_options single = options_for(f, path);
    single.split = "test";
    assert_refused(&single, f->plain, &(refusal){.status = LEVEE_MISSING_INPUT, .says = {"valid.jsonl: ", "test"}});
    dataset_options nowhere = options_for(f, "/nowhere");
    assert_refused(&nowhere, f->plain, &(refusal){.status = LEVEE_MISSING_INPUT, .says = {"/nowhere: ", "--data"}});
    dataset_options one = options_for(f, directory);
    one.max_sequence_tokens = 1;
    assert_refused(&one, f->plain, &(refusal){.status = LEVEE_USAGE, .says = {"--max-seq-length"}});
    dataset_options unlimited = options_for(f, path);
    unlimited.max_row_bytes = 0;
    assert_refused(&unlimited, f->plain, &(refusal){.status = LEVEE_USAGE, .says = {"--max-row-bytes"}});

    options.split = "valid";
    dataset *d = NULL;
    assert_int_equal(dataset_open(&d, &options, f->plain, &error), LEVEE_OK);
    dataset_close(d);
    assert_true(file_join(path, index_directory, "valid.index"));
    assert_true(file_exists(path));
}

/* Tells one writing of a file from the next. */
static struct timespec modified(const char *path) {
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return about.st_mtim;
}

/* Sets the index's time to one long past, opens the data set, and says whether the index was written again. */
static bool rebuilds(const fixture *f, const dataset_options *options, tokenizer *tokens) {
    char path[FILE_PATH_BYTES];
    struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(0, in_directory(f, path, "train.index"), past, 0), 0);
    dataset *d = NULL;
    levee_error error = {0};
    if (dataset_open(&d, options, tokens, &error) != LEVEE_OK) fail_msg("%s", error.message);
    dataset_close(d);
    return modified(path).tv_sec != 1000;
}

static void reuses_the_index(void **state) {
    fixture *f = *state;
    static const char first[] = "{\"text\": \"gh\"}\n{\"text\": \"cd\"}\n{\"text\": \"ef\"}\n{\"text\": \"abab\"}\n";
    char path[FILE_PATH_BYTES];
    write_named(f, "i.jsonl", first);
    dataset_options options = options_for(f, in_directory(f, path, "i.jsonl"));
    dataset_close(open_named(f, "i.jsonl", f->plain));
    assert_false(rebuilds(f, &options, f->plain));
    assert_false(rebuilds(f, &options, f->plain));

    dataset_options changed = options;
    changed.max_sequence_tokens = 3;
    assert_true(rebuilds(f, &changed, f->plain));
    assert_false(rebuilds(f, &changed, f->plain));
    changed.append_eos = false;
    assert_true(rebuilds(f, &changed, f->plain));
    changed.max_row_bytes--;
    assert_true(rebuilds(f, &changed, f->plain));
    assert_true(rebuilds(f, &options, f->plain));
    assert_true(rebuilds(f, &options, f->merging)); /* which differs in row 3 only, outside of the sample */
    assert_true(rebuilds(f, &options, f->plain));

    /* Another size; another time. */
    write_named(f, "i.jsonl", "{\"text\": \"abab\"}\n{\"text\": \"cd\"}\n");
    assert_true(rebuilds(f, &options, f->plain));
    struct timespec past[2] = {{.tv_sec = 2000}, {.tv_sec = 2000}};
    assert_int_equal(utimensat(0, path, past, 0), 0);
    assert_true(rebuilds(f, &options, f->plain));
    assert_false(rebuilds(f, &options, f->plain));

    /* The same size and time, but a row of the sample differs. */
    write_named(f, "i.jsonl", "{\"text\": \"abab\"}\n{\"text\": \"dc\"}\n");
    assert_int_equal(utimensat(0, path, past, 0), 0);
    assert_true(rebuilds(f, &options, f->plain));
    assert_false(rebuilds(f, &options, f->plain));
}

/* What changed without a trace outside of the sample is noticed when that row is read. */
static void notices_a_changed_row(void **state) {
    fixture *f = *state;
    char path[FILE_PATH_BYTES];
    struct timespec past[2] = {{.tv_sec = 3000}, {.tv_sec = 3000}};
    write_named(f, "n.jsonl", "{\"text\":\"ab\"}\n{\"text\":\"ab\"}\n{\"text\":\"ab\"}\n{\"text\":\"ab\"}\n");
    assert_int_equal(utimensat(0, in_directory(f, path, "n.jsonl"), past, 0), 0);
    dataset *d = open_named(f, "n.jsonl", f->plain);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 3 * 14, SEEK_SET);
    fputs("{\"text\":\"\\n\"}", file);
    fclose(file);
    assert_int_equal(utimensat(0, path, past, 0), 0);
    uint32_t count;
    levee_error error = {0};
    assert_int_equal(dataset_read(d, 2, f->ids, &count, &error), LEVEE_OK);
    assert_int_equal(dataset_read(d, 3, f->ids, &count, &error), LEVEE_BAD_DATA);
    assert_non_null(strstr(error.message, "n.jsonl: byte 42: "));
    assert_int_equal(count, 0);
    assert_int_equal(truncate(path, 3 * 14 + 5), 0);
    assert_int_equal(dataset_read(d, 3, f->ids, &count, &error), LEVEE_BAD_DATA);
    assert_non_null(strstr(error.message, "byte 42: the file ends"));
    dataset_close(d);
}

/* Each byte of the index in turn is damaged, and shorter lengths are tried: it is made again, and is right. */
static void repairs_a_damaged_index(void **state) {
    fixture *f = *state;
    char path[FILE_PATH_BYTES], index[FILE_PATH_BYTES];
    write_named(f, "d.jsonl", "{\"text\": \"one\"}\n{\"text\": \"three\"}\n{\"text\": \"five\"}\n");
    dataset_options options = options_for(f, in_directory(f, path, "d.jsonl"));
    dataset_close(open_named(f, "d.jsonl", f->plain));
    in_directory(f, index, "train.index");
    unsigned char whole[1024], damaged[1024];
    FILE *file = fopen(index, "rb");
    assert_non_null(file);
    size_t bytes = fread(whole, 1, sizeof whole, file);
    fclose(file);
    assert_true(bytes > 3 * 16 && bytes < sizeof whole);
    for (size_t i = 0; i < bytes; i++) {
        memcpy(damaged, whole, bytes);
        damaged[i] ^= (unsigned char)(1u << (i % 8));
        write_file(index, damaged, bytes);
        assert_true(rebuilds(f, &options, f->plain));
        if (i % 16 > 1) continue; /* each rebuilding waits for the disk */
        write_file(index, whole, i);
        assert_true(rebuilds(f, &options, f->plain));
    }
    write_file(index, whole, bytes);
    assert_false(rebuilds(f, &options, f->plain));
    dataset *d = open_named(f, "d.jsonl", f->plain);
    assert_row(f, d, 1, "three", 5);
    dataset_close(d);
}

/* Writes rows of 1,000 bytes until the file has `bytes`. */
static void write_rows(const char *path, uint64_t bytes) {
    char line[1001];
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (uint64_t row = 0; row * 1000 < bytes; row++) {
        int head = snprintf(line, sizeof line, "{\"text\": \"%" PRIu64 " ", row);
        for (int i = head; i < 997; i++) line[i] = i % 8 ? 'x' : ' ';
        memcpy(line + 997, "\"}\n", 3);
        assert_int_equal(fwrite(line, 1, 1000, file), 1000);
    }
    assert_int_equal(fclose(file), 0);
}

/* The peaks only ever rise, so the large file must leave all that the small one set as they are. */
static void memory_does_not_follow_the_file(void **state) {
    fixture *f = *state;
    static const uint64_t sizes[] = {1 << 20, 64 << 20};
    uint64_t peaks[2][LEVEE_CATEGORY_COUNT + 1], held[2];
    char path[FILE_PATH_BYTES];
    for (size_t i = 0; i < 2; i++) {
        write_rows(in_directory(f, path, "size.jsonl"), sizes[i]);
        dataset *d = open_named(f, "size.jsonl", f->plain);
        assert_int_equal(dataset_rows(d), (sizes[i] + 999) / 1000);
        held[i] = ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO);
        uint64_t data_peak = ledger_peak(LEVEE_DATA), io_peak = ledger_peak(LEVEE_IO);
        for (uint32_t r = 0; r < 2000; r++) {
            uint32_t count;
            uint64_t row = random_bits(1, r, 0, 0, 0) % dataset_rows(d);
            assert_int_equal(dataset_read(d, row, f->ids, &count, NULL), LEVEE_OK);
            assert_int_equal(count, dataset_row_tokens(d, row));
        }
        assert_int_equal(ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO), held[i]);
        assert_int_equal(ledger_peak(LEVEE_DATA), data_peak);
        assert_int_equal(ledger_peak(LEVEE_IO), io_peak);
        dataset_close(d);
        for (int c = 0; c <= LEVEE_CATEGORY_COUNT; c++) peaks[i][c] = ledger_peak((levee_category)c);
    }
    assert_int_equal(held[0], held[1]);
    for (int c = 0; c <= LEVEE_CATEGORY_COUNT; c++) assert_int_equal(peaks[0][c], peaks[1][c]);

    /* With the index that is there, the same is held as after building it. */
    dataset *again = open_named(f, "size.jsonl", f->plain);
    assert_int_equal(ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO), held[1]);
    dataset_close(again);
    unlink(path);
}

/* Every allocation is refused in turn: a clear error, and nothing is left behind. */
static void survives_refused_memory(void **state) {
    fixture *f = *state;
    char path[FILE_PATH_BYTES], index[FILE_PATH_BYTES];
    write_rows(in_directory(f, path, "oom.jsonl"), 20000);
    dataset_options options = options_for(f, path);
    in_directory(f, index, "train.index");
    for (int reuse = 0; reuse < 2; reuse++) {
        bool opened = false;
        uint64_t refused = 0;
        for (uint64_t budget = 0; !opened; budget += 256) {
            assert_true(budget < 4 << 20);
            if (!reuse) unlink(index);
            uint64_t before = ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO) + ledger_booked(LEVEE_RUNTIME);
            ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + budget);
            dataset *d = NULL;
            levee_error error = {0};
            levee_status status = dataset_open(&d, &options, f->plain, &error);
            ledger_set_budget(UINT64_MAX);
            opened = status == LEVEE_OK;
            if (!opened && status != LEVEE_DOES_NOT_FIT) fail_msg("budget %" PRIu64 ": %s", budget, error.message);
            refused += !opened;
            dataset_close(d);
            uint64_t after = ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO) + ledger_booked(LEVEE_RUNTIME);
            assert_int_equal(before, after);
        }
        assert_true(refused > 10);
    }
}

/* Whatever stands in the file, the reader says yes or names a line, and rows that it gives can be read again. */
static void survives_mutations(void **state) {
    fixture *f = *state;
    static const char sound[] =
        "{\"text\": \"one \\u00e9 \xC3\xA9\"}\r\n\r\n{\"a\": [1, {}, null], \"text\": \"two\"}\n"
        "{\"text\": \"\\ud83d\\ude42\"}\n";
    static const char alphabet[] = "{}[]\":,\\u0n \n\r\t\xEF\xBB\xBF\xC3\xFF\x80";
    char path[FILE_PATH_BYTES], text[sizeof sound];
    for (uint32_t trial = 0; trial < 4000; trial++) {
        memcpy(text, sound, sizeof sound);
        uint32_t changes = 1 + random_bits(2, trial, 0, 0, 0) % 4;
        for (uint32_t c = 1; c <= changes; c++) {
            random_block block = random_philox(2, trial, c, 0, 0);
            text[block.words[0] % (sizeof sound - 1)] = alphabet[block.words[1] % (sizeof alphabet)];
        }
        write_file(in_directory(f, path, trial % 2 ? "m.txt" : "m.jsonl"), text, sizeof sound - 1);
        row_reader *walk = NULL, *again = NULL;
        levee_error error = {0};
        assert_int_equal(rows_open(&walk, path, 64, &error), LEVEE_OK);
        assert_int_equal(rows_open(&again, path, 64, &error), LEVEE_OK);
        for (;;) {
            text_row next, read;
            levee_status status = rows_next(walk, &next, &error);
            if (status != LEVEE_OK) {
                assert_int_equal(status, LEVEE_BAD_DATA);
                assert_non_null(strstr(error.message, ": line "));
                break;
            }
            if (!next.content.kind) break;
            assert_int_equal(rows_read(again, next.offset, next.bytes, &read, &error), LEVEE_OK);
            assert_int_equal(read.content.text_bytes, next.content.text_bytes);
            assert_memory_equal(read.content.text, next.content.text, next.content.text_bytes);
        }
        rows_close(walk);
        rows_close(again);
    }
}

static void lays_out_batches(void **state) {
    (void)state;
    enum { CAPACITY = 6 };
    int32_t ids[CAPACITY + 1], labels[CAPACITY + 1], positions[CAPACITY + 1], starts[CAPACITY + 1],
        examples[CAPACITY + 1];
    int32_t *arrays[] = {ids, labels, positions, starts, examples};
    for (size_t a = 0; a < 5; a++) memset(arrays[a], 0x55, sizeof ids);
    batch b = {.capacity = CAPACITY,
               .tokens = 99,
               .ids = ids,
               .labels = labels,
               .positions = positions,
               .starts = starts,
               .examples = examples};
    batch_clear(&b);
    static const uint32_t first[] = {10, 11, 12, 13}, second[] = {20, 21, 22}, third[] = {30, 31};
    static const uint8_t mask[] = {1, 0, 1, 7};
    assert_true(batch_add(&b, first, mask, 4, 5));
    assert_true(batch_add(&b, second, NULL, 1, 6));
    assert_true(batch_add(&b, second, NULL, 0, 6));
    assert_int_equal(b.sequences, 1);
    assert_true(batch_add(&b, second, NULL, 3, 6));
    assert_false(batch_add(&b, second, NULL, 3, 7));
    assert_int_equal(b.tokens, 5);
    assert_true(batch_add(&b, third, NULL, 2, 8));
    assert_false(batch_add(&b, third, NULL, 2, 9));
    assert_int_equal(b.tokens, 6);
    assert_int_equal(b.sequences, 3);
    assert_int_equal(b.targets, 5);
    assert_memory_equal(ids, ((int32_t[]){10, 11, 12, 20, 21, 30, 0x55555555}), sizeof ids);
    assert_memory_equal(labels, ((int32_t[]){-1, 12, 13, 21, 22, 31, 0x55555555}), sizeof ids);
    assert_memory_equal(positions, ((int32_t[]){0, 1, 2, 0, 1, 0, 0x55555555}), sizeof ids);
    assert_memory_equal(starts, ((int32_t[]){0, 0, 0, 3, 3, 5, 0x55555555}), sizeof ids);
    assert_memory_equal(examples, ((int32_t[]){5, 5, 5, 6, 6, 8, 0x55555555}), sizeof ids);
    batch_clear(&b);
    assert_int_equal(b.tokens + b.sequences + b.targets, 0);
    assert_true(batch_add(&b, third, NULL, 2, 0));
    assert_int_equal(starts[0], 0);
    b.examples = NULL; /* the one array that may be left out */
    assert_true(batch_add(&b, first, NULL, 4, 1));
    assert_int_equal(b.tokens, 4);
}

/* A public data set with a trained tokenizer, where they are at hand. */
static void reads_a_real_data_set(void **state) {
    fixture *f = *state;
    const char *shared = getenv("LEVEE_SHARED");
    if (!shared) shared = "../shared/data";
    char data[FILE_PATH_BYTES], model[FILE_PATH_BYTES];
    assert_true(file_join(data, shared, "wikisql"));
    assert_true(file_join(model, shared, "tokenizers/bpe-gpt2"));
    if (!dataset_split_exists(data, "train") || !file_is_directory(model)) {
        print_message("%s and %s are not there; set LEVEE_SHARED\n", data, model);
        skip();
    }
    levee_error error = {0};
    tokenizer *tokens = NULL;
    if (tokenizer_open(&tokens, model, &error) != LEVEE_OK) fail_msg("%s", error.message);
    static const char *const splits[] = {"train", "valid", "test"};
    static const uint64_t rows[] = {1000, 100, 100};
    for (size_t s = 0; s < 3; s++) {
        dataset_options options = options_for(f, data);
        options.split = splits[s];
        dataset *d = NULL;
        if (dataset_open(&d, &options, tokens, &error) != LEVEE_OK) fail_msg("%s", error.message);
        assert_int_equal(dataset_rows(d) + dataset_short_rows(d), rows[s]);
        uint64_t total = 0;
        for (uint64_t row = 0; row < dataset_rows(d); row++) {
            uint32_t count;
            if (dataset_read(d, row, f->ids, &count, &error) != LEVEE_OK) fail_msg("%s", error.message);
            total += count;
        }
        assert_int_equal(total, dataset_tokens(d));
        dataset_close(d);
    }
    tokenizer_close(tokens);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_jsonl),
        cmocka_unit_test(reads_paragraphs),
        cmocka_unit_test(cuts_and_leaves_out),
        cmocka_unit_test(refuses_bad_rows),
        cmocka_unit_test(limits_row_bytes),
        cmocka_unit_test(finds_splits),
        cmocka_unit_test(reuses_the_index),
        cmocka_unit_test(notices_a_changed_row),
        cmocka_unit_test(repairs_a_damaged_index),
        cmocka_unit_test(memory_does_not_follow_the_file),
        cmocka_unit_test(survives_refused_memory),
        cmocka_unit_test(survives_mutations),
        cmocka_unit_test(lays_out_batches),
        cmocka_unit_test(reads_a_real_data_set),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
