/* Rows as examples: conversations through a chat template, and which of their tokens count, token by token. The
 * tokenizer is that of levee init: a token is a byte, but for <|end|> and <|begin|>; where a test says so, two line
 * ends are one token too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "data/dataset.h"
#include "data/example.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"

enum { END = 256, MERGED = 258, IDS = 4096 };

static levee_error error;

static const char plain[] =
    "{% for m in messages %}{{ '<' + m.role + '>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>\\n' }}{% endif %}";

/* A model directory with a template (NULL: none); closed by tokenizer_close. */
static tokenizer *open_model(const char *directory, const char *template) {
    tokenizer *tokens = NULL;
    const levee_shape shape = {.hidden_size = 16, .intermediate_size = 16, .layers = 1, .heads = 1, .kv_heads = 1};
    pool_hook_json();
    if (levee_init(directory, &shape, 0, &error) != LEVEE_OK) fail_msg("%s", error.message);
    if (template) scratch_text(directory, "chat_template.jinja", template);
    if (tokenizer_open(&tokens, directory, &error) != LEVEE_OK) fail_msg("%s", error.message);
    return tokens;
}

/* "\n\n" becomes a token. */
static void merge_line_ends(const char *directory) {
    char path[FILE_PATH_BYTES];
    assert_true(file_join(path, directory, "tokenizer.json"));
    json_t *file = json_load_file(path, 0, NULL), *model = json_object_get(file, "model");
    assert_non_null(model);
    json_object_set_new(json_object_get(model, "vocab"), "\u010a\u010a", json_integer(MERGED));
    json_array_append_new(json_object_get(model, "merges"), json_string("\u010a \u010a"));
    assert_int_equal(json_dump_file(file, path, 0), 0);
    json_decref(file);
}

/* The example of a row, in words: text that counts stands in [brackets]. Checks that each token is what it should be.
 */
static levee_status describe(example_maker *m, const char *row, char *words) {
    row_content content;
    char wrong[512] = "";
    const row_fields usual = row_fields_usual();
    json_t *parsed = json_loads(row, 0, NULL);
    assert_non_null(parsed);
    row_content_read(&content, parsed, &usual, wrong, sizeof wrong);
    assert_string_equal(wrong, "");
    levee_status status = example_make(m, &content, &error);
    bool inside = false;
    uint64_t at = 0;
    for (uint64_t i = 0; status == LEVEE_OK && i < m->ids.count; i++) {
        char *text = NULL;
        uint64_t bytes;
        bool counts = !m->mask || m->mask[i];
        assert_int_equal(tokenizer_decode(m->tokens, &m->ids.ids[i], 1, false, &text, &bytes, &error), LEVEE_OK);
        assert_true(at + bytes <= m->text_bytes && !memcmp(m->text + at, text, bytes));
        if (counts != inside) *words++ = counts ? '[' : ']';
        inside = counts;
        memcpy(words, text, bytes);
        words += bytes;
        at += bytes;
        ledger_free(text);
    }
    if (status == LEVEE_OK) assert_int_equal(at, m->text_bytes);
    if (inside) *words++ = ']';
    *words = 0;
    /* In place of a pool, whose memory goes as a whole: what the conversation of a prompt took. */
    if (content.messages && json_object_get(parsed, "messages") != content.messages)
        json_decref((json_t *)(uintptr_t)content.messages);
    json_decref(parsed);
    return status;
}

