/* Where a model keeps its chat template: see chat_template.h. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "memory/json.h"
#include "text/chat_template.h"

typedef struct template_search {
    const char *directory;
    const chat_template_options *options;
    json_t *config; /* tokenizer_config.json; NULL: not there */
    char config_path[FILE_PATH_BYTES];
    text_buffer *copy; /* takes the text, which is not opened then; NULL: nobody does */
    bool copied;
    levee_error *error;
} template_search;

static levee_status join(const template_search *s, char path[FILE_PATH_BYTES], const char *name) {
    if (file_join(path, s->directory, name)) return LEVEE_OK;
    return error_set(s->error, LEVEE_MISSING_INPUT, "%s/%s: the path is too long", s->directory, name);
}

static levee_status read_config(template_search *s) {
    levee_status status = join(s, s->config_path, "tokenizer_config.json");
    if (status != LEVEE_OK || !file_exists(s->config_path)) return status;
    return json_object_read_reals(&s->config, s->config_path, JSON_FILE_LIMIT_BYTES, s->error);
}

static levee_status take(chat_template **result, template_search *s, const char *name, const char *text,
                         uint64_t bytes) {
    s->copied = s->copy;
    if (s->copy) return text_append(s->copy, text, bytes, s->error);
    return chat_template_open_text(result, name, text, bytes, s->config, s->options, s->error);
}

static levee_status open_file(chat_template **result, template_search *s, const char *path) {
    file_mapping text;
    levee_status status = file_map(&text, path, s->error);
    if (status != LEVEE_OK) return status;
    status = take(result, s, path, (const char *)text.data, text.bytes);
    file_unmap(&text);
    return status;
}

/* Opens the first file that is there; *result stays NULL when none is. */
static levee_status open_files(chat_template **result, template_search *s) {
    char path[FILE_PATH_BYTES], name[256];
    const char *variant = s->options ? s->options->variant : NULL;
    if (variant) {
        bool fits = (size_t)snprintf(name, sizeof name, "additional_chat_templates/%s.jinja", variant) < sizeof name;
        if (!fits || strchr(variant, '/'))
            return error_set(s->error, LEVEE_USAGE, "a chat template's name is too long or has a slash");
        levee_status status = join(s, path, name);
        if (status != LEVEE_OK || file_exists(path)) return status == LEVEE_OK ? open_file(result, s, path) : status;
    }
    levee_status status = join(s, path, "chat_template.jinja");
    return status == LEVEE_OK && file_exists(path) ? open_file(result, s, path) : status;
}

/* The template of a name in a list of them; NULL: none. */
static const json_t *find_named(const json_t *list, const char *wanted) {
    for (size_t i = 0; wanted && i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && !strcmp(name, wanted)) return json_object_get(entry, "template");
    }
    return NULL;
}

static levee_status open_entry(chat_template **result, template_search *s) {
    const json_t *entry = json_object_get(s->config, "chat_template");
    if (json_is_absent(entry) && s->copy) return LEVEE_OK;
    if (json_is_absent(entry))
        return error_set(s->error, LEVEE_MISSING_INPUT,
                         "%s: the model has no chat template: neither chat_template.jinja nor chat_template in "
                         "tokenizer_config.json",
                         s->directory);
    if (json_is_array(entry)) {
        const json_t *named = find_named(entry, s->options ? s->options->variant : NULL);
        entry = named ? named : find_named(entry, "default");
    }
    if (!json_is_string(entry))
        return error_set(s->error, LEVEE_BAD_DATA,
                         "%s: chat_template: a text, or a list of {\"name\", \"template\"} with one that is named "
                         "'default', is needed",
                         s->config_path);
    char name[FILE_PATH_BYTES + 32];
    snprintf(name, sizeof name, "%s: chat_template", s->config_path);
    return take(result, s, name, json_string_value(entry), json_string_length(entry));
}

static levee_status look(chat_template **result, template_search *s) {
    levee_status status = read_config(s);
    if (status == LEVEE_OK) status = open_files(result, s);
    if (status == LEVEE_OK && !*result && !s->copied) status = open_entry(result, s);
    json_decref(s->config);
    return status;
}

levee_status chat_template_open(chat_template **result, const char *directory, const chat_template_options *options,
                                levee_error *error) {
    template_search s = {.directory = directory, .options = options, .error = error};
    *result = NULL;
    return look(result, &s);
}

levee_status chat_template_read(text_buffer *text, const char *directory, levee_error *error) {
    chat_template *none = NULL;
    template_search s = {.directory = directory, .copy = text, .error = error};
    return look(&none, &s);
}
