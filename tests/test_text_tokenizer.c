/* The tokenizer: a small one of our own, bad files, long inputs; and rows that Hugging Face's tokenizers encoded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "memory/ledger.h"
#include "memory/pool.h"
#include "text/stages.h"
#include "text/tokenizer.h"

static levee_error error;
static char directory[] = "/tmp/levee-tokenizer-XXXXXX";

static void write_file(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* SentencePiece-style: fallback bytes for one character, two merges, a special token in front. */
static const char piece_file[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true,\"normalized\":false}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"_\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"_\"}]},\"pre_tokenizer\":null,"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}"
    "},"
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[0]}}},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},"
    "\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<s>\",\"byte_fallback\":true,\"fuse_unk\":true,"
    "\"vocab\":{\"<s>\":0,\"_\":1,\"a\":2,\"b\":3,\"ab\":4,\"_ab\":5,\"<0xC3>\":6,\"<0xA9>\":7},"
    "\"merges\":[\"a b\",\"_ ab\"]}}";

static void encodes_by_merges_and_bytes(void **state) {
    (void)state;
    tokenizer *t;
    token_list ids = {0};
    char *text;
    uint64_t bytes;
    write_file("tokenizer.json", piece_file);
    assert_int_equal(tokenizer_open(&t, directory, &error), LEVEE_OK);
    static const char input[] = "ab a\xc3\xa9";
    static const uint32_t expected[] = {0, 5, 1, 2, 6, 7};
    assert_int_equal(tokenizer_encode(t, input, strlen(input), true, &ids, &error), LEVEE_OK);
    assert_int_equal(ids.count, 6);
    assert_memory_equal(ids.ids, expected, sizeof expected);
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, true, &text, &bytes, &error), LEVEE_OK);
    assert_string_equal(text, input);
    ledger_free(text);
    assert_int_equal(tokenizer_decode(t, &expected[4], 1, true, &text, &bytes, &error), LEVEE_OK);
    assert_string_equal(text, "\xef\xbf\xbd");
    ledger_free(text);
    assert_int_equal(tokenizer_encode(t, "a\xff", 2, false, &ids, &error), LEVEE_BAD_DATA);
    assert_non_null(strstr(error.message, "byte 1"));
    token_list_free(&ids);
    tokenizer_close(t);
}

/* A character's bytes may lie in two tokens; a step after the decoding of bytes sees the character, and never half of
 * one. */
static void decodes_bytes_before_other_steps(void **state) {
    (void)state;
    static const char file[] =
        "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Replace\","
        "\"pattern\":{"
        "\"Regex\":\"\\\\X\"},\"content\":\"x\"}]},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"\xC3\x83\":1,"
        "\"\xC2\xA9\":2},\"merges\":[]}}";
    static const uint32_t ids[] = {0, 1, 2, 1};
    tokenizer *t;
    char *text;
    uint64_t bytes;
    write_file("tokenizer.json", file);
    assert_int_equal(tokenizer_open(&t, directory, &error), LEVEE_OK);
    assert_int_equal(tokenizer_decode(t, ids, 4, false, &text, &bytes, &error), LEVEE_OK);
    assert_string_equal(text, "xxx");
    ledger_free(text);
    assert_int_equal(tokenizer_decode(t, ids, 0, false, &text, &bytes, &error), LEVEE_OK);
    assert_string_equal(text, "");
    ledger_free(text);
    tokenizer_close(t);
}