static const char three[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"q\"}, "
    "{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"r\"}, "
    "{\"role\": \"assistant\", \"content\": \"b\"}]}";

static const char short_row[] = "{\"prompt\": \"q\", \"completion\": \"<a>\"}";

static const struct {
    const char *name, *template, *row, *expected;
    uint64_t hidden;
} masks[] = {
    {"prompt", plain, short_row, "<user>\nq<|end|>\n<assistant>\n[<a><|end|>\n]", 0},
    {"turns", plain, three,
     "<system>\ns<|end|>\n<user>\nq<|end|>\n<assistant>\n[a<|end|>\n]<user>\nr<|end|>\n<assistant>\n[b<|end|>\n]", 0},
    {"no answer", plain, "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}", "<user>\nq<|end|>\n", 0},
    {"last is the user's", plain,
     "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"q\"}]}",
     "<assistant>\n[a<|end|>\n]<user>\nq<|end|>\n", 0},
    /* The answer begins as the prompt of another answer would. */
    {"empty answer", plain, "{\"prompt\": \"q\", \"completion\": \"\"}", "<user>\nq<|end|>\n<assistant>\n[<|end|>\n]",
     0},
    /* Blocks say what counts, and win over roles. */
    {"blocks",
     "{% for m in messages %}{{ m.role + ':' }}{% generation %}{{ m.content }}{% endgeneration %}{{ ';' }}{% endfor "
     "%}",
     short_row, "user:[q];assistant:[<a>];", 0},
    /* A block that is captured has no place: then the parts are rendered. */
    {"captured blocks",
     "{% for m in messages %}{% set c %}{% generation %}{{ m.content }}{% endgeneration %}{% endset %}"
     "{{ m.role + ':' + c + ';' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
     short_row, "user:q;assistant:[<a>;]", 0},
    /* The beginning of an answer opens a thought that the answer does not have. */
    {"thought",
     "{% for m in messages %}{{ '(' + m.role + ')' + m.content }}{% endfor %}"
     "{% if add_generation_prompt %}(assistant)<think>{% endif %}",
     "{\"prompt\": \"q\", \"completion\": \"yes\"}", "(user)q(assistant)[yes]", 0},
    /* The last answer is written otherwise: the place of the one before is not known. */
    {"hidden",
     "{% for m in messages %}{{ m.role + ':' }}{% if loop.last and m.role == 'assistant' %}{{ '!' }}{% endif %}"
     "{{ m.content + ';' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
     three, "system:s;user:q;assistant:a;user:r;assistant:[!b;]", 1},
};

static void marks_each_token(void **state) {
    char words[4096];
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        char directory[FILE_PATH_BYTES];
        assert_true(file_join(directory, *state, masks[i].name));
        tokenizer *tokens = open_model(directory, masks[i].template);
        example_maker m = {.tokens = tokens, .model_directory = directory, .append_eos = true, .mask_prompt = true};
        if (describe(&m, masks[i].row, words) != LEVEE_OK) fail_msg("%s: %s", masks[i].name, error.message);
        if (strcmp(words, masks[i].expected)) fail_msg("%s: '%s'", masks[i].name, words);
        assert_int_equal(m.hidden_turns, masks[i].hidden);
        m.mask_prompt = false;
        assert_int_equal(describe(&m, masks[i].row, words), LEVEE_OK);
        assert_null(m.mask);
        example_release(&m);
        tokenizer_close(tokens);
    }
}

/* A line end that ends the prompt and one that begins the answer are one token: what the prompt alone does not end
 * with is learned. */
static void counts_a_token_across_the_border(void **state) {
    char words[256];
    tokenizer_close(open_model(*state, plain));
    merge_line_ends(*state);
    tokenizer *tokens = NULL;
    assert_int_equal(tokenizer_open(&tokens, *state, &error), LEVEE_OK);
    example_maker m = {.tokens = tokens, .model_directory = *state, .mask_prompt = true};
    assert_int_equal(describe(&m, "{\"prompt\": \"q\", \"completion\": \"\\n\"}", words), LEVEE_OK);
    assert_string_equal(words, "<user>\nq<|end|>\n<assistant>[\n\n<|end|>\n]");
    assert_int_equal(m.ids.ids[21], MERGED);
    example_release(&m);
    tokenizer_close(tokens);
}

static void gives_tools_as_they_are(void **state) {
    char words[256];
    tokenizer *tokens = open_model(*state, "{{ tools | tojson }}{{ messages[0].content }}");
    example_maker m = {.tokens = tokens, .model_directory = *state, .append_eos = true};
    assert_int_equal(describe(&m,
                              "{\"tools\": [{\"z\": 1, \"a\": 1.5}], \"messages\": [{\"role\": \"user\", "
                              "\"content\": \"q\"}]}",
                              words),
                     LEVEE_OK);
    assert_string_equal(words, "[[{\"z\": 1, \"a\": 1.5}]q]");
    example_release(&m);
    tokenizer_close(tokens);
}

/* A model may have a template of its own for rows with tools. */
static void takes_the_template_for_tools(void **state) {
    char words[256], directory[FILE_PATH_BYTES];
    static const char with[] = "{\"tools\": [1], \"prompt\": \"q\", \"completion\": \"a\"}";
    tokenizer *tokens = open_model(*state, "{{ messages[0].content }}");
    assert_true(file_join(directory, *state, "additional_chat_templates"));
    assert_int_equal(file_make_directory(directory, &error), LEVEE_OK);
    scratch_text(directory, "tool_use.jinja", "{{ tools[0] }}:{{ messages[0].content }}");
    example_maker m = {.tokens = tokens, .model_directory = *state};
    for (int again = 0; again < 2; again++) {
        assert_int_equal(describe(&m, with, words), LEVEE_OK);
        assert_string_equal(words, "[1:q]");
        assert_int_equal(describe(&m, short_row, words), LEVEE_OK);
        assert_string_equal(words, "[q]");
    }
    example_room room = example_room_taken(&m);
    assert_true(room.template_bytes[0] && room.template_bytes[1] && example_template_hash(&m));
    example_release(&m);
    tokenizer_close(tokens);
}

