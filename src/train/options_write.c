/* Writing options as YAML: see options.h. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/buffer.h"
#include "train/options_table.h"

/* A character that YAML keeps as it is between quotes: no control character, line end or byte order mark. */
static bool is_plain(int32_t code) {
    if (code < 0xa0) return code >= ' ' && code < 127;
    return code != 0x2028 && code != 0x2029 && code != 0xfeff && code != 0xfffe && code != 0xffff;
}

static bool write_text(char *text, size_t bytes, const char *given) {
    size_t length = 0;
    if (!*given) return snprintf(text, bytes, "null") > 0;
    const char *end = given + strlen(given);
    text[length++] = '"';
    for (uint64_t taken; given < end && length + 8 < bytes; given += taken) {
        int32_t code = utf8_read(given, (uint64_t)(end - given), &taken);
        if (code == '"' || code == '\\') text[length++] = '\\';
        if (code < 0 || is_plain(code)) {
            memcpy(text + length, given, taken);
            length += taken;
        } else {
            length +=
                (size_t)snprintf(text + length, bytes - length, code < 256 ? "\\x%02x" : "\\u%04x", (unsigned)code);
        }
    }
    return snprintf(text + length, bytes - length, "\"") > 0;
}

static bool write_keys(char *text, size_t bytes, const bool projections[PROJECTION_COUNT]) {
    size_t length = 0;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++)
        if (projections[p])
            length += (size_t)snprintf(text + length, bytes - length, "%s%s", length ? ", " : "[",
                                       model_projection_name((model_projection)p));
    return length && snprintf(text + length, bytes - length, "]") > 0;
}

