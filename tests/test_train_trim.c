/* levee_trim: each cache is filled, and the kernel's figure falls by what it gives back; before, in and after a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "given_options.h"
#include "memory/ledger.h"
#include "platform/process.h"
#include "sanitized.h"
#include "scratch.h"
#include "train/session.h"

#define MIB (UINT64_C(1) << 20)
enum { NOISE_BYTES = 512 << 10, BLOCKS = 32768, BLOCK_BYTES = 1000 };

static levee_error error;

static uint64_t held(void) {
    process_memory now;
    assert_true(process_memory_read(&now));
    return now.held_bytes;
}

/* Leaves 32 MiB of freed blocks in the allocator, which the one that is not freed, the last, holds there. */
static void *fill_allocator(void) {
    static void *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = ledger_alloc(LEVEE_IO, BLOCK_BYTES);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    for (unsigned i = 0; i + 1 < BLOCKS; i++) ledger_free(blocks[i]);
    return blocks[BLOCKS - 1];
}

/* Trims, and holds what is reported against what the kernel counted before and counts now. */
static levee_trimmed trim(void) {
    levee_trimmed given;
    uint64_t before = held(), reported = 0;
    levee_trim(&given);
    uint64_t fallen = before - held();
    for (unsigned c = 0; c < LEVEE_CACHE_COUNT; c++) {
        assert_true(given.bytes[c] != LEVEE_UNKNOWN_BYTES);
        reported += given.bytes[c];
    }
    if (reported > fallen + NOISE_BYTES || fallen > reported + NOISE_BYTES)
        fail_msg("%llu bytes are reported, and %llu fell", (unsigned long long)reported, (unsigned long long)fallen);
    return given;
}

static void skip_without_allocator(void) {
    if (!SANITIZED) return;
    print_message("a sanitizer has the allocator\n");
    skip();
}

static void empties_the_allocator(void **state) {
    (void)state;
    skip_without_allocator();
    trim();
    uint64_t before = held();
    void *last = fill_allocator();
    assert_true(held() - before > 30 * MIB);
    levee_trimmed given = trim();
    assert_in_range(given.bytes[LEVEE_CACHE_ALLOCATOR], 30 * MIB, 40 * MIB);
    assert_true(given.bytes[LEVEE_CACHE_TOKENIZER] < NOISE_BYTES);
    print_message("the allocator gave back %llu bytes\n", (unsigned long long)given.bytes[LEVEE_CACHE_ALLOCATOR]);
    assert_true(held() - before < NOISE_BYTES);
    assert_true(trim().bytes[LEVEE_CACHE_ALLOCATOR] < NOISE_BYTES); /* nothing is left */
    ledger_free(last);
}

/* A model whose tokenizer has a pattern that no code is made for, and that keeps a frame for each character. */
static void make_model(char path[FILE_PATH_BYTES], const char *directory) {
    static const char slow[] =
        "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
        "\"(*NO_JIT)(?:(a)|b)*c\"},\"behavior\":\"Isolated\",\"invert\":false},\"post_processor\":null,"
        "\"decoder\":null,\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"aa\":3},\"merges\":[\"a "
        "a\"]}}";
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 2, .kv_heads = 1};
    assert_true(file_join(path, directory, "model"));
    scratch_expect("init", LEVEE_OK, "", levee_init(path, &shape, 1, &error), &error);
    scratch_text(path, "tokenizer.json", slow);
}

