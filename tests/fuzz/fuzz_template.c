/* Chat templates: what opens renders a conversation within its limits, into text that is UTF-8, with generation
 * blocks that lie in it; the same again when it is rendered again. */
#include <string.h>

#include "harness.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "text/chat_template.h"

static json_t *row;

static void fixed_clock(void *context, struct tm *now) {
    (void)context;
    *now = (struct tm){.tm_year = 126, .tm_mon = 10, .tm_mday = 24};
}

void fuzz_prepare(void) {
    static const char text[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"S\xC3\xA9\"},{\"role\":\"user\",\"content\":[{\"type\":"
        "\"text\",\"text\":\" a\\nb \"}]},{\"role\":\"assistant\",\"content\":\"<think>x</think>y\",\"tool_calls\":"
        "[{\"function\":{\"name\":\"f\",\"arguments\":{\"x\":[1,2.5,null,true,\"q'\"]}}}]}],"
        "\"tools\":[{\"name\":\"f\",\"parameters\":{}}],\"variables\":{\"n\":3,\"s\":\"abc d\xF0\x9F\x98\x80\",\"l\":"
        "[3,1,2],\"d\":{\"b\":1,\"A\":[]}}}";
    json_error_t problem;
    row = json_parse(text, sizeof text - 1, 0, &problem);
    harness_require(row != NULL, "the conversation is not JSON");
}

static void check(const chat_template_output *output) {
    uint64_t place;
    harness_require(utf8_is_valid(output->text, output->bytes, &place) && !output->text[output->bytes],
                    "the rendered text is not UTF-8");
    for (uint64_t i = 0; i < output->generated_count; i++)
        harness_require(output->generated[i].offset <= output->bytes &&
                            output->generated[i].bytes <= output->bytes - output->generated[i].offset,
                        "a generation block lies outside of the text");
}

static void render(chat_template *t) {
    chat_template_input input = {
        .messages = json_object_get(row, "messages"),
        .message_count = UINT64_MAX,
        .tools = json_object_get(row, "tools"),
        .variables = json_object_get(row, "variables"),
    };
    chat_template_output output;
    levee_error error;
    uint64_t bytes = 0, count = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (!harness_succeeded(chat_template_render(t, &input, &output, &error), &error, "T.jinja")) return;
        check(&output);
        harness_require(!i || (bytes == output.bytes && count == output.generated_count),
                        "a second rendering differs");
        bytes = output.bytes;
        count = output.generated_count;
    }
    input.message_count = 1;
    input.add_generation_prompt = true;
    if (harness_succeeded(chat_template_render(t, &input, &output, &error), &error, "T.jinja")) check(&output);
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    chat_template_options options = chat_template_defaults();
    options.limits = (jinja_limits){.depth = 100, .steps = 200000, .output_bytes = 1 << 20, .memory_bytes = 4 << 20};
    options.clock = fixed_clock;
    chat_template *t;
    levee_error error;
    levee_status status = chat_template_open_text(&t, "T.jinja", (const char *)data, bytes, NULL, &options, &error);
    if (harness_succeeded(status, &error, "T.jinja")) render(t);
    harness_require(ledger_booked(LEVEE_TOKENIZER) <= (4 << 20) + (1 << 17), "a template took more than its limit");
    chat_template_close(t);
}