/* Text that becomes longer and shorter; what that takes is booked, and can be refused. */
static void normalises_within_the_budget(void **state) {
    (void)state;
    static const struct {
        const char *form, *text, *expected;
    } cases[] = {
        {"NFC", "e\xcc\x81t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
        {"NFD", "\xc3\xa9t\xc3\xa9", "e\xcc\x81te\xcc\x81"},
        {"NFKC", "\xef\xac\x81n", "fin"},
        {"NFKD", "\xef\xb7\xba", /* one character of eighteen */
         "\xd8\xb5\xd9\x84\xd9\x89 \xd8\xa7\xd9\x84\xd9\x84\xd9\x87 \xd8\xb9\xd9\x84\xd9\x8a\xd9\x87 "
         "\xd9\x88\xd8\xb3\xd9\x84\xd9\x85"},
        {"NFC", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char description[64];
        stage normalizer = {0};
        text_buffer text = {0}, scratch = {0};
        snprintf(description, sizeof description, "{\"type\":\"%s\"}", cases[i].form);
        json_t *object = json_loads(description, 0, NULL);
        assert_int_equal(stage_read_normalizer(&normalizer, object, &error), LEVEE_OK);
        json_decref(object);
        assert_int_equal(text_append(&text, cases[i].text, strlen(cases[i].text), &error), LEVEE_OK);
        ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT));
        if (*cases[i].text)
            assert_int_equal(stage_normalise(&normalizer, &text, &scratch, &error), LEVEE_DOES_NOT_FIT);
        ledger_set_budget(UINT64_MAX);
        text.bytes = 0;
        assert_int_equal(text_append(&text, cases[i].text, strlen(cases[i].text), &error), LEVEE_OK);
        assert_int_equal(stage_normalise(&normalizer, &text, &scratch, &error), LEVEE_OK);
        assert_int_equal(text.bytes, strlen(cases[i].expected));
        if (text.bytes) assert_string_equal(text.data, cases[i].expected);
        text_free(&text);
        text_free(&scratch);
        stage_close(&normalizer);
    }
}

static void long_input_is_encoded(void **state) {
    (void)state;
    enum { PAIRS = 200000 };
    tokenizer *t;
    token_list ids = {0};
    char *text = malloc(2 * PAIRS);
    assert_non_null(text);
    for (int i = 0; i < PAIRS; i++) memcpy(text + 2 * i, "ab", 2);
    write_file("tokenizer.json", piece_file);
    assert_int_equal(tokenizer_open(&t, directory, &error), LEVEE_OK);
    assert_int_equal(tokenizer_encode(t, text, 2 * PAIRS, false, &ids, &error), LEVEE_OK);
    assert_int_equal(ids.count, PAIRS);
    token_list_free(&ids);
    tokenizer_close(t);
    free(text);
}

/* Room that was taken for one order of texts does for every other, and in another tokenizer too. */
static void takes_nothing_once_there_is_room(void **state) {
    enum { LONG = 20000, SHORT = 40, ROUNDS = 7 };
    (void)state;
    tokenizer *first, *second;
    token_list ids = {0};
    char text[LONG + 1];
    for (unsigned i = 0; i < LONG; i++) text[i] = "ab ba  a"[i % 8];
    text[LONG] = 0;
    write_file("tokenizer.json", piece_file);
    assert_int_equal(tokenizer_open(&first, directory, &error), LEVEE_OK);
    assert_int_equal(tokenizer_open(&second, directory, &error), LEVEE_OK);
    assert_int_equal(tokenizer_encode(first, text, LONG, true, &ids, &error), LEVEE_OK);
    tokenizer_room room = tokenizer_room_taken(first);
    assert_true(room.text_bytes > LONG && room.symbols > 0);
    tokenizer *const both[] = {first, second};
    for (unsigned t = 0; t < 2; t++) assert_int_equal(tokenizer_reserve(both[t], &room, &error), LEVEE_OK);
    uint64_t booked = ledger_booked(LEVEE_TOKENIZER);
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        ids.count = 0;
        uint64_t bytes = i % 3 == 1 ? SHORT : LONG;
        assert_int_equal(tokenizer_encode(both[i % 2], text, bytes, true, &ids, &error), LEVEE_OK);
        assert_int_equal(ledger_booked(LEVEE_TOKENIZER), booked);
    }
    token_list_free(&ids);
    tokenizer_close(first);
    tokenizer_close(second);
}