static void refuses_with_a_remedy(void **state) {
    static const struct {
        const char *name, *template, *row, *words;
    } cases[] = {
        {"none", NULL, short_row, "needs a chat template|chat_template.jinja|{\"text\": \"...\"}"},
        {"text", plain, "{\"text\": \"t\"}", "--mask-prompt|messages"},
        {"raises", "{{ raise_exception('no system') }}", short_row, "no system|line 1"},
        {"unknown place", "{{ messages | length }}{{ messages[-1].content }}", short_row, "--mask-prompt|generation"},
    };
    char words[256], directory[FILE_PATH_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(file_join(directory, *state, cases[i].name));
        tokenizer *tokens = open_model(directory, cases[i].template);
        example_maker m = {.tokens = tokens, .model_directory = directory, .mask_prompt = true};
        scratch_expect(cases[i].name, LEVEE_BAD_DATA, cases[i].words, describe(&m, cases[i].row, words), &error);
        example_release(&m);
        tokenizer_close(tokens);
    }
}

static dataset *open_data(const char *directory, const char *path, tokenizer *tokens) {
    dataset_options options = {.path = path,
                               .split = "train",
                               .index_directory = directory,
                               .max_sequence_tokens = 300,
                               .max_row_bytes = 1 << 16,
                               .append_eos = true,
                               .model_directory = directory,
                               .mask_prompt = true,
                               .fields = {.prompt = "question"}};
    dataset *d = NULL;
    if (dataset_open(&d, &options, tokens, &error) != LEVEE_OK) fail_msg("%s", error.message);
    return d;
}

/* Conversations of many lengths, three of which have nothing to learn: one without an answer, one whose answer is cut
 * off, one of a single token. */
static const char *write_conversations(const char *directory) {
    static char text[1 << 16];
    size_t bytes = 0;
    for (unsigned i = 0; i < 100; i++)
        bytes += (size_t)snprintf(text + bytes, sizeof text - bytes,
                                  "{\"messages\": [{\"role\": \"user\", \"content\": \"%0*u\"}, "
                                  "{\"role\": \"assistant\", \"content\": \"%0*u\"}]}\n",
                                  (int)(1 + i * 7 % 50), i, (int)(1 + i * 11 % 90), i);
    bytes += (size_t)snprintf(text + bytes, sizeof text - bytes,
                              "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n"
                              "{\"question\": \"%0400d\", \"completion\": \"a\"}\n"
                              "{\"question\": \"last\", \"completion\": \"a\"}\n",
                              1);
    return scratch_file(directory, "train.jsonl", text, bytes);
}

static void assert_rows(dataset *d) {
    uint32_t ids[300], count;
    uint64_t targets = 0;
    for (uint64_t r = 0; r < dataset_rows(d); r++) {
        assert_int_equal(dataset_read(d, r, ids, &count, &error), LEVEE_OK);
        const uint8_t *mask = dataset_loss_mask(d);
        assert_non_null(mask);
        uint32_t counted = 0;
        for (uint32_t i = 1; i < count; i++) counted += mask[i];
        assert_int_equal(counted, dataset_row_targets(d, r));
        if (r < 100) assert_int_equal(counted, 1 + r * 11 % 90 + (r >= 10 && !(r * 11 % 90)) + 2);
        targets += counted;
    }
    assert_int_equal(targets, dataset_targets(d));
}

/* Once a data set is open, its rows take nothing, in whatever order: with a new index as with an old one. */
static void reads_conversations_without_taking_memory(void **state) {
    tokenizer *tokens = open_model(*state, plain);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s", write_conversations(*state));
    uint64_t held = 0;
    for (int again = 0; again < 2; again++) {
        dataset *d = open_data(*state, path, tokens);
        assert_int_equal(dataset_rows(d), 101);
        assert_int_equal(dataset_untrained_rows(d), 2);
        assert_int_equal(dataset_hidden_rows(d), 0);
        uint64_t booked = ledger_booked(LEVEE_CATEGORY_COUNT), taken = ledger_allocation_count();
        if (again) assert_int_equal(booked, held);
        held = booked;
        for (uint32_t i = 0; i < 500; i++) {
            uint32_t ids[300], count;
            uint64_t row = random_bits(3, i, 0, 0, 0) % dataset_rows(d);
            assert_int_equal(dataset_read(d, row, ids, &count, &error), LEVEE_OK);
        }
        assert_rows(d);
        assert_int_equal(ledger_allocation_count(), taken);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), booked);
        dataset_close(d);
    }
    tokenizer_close(tokens);
}

