/* levee_tokenize: rows as a training reads them, by the same way (data/example.h). */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "data/example.h"
#include "memory/ledger.h"
#include "train/options.h"

typedef struct tokenization {
    const levee_options *options;
    levee_print *print;
    void *context;
    tokenizer *tokens;
    example_maker maker;
    text_buffer line; /* what is printed for a row */
    bool refused;     /* a row was */
} tokenization;

static levee_status append(tokenization *t, const char *text, levee_error *error) {
    return text_append(&t->line, text, strlen(text), error);
}

/* A character as JSON writes it; NULL when it stands for itself. Negative: bytes that are no UTF-8. */
static const char *escape(char escaped[16], int32_t code) {
    if (code < 0) return "\\ufffd";
    if (code == '\n') return "\\n";
    if (code >= ' ' && code != '"' && code != '\\' && code != 127) return NULL;
    if (code == '"' || code == '\\')
        snprintf(escaped, 16, "\\%c", (char)code);
    else
        snprintf(escaped, 16, "\\u%04x", (unsigned)code);
    return escaped;
}

static levee_status append_quoted(tokenization *t, const char *text, uint64_t bytes, levee_error *error) {
    levee_status status = append(t, "\"", error);
    for (uint64_t at = 0, length; at < bytes && status == LEVEE_OK; at += length) {
        char room[16];
        const char *escaped = escape(room, utf8_read(text + at, bytes - at, &length));
        status = escaped ? append(t, escaped, error) : text_append(&t->line, text + at, length, error);
    }
    return status == LEVEE_OK ? append(t, "\"", error) : status;
}

/* `head`, and a number for each token: its id, or (not `ids`) whether it counts. */
static levee_status append_numbers(tokenization *t, const char *head, bool ids, levee_error *error) {
    const example_maker *m = &t->maker;
    levee_status status = append(t, head, error);
    for (uint64_t i = 0; i < m->ids.count && status == LEVEE_OK; i++) {
        char number[16];
        unsigned counts = !m->mask || m->mask[i];
        snprintf(number, sizeof number, "%s%u", i ? ", " : "", ids ? (unsigned)m->ids.ids[i] : counts);
        status = append(t, number, error);
    }
    return status == LEVEE_OK ? append(t, "]", error) : status;
}

static levee_status append_json(tokenization *t, levee_error *error) {
    const example_maker *m = &t->maker;
    char *text = NULL;
    uint64_t bytes;
    levee_status status = append(t, "{\"rendered\": ", error);
    if (status == LEVEE_OK) status = append_quoted(t, m->text, m->text_bytes, error);
    if (status == LEVEE_OK) status = append_numbers(t, ", \"ids\": [", true, error);
    if (status == LEVEE_OK) status = append_numbers(t, ", \"loss_mask\": [", false, error);
    if (status == LEVEE_OK) status = append(t, ", \"text\": ", error);
    if (status == LEVEE_OK)
        status = tokenizer_decode(t->tokens, m->ids.ids, m->ids.count, false, &text, &bytes, error);
    if (status == LEVEE_OK) status = append_quoted(t, text, bytes, error);
    ledger_free(text);
    return status == LEVEE_OK ? append(t, "}", error) : status;
}

/* The tokens' text: green where it counts, grey where it does not. What a terminal would obey becomes "?", but for
 * the end of a line and a tab. */
