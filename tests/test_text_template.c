/* Chat templates: what Jinja2 and transformers render, errors with their place, limits, memory, a model's files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "failing.h"
#include "memory/ledger.h"
#include "memory/pool.h"
#include "scratch.h"
#include "text/chat_template.h"

static levee_error error;

static void fixed_clock(void *context, struct tm *now) {
    (void)context;
    *now = (struct tm){.tm_year = 126, .tm_mon = 10, .tm_mday = 24, .tm_wday = 2, .tm_yday = 327, .tm_hour = 12};
}

static chat_template_options with_clock(void) {
    chat_template_options options = chat_template_defaults();
    options.clock = fixed_clock;
    return options;
}

/* Opens and renders; the text is good until chat_template_close(*t), which is called after a failure. */
static levee_status render(chat_template **t, const char *text, const chat_template_options *options,
                           const chat_template_input *input, chat_template_output *output) {
    levee_status status = chat_template_open_text(t, "T", text, strlen(text), NULL, options, &error);
    if (status != LEVEE_OK) return status;
    status = chat_template_render(*t, input, output, &error);
    if (status != LEVEE_OK) chat_template_close(*t);
    return status;
}

static void expect_text(const char *template, json_t *messages, const char *expected) {
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    levee_status status = render(&t, template, NULL, &input, &output);
    if (status != LEVEE_OK) fail_msg("%s: %s", template, error.message);
    assert_string_equal(output.text, expected);
    chat_template_close(t);
}

/* ---- What others render ---- */

static void compare_ranges(const chat_template_output *output, const json_t *wanted, int number) {
    bool same = output->generated_count == json_array_size(wanted);
    for (size_t i = 0; same && i < output->generated_count; i++) {
        const json_t *range = json_array_get(wanted, i);
        uint64_t begin = (uint64_t)json_integer_value(json_array_get(range, 0));
        uint64_t end = (uint64_t)json_integer_value(json_array_get(range, 1));
        same = output->generated[i].offset == begin && output->generated[i].bytes == end - begin;
    }
    if (!same) fail_msg("row %d: the generation blocks differ", number);
}

/* Python's other errors have other words; what a template raises, and undefined values, must have the same. */
static void compare_error(const json_t *row, levee_status status, int number) {
    const char *wanted = json_string_value(json_object_get(row, "error"));
    if (status != LEVEE_BAD_DATA) fail_msg("row %d: no error, but '%s' is expected", number, wanted);
    bool same_words = !strncmp(wanted, "TemplateError: ", 15) || !strncmp(wanted, "UndefinedError: '", 17);
    if (same_words && !strstr(error.message, strchr(wanted, ' ') + 1))
        fail_msg("row %d: '%s' instead of '%s'", number, error.message, wanted);
    if (!strstr(error.message, "T: line ")) fail_msg("row %d: no place in '%s'", number, error.message);
}

static void compare_row(const json_t *row, const char *text, const chat_template_input *input, int number) {
    chat_template_options options = with_clock();
    chat_template *t;
    chat_template_output output = {0};
    levee_status status = chat_template_open_text(&t, "T", text, strlen(text), row, &options, &error);
    if (status == LEVEE_OK) status = chat_template_render(t, input, &output, &error);
    const json_t *rendered = json_object_get(row, "rendered");
    if (!rendered) {
        compare_error(row, status, number);
    } else {
        if (status != LEVEE_OK) fail_msg("row %d: %s", number, error.message);
        if (output.bytes != json_string_length(rendered) ||
            memcmp(output.text, json_string_value(rendered), output.bytes))
            fail_msg("row %d: '%s' instead of '%s'", number, output.text, json_string_value(rendered));
        const json_t *ranges = json_object_get(row, "generated");
        if (ranges) compare_ranges(&output, ranges, number);
    }
    chat_template_close(t);
}