/* A template that changed makes another index; one that is gone is an error that names the row. */
static void notices_another_template(void **state) {
    tokenizer *tokens = open_model(*state, plain);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s", write_conversations(*state));
    dataset *d = open_data(*state, path, tokens);
    uint64_t before = dataset_tokens(d), fingerprint = dataset_fingerprint(d);
    dataset_close(d);
    scratch_text(*state, "chat_template.jinja",
                 "{% for m in messages %}{{ m.role + m.content }}{% endfor %}"
                 "{% if add_generation_prompt %}assistant{% endif %}");
    d = open_data(*state, path, tokens);
    assert_true(dataset_tokens(d) < before && dataset_fingerprint(d) != fingerprint);
    dataset_close(d);
    char template[FILE_PATH_BYTES];
    assert_true(file_join(template, *state, "chat_template.jinja"));
    scratch_remove(template);
    dataset_options options = {.path = path,
                               .split = "train",
                               .index_directory = *state,
                               .max_sequence_tokens = 300,
                               .max_row_bytes = 1 << 16,
                               .append_eos = true,
                               .model_directory = *state,
                               .mask_prompt = true,
                               .fields = {.prompt = "question"}};
    scratch_expect("gone", LEVEE_BAD_DATA, "train.jsonl: line 1: |needs a chat template",
                   dataset_open(&d, &options, tokens, &error), &error);
    tokenizer_close(tokens);
}

/* A row is rendered with the time at which its index was made, whenever it is read. */
static void time_stands_still(void **state) {
    static const char template[] = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }}{{ messages[0].content }}";
    tokenizer *tokens = open_model(*state, template);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s",
             scratch_text(*state, "train.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}\n"));
    dataset_options options = {.path = path,
                               .split = "train",
                               .index_directory = *state,
                               .max_sequence_tokens = 300,
                               .max_row_bytes = 1 << 16,
                               .model_directory = *state};
    uint32_t ids[2][300], count;
    for (int again = 0; again < 2; again++) {
        dataset *d = NULL;
        if (dataset_open(&d, &options, tokens, &error) != LEVEE_OK) fail_msg("%s", error.message);
        if (again) assert_int_equal(usleep(1100000), 0);
        assert_int_equal(dataset_read(d, 0, ids[again], &count, &error), LEVEE_OK);
        assert_int_equal(count, 20);
        assert_int_equal(ids[again][0], '2');
        dataset_close(d);
    }
    assert_memory_equal(ids[0], ids[1], count * sizeof ids[0][0]);
    tokenizer_close(tokens);
}

/* Every allocation is refused in turn: an error that says so, and nothing is left behind. */
static void survives_refused_memory(void **state) {
    tokenizer *tokens = open_model(*state, plain);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s", write_conversations(*state));
    dataset_options options = {.path = path,
                               .split = "train",
                               .index_directory = *state,
                               .max_sequence_tokens = 300,
                               .max_row_bytes = 1 << 16,
                               .model_directory = *state,
                               .mask_prompt = true,
                               .fields = {.prompt = "question"}};
    unsigned refused = 0;
    for (uint64_t budget = 0;; budget += 4096) {
        dataset *d = NULL;
        uint64_t data = ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO) + ledger_booked(LEVEE_RUNTIME);
        ledger_set_budget(ledger_booked(LEVEE_CATEGORY_COUNT) + budget);
        levee_status status = dataset_open(&d, &options, tokens, &error);
        ledger_set_budget(UINT64_MAX);
        dataset_close(d);
        assert_int_equal(ledger_booked(LEVEE_DATA) + ledger_booked(LEVEE_IO) + ledger_booked(LEVEE_RUNTIME), data);
        if (status == LEVEE_OK) break;
        if (status != LEVEE_DOES_NOT_FIT) fail_msg("%d: %s", status, error.message);
        refused++;
    }
    assert_true(refused > 10);
    tokenizer_close(tokens);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(marks_each_token),         TEST(counts_a_token_across_the_border),
        TEST(gives_tools_as_they_are),  TEST(takes_the_template_for_tools),
        TEST(refuses_with_a_remedy),    TEST(reads_conversations_without_taking_memory),
        TEST(notices_another_template), TEST(time_stands_still),
        TEST(survives_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