/* The shortest text that is read as the same number. */
static int write_number(char *text, size_t bytes, double number) {
    int length = 0;
    for (int digits = 6; digits <= 17; digits++) {
        length = snprintf(text, bytes, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    return length;
}

static bool write_arguments(char *text, size_t bytes, const schedule *s) {
    size_t length = 0;
    for (unsigned i = 0; i < s->argument_count; i++) {
        length += (size_t)snprintf(text + length, bytes - length, "%s", length ? ", " : "[");
        length += (size_t)write_number(text + length, bytes - length, s->arguments[i]);
    }
    return length && snprintf(text + length, bytes - length, "]") > 0;
}

/* One option as YAML text; false for those that are not stored. */
static bool write_value(const levee_options *o, const option *d, char *text, size_t bytes) {
    bool chosen = d->offset >= AT(optimizers) && d->offset < AT(optimizers) + sizeof *o->optimizers;
    const optimizer_settings *settings = &o->optimizers[o->optimizer];
    const unsigned char *field =
        (const unsigned char *)o + d->offset + (chosen ? o->optimizer * sizeof *settings : 0);
    double number;
    uint32_t small;
    uint64_t large;
    option_choice choice;
    switch (d->kind) {
    case OPTION_PATH:
    case OPTION_PATH_OR_AUTO:
    case OPTION_FIELD:
    case OPTION_DRILL:
        return write_text(text, bytes, (const char *)field);
    case OPTION_BATCHES:
    case OPTION_WHOLE:
        memcpy(&small, field, sizeof small);
        return snprintf(text, bytes, small == UINT32_MAX ? "-1" : "%u", small) > 0;
    case OPTION_LAYERS:
        return snprintf(text, bytes, "%lld", (long long)o->num_layers) > 0;
    case OPTION_NUMBER:
        memcpy(&number, field, sizeof number);
        return isfinite(number) && write_number(text, bytes, number) > 0;
    case OPTION_BYTES:
    case OPTION_SEED:
        memcpy(&large, field, sizeof large);
        if (d->kind == OPTION_BYTES && ((double)large < d->least || large == UINT64_MAX)) return false;
        return snprintf(text, bytes, "%llu", (unsigned long long)large) > 0;
    case OPTION_FLAG:
        return snprintf(text, bytes, "%s", *(const bool *)field ? "true" : "false") > 0;
    case OPTION_BETAS: {
        char betas[2][32];
        write_number(betas[0], sizeof betas[0], settings->beta1);
        write_number(betas[1], sizeof betas[1], settings->beta2);
        return snprintf(text, bytes, "[%s, %s]", betas[0], betas[1]) > 0;
    }
    case OPTION_KEYS:
        return write_keys(text, bytes, o->projections);
    case OPTION_SCHEDULE:
        return snprintf(text, bytes, "%s", schedule_name(o->rate.kind)) > 0;
    case OPTION_ARGUMENTS:
        return write_arguments(text, bytes, &o->rate);
    case OPTION_MAP:
        return d->offset == AT(rate) && snprintf(text, bytes, "%s", o->has_schedule ? "" : "null") >= 0;
    case OPTION_CHOICE: {
        const char *word = d->words;
        memcpy(&choice, field, sizeof choice);
        for (option_choice i = 0; i < choice; i++) word = strchr(word, '|') + 1;
        return snprintf(text, bytes, "%.*s", (int)strcspn(word, "|"), word) > 0;
    }
    default:
        return false;
    }
}

enum { LINE_BYTES = 4 * FILE_PATH_BYTES + 160 }; /* a byte may take four: \xNN */

/* The line of an option; false for what is not stored. */
static bool write_line(const levee_options *o, const option *d, char line[LINE_BYTES]) {
    char given[4 * FILE_PATH_BYTES + 8];
    const char *dot = strchr(d->key, '.');
    if (option_owned_by(d) != OWNER_RUNS || (dot && !o->has_schedule) || !write_value(o, d, given, sizeof given))
        return false;
    snprintf(line, LINE_BYTES, "%s%s: %s", dot ? "  " : "", dot ? dot + 1 : d->key, given);
    return true;
}

levee_status options_write(const levee_options *o, const char *path, const char *heading, levee_error *error) {
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    if (status == LEVEE_OK) status = file_writer_write(&writer, heading, strlen(heading), error);
    for (const option *d = options_table; d->key && status == LEVEE_OK; d++) {
        char line[LINE_BYTES];
        if (!write_line(o, d, line)) continue;
        status = file_writer_write(&writer, line, strlen(line), error);
        if (status == LEVEE_OK) status = file_writer_write(&writer, "\n", 1, error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}

/* Options that have no value unless one is given. */
static const char *value_when_not_given(const option *d) {
    if (d->offset == AT(budget_bytes) || d->offset == AT(others_bytes)) return "auto";
    return d->offset == AT(max_gradient_norm) ? "none" : NULL;
}

void options_print(const levee_options *o, levee_print *print, void *context) {
    for (const option *d = options_table; d->key; d++) {
        char line[LINE_BYTES], text[LINE_BYTES + FILE_PATH_BYTES + 64], from[FILE_PATH_BYTES + 32];
        uint32_t place = o->places[option_is_optimizers(d) ? o->optimizer : 0][d - options_table];
        if (option_owned_by(d) != OWNER_RUNS || (d->offset == AT(budget_bytes) && !o->budget_given) ||
            !write_line(o, d, line)) {
            const char *unset = option_owned_by(d) == OWNER_RUNS ? value_when_not_given(d) : NULL;
            if (!unset) continue;
            snprintf(line, sizeof line, "# %s: %s", d->key, unset);
        }
        if (place == PLACE_DEFAULT)
            snprintf(from, sizeof from, "default");
        else if (place == PLACE_COMMAND_LINE)
            snprintf(from, sizeof from, "command line");
        else if (place == PLACE_EARLIER_FILE)
            snprintf(from, sizeof from, "a file before %s", o->config_path);
        else
            snprintf(from, sizeof from, "%s:%u", o->config_path, place);
        snprintf(text, sizeof text, "%-42s # %s", line, from);
        print(context, text);
    }
}
