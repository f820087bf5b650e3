/* GGUF's header as it is read: what a file has is found, and what does not hold together is refused with its place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "memory/ledger.h"
#include "scratch.h"
#include "tensor/gguf_file.h"

/* A file that grows. */
typedef struct bytes {
    unsigned char data[4096];
    size_t count;
} bytes;

static void add(bytes *b, const void *from, size_t count) {
    assert_true(b->count + count <= sizeof b->data);
    memcpy(b->data + b->count, from, count);
    b->count += count;
}

static void add_u32(bytes *b, uint32_t number) { add(b, &number, sizeof number); }
static void add_u64(bytes *b, uint64_t number) { add(b, &number, sizeof number); }

static void add_text(bytes *b, const char *text) {
    add_u64(b, strlen(text));
    add(b, text, strlen(text));
}

static void begin(bytes *b, uint32_t version, uint64_t tensors, uint64_t entries) {
    b->count = 0;
    add(b, "GGUF", 4);
    add_u32(b, version);
    add_u64(b, tensors);
    add_u64(b, entries);
}

static void add_entry(bytes *b, const char *key, uint32_t type, const void *value, size_t count) {
    add_text(b, key);
    add_u32(b, type);
    add(b, value, count);
}

static void add_tensor(bytes *b, const char *name, uint32_t rank, const uint64_t *shape, uint32_t type,
                       uint64_t offset) {
    add_text(b, name);
    add_u32(b, rank);
    for (uint32_t d = 0; d < rank; d++) add_u64(b, shape[d]);
    add_u32(b, type);
    add_u64(b, offset);
}

/* Pads to the data, and adds so many bytes of them. */
static void add_data(bytes *b, size_t alignment, size_t count) {
    static const unsigned char zeros[1024];
    add(b, zeros, (alignment - b->count % alignment) % alignment);
    add(b, zeros, count);
}

static levee_status open_bytes(gguf_file **g, const char *directory, const bytes *b, levee_error *error) {
    return gguf_file_open(g, scratch_file(directory, "f.gguf", b->data, b->count), error);
}

static void expect_bad(const char *directory, const char *label, const bytes *b, const char *words) {
    gguf_file *g;
    levee_error error;
    levee_status status = open_bytes(&g, directory, b, &error);
    scratch_expect(label, LEVEE_BAD_DATA, words, status, &error);
    assert_null(g);
    assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
}

static void make_whole(bytes *b, uint32_t version) {
    const uint64_t matrix[] = {32, 2}, vector[] = {5};
    const uint32_t layers = 7, count = 2;
    const int8_t negative = -1;
    begin(b, version, 2, 4);
    add_text(b, "general.architecture");
    add_u32(b, 8);
    add_text(b, "llama");
    add_entry(b, "llama.block_count", 4, &layers, 4);
    add_entry(b, "negative", 1, &negative, 1);
    add_text(b, "tokens");
    add_u32(b, 9);
    add_u32(b, 8);
    add_u64(b, count);
    add_text(b, "a");
    add_text(b, "");
    add_tensor(b, "output.weight", 2, matrix, 8, 32);
    add_tensor(b, "norm", 1, vector, 0, 0);
    add_data(b, 32, 32 + 68);
}

static void reads_good_files(void **state) {
    for (uint32_t version = 2; version <= 3; version++) {
        bytes b;
        gguf_file *g;
        levee_error error;
        uint64_t number = 0, length = 0;
        make_whole(&b, version);
        scratch_expect("whole", LEVEE_OK, "", open_bytes(&g, *state, &b, &error), &error);
        assert_int_equal(gguf_file_count(g), 2);
        const gguf_view *norm = gguf_file_at(g, 0), *output = gguf_file_at(g, 1);
        assert_string_equal(norm->name, "norm");
        assert_string_equal(norm->type, "f32");
        assert_true(norm->rank == 1 && norm->elements == 5 && norm->bytes == 20);
        assert_string_equal(output->type, "q8_0");
        assert_true(output->rank == 2 && output->shape[0] == 2 && output->shape[1] == 32);
        assert_true(output->elements == 64 && output->bytes == 68 && output->offset == 32);
        const char *text = gguf_file_text(g, "general.architecture", &length);
        assert_true(text && length == 5 && !memcmp(text, "llama", 5));
        assert_true(gguf_file_number(g, "llama.block_count", &number) && number == 7);
        assert_false(gguf_file_number(g, "negative", &number));
        assert_false(gguf_file_number(g, "general.architecture", &number));
        assert_null(gguf_file_text(g, "llama.block_count", &length));
        assert_null(gguf_file_text(g, "general", &length));
        assert_int_equal(gguf_file_length(g, "tokens"), 2);
        assert_int_equal(gguf_file_length(g, "llama.block_count"), 0);
        gguf_file_close(g);
    }
    gguf_file_close(NULL);
}