/* Rows that transformers filled in: tests/data/make_chat_templates.py. */
static void renders_what_jinja2_renders(void **state) {
    (void)state;
    FILE *file = fopen("tests/data/chat_templates.jsonl", "r");
    assert_non_null(file);
    json_t *variables = NULL, *none = json_array();
    char *line = NULL;
    size_t room = 0;
    int number = 1;
    for (; getline(&line, &room, file) > 0; number++) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        if (!variables) {
            variables = json_incref(json_object_get(row, "variables"));
        } else {
            const json_t *messages = json_object_get(row, "messages");
            chat_template_input input = {
                .messages = messages ? messages : none, .message_count = UINT64_MAX, .variables = variables};
            compare_row(row, json_string_value(json_object_get(row, "template")), &input, number);
        }
        json_decref(row);
    }
    assert_true(number > 200);
    free(line);
    fclose(file);
    json_decref(variables);
    json_decref(none);
}

static void matches_transformers(void **state) {
    (void)state;
    char path[FILE_PATH_BYTES], name[256];
    if (!scratch_shared(path, "chat_templates/vectors.jsonl")) skip();
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0, bytes;
    int rows = 0;
    while (getline(&line, &room, file) > 0) {
        json_t *row = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        snprintf(name, sizeof name, "chat_templates/%s.jinja", json_string_value(json_object_get(row, "template")));
        assert_true(scratch_shared(path, name));
        char *text = scratch_read(path, &bytes);
        chat_template_input input = {.messages = json_object_get(row, "messages"),
                                     .message_count = UINT64_MAX,
                                     .add_generation_prompt =
                                         json_is_true(json_object_get(row, "add_generation_prompt"))};
        compare_row(row, text, &input, ++rows);
        free(text);
        json_decref(row);
    }
    print_message("%d rows\n", rows);
    assert_true(rows >= 190);
    free(line);
    fclose(file);
}

/* ---- Errors and limits ---- */

static void names_the_place_of_errors(void **state) {
    (void)state;
    static const struct {
        const char *template, *words;
    } cases[] = {
        {"a\n  {{ missing.x }}", "T: line 2, column 13: 'missing' is undefined"},
        {"\n\n{% if %}{% endif %}", "line 3, column 7: an expression is needed, not '%}'"},
        {"{{ 1 }}\n{{ \xC3\xA9\xC3\xA9 + }}", "line 2, column 9"},
        {"{% for x in [1] %}\nx", "line 1, column 17|has no end (endfor|else)"},
        {"x {{ 'a }}", "line 1, column 6: a string has no closing quote"},
        {"{% include 'x' %}", "column 4|not 'include'"},
        {"{{ (1] }}", "column 6|bracket"},
        {"{{ 1 | nothing }}", "No filter named 'nothing'"},
        {"{{ 1 is nothing }}", "No test named 'nothing'"},
        {"{{ raise_exception('a\nb') }}", "line 1, column 19: a b"},
        {"{# x", "line 1, column 1: a comment has no #}"},
        {"{% raw %}", "a raw block has no {% endraw %}"},
        {"{{ 9223372036854775808 }}", "64 bits"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"},
        {"{{ -9223372036854775807 - 2 }}", "64 bits"},
        {"{{ 3037000500 * 3037000500 }}", "64 bits"},
        {"{{ (-9223372036854775807 - 1) // -1 }}", "64 bits"},
        {"{{ '\\ud800' }}", "no character"},
        {"{{ [].append(1) }}", "unsafe"},
        {"{{ messages[7].role }}", "list object has no element 7"},
        {"{{ strftime_now('%' * 300) }}", "less than 256 bytes"},
    };
    json_t *none = json_array();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chat_template_input input = {.messages = none, .message_count = UINT64_MAX};
        chat_template_output output;
        chat_template *t;
        levee_status status = render(&t, cases[i].template, NULL, &input, &output);
        scratch_expect(cases[i].template, LEVEE_BAD_DATA, cases[i].words, status, &error);
        assert_null(output.text);
    }
    chat_template *t;
    assert_int_equal(chat_template_open_text(&t, "T", "ab\xff", 3, NULL, NULL, &error), LEVEE_BAD_DATA);
    assert_non_null(strstr(error.message, "UTF-8 at byte 2"));
    json_decref(none);
}

