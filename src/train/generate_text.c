/* levee_generate: a text, an answer or a conversation, as its tokens come. */
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "text/chat_template.h"
#include "train/chooser.h"
#include "train/generate.h"
#include "train/run.h"
#include "train/text_stream.h"

typedef struct talk {
    run common;
    levee_print *print;
    void *context;
    generation engine;
    chooser choice;
    chat_template *chat; /* NULL: a text is continued */
    json_t *messages;
    token_list ids;    /* all so far, those in the caches first */
    token_list answer; /* what was generated last */
} talk;

/* What a run has to say is a line of its own. */
static void print_notice(void *context, const char *text) {
    const talk *t = context;
    if (!t->print) return;
    t->print(t->context, text);
    t->print(t->context, "\n");
}

static bool ends_text(const talk *t, uint32_t id) {
    const model_config *c = &t->common.model.config;
    for (uint32_t i = 0; i < c->eos_count; i++)
        if (c->eos_ids[i] == id) return true;
    return tokenizer_eos(t->common.model.tokens) == (int64_t)id;
}

static levee_status add_message(talk *t, const char *role, const char *text, levee_error *error) {
    json_t *message = json_pack("{s:s, s:s}", "role", role, "content", text);
    if (message && !json_array_append_new(t->messages, message)) return LEVEE_OK;
    return error_set(error, LEVEE_BAD_DATA, "what the %s says is not UTF-8", role);
}

/* The conversation so far and the beginning of an answer, as tokens. */
static levee_status render(talk *t, token_list *ids, levee_error *error) {
    const chat_template_input input = {
        .messages = t->messages, .message_count = UINT64_MAX, .add_generation_prompt = true};
    chat_template_output output;
    levee_status status = chat_template_render(t->chat, &input, &output, error);
    return status == LEVEE_OK ? tokenizer_encode(t->common.model.tokens, output.text, output.bytes, false, ids, error)
                              : status;
}

/* Makes `wanted` the tokens so far: what the caches have of it stays there, but for its last token, whose logits are
 * needed. *fresh is where the rest begins. */
static levee_status take_tokens(talk *t, const token_list *wanted, uint64_t *fresh, levee_error *error) {
    uint64_t same = 0;
    levee_status status = LEVEE_OK;
    while (same < t->engine.position && same + 1 < wanted->count && wanted->ids[same] == t->ids.ids[same]) same++;
    generation_rewind(&t->engine, (uint32_t)same);
    *fresh = same;
    t->ids.count = 0;
    for (uint64_t i = 0; i < wanted->count && status == LEVEE_OK; i++)
        status = token_list_add(&t->ids, wanted->ids[i], error);
    return status;
}

/* Generates after `wanted`, into t->answer, and prints it. */
static levee_status answer(talk *t, const token_list *wanted, levee_error *error) {
    uint32_t most = t->common.options->max_new_tokens;
    text_stream stream = {.tokens = t->common.model.tokens, .print = t->print, .context = t->context};
    uint64_t fresh;
    levee_status status = take_tokens(t, wanted, &fresh, error);
    t->answer.count = 0;
    while (status == LEVEE_OK && t->answer.count < most) {
        const float *logits;
        status = generation_step(&t->engine, t->ids.ids + fresh, t->ids.count - fresh, &logits, error);
        if (status != LEVEE_OK) break;
        uint32_t next = chooser_next(&t->choice, logits, t->ids.ids, t->ids.count);
        if (ends_text(t, next)) break;
        fresh = t->ids.count;
        status = token_list_add(&t->ids, next, error);
        if (status == LEVEE_OK) status = token_list_add(&t->answer, next, error);
        if (status == LEVEE_OK) status = text_stream_tell(&stream, &t->answer, false, error);
    }
    if (status == LEVEE_OK) status = text_stream_tell(&stream, &t->answer, true, error);
    if (status == LEVEE_OK && t->print) t->print(t->context, "\n");
    return status;
}

/* One turn: what the user says, and the answer. */
static levee_status take_turn(talk *t, const char *said, levee_error *error) {
    token_list wanted = {0};
    char *text = NULL;
    levee_status status = add_message(t, "user", said, error);
    if (status == LEVEE_OK) status = render(t, &wanted, error);
    if (status == LEVEE_OK) status = answer(t, &wanted, error);
    if (status == LEVEE_OK)
        status = tokenizer_decode(t->common.model.tokens, t->answer.ids, t->answer.count, true, &text, NULL, error);
    if (status == LEVEE_OK) status = add_message(t, "assistant", text, error);
    ledger_free(text);
    token_list_free(&wanted);
    return status;
}

