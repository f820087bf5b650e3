/* safetensors files: what is written is read, and whatever is wrong with a file is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"
#include "tensor/safetensors.h"

/* Writes a file of that header and `data_bytes` bytes that count up from 0; `length` is what the prefix says, or -1.
 */
static const char *raw_file(const char *directory, const char *name, const char *header, long long length,
                            size_t data_bytes) {
    unsigned char content[8192];
    size_t header_bytes = strlen(header);
    uint64_t said = length < 0 ? header_bytes : (uint64_t)length;
    assert_true(8 + header_bytes + data_bytes <= sizeof content);
    for (int i = 0; i < 8; i++) content[i] = (unsigned char)(said >> 8 * i);
    memcpy(content + 8, header, header_bytes);
    for (size_t i = 0; i < data_bytes; i++) content[8 + header_bytes + i] = (unsigned char)i;
    return scratch_file(directory, name, content, 8 + header_bytes + data_bytes);
}

#define TENSOR(name, type, shape, begin, end)                                                                        \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void reads_good_files(void **state) {
    safetensors *s;
    levee_error error = {0};
    /* The data start at an odd address, and come in another order than the header. */
    const char *path =
        raw_file(*state, "good",
                 "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("b", "F32", "[2,1]", 6, 14) "," TENSOR(
                     "a", "BF16", "[3]", 0, 6) "," TENSOR("none", "F16", "[0,5]", 6,
                                                          6) "," TENSOR("scalar", "I32", "[]", 14, 18) "}  ",
                 -1, 18);
    scratch_expect("good", LEVEE_OK, "", safetensors_open(&s, path, &error), &error);
    assert_int_equal(safetensors_count(s), 4);
    const tensor_view *b = safetensors_find(s, "b"), *none = safetensors_find(s, "none");
    assert_non_null(b);
    assert_int_equal(b->type, DTYPE_F32);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->shape[0], 2);
    assert_int_equal(b->shape[1], 1);
    assert_int_equal(b->bytes, 8);
    assert_memory_equal(b->data, "\6\7\10\11\12\13\14\15", 8);
    assert_int_equal(none->bytes, 0);
    assert_int_equal(safetensors_find(s, "scalar")->rank, 0);
    assert_null(safetensors_find(s, "B"));
    assert_null(safetensors_find(s, "__metadata__"));
    for (uint32_t i = 1; i < safetensors_count(s); i++)
        assert_true(strcmp(safetensors_at(s, i - 1)->name, safetensors_at(s, i)->name) < 0);
    safetensors_close(s);

    assert_int_equal(safetensors_open(&s, raw_file(*state, "empty", "{}", -1, 0), NULL), LEVEE_OK);
    assert_int_equal(safetensors_count(s), 0);
    assert_int_equal(safetensors_mapped_bytes(s), 10);
    assert_null(safetensors_find(s, "a"));
    safetensors_close(s);
    safetensors_close(NULL);
}

