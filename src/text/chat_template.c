/* Chat templates: see chat_template.h. */
#include "text/chat_template.h"

#include <string.h>
#include <xxhash.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "text/jinja_call.h"
#include "text/jinja_generated.h"
#include "text/jinja_json_value.h"
#include "text/jinja_parser.h"

struct chat_template {
    jinja_arena arena;
    uint64_t parsed_bytes; /* of the arena: before renderings */
    chat_template_options options;
    char *name;
    jinja_source source;
    jinja_nodes body;
    jinja_scope tokens; /* variables that hold for all renderings */
    bool has_generation;
    uint64_t fingerprint;
};

static void system_clock(void *context, struct tm *now) {
    (void)context;
    time_t seconds = time(NULL);
    localtime_r(&seconds, now);
}

chat_template_options chat_template_defaults(void) {
    return (chat_template_options){
        .limits = {.depth = 200, .steps = 50000000, .output_bytes = 16 << 20, .memory_bytes = 64 << 20},
        .clock = system_clock,
    };
}

void chat_template_close(chat_template *t) {
    if (!t) return;
    jinja_arena_close(&t->arena);
    ledger_free(t->name);
    ledger_free(t);
}

void chat_template_trim(chat_template *t) {
    if (!t) return;
    jinja_arena_cut(&t->arena, t->parsed_bytes);
    jinja_arena_trim(&t->arena);
}

uint64_t chat_template_room_taken(const chat_template *t) { return t->arena.memory.committed_bytes; }

levee_status chat_template_reserve(chat_template *t, uint64_t bytes, levee_error *error) {
    return jinja_arena_reserve(&t->arena, bytes) ? LEVEE_OK : error_out_of_memory(error, t->name, bytes);
}

uint64_t chat_template_fingerprint(const chat_template *t) { return t->fingerprint; }

bool chat_template_has_generation(const chat_template *t) { return t->has_generation; }

static void set_variable(jinja_run *run, jinja_scope *scope, const char *name, jinja_value value) {
    jinja_value text = jinja_text_copy(run, name, strlen(name));
    if (!jinja_failed(run)) jinja_set_variable(run, scope, text.string, value);
}

/* A special token is a text, or an object that describes it. */
static void set_token(chat_template *t, jinja_run *run, const json_t *tokens, const char *name) {
    const json_t *token = json_object_get(tokens, name);
    if (json_is_object(token)) token = json_object_get(token, "content");
    if (!json_is_string(token)) return;
    t->fingerprint = XXH64(name, strlen(name), t->fingerprint);
    t->fingerprint = XXH64(json_string_value(token), json_string_length(token), t->fingerprint);
    set_variable(run, &t->tokens, name, jinja_text_copy(run, json_string_value(token), json_string_length(token)));
}

static void set_tokens(chat_template *t, jinja_run *run, const json_t *tokens) {
    static const char *const names[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                        "pad_token", "cls_token", "mask_token", NULL};
    for (const char *const *name = names; *name; name++) set_token(t, run, tokens, *name);
    const char *other[] = {t->options.bos_token, t->options.eos_token};
    for (unsigned i = 0; i < 2; i++)
        if (other[i]) set_variable(run, &t->tokens, names[i], jinja_text_copy(run, other[i], strlen(other[i])));
}

static jinja_run run_make(chat_template *t, levee_error *error) {
    return (jinja_run){
        .arena = &t->arena,
        .limits = &t->options.limits,
        .source = &t->source,
        .error = error,
        .clock = t->options.clock,
        .clock_context = t->options.clock_context,
    };
}

static levee_status parse(chat_template *t, const char *text, uint64_t bytes, const json_t *tokens,
                          levee_error *error) {
    jinja_run run = run_make(t, error);
    uint64_t place;
    if (bytes > UINT32_MAX / 2)
        return error_set(error, LEVEE_BAD_DATA, "%s: a template of %llu bytes is too long", t->name,
                         (unsigned long long)bytes);
    if (!utf8_is_valid(text, bytes, &place))
        return error_set(error, LEVEE_BAD_DATA, "%s: the template is not UTF-8 at byte %llu", t->name,
                         (unsigned long long)place);
    t->fingerprint = XXH64(text, bytes, 0);
    if (jinja_source_read(&run, &t->source, text, bytes) && jinja_parse(&run, &t->body)) set_tokens(t, &run, tokens);
    t->has_generation = run.has_generation;
    t->parsed_bytes = t->arena.used;
    return run.status;
}

levee_status chat_template_open_text(chat_template **result, const char *name, const char *text, uint64_t bytes,
                                     const json_t *tokens, const chat_template_options *options, levee_error *error) {
    *result = NULL;
    chat_template *t = ledger_alloc(LEVEE_TOKENIZER, sizeof *t);
    if (!t) return error_out_of_memory(error, name, sizeof *t);
    t->options = options ? *options : chat_template_defaults();
    if (!t->options.clock) t->options.clock = system_clock;
    if (t->options.limits.depth > JINJA_DEEPEST) t->options.limits.depth = JINJA_DEEPEST;
    t->name = ledger_text(LEVEE_TOKENIZER, name);
    t->source = (jinja_source){.name = t->name, .text = ""};
    levee_status status = t->name ? jinja_arena_open(&t->arena, t->options.limits.memory_bytes, error)
                                  : error_out_of_memory(error, name, strlen(name));
    if (status == LEVEE_OK) status = parse(t, text, bytes, tokens, error);
    if (status != LEVEE_OK) {
        chat_template_close(t);
        return status;
    }
    *result = t;
    return LEVEE_OK;
}

static void set_variables(jinja_run *run, jinja_scope *scope, const json_t *variables) {
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)variables, name, value) set_variable(run, scope, name, jinja_from_json(run, value));
}

/* transformers gives tools and documents always: none when there are none. */
static void set_input(jinja_run *run, jinja_scope *scope, const chat_template_input *input) {
    jinja_value messages = jinja_messages_from_json(run, input->messages, input->message_count);
    set_variable(run, scope, "messages", messages);
    set_variable(run, scope, "tools", input->tools ? jinja_from_json(run, input->tools) : jinja_none());
    set_variable(run, scope, "documents", input->documents ? jinja_from_json(run, input->documents) : jinja_none());
    set_variable(run, scope, "add_generation_prompt", jinja_boolean(input->add_generation_prompt));
    set_variables(run, scope, input->variables);
}

levee_status chat_template_render(chat_template *t, const chat_template_input *input, chat_template_output *output,
                                  levee_error *error) {
    *output = (chat_template_output){0};
    jinja_arena_cut(&t->arena, t->parsed_bytes);
    jinja_run run = run_make(t, error);
    jinja_builder whole = {0};
    jinja_ranges generated = {0};
    jinja_scope variables = {.outer = &t->tokens}, top = {.outer = &variables};
    run.output = run.whole = &whole;
    run.generated = &generated;
    run.scope = &top;
    set_input(&run, &variables, input);
    if (!jinja_failed(&run)) jinja_execute(&run, &t->body);
    char *text = jinja_take(&run, whole.bytes + 1, 1);
    if (jinja_failed(&run)) return run.status;
    if (whole.bytes) memcpy(text, whole.data, whole.bytes);
    *output = (chat_template_output){
        .text = text,
        .bytes = whole.bytes,
        .generated = generated.pieces,
        .generated_count = generated.count,
        .captured_generations = run.captured_generations,
    };
    return LEVEE_OK;
}