static levee_status append_coloured(tokenization *t, levee_error *error) {
    const example_maker *m = &t->maker;
    levee_status status = LEVEE_OK;
    for (uint64_t begin = 0, end; begin < m->ids.count && status == LEVEE_OK; begin = end) {
        char *text = NULL;
        uint64_t bytes = 0;
        bool counts = !m->mask || m->mask[begin];
        for (end = begin; end < m->ids.count && (!m->mask || m->mask[end] == counts); end++) continue;
        status = tokenizer_decode(t->tokens, m->ids.ids + begin, end - begin, false, &text, &bytes, error);
        for (uint64_t i = 0; status == LEVEE_OK && i < bytes; i++)
            if ((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t') text[i] = '?';
        if (status == LEVEE_OK) status = append(t, counts ? "\033[32m" : "\033[90m", error);
        if (status == LEVEE_OK) status = text_append(&t->line, text, bytes, error);
        if (status == LEVEE_OK) status = append(t, "\033[0m", error);
        ledger_free(text);
    }
    return status;
}

/* What is said of a row that is refused, in its place. */
static levee_status append_refusal(tokenization *t, const levee_error *why, levee_error *error) {
    levee_status status = append(t, "{\"error\": ", error);
    t->refused = true;
    if (status == LEVEE_OK) status = append_quoted(t, why->message, strlen(why->message), error);
    return status == LEVEE_OK ? append(t, "}", error) : status;
}

static void print_line(tokenization *t) {
    if (t->print) t->print(t->context, t->line.data ? t->line.data : "");
    t->line.bytes = 0;
}

/* One row; `why` has what the reader said if it refused it. */
static levee_status show(tokenization *t, const text_row *row, const char *path, levee_status read, levee_error *why,
                         levee_error *error) {
    levee_status status = read;
    if (status == LEVEE_OK) {
        status = example_make(&t->maker, &row->content, why);
        if (status != LEVEE_OK) error_context(why, "%s: line %llu", path, (unsigned long long)row->line);
    }
    if (status == LEVEE_BAD_DATA)
        status = append_refusal(t, why, error);
    else if (status != LEVEE_OK)
        return error_set(error, status, "%s", why->message);
    else
        status = t->options->tokenize.colour ? append_coloured(t, error) : append_json(t, error);
    if (status == LEVEE_OK) print_line(t);
    return status;
}

static levee_status show_file(tokenization *t, levee_error *error) {
    const levee_options *o = t->options;
    row_reader *rows = NULL;
    const row_fields fields = {.text = o->text_feature,
                               .prompt = o->prompt_feature,
                               .completion = o->completion_feature,
                               .chat = o->chat_feature};
    levee_status status = rows_open(&rows, o->data, o->max_row_bytes, error);
    if (status == LEVEE_OK) rows_name_fields(rows, &fields);
    while (status == LEVEE_OK) {
        text_row row;
        levee_error why = {0};
        levee_status read = rows_next(rows, &row, &why);
        if (read == LEVEE_OK && !row.content.kind) break;
        status = show(t, &row, o->data, read, &why, error);
    }
    rows_close(rows);
    return status;
}

static levee_status check(const levee_options *o, levee_error *error) {
    levee_status status = options_check_verb(o, "tokenize", error);
    if (status == LEVEE_OK) status = options_check_model(o, error);
    if (status != LEVEE_OK) return status;
    if (!*o->data == !*o->prompt)
        return error_set(error, LEVEE_USAGE, "either a file of rows is needed, or --prompt with a text");
    if (o->mask_prompt && o->tokenize.add_generation_prompt)
        return error_set(error, LEVEE_USAGE,
                         "--add-generation-prompt: what begins an answer is no part of what is "
                         "trained on; leave it or --mask-prompt out");
    return LEVEE_OK;
}

static void set_maker(tokenization *t) {
    const levee_options *o = t->options;
    const tokenize_options *own = &o->tokenize;
    t->maker = (example_maker){.tokens = t->tokens,
                               .model_directory = o->model,
                               .append_eos = !own->no_special_tokens,
                               .mask_prompt = o->mask_prompt,
                               .add_generation_prompt = own->add_generation_prompt,
                               .bos_token = *own->bos_token ? own->bos_token : NULL,
                               .eos_token = *own->eos_token ? own->eos_token : NULL,
                               .bare_texts = own->no_special_tokens};
}

levee_status levee_tokenize(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    tokenization t = {.options = options, .print = print, .context = context};
    levee_status status = check(options, error);
    if (status == LEVEE_OK) status = tokenizer_open(&t.tokens, options->model, error);
    if (status == LEVEE_OK) {
        set_maker(&t);
        status = tokenizer_replace_ends(t.tokens, t.maker.bos_token, t.maker.eos_token, error);
    }
    if (status == LEVEE_OK && *options->prompt) {
        levee_error why = {0};
        const text_row row = {
            .line = 1, .content = {.kind = ROW_TEXT, .text = options->prompt, .text_bytes = strlen(options->prompt)}};
        status = show(&t, &row, "--prompt", LEVEE_OK, &why, error);
    } else if (status == LEVEE_OK) {
        status = show_file(&t, error);
    }
    example_release(&t.maker);
    text_free(&t.line);
    tokenizer_close(t.tokens);
    if (status != LEVEE_OK || !t.refused) return status;
    return error_set(error, LEVEE_BAD_DATA, "%s: rows were refused; what is wrong stands in their places",
                     *options->prompt ? "--prompt" : options->data);
}