static void hostile_templates_end(void **state) {
    (void)state;
    static const struct {
        const char *template, *words;
    } cases[] = {
        {"{% macro f() %}{{ f() }}{% endmacro %}\n{{ f() }}",
         "line 1, column|nested more deeply than the limit of 200"},
        {"{% macro f(n) %}{% set x = f(n + 1) %}{% endmacro %}{{ f(0) }}", "limit of 200"},
        {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "limit of 200"},
        {"{% macro f() %}{% if caller %}{% endif %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
         "limit of 200"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ n }}", "limit of 200"},
        {"{% set n = namespace(l=[]) %}{% for i in range(900) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
         "limit of 200"},
        {"{% set n = namespace(l=[]) %}{% for i in range(900) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l|tojson }}",
         "limit of 200"},
        {"{% set n = namespace(l=[], m=[]) %}{% for i in range(900) %}{% set n.l = [n.l] %}{% set n.m = [n.m] %}"
         "{% endfor %}{{ n.l == n.m }}",
         "limit of 200"},
        {"{% set s = 'y' * 1000000 %}{% for a in range(999) %}{% if 'x' in s %}{% endif %}{% endfor %}",
         "limit of 2000000 steps"},
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "limit of"},
        {"{% for a in range(99999) %}{% if 'x' in 'y' * 99999 %}{% endif %}{% endfor %}", "limit of"},
        {"{{ 'x' * 9999999999 }}", "longer than its limit of 1048576 bytes"},
        {"{% set s = 'y' * 1000 %}{% for i in range(2000) %}{{ s }}{% endfor %}",
         "longer than its limit of 1048576 bytes"},
        {"{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "limit of"},
        {"{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}",
         "limit of 4194304 bytes of memory"},
        {"{{ [0] * 9999999999 }}", "limit of"},
        {"{{ '%1000000d' % 1 * 9 }}", "limit of"},
        {"{{ 'a'.center(999999999) }}", "limit of"},
        {"{{ [1]|batch(999999999, 0)|list }}", "limit of"},
        {"{{ [1]|slice(999999999)|list }}", "limit of"},
        {"{{ 'a\nb'|indent(999999999) }}", "limit of"},
        {"{{ '1'.zfill(999999999) }}", "limit of"},
        {"{{ range(999999999) }}", "Range too big"},
    };
    chat_template_options options = with_clock();
    options.limits.steps = 2000000;
    options.limits.output_bytes = 1 << 20;
    options.limits.memory_bytes = 4 << 20;
    json_t *none = json_array();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chat_template_input input = {.messages = none, .message_count = UINT64_MAX};
        chat_template_output output;
        chat_template *t;
        scratch_expect(cases[i].template, LEVEE_BAD_DATA, cases[i].words,
                       render(&t, cases[i].template, &options, &input, &output), &error);
        assert_true(ledger_peak(LEVEE_TOKENIZER) <= (4 << 20) + (1 << 17));
    }
    json_decref(none);
}

/* Nesting that a file can have: `before` a thousand times, then `after`, which must be refused and not overflow. */
static void deep_nesting_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *begin, *before, *after, *end;
    } cases[] = {
        {"{{ ", "(", ")", " }}"},
        {"{{ ", "[", "]", " }}"},
        {"{{ ", "{1:", "}", " }}"},
        {"{{ ", "-", "1", " }}"},
        {"{{ ", "not ", "1", " }}"},
        {"{{ ", "1 if 1 else ", "1", " }}"},
        {"{{ ", "f(", ")", " }}"},
        {"{{ ", "a[", "]", " }}"},
        {"{{ ", "1 + ", "1", " }}"},
        {"{{ ", "1 ** ", "1", " }}"},
        {"{{ ", "1 and ", "1", " }}"},
        {"{{ 1", "|abs", "", " }}"},
        {"{{ a", ".a", "", " }}"},
        {"{{ 1", " is odd", "", " }}"},
        {"", "{% if 1 %}", "{% endif %}", ""},
        {"", "{% for i in [1] %}", "{% endfor %}", ""},
        {"{% set ", "(", "a)", " = 1 %}"},
        {"", "{% macro m() %}", "{% endmacro %}", ""},
        {"", "{% generation %}", "{% endgeneration %}", ""},
        {"{% filter ", "upper|", "upper", " %}{% endfilter %}"},
    };
    enum { DEPTH = 3000 };
    json_t *none = json_array();
    char *text = malloc(DEPTH * 40 + 256);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        chat_template_options options = with_clock();
        options.limits.depth = UINT32_MAX; /* as much as there may be: JINJA_DEEPEST */
        char *end = stpcpy(text, cases[i].begin);
        for (int k = 0; k < DEPTH; k++) end = stpcpy(end, cases[i].before);
        for (int k = 0; k < (strlen(cases[i].after) > 5 || cases[i].after[0] == ')' ? DEPTH : 1); k++)
            end = stpcpy(end, cases[i].after);
        stpcpy(end, cases[i].end);
        chat_template_input input = {.messages = none, .message_count = UINT64_MAX};
        chat_template_output output;
        chat_template *t;
        levee_status status = render(&t, text, &options, &input, &output);
        if (status == LEVEE_OK) {
            fail_msg("case %zu is not refused", i);
            chat_template_close(t);
        }
        assert_int_equal(status, LEVEE_BAD_DATA);
    }
    free(text);
    json_decref(none);
}