static void refuses_bad_files(void **state) {
    (void)state;
    static const struct {
        const char *file, *word;
    } cases[] = {
        {"{", "line 1"},
        {"{\"model\":{\"type\":\"Unigram\"}}", "Unigram"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "two tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "no id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "merges"},
        {"{\"pre_tokenizer\":{\"type\":\"Bert\"},\"model\":{}}", "Bert"},
        {"{\"normalizer\":{\"type\":\"Nmt\"},\"model\":{}}", "Nmt"},
        {"{\"decoder\":{\"type\":\"CTC\"},\"model\":{}}", "CTC"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}},\"model\":{"
         "}}",
         "regular expression"},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"\\\\C\"}},"
         "\"model\":{}}",
         "regular expression"},
        {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\"},\"model\":{}}", "replacement"},
        {"{\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\"},\"model\":{}}", "replacement"},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\"\",\"start\":1,\"stop\":0},\"model\":{}}", "content"},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0},\"model\":{}}", "start"},
        {"{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":0,\"stop\":\"1\"},\"model\":{}}", "stop"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\\nb\":0,\"a\\nb\":1},\"merges\":[]}}", "'a b' is there twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t;
        write_file("tokenizer.json", cases[i].file);
        assert_int_equal(tokenizer_open(&t, directory, &error), LEVEE_BAD_DATA);
        assert_non_null(strstr(error.message, "tokenizer.json"));
        if (!strstr(error.message, cases[i].word)) fail_msg("'%s' lacks '%s'", error.message, cases[i].word);
        assert_null(t);
    }
}

/* A match may not begin behind its end, nor before the place from which it was looked for. */
static void refuses_matches_moved_outside(void **state) {
    (void)state;
    static const char *const expressions[] = {"(?(DEFINE)(?<k>b\\\\K))a(?=(?&k))", "a(?=(?1))|(b\\\\K)"};
    for (size_t i = 0; i < 2; i++) {
        char file[512];
        tokenizer *t;
        token_list ids = {0};
        snprintf(file, sizeof file,
                 "{\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"%s\"}},"
                 "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]}}",
                 expressions[i]);
        write_file("tokenizer.json", file);
        if (tokenizer_open(&t, directory, &error) == LEVEE_OK)
            assert_int_equal(tokenizer_encode(t, "abab", 4, false, &ids, &error), LEVEE_BAD_DATA);
        token_list_free(&ids);
        tokenizer_close(t);
    }
}

/* What one entry of a file takes is asked of the budget before it is taken. */
static void bounds_long_entries(void **state) {
    (void)state;
    static const struct {
        const char *before, *part, *after;
    } cases[] = {
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[0", ",0", "]]}}"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":[0", ",0", "]},\"merges\":[]}}"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"", "ab", "\":0},\"merges\":[]}}"},
        {"{\"", "ab", "\":0,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}"},
    };
    enum { PARTS = 200000 };
    char *file = malloc(2 * PARTS + 256);
    assert_non_null(file);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t;
        char *end = stpcpy(file, cases[i].before);
        for (int k = 0; k < PARTS; k++) end = stpcpy(end, cases[i].part);
        stpcpy(end, cases[i].after);
        write_file("tokenizer.json", file);
        ledger_set_budget(1 << 20);
        assert_int_equal(tokenizer_open(&t, directory, &error), LEVEE_DOES_NOT_FIT);
        ledger_set_budget(UINT64_MAX);
        assert_non_null(strstr(error.message, "tokenizer.json"));
    }
    free(file);
}