static levee_status converse(talk *t, levee_error *error) {
    const levee_options *o = t->common.options;
    const char *said;
    levee_status status = LEVEE_OK;
    if (*o->prompt) return take_turn(t, o->prompt, error);
    while (status == LEVEE_OK && (said = o->ask(o->ask_context))) status = take_turn(t, said, error);
    return status;
}

/* How many tokens the caches are to hold: all that may come. */
static levee_status plan_tokens(talk *t, token_list *prompt, uint32_t *tokens, levee_error *error) {
    const levee_options *o = t->common.options;
    const model_config *c = &t->common.model.config;
    levee_status status = LEVEE_OK;
    if (t->chat && !*o->prompt) {
        *tokens = o->max_sequence_tokens < c->max_positions ? o->max_sequence_tokens : c->max_positions;
        return LEVEE_OK;
    }
    if (t->chat) {
        status = add_message(t, "user", o->prompt, error);
        if (status == LEVEE_OK) status = render(t, prompt, error);
        json_array_remove(t->messages, json_array_size(t->messages) - 1);
    } else {
        status = tokenizer_encode(t->common.model.tokens, o->prompt, strlen(o->prompt), true, prompt, error);
    }
    if (status == LEVEE_OK && prompt->count > UINT32_MAX / 2 - o->max_new_tokens)
        status = error_set(error, LEVEE_USAGE, "--prompt: is too long");
    *tokens = (uint32_t)prompt->count + o->max_new_tokens;
    return status;
}

static levee_status open_chat(talk *t, levee_error *error) {
    const levee_options *o = t->common.options;
    if (!o->generate.chat) return LEVEE_OK;
    t->messages = json_array();
    if (!t->messages) return error_out_of_memory(error, "a conversation", sizeof *t->messages);
    levee_status status = chat_template_open(&t->chat, o->model, NULL, error);
    if (status == LEVEE_OK && *o->generate.system_prompt)
        status = add_message(t, "system", o->generate.system_prompt, error);
    return status;
}

static levee_status start(talk *t, uint32_t tokens, levee_error *error) {
    const levee_options *o = t->common.options;
    generation_settings settings = {.adapter_path = o->adapter_path, .cache_tokens = tokens};
    const chooser_settings choices = {.temperature = o->generate.temperature,
                                      .top_p = o->generate.top_p,
                                      .min_p = o->generate.min_p,
                                      .top_k = o->generate.top_k,
                                      .repetition_penalty = o->generate.repetition_penalty,
                                      .repetition_context = o->generate.repetition_context,
                                      .seed = o->seed};
    levee_status status = run_adapted(&t->common, &settings.adapted, error);
    if (status == LEVEE_OK)
        status = chooser_open(&t->choice, &choices, t->common.model.config.vocabulary_size, error);
    return status == LEVEE_OK ? generation_open(&t->engine, &t->common.model, &settings, error) : status;
}

static levee_status check(const levee_options *o, levee_error *error) {
    bool asks = o->generate.chat && o->ask;
    if (!*o->prompt && !asks) return error_set(error, LEVEE_USAGE, "--prompt is needed: a text to continue");
    if (*o->generate.system_prompt && !o->generate.chat)
        return error_set(error, LEVEE_USAGE, "--system-prompt: --chat is needed too");
    return LEVEE_OK;
}

levee_status levee_generate(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    talk t = {.print = print, .context = context};
    token_list prompt = {0};
    uint32_t tokens = 0;
    levee_status status = run_open(&t.common, "generate", options, print_notice, &t, error);
    if (status == LEVEE_OK) status = check(options, error);
    if (status == LEVEE_OK) status = open_chat(&t, error);
    if (status == LEVEE_OK) status = plan_tokens(&t, &prompt, &tokens, error);
    if (status == LEVEE_OK) status = start(&t, tokens, error);
    if (status == LEVEE_OK) status = t.chat ? converse(&t, error) : answer(&t, &prompt, error);
    chat_template_close(t.chat);
    json_decref(t.messages);
    token_list_free(&prompt);
    token_list_free(&t.ids);
    token_list_free(&t.answer);
    chooser_close(&t.choice);
    generation_close(&t.engine);
    run_close(&t.common);
    return status;
}