/* ---- Memory ---- */

static json_t *some_messages(void) {
    json_t *messages =
        json_loads("[{\"role\":\"user\",\"content\":\"Ab\"},{\"role\":\"assistant\",\"content\":\"c\"}]", 0, NULL);
    assert_non_null(messages);
    return messages;
}

static const char plain_template[] =
    "{% macro m(a, b=[1]) %}{{ a }}{{ b|tojson(indent=1) }}{{ varargs }}{% endmacro %}{% for x in messages %}"
    "{% generation %}{{ x.content|upper|replace('A', 'bb') }}{% endgeneration %}{{ m(x.role, {'a': (1, 2.5)}, 3) }}"
    "{% set ns = namespace(l=[3] + [loop.index]) %}{{ ns.l|sort|list }}{% endfor %}{{ 'x' * 100000 }}";

static const char plain_start[] = "bbBuser{\n \"a\": [\n  1,\n  2.5\n ]\n}(3,)[1, 3]"
                                  "Cassistant{\n \"a\": [\n  1,\n  2.5\n ]\n}(3,)[2, 3]";

static void each_refused_allocation_is_an_error(void **state) {
    (void)state;
    json_t *messages = some_messages();
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    failing f = {.first = FAULT_ALLOCATE, .last = FAULT_COMMIT, .what = {.failure = 12}};
    unsigned refused = 0;
    for (f.from = 0;; f.from++) {
        f.to = f.from + 1;
        failing_start(&f);
        levee_status status = render(&t, plain_template, NULL, &input, &output);
        failing_stop();
        /* A text that cannot grow where it is may still find room elsewhere. */
        if (status == LEVEE_OK) {
            assert_int_equal(output.bytes, 100000 + strlen(plain_start));
            assert_memory_equal(output.text, plain_start, strlen(plain_start));
            chat_template_close(t);
        } else {
            assert_int_equal(status, LEVEE_DOES_NOT_FIT);
            refused++;
        }
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
        if (!f.struck) break;
    }
    assert_true(refused >= 5);
    json_decref(messages);
}

static void renders_within_any_budget_or_not(void **state) {
    (void)state;
    json_t *messages = some_messages();
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    levee_status status = LEVEE_DOES_NOT_FIT;
    for (uint64_t budget = before; status != LEVEE_OK; budget += 4096) {
        assert_true(budget < before + (4 << 20));
        ledger_set_budget(budget);
        status = render(&t, plain_template, NULL, &input, &output);
        if (status != LEVEE_OK) assert_int_equal(status, LEVEE_DOES_NOT_FIT);
        if (status == LEVEE_OK) chat_template_close(t);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
    }
    ledger_set_budget(UINT64_MAX);
    json_decref(messages);
}

