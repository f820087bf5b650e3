/* Reading tokenizer.json: see tokenizer_file.h. */
#include "text/tokenizer_file.h"

#include <string.h>

#include "base/error.h"

typedef struct file_reader {
    tokenizer_file *file;
    json_span whole; /* its text is "" for an empty file, which has no mapping */
    const char *path;
    levee_error *error;
} file_reader;

static levee_status not_json(const file_reader *r, const char *place, const char *problem) {
    uint64_t line = 1;
    for (const char *c = r->whole.text; c < place; c++) line += *c == '\n';
    return error_set(r->error, LEVEE_BAD_DATA, "%s: line %llu: %s", r->path, (unsigned long long)line, problem);
}

/* Is the key in quotes this name? */
static bool is_key(json_span key, const char *name) {
    size_t length = strlen(name);
    return key.bytes == length + 2 && !memcmp(key.text + 1, name, length);
}

/* Adds a parsed member to a tree. */
static levee_status add_member(const file_reader *r, json_t *tree, json_span key, json_span value) {
    uint64_t bytes = (uint64_t)(value.text + value.bytes - key.text);
    levee_status status = json_check_room(r->path, key.text, bytes, r->error);
    if (status != LEVEE_OK) return status;
    bool refused;
    json_t *name = json_span_parse(key, NULL, &refused);
    json_t *parsed = name ? json_span_parse(value, NULL, &refused) : NULL;
    if (refused)
        status = error_out_of_memory(r->error, r->path, bytes);
    else if (!parsed)
        status = not_json(r, name ? value.text : key.text, "this is not JSON");
    else if (json_object_get(tree, json_string_value(name)))
        status = not_json(r, key.text, "this key is there twice");
    else if (json_object_set(tree, json_string_value(name), parsed))
        status = error_out_of_memory(r->error, r->path, value.bytes);
    json_decref(name);
    json_decref(parsed);
    return status;
}

static levee_status read_model(const file_reader *r, json_t *model, json_span text);

/* Goes through an object; `model` says that it is the member of that name. */
static levee_status read_object(const file_reader *r, json_t *tree, json_walk *walk, bool model) {
    json_span key, value;
    levee_status status = LEVEE_OK;
    while (status == LEVEE_OK && json_walk_next(walk, &key, &value)) {
        json_span *large = !model                  ? NULL
                           : is_key(key, "vocab")  ? &r->file->vocabulary
                           : is_key(key, "merges") ? &r->file->merges
                                                   : NULL;
        if (large && large->text) return not_json(r, key.text, "this key is there twice");
        if (large) {
            *large = value;
        } else if (!model && is_key(key, "model") && *value.text == '{') {
            json_t *inner = json_object();
            bool twice = json_object_get(tree, "model");
            if (json_object_set_new(tree, "model", inner))
                return error_out_of_memory(r->error, r->path, sizeof *inner);
            status = twice ? not_json(r, key.text, "this key is there twice") : read_model(r, inner, value);
        } else {
            status = add_member(r, tree, key, value);
        }
    }
    if (status == LEVEE_OK && walk->failed) status = not_json(r, walk->all.text + walk->at, "this is not JSON");
    return status;
}

static levee_status read_model(const file_reader *r, json_t *model, json_span text) {
    json_walk walk;
    json_walk_open(&walk, text);
    return read_object(r, model, &walk, true);
}

levee_status tokenizer_file_open(tokenizer_file *f, const char *path, levee_error *error) {
    *f = (tokenizer_file){0};
    levee_status status = file_map(&f->mapping, path, error);
    if (status != LEVEE_OK) return status;
    json_span whole = {.text = f->mapping.data ? (const char *)f->mapping.data : "", .bytes = f->mapping.bytes};
    file_reader r = {.file = f, .whole = whole, .path = path, .error = error};
    json_walk walk = {0};
    f->tree = json_object();
    if (!f->tree)
        status = error_out_of_memory(error, path, sizeof *f->tree);
    else if (!json_walk_open(&walk, whole) || !walk.object)
        status = error_set(error, LEVEE_BAD_DATA, "%s: line 1: an object { ... } is needed", path);
    else
        status = read_object(&r, f->tree, &walk, false);
    for (uint64_t at = walk.at + 1; status == LEVEE_OK && at < whole.bytes; at++)
        if (!strchr(" \t\r\n", whole.text[at]) || !whole.text[at])
            status = not_json(&r, whole.text + at, "there is more after the object's end");
    if (status != LEVEE_OK) tokenizer_file_close(f);
    return status;
}

void tokenizer_file_close(tokenizer_file *f) {
    json_decref(f->tree);
    file_unmap(&f->mapping);
    *f = (tokenizer_file){0};
}