static void empties_the_tokenizer(void **state) {
    enum { LONG = 50000 };
    skip_without_allocator();
    char path[FILE_PATH_BYTES], *text = malloc(LONG);
    session model;
    token_list ids = {0}, again = {0};
    assert_non_null(text);
    memset(text, 'a', LONG);
    text[LONG - 1] = 'c';
    make_model(path, *state);
    assert_true(trim().bytes[LEVEE_CACHE_TOKENIZER] < NOISE_BYTES); /* nobody has one open */
    const session_options options = {
        .model_directory = path, .budget_bytes = 1024 * MIB, .device = {.threads = 1, .compute = COMPUTE_F32}};
    scratch_expect("open", LEVEE_OK, "", session_open(&model, &options, true, &error), &error);
    trim();
    assert_int_equal(tokenizer_encode(model.tokens, text, LONG, false, &ids, &error), LEVEE_OK);
    token_list_free(&ids);
    trim(); /* buffers are as long as the text from here on */
    uint64_t booked = ledger_booked(LEVEE_TOKENIZER), before = held();
    for (unsigned round = 0; round < 2; round++) {
        token_list *list = round ? &again : &ids;
        assert_int_equal(tokenizer_encode(model.tokens, text, LONG, false, list, &error), LEVEE_OK);
        uint64_t frames = ledger_booked(LEVEE_TOKENIZER) - booked - list->capacity * sizeof *list->ids;
        assert_true(frames > 20 * MIB && held() - before > 20 * MIB);
        levee_trimmed given = trim();
        assert_in_range(given.bytes[LEVEE_CACHE_TOKENIZER], frames - NOISE_BYTES, frames + NOISE_BYTES);
        print_message("the tokenizer gave back %llu bytes\n", (unsigned long long)given.bytes[LEVEE_CACHE_TOKENIZER]);
        assert_in_range(ledger_booked(LEVEE_TOKENIZER), booked, booked + list->capacity * sizeof *list->ids + 4096);
        if (!round) booked += list->capacity * sizeof *list->ids + 64;
    }
    assert_int_equal(ids.count, again.count);
    assert_memory_equal(ids.ids, again.ids, ids.count * sizeof *ids.ids);
    token_list_free(&ids);
    token_list_free(&again);
    session_close(&model);
    assert_true(trim().bytes[LEVEE_CACHE_TOKENIZER] < NOISE_BYTES);
    free(text);
}

/* Fills and trims in the middle of a run; *context counts how often. */
static void trim_at_each_step(void *context, const char *text) {
    unsigned *count = context;
    if (strncmp(text, "step ", 5) != 0) return;
    if (SANITIZED) {
        levee_trim(NULL);
        ++*count;
        return;
    }
    void *last = fill_allocator();
    assert_in_range(trim().bytes[LEVEE_CACHE_ALLOCATOR], 30 * MIB, 40 * MIB);
    ledger_free(last);
    ++*count;
}

static void changes_no_result(void **state) {
    char path[FILE_PATH_BYTES], result[FILE_PATH_BYTES], results[2][FILE_PATH_BYTES];
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 2, .kv_heads = 1};
    unsigned count = 0;
    assert_true(file_join(path, *state, "model"));
    scratch_expect("init", LEVEE_OK, "", levee_init(path, &shape, 1, &error), &error);
    for (unsigned trimmed = 0; trimmed < 2; trimmed++) {
        levee_options o;
        options_defaults(&o);
        must_set(&o, "model", path);
        must_set(&o, "data",
                 scratch_text(*state, "data.jsonl", "{\"text\": \"the tide\"}\n{\"text\": \"comes in\"}\n"));
        assert_true(file_join(result, *state, trimmed ? "trimmed" : "plain"));
        assert_true(file_join(results[trimmed], result, "adapter_model.safetensors"));
        must_set(&o, "adapter_path", result);
        must_set(&o, "iters", "5");
        must_set(&o, "batch_size", "2");
        must_set(&o, "threads", "1");
        must_set(&o, "dtype", "f32");
        must_set(&o, "memory", "1GiB");
        must_set(&o, "steps_per_report", "1");
        must_set(&o, "learning_rate", "1e-2");
        scratch_expect(result, LEVEE_OK, "", levee_train(&o, trimmed ? trim_at_each_step : NULL, &count, &error),
                       &error);
    }
    assert_int_equal(count, 5);
    size_t plain_bytes, trimmed_bytes;
    char *plain = scratch_read(results[0], &plain_bytes), *trimmed = scratch_read(results[1], &trimmed_bytes);
    assert_int_equal(plain_bytes, trimmed_bytes);
    assert_memory_equal(plain, trimmed, plain_bytes);
    free(plain);
    free(trimmed);
}

static void what_cannot_be_read_is_unknown(void **state) {
    (void)state;
    levee_trimmed given;
    failing f = {.first = FAULT_READ, .last = FAULT_READ, .to = UINT64_MAX, .what = {.failure = EIO}};
    failing_start(&f);
    levee_trim(&given);
    failing_stop();
    for (unsigned c = 0; c < LEVEE_CACHE_COUNT; c++) {
        assert_true(given.bytes[c] == LEVEE_UNKNOWN_BYTES);
        assert_true(strlen(levee_cache_name((levee_cache)c)) > 3);
    }
    assert_string_equal(levee_cache_name(LEVEE_CACHE_ALLOCATOR), "allocator");
    assert_string_equal(levee_cache_name(LEVEE_CACHE_COUNT), "unknown");
    levee_trim(NULL);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    levee_prepare();
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(empties_the_allocator),
        SCRATCH_TEST(empties_the_tokenizer),
        SCRATCH_TEST(changes_no_result),
        SCRATCH_TEST(what_cannot_be_read_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