static void a_second_rendering_takes_nothing(void **state) {
    (void)state;
    json_t *messages = some_messages();
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    uint64_t before = ledger_booked(LEVEE_TOKENIZER);
    assert_int_equal(render(&t, plain_template, NULL, &input, &output), LEVEE_OK);
    char *first = strdup(output.text);
    uint64_t held = ledger_booked(LEVEE_TOKENIZER), count = ledger_allocation_count();
    assert_true(held - before >= 100000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
        assert_string_equal(output.text, first);
    }
    assert_int_equal(ledger_booked(LEVEE_TOKENIZER), held);
    assert_int_equal(ledger_allocation_count(), count);
    chat_template_trim(t);
    assert_true(ledger_booked(LEVEE_TOKENIZER) < held - 100000);
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
    assert_string_equal(output.text, first);
    chat_template_close(t);
    chat_template_trim(NULL);
    chat_template_close(NULL);
    assert_int_equal(ledger_booked(LEVEE_TOKENIZER), before);
    free(first);
    json_decref(messages);
}

/* Texts that grow bit by bit take what they are long, not the sum of all their states; and what was put behind one of
 * them is not seen in the others. */
static void growing_texts_take_little(void **state) {
    (void)state;
    chat_template_options options = with_clock();
    options.limits.memory_bytes = 8 << 20;
    json_t *none = json_array();
    chat_template_input input = {.messages = none, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    static const char template[] =
        "{% set n = namespace(a='', b='') %}{% set s = 'x' * 100 %}{% for i in range(5000) %}"
        "{% set n.a = n.a ~ s %}{% set n.b = n.b + s %}{% endfor %}{{ n.a == n.b }}"
        "{{ n.a|length }}";
    levee_status status = render(&t, template, &options, &input, &output);
    if (status != LEVEE_OK) fail_msg("%s", error.message);
    assert_string_equal(output.text, "True500000");
    chat_template_close(t);
    expect_text(
        "{% set a = 's' ~ 'x' %}{% set b = a ~ 'p' %}{% set c = a ~ 'q' %}{% set d = b + '\u00e9' %}{{ a }} {{ b }} "
        "{{ c }} {{ d }} {{ d|length }} {{ d ~ d }} {{ ('' ~ '') ~ '' }}|{{ ('' + '') + '' }}|{{ b }}",
        none, "sx sxp sxq sxp\xC3\xA9 4 sxp\xC3\xA9sxp\xC3\xA9 ||sxp");
    json_decref(none);
}

/* What was rendered before a failure leaves nothing behind. */
static void goes_on_after_a_failure(void **state) {
    (void)state;
    static const char template[] = "{{ x }}{% if x == 2 %}{{ missing.y }}{% endif %}";
    json_t *none = json_array(), *one = json_pack("{s:i}", "x", 1), *two = json_pack("{s:i}", "x", 2);
    chat_template_input input = {.messages = none, .message_count = UINT64_MAX, .variables = one};
    chat_template_output output;
    chat_template *t;
    assert_int_equal(render(&t, template, NULL, &input, &output), LEVEE_OK);
    input.variables = two;
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_BAD_DATA);
    input.variables = one;
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
    assert_string_equal(output.text, "1");
    chat_template_close(t);
    json_decref(none);
    json_decref(one);
    json_decref(two);
}

/* ---- What the data needs ---- */

