/* The choice of the next token: what is left out, how often each of the rest is drawn, and that the same seed draws
 * the same. And tokens as text while they come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"
#include "train/chooser.h"
#include "train/text_stream.h"

enum { VOCABULARY = 5, DRAWS = 20000 };

/* Likelihoods 0.4, 0.3, 0.2, 0.1 and nothing, in this order of ids: 2, 0, 4, 1, 3. */
static const float logits[VOCABULARY] = {-1.2039728f, -2.3025851f, -0.9162907f, -60, -1.6094379f};

static void draw_many(const chooser_settings *settings, const uint32_t *lately, uint64_t count,
                      double shares[VOCABULARY]) {
    chooser c;
    uint32_t so_far[64];
    assert_int_equal(chooser_open(&c, settings, VOCABULARY, NULL), LEVEE_OK);
    memset(shares, 0, VOCABULARY * sizeof *shares);
    for (uint64_t i = 0; i < count; i++) so_far[i] = lately[i];
    for (unsigned i = 0; i < DRAWS; i++) {
        c.settings.seed = settings->seed + i;
        shares[chooser_next(&c, logits, so_far, count)] += 1.0 / DRAWS;
    }
    chooser_close(&c);
}

static void expect_shares(const char *what, const chooser_settings *settings, const double expected[VOCABULARY]) {
    double shares[VOCABULARY];
    draw_many(settings, NULL, 0, shares);
    for (unsigned i = 0; i < VOCABULARY; i++) {
        /* Five deviations of a share of so many draws. */
        double most = 5 * sqrt(expected[i] * (1 - expected[i]) / DRAWS) + 1e-9;
        if (fabs(shares[i] - expected[i]) > most) fail_msg("%s: token %u has %g", what, i, shares[i]);
    }
}

static void draws_by_likelihood(void **state) {
    (void)state;
    const struct {
        const char *what;
        chooser_settings settings;
        double shares[VOCABULARY];
    } cases[] = {
        {"greedy", {.temperature = 0}, {0, 0, 1, 0, 0}},
        {"plain", {.temperature = 1}, {0.3, 0.1, 0.4, 0, 0.2}},
        {"hot", {.temperature = 2}, {0.2818, 0.1627, 0.3254, 0, 0.2301}}, /* as their roots */
        {"top_k", {.temperature = 1, .top_k = 2}, {3 / 7.0, 0, 4 / 7.0, 0, 0}},
        {"more than all", {.temperature = 1, .top_k = 99}, {0.3, 0.1, 0.4, 0, 0.2}},
        {"top_p", {.temperature = 1, .top_p = 0.75}, {3 / 9.0, 0, 4 / 9.0, 0, 2 / 9.0}},
        {"a small top_p", {.temperature = 1, .top_p = 0.01}, {0, 0, 1, 0, 0}},
        {"min_p", {.temperature = 1, .min_p = 0.6}, {3 / 7.0, 0, 4 / 7.0, 0, 0}},
        {"all three", {.temperature = 1, .top_k = 3, .top_p = 0.95, .min_p = 0.7}, {3 / 7.0, 0, 4 / 7.0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_shares(cases[i].what, &cases[i].settings, cases[i].shares);
}

static void makes_what_was_said_less_likely(void **state) {
    (void)state;
    const uint32_t said[] = {2, 0, 0};
    chooser c;
    chooser_settings settings = {.repetition_penalty = 2, .repetition_context = 20};
    assert_int_equal(chooser_open(&c, &settings, VOCABULARY, NULL), LEVEE_OK);
    /* 2 and 0 fall to -1.83 and -2.41, once each: 4 is next. */
    assert_int_equal(chooser_next(&c, logits, said, 3), 4);
    c.settings.repetition_context = 2; /* 2 is forgotten */
    assert_int_equal(chooser_next(&c, logits, said, 3), 2);
    const float positive[VOCABULARY] = {3, 1, 4, 0, 2.5f};
    c.settings.repetition_context = 20;
    assert_int_equal(chooser_next(&c, positive, said, 3), 4); /* 1.5 and 2 */
    c.settings.repetition_penalty = 1;
    assert_int_equal(chooser_next(&c, positive, said, 3), 2);
    chooser_close(&c);
}

static void repeats_itself(void **state) {
    (void)state;
    const chooser_settings settings = {.temperature = 1, .seed = 7};
    chooser c;
    uint32_t ids[2][40];
    for (unsigned k = 0; k < 2; k++) {
        assert_int_equal(chooser_open(&c, &settings, VOCABULARY, NULL), LEVEE_OK);
        for (unsigned i = 0; i < 40; i++) ids[k][i] = chooser_next(&c, logits, ids[k], i);
        chooser_close(&c);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
}

typedef struct heard {
    char text[256];
    unsigned pieces;
} heard;

static void hear(void *context, const char *text) {
    heard *h = context;
    strcat(h->text, text);
    h->pieces++;
}

/* Tokens that are bytes: a character of four comes as one piece, and one that is cut off at the end. */
static void tells_whole_characters(void **state) {
    static const char said[] = "a\xc3\xa9\xf0\x9f\x98\x80z", all[] = "a\xc3\xa9\xf0\x9f\x98\x80z\xef\xbf\xbd";
    const levee_shape shape = {.hidden_size = 8, .intermediate_size = 8, .layers = 1, .heads = 2, .kv_heads = 2};
    char path[FILE_PATH_BYTES];
    tokenizer *tokens;
    token_list ids = {0};
    heard h = {.pieces = 0};
    assert_true(file_join(path, *state, "model"));
    assert_int_equal(levee_init(path, &shape, 1, NULL), LEVEE_OK);
    assert_int_equal(tokenizer_open(&tokens, path, NULL), LEVEE_OK);
    text_stream stream = {.tokens = tokens, .print = hear, .context = &h};
    for (const char *c = said; *c; c++) {
        assert_int_equal(token_list_add(&ids, (unsigned char)*c, NULL), LEVEE_OK);
        assert_int_equal(text_stream_tell(&stream, &ids, false, NULL), LEVEE_OK);
    }
    assert_string_equal(h.text, said);
    assert_int_equal(h.pieces, 4);
    assert_int_equal(token_list_add(&ids, 0xe2, NULL), LEVEE_OK);
    assert_int_equal(text_stream_tell(&stream, &ids, false, NULL), LEVEE_OK);
    assert_string_equal(h.text, said);
    assert_int_equal(text_stream_tell(&stream, &ids, true, NULL), LEVEE_OK);
    assert_string_equal(h.text, all);
    token_list_free(&ids);
    tokenizer_close(tokens);
}

int main(void) {
    pool_hook_json();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_by_likelihood),
        cmocka_unit_test(makes_what_was_said_less_likely),
        cmocka_unit_test(repeats_itself),
        cmocka_unit_test_setup_teardown(tells_whole_characters, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
