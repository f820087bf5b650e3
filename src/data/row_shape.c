/* The shapes of a row: see row_shape.h. */
#include "data/row_shape.h"

#include <stdio.h>

row_fields row_fields_usual(void) {
    return (row_fields){.text = "text", .prompt = "prompt", .completion = "completion", .chat = "messages"};
}

static const char *type_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static void read_text(row_content *content, const json_t *text, const char *name, char *wrong, size_t bytes) {
    if (!json_is_string(text)) {
        snprintf(wrong, bytes, "\"%.60s\" is %s, not a string; write it as {\"%.60s\": \"...\"}", name,
                 type_name(text), name);
        return;
    }
    content->kind = ROW_TEXT;
    content->text = json_string_value(text);
    content->text_bytes = json_string_length(text);
}

static json_t *turn(const char *role, const json_t *content) {
    json_t *message = json_object();
    json_object_set_new(message, "role", json_string(role));
    json_object_set(message, "content", (json_t *)(uintptr_t)content); /* only its count of references changes */
    return json_object_size(message) == 2 ? message : NULL;
}

static void read_prompt(row_content *content, const json_t *prompt, const json_t *completion,
                        const row_fields *fields, char *wrong, size_t bytes) {
    const json_t *parts[] = {prompt, completion};
    const char *names[] = {fields->prompt, fields->completion};
    for (unsigned i = 0; i < 2; i++) {
        if (json_is_string(parts[i])) continue;
        snprintf(wrong, bytes,
                 "\"%.60s\" is %s, not a string; write the row as {\"%.60s\": \"...\", \"%.60s\": \"...\"}", names[i],
                 type_name(parts[i]), names[0], names[1]);
        return;
    }
    json_t *messages = json_array();
    json_array_append_new(messages, turn("user", prompt));
    json_array_append_new(messages, turn("assistant", completion));
    if (json_array_size(messages) != 2) {
        snprintf(wrong, bytes, "there is no memory for the row as a conversation");
        return;
    }
    content->kind = ROW_CHAT;
    content->messages = messages;
}

static void read_chat(row_content *content, const json_t *messages, const char *name, char *wrong, size_t bytes) {
    static const char remedy[] = "[{\"role\": \"user\", \"content\": \"...\"}, ...]";
    if (!json_array_size(messages)) {
        snprintf(wrong, bytes, "\"%.60s\" is %s%s; write it as {\"%.60s\": %s}", name,
                 json_is_array(messages) ? "" : type_name(messages),
                 json_is_array(messages) ? "empty" : ", not an array", name, remedy);
        return;
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        if (json_is_object(message) && json_is_string(json_object_get(message, "role"))) continue;
        snprintf(wrong, bytes, "number %zu of \"%.60s\" %s; write it as {\"role\": \"user\", \"content\": \"...\"}",
                 i + 1, name, json_is_object(message) ? "has no \"role\" that is a string" : "is not an object");
        return;
    }
    content->kind = ROW_CHAT;
    content->messages = messages;
}

static void read_tools(row_content *content, const json_t *row, char *wrong, size_t bytes) {
    const json_t *tools = json_object_get(row, "tools");
    if (!tools || json_is_null(tools)) return;
    if (json_is_array(tools))
        content->tools = tools;
    else
        snprintf(wrong, bytes, "\"tools\" is %s, not an array; write it as an array of functions, or leave it out",
                 type_name(tools));
}

/* What is said of a row that has none of the fields. */
static void read_nothing(const json_t *row, const row_fields *fields, char *wrong, size_t bytes) {
    const char *there = json_object_get(row, fields->prompt)       ? fields->prompt
                        : json_object_get(row, fields->completion) ? fields->completion
                                                                   : NULL;
    if (there) {
        snprintf(wrong, bytes,
                 "the row has \"%.60s\" without \"%.60s\"; write it as {\"%.60s\": \"...\", \"%.60s\": \"...\"}",
                 there, there == fields->prompt ? fields->completion : fields->prompt, fields->prompt,
                 fields->completion);
        return;
    }
    snprintf(wrong, bytes,
             "the row has no field \"%.60s\"; write it as {\"%.60s\": \"...\"}, {\"%.60s\": \"...\", \"%.60s\": "
             "\"...\"} or "
             "{\"%.60s\": [...]}, or name its fields with --text-feature and the like",
             fields->text, fields->text, fields->prompt, fields->completion, fields->chat);
}

void row_content_read(row_content *content, const json_t *row, const row_fields *fields, char *wrong,
                      size_t wrong_bytes) {
    *content = (row_content){.kind = ROW_NONE};
    if (!json_is_object(row)) {
        snprintf(wrong, wrong_bytes, "the row is %s, not an object; write it as {\"%.60s\": \"...\"}", type_name(row),
                 fields->text);
        return;
    }
    const json_t *prompt = json_object_get(row, fields->prompt), *chat = json_object_get(row, fields->chat),
                 *completion = json_object_get(row, fields->completion), *text = json_object_get(row, fields->text);
    if (prompt && completion)
        read_prompt(content, prompt, completion, fields, wrong, wrong_bytes);
    else if (chat)
        read_chat(content, chat, fields->chat, wrong, wrong_bytes);
    else if (text)
        read_text(content, text, fields->text, wrong, wrong_bytes);
    else
        read_nothing(row, fields, wrong, wrong_bytes);
    if (content->kind == ROW_CHAT) read_tools(content, row, wrong, wrong_bytes);
}