static void prefixes_show_where_turns_end(void **state) {
    (void)state;
    static const char template[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
                                   "{% if add_generation_prompt %}<assistant>{% endif %}";
    json_t *messages = some_messages();
    chat_template_input input = {.messages = messages, .message_count = 1, .add_generation_prompt = true};
    chat_template_output output;
    chat_template *t;
    assert_int_equal(render(&t, template, NULL, &input, &output), LEVEE_OK);
    assert_string_equal(output.text, "<user>Ab<assistant>");
    assert_false(chat_template_has_generation(t));
    input.message_count = UINT64_MAX;
    input.add_generation_prompt = false;
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
    assert_string_equal(output.text, "<user>Ab<assistant>c");
    input.message_count = 0;
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
    assert_string_equal(output.text, "");
    chat_template_close(t);
    json_decref(messages);
}

static void tells_where_generation_blocks_lie(void **state) {
    (void)state;
    static const char template[] =
        "{% macro say(m) %}[{% generation %}{{ m.content }}{% endgeneration %}]{% endmacro %}"
        "\xC3\xA9{% for m in messages %}{{ say(m) }}{% endfor %}{% set x %}{% generation %}k{% endgeneration %}{% "
        "endset %}{{ x }}";
    json_t *messages = some_messages();
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    assert_int_equal(render(&t, template, NULL, &input, &output), LEVEE_OK);
    assert_string_equal(output.text, "\xC3\xA9[Ab][c]k");
    assert_true(chat_template_has_generation(t));
    assert_int_equal(output.generated_count, 2);
    assert_memory_equal(output.text + output.generated[0].offset, "Ab", output.generated[0].bytes);
    assert_memory_equal(output.text + output.generated[1].offset, "c", output.generated[1].bytes);
    assert_int_equal(output.generated[0].bytes, 2);
    assert_int_equal(output.generated[1].bytes, 1);
    assert_int_equal(output.captured_generations, 1);
    chat_template_close(t);
    json_decref(messages);
}

static void refuses_what_is_no_conversation(void **state) {
    (void)state;
    json_t *numbers = json_pack("[i]", 1), *object = json_object();
    chat_template_output output;
    chat_template *t;
    chat_template_input input = {.messages = numbers, .message_count = UINT64_MAX};
    scratch_expect("numbers", LEVEE_BAD_DATA, "message 1", render(&t, "", NULL, &input, &output), &error);
    input.messages = object;
    scratch_expect("object", LEVEE_BAD_DATA, "list", render(&t, "", NULL, &input, &output), &error);
    input.messages = NULL;
    scratch_expect("nothing", LEVEE_BAD_DATA, "list", render(&t, "", NULL, &input, &output), &error);
    json_decref(numbers);
    json_decref(object);
}

static void texts_hold_any_character(void **state) {
    (void)state;
    json_t *messages = json_array(), *message = json_object();
    json_object_set_new(message, "content", json_stringn("a\0b", 3));
    json_array_append_new(messages, message);
    chat_template_input input = {.messages = messages, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    assert_int_equal(render(&t, "{{ messages[0].content|length }}{{ messages[0].content }}", NULL, &input, &output),
                     LEVEE_OK);
    assert_int_equal(output.bytes, 4);
    assert_memory_equal(output.text, "3a\0b", 5);
    chat_template_close(t);
    expect_text("{{ messages[0].content.split('\\x00') }}{{ messages|tojson }}", messages,
                "['a', 'b'][{\"content\": \"a\\u0000b\"}]");
    expect_text("{{ '\x7f\u00e9'|tojson(ensure_ascii=true) }}", messages, "\"\\u007f\\u00e9\"");
    json_decref(messages);
}

/* ---- A model's files ---- */

static void expect_opened(const char *label, const char *directory, const char *variant, const char *expected) {
    chat_template_options options = with_clock();
    options.variant = variant;
    json_t *none = json_array();
    chat_template_input input = {.messages = none, .message_count = UINT64_MAX};
    chat_template_output output;
    chat_template *t;
    levee_status status = chat_template_open(&t, directory, &options, &error);
    if (status != LEVEE_OK) fail_msg("%s: %s", label, error.message);
    assert_int_equal(chat_template_render(t, &input, &output, &error), LEVEE_OK);
    assert_string_equal(output.text, expected);
    chat_template_close(t);
    json_decref(none);
}

static void opens_what_a_model_has(void **state) {
    const char *directory = *state;
    chat_template *t;
    scratch_expect("empty", LEVEE_MISSING_INPUT, "no chat template", chat_template_open(&t, directory, NULL, &error),
                   &error);
    assert_null(t);
    scratch_text(directory, "tokenizer_config.json",
                 "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\",\"lstrip\":false},\"pad_token\":null,"
                 "\"chat_template\":\"{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ tools is none }}\"}");
    expect_opened("a text", directory, NULL, "<s></s>True");
    expect_opened("a variant that is not there", directory, "tool_use", "<s></s>True");
    scratch_text(
        directory, "tokenizer_config.json",
        "{\"bos_token\":\"<s>\",\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T{{ bos_token }}\"},"
        "{\"name\":\"default\",\"template\":\"D\"}]}");
    expect_opened("default", directory, NULL, "D");
    expect_opened("tool_use", directory, "tool_use", "T<s>");
    expect_opened("rag", directory, "rag", "D");
    scratch_text(directory, "chat_template.jinja", "F{{ bos_token }}\n");
    expect_opened("a file", directory, NULL, "F<s>");
    scratch_text(directory, "chat_template.jinja", "");
    expect_opened("an empty file", directory, NULL, "");
    char sub[FILE_PATH_BYTES];
    assert_true(file_join(sub, directory, "additional_chat_templates"));
    assert_int_equal(file_make_directory(sub, &error), LEVEE_OK);
    scratch_text(sub, "rag.jinja", "R{{ bos_token }}");
    expect_opened("another file", directory, "rag", "R<s>");
}

static void names_the_file_of_errors(void **state) {
    const char *directory = *state;
    static const struct {
        const char *config, *words;
    } cases[] = {
        {"{", "tokenizer_config.json: line 1"},
        {"{\"chat_template\":1}", "tokenizer_config.json: chat_template: a text, or a list"},
        {"{\"chat_template\":[]}", "named 'default'"},
        {"{\"chat_template\":[{\"name\":\"default\",\"template\":2}]}", "named 'default'"},
        {"{\"chat_template\":\"a\\n{{\"}", "tokenizer_config.json: chat_template: line 2, column 3"},
    };
    chat_template *t;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_text(directory, "tokenizer_config.json", cases[i].config);
        scratch_expect(cases[i].config, LEVEE_BAD_DATA, cases[i].words,
                       chat_template_open(&t, directory, NULL, &error), &error);
        assert_null(t);
    }
    scratch_text(directory, "tokenizer_config.json", "{}");
    scratch_text(directory, "chat_template.jinja", "{{ 1 }}{% if %}");
    scratch_expect("file", LEVEE_BAD_DATA, "chat_template.jinja: line 1, column 14",
                   chat_template_open(&t, directory, NULL, &error), &error);
    chat_template_options options = with_clock();
    options.variant = "../x";
    scratch_expect("slash", LEVEE_USAGE, "slash", chat_template_open(&t, directory, &options, &error), &error);
}

static void each_call_on_files_may_fail(void **state) {
    const char *directory = *state;
    scratch_text(directory, "tokenizer_config.json", "{\"bos_token\":\"<s>\"}");
    scratch_text(directory, "chat_template.jinja", "x");
    uint64_t before = ledger_booked(LEVEE_CATEGORY_COUNT);
    failing f = {.first = FAULT_ALLOCATE, .last = FAULT_FREE_SPACE, .what = {.failure = 5}};
    for (f.from = 0;; f.from++) {
        f.to = f.from + 1;
        chat_template *t;
        failing_start(&f);
        levee_status status = chat_template_open(&t, directory, NULL, &error);
        failing_stop();
        /* Not being able to tell whether a file is there counts as being there: that call may fail without harm. */
        if (status != LEVEE_OK) assert_null(t);
        if (status != LEVEE_OK && !*error.message) fail_msg("call %llu: no message", (unsigned long long)f.from);
        chat_template_close(t);
        assert_int_equal(ledger_booked(LEVEE_CATEGORY_COUNT), before);
        if (!f.struck) break;
    }
    assert_true(f.from > 5);
}

#define SCRATCH_TEST(function) cmocka_unit_test_setup_teardown(function, scratch_setup, scratch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_what_jinja2_renders),
        cmocka_unit_test(matches_transformers),
        cmocka_unit_test(names_the_place_of_errors),
        cmocka_unit_test(hostile_templates_end),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(each_refused_allocation_is_an_error),
        cmocka_unit_test(renders_within_any_budget_or_not),
        cmocka_unit_test(a_second_rendering_takes_nothing),
        cmocka_unit_test(growing_texts_take_little),
        cmocka_unit_test(goes_on_after_a_failure),
        cmocka_unit_test(prefixes_show_where_turns_end),
        cmocka_unit_test(tells_where_generation_blocks_lie),
        cmocka_unit_test(refuses_what_is_no_conversation),
        cmocka_unit_test(texts_hold_any_character),
        SCRATCH_TEST(opens_what_a_model_has),
        SCRATCH_TEST(names_the_file_of_errors),
        SCRATCH_TEST(each_call_on_files_may_fail),
    };
    pool_hook_json();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