static void survives_refused_memory(void **state) {
    (void)state;
    write_file("tokenizer.json", "{\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"decoder\":{\"type\":\"Replace\","
                                 "\"pattern\":{\"Regex\":\"a|b\"},"
                                 "\"content\":\"\"},\"added_tokens\":[{\"id\":2,\"content\":\"x\"}],\"model\":{"
                                 "\"type\":\"BPE\",\"vocab\":{\"a\":0,"
                                 "\"b\":1},\"merges\":[]}}");
    levee_status status = LEVEE_DOES_NOT_FIT;
    for (uint64_t budget = 0; status != LEVEE_OK; budget += 128) {
        assert_true(budget < 1 << 20);
        tokenizer *t;
        token_list ids = {0};
        ledger_set_budget(budget);
        status = tokenizer_open(&t, directory, &error);
        if (status == LEVEE_OK) status = tokenizer_encode(t, "a b x", 5, true, &ids, &error);
        if (status != LEVEE_OK && status != LEVEE_DOES_NOT_FIT)
            fail_msg("%llu: %s", (unsigned long long)budget, error.message);
        token_list_free(&ids);
        tokenizer_close(t);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
    ledger_set_budget(UINT64_MAX);
}

static void compare_ids(tokenizer *t, const json_t *row, const char *key, bool special, int number) {
    const json_t *text = json_object_get(row, "text"), *wanted = json_object_get(row, key);
    token_list ids = {0};
    assert_int_equal(tokenizer_encode(t, json_string_value(text), json_string_length(text), special, &ids, &error),
                     LEVEE_OK);
    bool same = ids.count == json_array_size(wanted);
    for (size_t i = 0; same && i < ids.count; i++)
        same = ids.ids[i] == (uint32_t)json_integer_value(json_array_get(wanted, i));
    if (!same) fail_msg("row %d: %s differ", number, key);
    const json_t *decoded = json_object_get(row, "decoded");
    char *back;
    uint64_t bytes;
    if (!special) {
        assert_int_equal(tokenizer_decode(t, ids.ids, ids.count, false, &back, &bytes, &error), LEVEE_OK);
        if (bytes != json_string_length(decoded) || memcmp(back, json_string_value(decoded), bytes))
            fail_msg("row %d: the decoded text differs", number);
        ledger_free(back);
    }
    token_list_free(&ids);
}

static void matches_hugging_face(void **state) {
    (void)state;
    static const char *const folders[] = {"tokenizers/bpe-gpt2", "tokenizers/bpe-llama3", "tokenizers/bpe-qwen2",
                                          "tokenizers/phi-2",    "tokenizers/phi-3-mini", "models/stories260k"};
    const char *shared = getenv("LEVEE_SHARED") ? getenv("LEVEE_SHARED") : "../shared/data";
    if (access(shared, R_OK)) {
        print_message("%s is not here\n", shared);
        skip();
    }
    int rows = 0;
    for (size_t f = 0; f < sizeof folders / sizeof *folders; f++) {
        char path[512];
        tokenizer *t;
        snprintf(path, sizeof path, "%s/%s", shared, folders[f]);
        assert_int_equal(tokenizer_open(&t, path, &error), LEVEE_OK);
        snprintf(path, sizeof path, "%s/%s/vectors.jsonl", shared, folders[f]);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        char *line = NULL;
        size_t room = 0;
        for (int number = 1; getline(&line, &room, file) > 0; number++, rows++) {
            json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
            assert_non_null(row);
            compare_ids(t, row, "ids", true, number);
            compare_ids(t, row, "ids_plain", false, number);
            json_decref(row);
        }
        free(line);
        fclose(file);
        tokenizer_close(t);
    }
    print_message("%d rows\n", rows);
    assert_true(rows >= 700);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_by_merges_and_bytes),      cmocka_unit_test(decodes_bytes_before_other_steps),
        cmocka_unit_test(normalises_within_the_budget),     cmocka_unit_test(long_input_is_encoded),
        cmocka_unit_test(takes_nothing_once_there_is_room), cmocka_unit_test(refuses_bad_files),
        cmocka_unit_test(refuses_matches_moved_outside),    cmocka_unit_test(bounds_long_entries),
        cmocka_unit_test(survives_refused_memory),          cmocka_unit_test(matches_hugging_face),
    };
    pool_hook_json();
    if (!mkdtemp(directory)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char path[256];
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    remove(path);
    remove(directory);
    return failed;
}
