/* The local copies of Hugging Face's hub: see hub.h. */
#include "model/hub.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

bool hub_is_name(const char *text) {
    unsigned slashes = 0;
    if (!isalnum((unsigned char)*text) || strstr(text, "..") || strlen(text) > 96) return false;
    for (const char *c = text; *c; c++) {
        slashes += *c == '/';
        if (!isalnum((unsigned char)*c) && !strchr("-_./", *c)) return false;
    }
    return slashes == 1 && text[strlen(text) - 1] != '/';
}

static bool find_cache(char path[FILE_PATH_BYTES]) {
    static const char *const places[][2] = {{"HF_HUB_CACHE", ""},
                                            {"HUGGINGFACE_HUB_CACHE", ""},
                                            {"HF_HOME", "/hub"},
                                            {"XDG_CACHE_HOME", "/huggingface/hub"},
                                            {"HOME", "/.cache/huggingface/hub"}};
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        const char *set = getenv(places[i][0]);
        if (set && *set) return snprintf(path, FILE_PATH_BYTES, "%s%s", set, places[i][1]) < FILE_PATH_BYTES;
    }
    return false;
}

/* "owner/name" lies in models--owner--name, and refs/main there names the revision. */
bool hub_find_model(char directory[FILE_PATH_BYTES], const char *name) {
    char cache[FILE_PATH_BYTES], path[FILE_PATH_BYTES], revision[128];
    if (!hub_is_name(name) || !find_cache(cache)) return false;
    int owner = (int)strcspn(name, "/");
    const char *model = name + owner + 1;
    if (snprintf(path, sizeof path, "%s/models--%.*s--%s/refs/main", cache, owner, name, model) >= FILE_PATH_BYTES ||
        !file_exists(path) || file_read_text(path, revision, sizeof revision, NULL) != LEVEE_OK)
        return false;
    revision[strcspn(revision, " \r\n")] = 0;
    if (!*revision || strchr(revision, '/') ||
        snprintf(directory, FILE_PATH_BYTES, "%s/models--%.*s--%s/snapshots/%s", cache, owner, name, model,
                 revision) >= FILE_PATH_BYTES)
        return false;
    return file_join(path, directory, "config.json") && file_exists(path);
}

levee_status hub_refuse(const char *option, const char *name, const char *kind, levee_error *error) {
    char cache[FILE_PATH_BYTES];
    bool data = !strcmp(kind, "dataset");
    if (!find_cache(cache)) snprintf(cache, sizeof cache, "~/.cache/huggingface/hub");
    return error_set(error, LEVEE_MISSING_INPUT,
                     "%s %s: is no path here%s%.300s; Levee fetches nothing: get it by hf download %s%s%s", option,
                     name, data ? "" : ", nor a whole model in ", data ? "" : cache,
                     data ? "--repo-type dataset " : "", name,
                     data ? ", and write its rows as train.jsonl (docs/data.md)" : ", or give a directory");
}