static void refuses_bad_files(void **state) {
    bytes b = {.count = 3};
    const uint64_t one[] = {8}, odd[] = {33}, huge[] = {UINT64_MAX / 2, 4}, none[] = {0, UINT64_MAX / 2, 4},
                   five[] = {1, 1, 1, 1, 1};
    const uint32_t alignment = 48;
    memcpy(b.data, "GGU", 3);
    expect_bad(*state, "short", &b, "f.gguf: is no GGUF file");
    begin(&b, 3, 0, 0);
    b.data[0] = 'g';
    expect_bad(*state, "magic", &b, "f.gguf: is no GGUF file");
    begin(&b, 4, 0, 0);
    expect_bad(*state, "version", &b, "version 4 of GGUF is not read; 2 and 3 are");
    begin(&b, 3, 1, 0);
    expect_bad(*state, "no tensor", &b, "byte 24: the file is cut off");
    begin(&b, 3, UINT64_MAX, 0);
    expect_bad(*state, "many tensors", &b, "cut off");
    begin(&b, 3, 0, UINT64_MAX);
    expect_bad(*state, "many entries", &b, "cut off");
    begin(&b, 3, 0, 1);
    add_entry(&b, "x", 13, "", 0);
    expect_bad(*state, "entry", &b, "metadata of an unknown type");
    begin(&b, 3, 0, 1);
    add_entry(&b, "x", 9, "\x09\0\0\0\1\0\0\0\0\0\0\0", 12);
    expect_bad(*state, "lists of lists", &b, "a list of an unknown type");
    begin(&b, 3, 0, 1);
    add_entry(&b, "x", 9, "\x0a\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    expect_bad(*state, "long list", &b, "cut off");
    begin(&b, 3, 0, 1);
    add_entry(&b, "general.alignment", 4, &alignment, 4);
    expect_bad(*state, "alignment", &b, "general.alignment: 48 is no power of two");

    const struct {
        const char *label, *name;
        uint32_t rank;
        const uint64_t *shape;
        uint32_t type;
        uint64_t offset;
        const char *words;
    } cases[] = {
        {"type", "x", 1, one, 4, 0, "a tensor of an unknown type"},
        {"type past the table", "x", 1, one, 1u << 31, 0, "a tensor of an unknown type"},
        {"half a block", "x", 1, odd, 8, 0, "no whole blocks"},
        {"block of a scalar", "x", 0, one, 8, 0, "no whole blocks"},
        {"huge", "x", 2, huge, 0, 0, "a shape overflows"},
        {"huge beside none", "x", 3, none, 0, 0, "a shape overflows"},
        {"dimensions", "x", 5, five, 0, 0, "more than 4 dimensions"},
        {"name", "x\x1b[2J", 1, one, 0, 0, "a name that is not printable ASCII"},
        {"long name", "0123456789012345678901234567890123456789012345678901234567890123", 1, one, 0, 0,
         "more than 63 bytes"},
        {"odd place", "x", 1, one, 0, 8, "tensor x: its data are not aligned"},
        {"past the end", "x", 1, one, 0, 64, "tensor x: its data lie past the end of the file"},
        {"far past the end", "x", 1, one, 0, UINT64_MAX - 31, "tensor x: its data lie past the end of the file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(&b, 3, 1, 0);
        add_tensor(&b, cases[i].name, cases[i].rank, cases[i].shape, cases[i].type, cases[i].offset);
        add_data(&b, 32, 64);
        expect_bad(*state, cases[i].label, &b, cases[i].words);
    }
    for (unsigned twice = 0; twice < 2; twice++) {
        begin(&b, 3, 2, 0);
        add_tensor(&b, "x", 1, odd, 0, 0); /* 132 bytes */
        add_tensor(&b, twice ? "x" : "y", 1, one, 0, twice ? 160 : 128);
        add_data(&b, 32, 200);
        expect_bad(*state, "two", &b,
                   twice ? "tensor x: is there twice" : "tensor y: its data overlap another tensor's");
    }
    /* Cut anywhere, it is refused or, from where the header and all data are there, whole. */
    bytes whole;
    make_whole(&whole, 3);
    for (b = whole; b.count-- > 0;) expect_bad(*state, "cut", &b, "f.gguf");
}

static void survives_refused_memory(void **state) {
    bytes b;
    levee_status status = LEVEE_DOES_NOT_FIT;
    make_whole(&b, 3);
    for (uint64_t budget = 0; status != LEVEE_OK; budget += 16) {
        gguf_file *g;
        levee_error error;
        assert_true(budget < 1 << 16);
        ledger_set_budget(budget);
        status = open_bytes(&g, *state, &b, &error);
        if (status != LEVEE_OK) scratch_expect("refused", LEVEE_DOES_NOT_FIT, "f.gguf", status, &error);
        gguf_file_close(g);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), 0);
    }
    ledger_set_budget(UINT64_MAX);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(reads_good_files),
        SCRATCH_TEST(refuses_bad_files),
        SCRATCH_TEST(survives_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
