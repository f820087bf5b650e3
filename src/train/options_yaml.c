/* YAML files of options: maps become dotted keys, lists become text separated by commas. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "train/options.h"

enum { DEEPEST = 8, KEY_BYTES = 512, VALUE_BYTES = 4096 };

/* Where the reader is: the key so far, and for each open map how long it was before. */
typedef struct yaml_reader {
    levee_options *options;
    const char *path;
    char key[KEY_BYTES], value[VALUE_BYTES];
    size_t lengths[DEEPEST];
    unsigned depth, list_depth;
    bool at_value; /* a key was read and its value follows */
} yaml_reader;

static levee_status refuse(const yaml_reader *r, const yaml_event_t *event, const char *problem, levee_error *error) {
    return error_set(error, LEVEE_USAGE, "%s: line %zu: %s", r->path, event->start_mark.line + 1, problem);
}

static levee_status refuse_list(const yaml_reader *r, const yaml_event_t *event, levee_error *error) {
    return error_set(error, LEVEE_USAGE, "%s: line %zu: %.60s: one value is needed, not a list", r->path,
                     event->start_mark.line + 1, r->key);
}

static levee_status set(yaml_reader *r, const yaml_event_t *event, const char *given, levee_error *error) {
    r->options->line = (uint32_t)event->start_mark.line + 1;
    levee_status status = options_set(r->options, r->key, given, error);
    r->options->line = 0;
    r->key[r->lengths[r->depth - 1]] = 0;
    r->at_value = false;
    return status == LEVEE_OK ? status : error_context(error, "%s: line %zu", r->path, event->start_mark.line + 1);
}

static levee_status scalar(yaml_reader *r, const yaml_event_t *event, levee_error *error) {
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length) return refuse(r, event, "a text holds a NUL character", error);
    /* "key:" alone is null; options_set would take the empty text for a flag that is on. */
    if (!*text && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) text = "null";
    if (r->list_depth) {
        size_t length = strlen(r->value);
        if (length + strlen(text) + 2 > sizeof r->value) return refuse(r, event, "the list is too long", error);
        snprintf(r->value + length, sizeof r->value - length, "%s%s", length ? "," : "", text);
        return LEVEE_OK;
    }
    if (!r->depth) return refuse(r, event, "a map of options is needed", error);
    if (r->at_value) return set(r, event, text, error);
    size_t length = strlen(r->key);
    if (length + strlen(text) + 2 > sizeof r->key) return refuse(r, event, "the key is too long", error);
    snprintf(r->key + length, sizeof r->key - length, "%s%s", length ? "." : "", text);
    r->at_value = true;
    return LEVEE_OK;
}

static levee_status step(yaml_reader *r, const yaml_event_t *event, levee_error *error) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return scalar(r, event, error);
    case YAML_MAPPING_START_EVENT:
        if (r->depth == DEEPEST || r->list_depth) return refuse(r, event, "a map is not expected here", error);
        r->lengths[r->depth++] = strlen(r->key);
        r->at_value = false;
        return LEVEE_OK;
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        if (r->depth) r->key[r->lengths[r->depth - 1]] = 0;
        r->at_value = false;
        return LEVEE_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (!r->at_value || r->list_depth) return refuse(r, event, "a list is not expected here", error);
        r->list_depth = 1;
        r->value[0] = 0;
        return LEVEE_OK;
    case YAML_SEQUENCE_END_EVENT:
        r->list_depth = 0;
        if (!options_may_be_list(r->key)) return refuse_list(r, event, error);
        return set(r, event, r->value, error);
    case YAML_ALIAS_EVENT:
        return refuse(r, event, "aliases are not supported", error);
    default:
        return LEVEE_OK;
    }
}

/* What the library reads from. */
typedef struct yaml_source {
    const char *path;
    int descriptor;
    levee_status status;
    levee_error *error;
} yaml_source;

static int read_source(void *context, unsigned char *to, size_t bytes, size_t *got) {
    yaml_source *source = context;
    uint64_t count;
    source->status = file_read_next(source->descriptor, source->path, to, bytes, &count, source->error);
    *got = count;
    return source->status == LEVEE_OK;
}

static levee_status why_not_parsed(const yaml_parser_t *parser, const yaml_source *source) {
    if (source->status != LEVEE_OK) return source->status;
    if (parser->error == YAML_MEMORY_ERROR) return error_out_of_memory(source->error, source->path, sizeof *parser);
    return error_set(source->error, LEVEE_USAGE, "%s: line %zu: %s", source->path, parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "this is not YAML");
}

levee_status options_read(levee_options *o, const char *path, levee_error *error) {
    yaml_source source = {.path = path, .error = error};
    levee_status status = file_open_stream(path, &source.descriptor, error);
    if (status != LEVEE_OK) return error_context(error, "this configuration file cannot be read");
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        file_close(source.descriptor);
        return error_out_of_memory(error, path, sizeof parser);
    }
    yaml_parser_set_input(&parser, read_source, &source);
    options_name_file(o, path);
    yaml_reader r = {.options = o, .path = path};
    for (bool done = false; !done && status == LEVEE_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = why_not_parsed(&parser, &source);
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        status = step(&r, &event, error);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    file_close(source.descriptor);
    return status;
}
