/* config.yaml and plan.json of a run: see history.h. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/json.h"
#include "memory/ledger.h"
#include "report/history.h"

enum { SETTINGS_BYTES = 64 * 1024, PLAN_BYTES = 256 * 1024 };

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t') text++;
    for (size_t length = strlen(text); length && strchr(" \t\r", text[length - 1]);) text[--length] = 0;
    return text;
}

/* A line of what options_write writes: "key: value", or "  key: value" of the section above. Anything else is left
 * out. */
static void read_setting(history *h, char *line, const char **section) {
    char *colon = strchr(line, ':'), *key;
    bool inside = *line == ' ' || *line == '\t';
    if (!*trim(line) || *trim(line) == '#') return;
    if (!colon || h->setting_count == HISTORY_SETTINGS) {
        h->settings_left_out++;
        return;
    }
    *colon = 0;
    key = trim(line);
    h->settings[h->setting_count++] =
        (history_setting){.section = inside ? *section : NULL, .key = key, .value = trim(colon + 1)};
    if (!inside) *section = key;
}

levee_status history_read_settings(history *h, levee_error *error) {
    char path[FILE_PATH_BYTES];
    uint64_t bytes;
    const char *section = NULL;
    if (!file_join(path, h->directory, "config.yaml") || !file_exists(path)) return LEVEE_OK;
    h->settings_text = ledger_alloc(LEVEE_RUNTIME, SETTINGS_BYTES + 1);
    if (!h->settings_text) return error_out_of_memory(error, path, SETTINGS_BYTES + 1);
    if (file_read(path, h->settings_text, SETTINGS_BYTES, &bytes, NULL) != LEVEE_OK || bytes > SETTINGS_BYTES)
        return LEVEE_OK; /* something else under its name */
    h->settings_there = true;
    h->settings_text[bytes] = 0;
    for (char *line = h->settings_text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        read_setting(h, line, &section);
    }
    return LEVEE_OK;
}

void history_read_plan(history *h) {
    char path[FILE_PATH_BYTES];
    levee_error error = {0};
    if (!file_join(path, h->directory, "plan.json") || !file_exists(path)) return;
    h->plan_there = json_object_read(&h->plan, path, PLAN_BYTES, &error) == LEVEE_OK;
    if (!h->plan_there) snprintf(h->plan_problem, sizeof h->plan_problem, "%.255s", error.message);
}
