/* The table of families, and what several share: see family.h. */
#include "model/family.h"

#include <stdio.h>
#include <string.h>

extern const model_family family_llama, family_mistral, family_qwen2, family_qwen3;

static const model_family *const families[] = {&family_llama, &family_mistral, &family_qwen2, &family_qwen3};

enum { FAMILIES = sizeof families / sizeof *families, USUAL_WINDOW = 4096, USUAL_FIRST_WINDOWED_LAYER = 28 };

const model_family *family_find(const char *type) {
    for (unsigned i = 0; i < FAMILIES; i++)
        if (!strcmp(families[i]->type, type)) return families[i];
    return NULL;
}

const char *family_names(char names[FAMILY_NAMES_BYTES]) {
    size_t length = 0;
    for (unsigned i = 0; i < FAMILIES && length < FAMILY_NAMES_BYTES; i++)
        length +=
            (size_t)snprintf(names + length, FAMILY_NAMES_BYTES - length, "%s%s", i ? ", " : "", families[i]->type);
    return names;
}

bool family_has_option(const model_family *family, const char *key) {
    for (const char *const *option = family->options; *option; option++)
        if (!strcmp(*option, key)) return true;
    return false;
}

void family_read_bias(json_reader *r, model_config *c, const char *key, model_projection first,
                      model_projection last) {
    bool biased = json_read_flag(r, key, false);
    for (unsigned p = first; p <= last; p++) c->biased[p] = biased;
}

void family_read_window(json_reader *r, model_config *c) {
    static const char key[] = "sliding_window";
    bool none = json_is_null(json_object_get(r->object, key));
    c->window = none ? UINT32_MAX : (uint32_t)json_read_whole(r, key, 1, INT32_MAX, USUAL_WINDOW);
    for (uint32_t layer = 0; layer < c->layers; layer++) c->windowed[layer] = true;
}

static void read_layer_types(json_reader *r, model_config *c, const json_t *types) {
    static const char key[] = "layer_types";
    if (json_array_size(types) != c->layers) json_refuse(r, key, "a list of %u types is needed", c->layers);
    for (uint32_t layer = 0; layer < c->layers; layer++) {
        const char *type = json_string_value(json_array_get(types, layer));
        c->windowed[layer] = type && !strcmp(type, "sliding_attention");
        if (!c->windowed[layer] && (!type || strcmp(type, "full_attention") != 0))
            json_refuse(r, key, "'%.40s' is not supported; full_attention and sliding_attention are",
                        type ? type : "(no text)");
        if (c->windowed[layer] && c->window == UINT32_MAX)
            json_refuse(r, key, "sliding_attention needs use_sliding_window and sliding_window");
    }
}

void family_read_qwen_window(json_reader *r, model_config *c) {
    bool used = json_read_flag(r, "use_sliding_window", false);
    if (used) family_read_window(r, c);
    if (!used) c->window = UINT32_MAX;
    int64_t first = json_read_whole(r, "max_window_layers", 0, INT32_MAX, USUAL_FIRST_WINDOWED_LAYER);
    for (uint32_t layer = 0; layer < c->layers; layer++) c->windowed[layer] = layer >= first;
    const json_t *types = json_find(r, "layer_types");
    if (types) read_layer_types(r, c, types);
}

void family_write_qwen_window(json_t *object, const model_config *c) {
    json_t *types = json_array();
    for (uint32_t layer = 0; layer < c->layers; layer++)
        json_array_append_new(types, json_string(c->windowed[layer] ? "sliding_attention" : "full_attention"));
    bool used = c->window != UINT32_MAX;
    json_object_set_new(object, "use_sliding_window", json_boolean(used));
    json_object_set_new(object, "sliding_window", used ? json_integer(c->window) : json_null());
    json_object_set_new(object, "layer_types", types);
}
