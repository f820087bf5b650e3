/* Writing options as YAML: see options.h. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
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

static bool write_arguments(char *text, size_t bytes, const schedule *s) {
    size_t length = 0;
    for (unsigned i = 0; i < s->argument_count; i++)
        length += (size_t)snprintf(text + length, bytes - length, "%s%.17g", length ? ", " : "[", s->arguments[i]);
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
    int index = d->offset == AT(type)        ? (int)o->type
                : d->offset == AT(recompute) ? (int)o->recompute
                : d->offset == AT(compute)   ? (int)o->compute
                                             : (int)o->optimizer;
    switch (d->kind) {
    case OPTION_PATH:
        return write_text(text, bytes, (const char *)field);
    case OPTION_BATCHES:
    case OPTION_WHOLE:
        memcpy(&small, field, sizeof small);
        return snprintf(text, bytes, small == UINT32_MAX ? "-1" : "%u", small) > 0;
    case OPTION_LAYERS:
        return snprintf(text, bytes, "%lld", (long long)o->num_layers) > 0;
    case OPTION_NUMBER:
        memcpy(&number, field, sizeof number);
        return isfinite(number) && snprintf(text, bytes, "%.17g", number) > 0;
    case OPTION_BYTES:
    case OPTION_SEED:
        memcpy(&large, field, sizeof large);
        return (large || d->kind == OPTION_SEED) && snprintf(text, bytes, "%llu", (unsigned long long)large) > 0;
    case OPTION_FLAG:
        return snprintf(text, bytes, "%s", *(const bool *)field ? "true" : "false") > 0;
    case OPTION_BETAS:
        return snprintf(text, bytes, "[%.17g, %.17g]", settings->beta1, settings->beta2) > 0;
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
        for (int i = 0; i < index; i++) word = strchr(word, '|') + 1;
        return snprintf(text, bytes, "%.*s", (int)strcspn(word, "|"), word) > 0;
    }
    default:
        return false;
    }
}

levee_status options_write(const levee_options *o, const char *path, levee_error *error) {
    file_writer writer;
    levee_status status = file_writer_open(&writer, path, error);
    for (const option *d = options_table; d->key && status == LEVEE_OK; d++) {
        char given[4 * FILE_PATH_BYTES + 8], line[4 * FILE_PATH_BYTES + 160]; /* a byte may take four: \xNN */
        const char *dot = strchr(d->key, '.');
        if ((dot && !o->has_schedule) || !write_value(o, d, given, sizeof given)) continue;
        int length = snprintf(line, sizeof line, "%s%s: %s\n", dot ? "  " : "", dot ? dot + 1 : d->key, given);
        status = file_writer_write(&writer, line, (uint64_t)length, error);
    }
    if (status == LEVEE_OK) status = file_writer_commit(&writer, error);
    file_writer_abandon(&writer);
    return status;
}
