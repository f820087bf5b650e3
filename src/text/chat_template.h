/* Chat templates: conversations to text, as Hugging Face's transformers writes them.
 *
 * A model says how its conversations are written in a template of the Jinja language. It is run by an interpreter of
 * our own, which is bounded: a hostile template ends with an error that names the limit, line and column. What it
 * knows of the language is in docs/chat-templates.md.
 *
 * Memory. A template and its renderings live in one arena, booked under `tokenizer`, that never passes
 * limits.memory_bytes; what a rendering took is kept for the next one until chat_template_trim. Not thread-safe: a
 * rendering's result lies in the template. */
#ifndef LEVEE_TEXT_CHAT_TEMPLATE_H
#define LEVEE_TEXT_CHAT_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "text/buffer.h"
#include "text/jinja_limits.h"

typedef struct chat_template chat_template;

/* What strftime_now takes for now. */
typedef void chat_template_clock(void *context, struct tm *now);

typedef struct chat_template_options {
    jinja_limits limits;
    const char *variant;        /* of several templates in a model: NULL, or its name, as "tool_use" */
    chat_template_clock *clock; /* NULL: the local time of the system */
    void *clock_context;
    const char *bos_token, *eos_token; /* instead of the model's; NULL: the model's */
} chat_template_options;

/* Limits that no honest template meets, and the system's clock. */
chat_template_options chat_template_defaults(void);

/* Opens the template of a model directory: additional_chat_templates/VARIANT.jinja if a variant is asked for, or else
 * chat_template.jinja, or else chat_template in tokenizer_config.json, which
 * is a text or a list of {"name", "template"}; of those the variant, or "default". The special tokens come from
 * tokenizer_config.json. LEVEE_MISSING_INPUT when the model has none. `options` may be NULL. */
levee_status chat_template_open(chat_template **result, const char *directory, const chat_template_options *options,
                                levee_error *error);

/* Appends the text of the template that chat_template_open would open; nothing when the model has none. */
levee_status chat_template_read(text_buffer *text, const char *directory, levee_error *error);

/* Opens a template from its text. `name` is for messages. `tokens` (NULL: none) is an object like
 * tokenizer_config.json: its bos_token, eos_token and so on, each a text or an object with "content". */
levee_status chat_template_open_text(chat_template **result, const char *name, const char *text, uint64_t bytes,
                                     const json_t *tokens, const chat_template_options *options, levee_error *error);
void chat_template_close(chat_template *t); /* NULL is allowed */

/* Gives back what renderings took; the last result is gone then. NULL is allowed. */
void chat_template_trim(chat_template *t);

/* The memory that template and renderings took so far and keep. */
uint64_t chat_template_room_taken(const chat_template *t);

/* Takes as much at once, so that conversations which took it before take nothing now. */
levee_status chat_template_reserve(chat_template *t, uint64_t bytes, levee_error *error);

/* A number that differs for templates whose text or special tokens differ. */
uint64_t chat_template_fingerprint(const chat_template *t);

/* Does the template have generation blocks? Without any there is nothing to make a mask of. */
bool chat_template_has_generation(const chat_template *t);

typedef struct chat_template_input {
    const json_t *messages;     /* an array of objects */
    uint64_t message_count;     /* only the first so many of them, to find where turns end; UINT64_MAX: all */
    const json_t *tools;        /* an array; NULL: none */
    const json_t *documents;    /* the same */
    const json_t *variables;    /* an object: further variables, as {"enable_thinking": false}; NULL: none */
    bool add_generation_prompt; /* ends with the beginning of an answer */
} chat_template_input;

typedef struct chat_template_output {
    const char *text; /* NUL-terminated; until the next rendering, trim or close */
    uint64_t bytes;
    /* What lies in generation blocks, in the order of the blocks' ends. */
    const text_piece *generated;
    uint64_t generated_count;
    /* Blocks in text that was captured first (by set, filter, or a macro within an expression): where that text went
     * is not known, so they are not among `generated`, and a mask would be wrong. */
    uint64_t captured_generations;
} chat_template_output;

/* Renders a conversation. Messages are prepared as transformers does it: keys whose value is null are left out, and
 * what "reasoning_content", "thinking" or "reasoning" says is there under the first two names. What the template
 * raises is LEVEE_BAD_DATA "name: line, column: its message"; so is a limit. */
levee_status chat_template_render(chat_template *t, const chat_template_input *input, chat_template_output *output,
                                  levee_error *error);

#endif