static void refuses_bad_files(void **state) {
    static const struct {
        const char *label, *header;
        long long length;
        size_t data_bytes;
        const char *words;
    } cases[] = {
        {"header longer than the file", "{}", 3, 0, "10 bytes|fetch or save it again"},
        {"header length past any file", "{}", INT64_MAX, 0, "cut off"},
        {"not JSON", "{\"a\":", -1, 0, "damaged|line 1, column"},
        {"not an object", "[]", -1, 0, "damaged|object"},
        {"the same name twice", "{\"a\":1,\"a\":2}", -1, 0, "duplicate"},
        {"metadata of another kind", "{\"__metadata__\":3}", -1, 0, "__metadata__|object"},
        {"entry is no object", "{\"a\":3}", -1, 0, "tensor a|lacks dtype or shape"},
        {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", -1, 4, "tensor a|lacks dtype"},
        {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", -1, 4, "tensor a|lacks dtype or shape"},
        {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", -1, 4, "tensor a|data_offsets"},
        {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", -1, 4,
         "tensor a|data_offsets"},
        {"half bytes", "{" TENSOR("codes", "F4", "[2]", 0, 1) "}", -1, 1, "tensor codes|F4|convert it"},
        {"I64 of four bytes", "{" TENSOR("ids", "I64", "[1]", 0, 4) "}", -1, 4, "tensor ids|size of its shape"},
        {"unknown type", "{" TENSOR("q", "Q4_7", "[1]", 0, 1) "}", -1, 1, "tensor q|Q4_7"},
        {"nine dimensions", "{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", -1, 4, "tensor a|8 dimensions"},
        {"negative size", "{" TENSOR("a", "F32", "[-1]", 0, 4) "}", -1, 4, "tensor a|natural"},
        {"size that is no whole number", "{" TENSOR("a", "F32", "[1.0]", 0, 4) "}", -1, 4, "tensor a|natural"},
        {"elements overflow", "{" TENSOR("a", "F32", "[4294967296,4294967296,2]", 0, 4) "}", -1, 4,
         "tensor a|overflows"},
        {"bytes overflow", "{" TENSOR("a", "F32", "[4611686018427387904]", 0, 0) "}", -1, 0, "tensor a|overflows"},
        {"end before begin", "{" TENSOR("a", "F32", "[1]", 4, 0) "}", -1, 4, "tensor a|not a range"},
        {"negative begin", "{" TENSOR("a", "F32", "[1]", -4, 0) "}", -1, 4, "tensor a|not a range"},
        {"past the end", "{" TENSOR("a", "F32", "[2]", 0, 8) "}", -1, 4, "tensor a|past the end"},
        {"range shorter than the shape", "{" TENSOR("a", "F32", "[2]", 0, 4) "}", -1, 4,
         "tensor a|size of its shape"},
        {"range longer than the shape", "{" TENSOR("a", "F16", "[1]", 0, 4) "}", -1, 4, "tensor a|size of its shape"},
        {"overlap", "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 2, 6) "}", -1, 6,
         "tensor b|overlap"},
        {"the same bytes twice", "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 0, 4) "}", -1, 4,
         "overlap"},
        {"hole", "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 6, 10) "}", -1, 10,
         "tensor b|belong to no tensor"},
        {"hole at the start", "{" TENSOR("a", "F32", "[1]", 2, 6) "}", -1, 6, "tensor a|belong to no tensor"},
        {"bytes left over", "{" TENSOR("a", "F32", "[1]", 0, 4) "}", -1, 5, "after the last tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        safetensors *s;
        levee_error error;
        const char *path = raw_file(*state, "bad", cases[i].header, cases[i].length, cases[i].data_bytes);
        levee_status status = safetensors_open(&s, path, &error);
        scratch_expect(cases[i].label, LEVEE_BAD_DATA, "/bad", status, &error);
        scratch_expect(cases[i].label, LEVEE_BAD_DATA, cases[i].words, status, &error);
        assert_null(s);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
    char name[400] = "{\"", *end = name + 2 + 300;
    memset(name + 2, 'n', 300);
    strcpy(end, "\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}");
    safetensors *s;
    levee_error error;
    scratch_expect("long name", LEVEE_BAD_DATA, "tensor nnn|more than 255",
                   safetensors_open(&s, raw_file(*state, "long", name, -1, 4), &error), &error);
}

/* A header may have at most 100 MB; the file is sparse, and must be refused before anything of that size is taken. */
static void caps_the_header(void **state) {
    safetensors *s;
    levee_error error;
    const char *path = raw_file(*state, "huge", "{}", 100 * 1024 * 1024 + 1, 0);
    assert_int_equal(truncate(path, 101 * 1024 * 1024), 0);
    ledger_set_budget(1 << 20);
    scratch_expect("huge", LEVEE_BAD_DATA, "huge|100 MB", safetensors_open(&s, path, &error), &error);
}

static const tensor_declaration declared[] = {
    {"layer.one", DTYPE_F32, 2, {3, 2}},
    {"layer.two", DTYPE_BF16, 1, {5}},
    {"scalar", DTYPE_F16, 0, {0}},
    {"none", DTYPE_F32, 2, {0, 9}},
};
enum { DECLARED = sizeof declared / sizeof *declared, DATA_BYTES = 24 + 10 + 2 };

static levee_status write_file(const char *path, uint64_t data_bytes, levee_error *error) {
    unsigned char data[64];
    for (unsigned i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i + 1);
    file_writer w;
    levee_status status = file_writer_open(&w, path, error);
    if (status == LEVEE_OK) status = safetensors_write_header(&w, scratch_describe, declared, DECLARED, error);
    if (status == LEVEE_OK) status = file_writer_write(&w, data, data_bytes, error);
    if (status == LEVEE_OK) status = file_writer_commit(&w, error);
    file_writer_abandon(&w);
    return status;
}

static void reads_what_it_writes(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    file_join(path, *state, "written");
    scratch_expect("write", LEVEE_OK, "", write_file(path, DATA_BYTES, &error), &error);
    char *text;
    size_t bytes;
    text = scratch_read(path, &bytes);
    assert_int_equal((bytes - DATA_BYTES) % 64, 0);
    assert_non_null(strstr(text + 8, "\"__metadata__\":{\"format\":\"pt\"}"));
    free(text);
    safetensors *s;
    assert_int_equal(safetensors_open(&s, path, NULL), LEVEE_OK);
    assert_int_equal(safetensors_count(s), DECLARED);
    unsigned char next = 1;
    for (unsigned i = 0; i < DECLARED; i++) {
        const tensor_view *view = safetensors_find(s, declared[i].name);
        assert_non_null(view);
        assert_int_equal(view->type, declared[i].type);
        assert_int_equal(view->rank, declared[i].rank);
        assert_memory_equal(view->shape, declared[i].shape, view->rank * sizeof *view->shape);
        if (view->bytes) assert_int_equal(*(const unsigned char *)view->data, next);
        next = (unsigned char)(next + view->bytes);
    }
    safetensors_close(s);
    /* Another number of bytes than was declared never becomes a file. */
    scratch_expect("short", LEVEE_INTERNAL, "written", write_file(path, DATA_BYTES - 1, &error), &error);
    scratch_expect("long", LEVEE_INTERNAL, "written", write_file(path, DATA_BYTES + 1, &error), &error);
    assert_int_equal(safetensors_open(&s, path, NULL), LEVEE_OK);
    safetensors_close(s);
}

static void refuses_bad_declarations(void **state) {
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "never");
    const tensor_declaration garbled[] = {{"\xff\xfe", DTYPE_F32, 1, {1}}};
    file_writer w;
    levee_error error;
    assert_int_equal(file_writer_open(&w, path, NULL), LEVEE_OK);
    scratch_expect("garbled", LEVEE_INTERNAL, "UTF-8",
                   safetensors_write_header(&w, scratch_describe, garbled, 1, &error), &error);
    file_writer_abandon(&w);
    assert_false(file_exists(path));
}

/* Every prefix of a file, and many files with damaged headers, are refused or read; never more than is there. */
static void survives_damage(void **state) {
    char path[FILE_PATH_BYTES];
    file_join(path, *state, "whole");
    assert_int_equal(write_file(path, DATA_BYTES, NULL), LEVEE_OK);
    char *whole;
    size_t bytes;
    whole = scratch_read(path, &bytes);
    safetensors *s;
    levee_error error;
    for (uint64_t length = 0; length < bytes; length++) {
        const char *cut = scratch_file(*state, "cut", whole, length);
        scratch_expect("cut", LEVEE_BAD_DATA, "cut", safetensors_open(&s, cut, &error), &error);
    }
    uint32_t random = 1;
    unsigned read = 0, refused = 0;
    char *damaged = malloc(bytes);
    for (unsigned round = 0; round < 4000; round++) {
        static const char replacements[] = "0123456789-[]{},:\"eE.\\ \xff";
        memcpy(damaged, whole, bytes);
        for (unsigned hits = 0; hits <= round % 3; hits++) {
            random = random * 1664525u + 1013904223u;
            damaged[(random >> 8) % (bytes - DATA_BYTES)] = replacements[(random >> 4) % (sizeof replacements - 1)];
        }
        levee_status status = safetensors_open(&s, scratch_file(*state, "damaged", damaged, bytes), &error);
        if (status != LEVEE_OK) scratch_expect("damaged", LEVEE_BAD_DATA, "damaged", status, &error);
        status == LEVEE_OK ? read++ : refused++;
        uint64_t sum = 0;
        for (uint32_t i = 0; s && i < safetensors_count(s); i++)
            for (uint64_t b = 0; b < safetensors_at(s, i)->bytes; b++)
                sum += ((const unsigned char *)safetensors_at(s, i)->data)[b];
        if (s && safetensors_count(s)) assert_int_equal(sum, DATA_BYTES * (DATA_BYTES + 1) / 2);
        safetensors_close(s);
    }
    assert_true(read > 10 && refused > 1000);
    free(damaged);
    free(whole);
}

static void opens_models(void **state) {
    char *directory = *state;
    safetensors *s;
    levee_error error;
    scratch_expect("nothing", LEVEE_MISSING_INPUT, "holds neither|model.safetensors|index.json",
                   safetensors_open_model(&s, directory, &error), &error);
    raw_file(directory, "one.safetensors",
             "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("c", "F32", "[1]", 4, 8) "}", -1, 8);
    raw_file(directory, "two.safetensors", "{" TENSOR("b", "F16", "[2]", 0, 4) "}", -1, 4);
    raw_file(directory, "again.safetensors", "{" TENSOR("a", "F32", "[1]", 0, 4) "}", -1, 4);
    static const struct {
        const char *label, *index;
        levee_status status;
        const char *words;
    } cases[] = {
        {"whole",
         "{\"metadata\":{},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":"
         "\"one.safetensors\"}}",
         LEVEE_OK, ""},
        {"missing shard", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"three.safetensors\"}}",
         LEVEE_MISSING_INPUT, "three.safetensors|missing; fetch it"},
        {"tensor in no shard", "{\"weight_map\":{\"a\":\"one.safetensors\",\"z\":\"one.safetensors\"}}",
         LEVEE_BAD_DATA, "weight_map: z|one.safetensors"},
        {"tensor in two shards", "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"again.safetensors\"}}",
         LEVEE_BAD_DATA, "tensor a is in two shards"},
        {"outside", "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", LEVEE_BAD_DATA,
         "'../one.safetensors' is no file name"},
        {"the directory", "{\"weight_map\":{\"a\":\"..\"}}", LEVEE_MISSING_INPUT, "not a regular file"},
        {"empty name", "{\"weight_map\":{\"a\":\"\"}}", LEVEE_BAD_DATA, "no file name"},
        {"no text", "{\"weight_map\":{\"a\":1}}", LEVEE_BAD_DATA, "weight_map: a"},
        {"no map", "{\"metadata\":{}}", LEVEE_BAD_DATA, "index.json|weight_map"},
        {"empty map", "{\"weight_map\":{}}", LEVEE_BAD_DATA, "index.json|weight_map"},
        {"not JSON", "{\"weight_map\":\n{", LEVEE_BAD_DATA, "index.json: line 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_text(directory, "model.safetensors.index.json", cases[i].index);
        scratch_expect(cases[i].label, cases[i].status, cases[i].words, safetensors_open_model(&s, directory, &error),
                       &error);
        if (s) assert_int_equal(safetensors_count(s), 3);
        if (s) assert_int_equal(safetensors_find(s, "b")->type, DTYPE_F16);
        safetensors_close(s);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
    /* A single file wins over an index. */
    raw_file(directory, "model.safetensors", "{" TENSOR("d", "F32", "[1]", 0, 4) "}", -1, 4);
    assert_int_equal(safetensors_open_model(&s, directory, NULL), LEVEE_OK);
    assert_non_null(safetensors_find(s, "d"));
    safetensors_close(s);
}

static void survives_refused_memory(void **state) {
    char path[FILE_PATH_BYTES];
    levee_error error;
    raw_file(*state, "one.safetensors", "{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("c", "F32", "[1]", 4, 8) "}",
             -1, 8);
    scratch_text(*state, "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"one.safetensors\"}}");
    file_join(path, *state, "written");
    levee_status opened = LEVEE_DOES_NOT_FIT, written = LEVEE_DOES_NOT_FIT;
    for (uint64_t budget = 0; opened != LEVEE_OK || written != LEVEE_OK; budget += 64) {
        assert_true(budget < 1 << 20);
        ledger_set_budget(budget);
        safetensors *s;
        opened = safetensors_open_model(&s, *state, &error);
        if (opened != LEVEE_OK) scratch_expect("open", LEVEE_DOES_NOT_FIT, "", opened, &error);
        safetensors_close(s);
        written = write_file(path, DATA_BYTES, &error);
        if (written != LEVEE_OK && written != LEVEE_INTERNAL)
            scratch_expect("write", LEVEE_DOES_NOT_FIT, "", written, &error);
        assert_int_equal(file_exists(path), written == LEVEE_OK);
        if (written == LEVEE_OK) unlink(path);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
}

static void opens_real_models(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t tensors;
        dtype type;
        bool head;
    } models[] = {{"stories260k", 47, DTYPE_F32, false},
                  {"tiny-llama-gqa-untied", 30, DTYPE_F32, true},
                  {"tiny-llama31-rope-tied", 29, DTYPE_BF16, false},
                  {"tiny-mistral-window", 30, DTYPE_BF16, true},
                  {"tiny-qwen2", 0, DTYPE_COUNT, false},
                  {"tiny-qwen3", 0, DTYPE_COUNT, false}};
    char path[FILE_PATH_BYTES], name[128];
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(name, sizeof name, "models/%s", models[i].name);
        if (!scratch_shared(path, name)) skip();
        safetensors *s;
        levee_error error;
        scratch_expect(name, LEVEE_OK, "", safetensors_open_model(&s, path, &error), &error);
        const tensor_view *norm = safetensors_find(s, "model.norm.weight");
        assert_non_null(norm);
        assert_int_equal(norm->shape[0], 64);
        if (models[i].tensors) {
            assert_int_equal(safetensors_count(s), models[i].tensors);
            assert_int_equal(norm->type, models[i].type);
            assert_int_equal(safetensors_find(s, "lm_head.weight") != NULL, models[i].head);
        }
        uint64_t bytes = 0;
        for (uint32_t t = 0; t < safetensors_count(s); t++) bytes += safetensors_at(s, t)->bytes;
        assert_true(bytes < safetensors_mapped_bytes(s) && bytes > safetensors_mapped_bytes(s) * 9 / 10);
        safetensors_close(s);
    }
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(reads_good_files),     SCRATCH_TEST(refuses_bad_files),        SCRATCH_TEST(caps_the_header),
        SCRATCH_TEST(reads_what_it_writes), SCRATCH_TEST(refuses_bad_declarations), SCRATCH_TEST(survives_damage),
        SCRATCH_TEST(opens_models),         SCRATCH_TEST(survives_refused_memory),  SCRATCH_TEST(opens_real_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
