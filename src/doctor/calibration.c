/* The file of measured rates: see calibration.h; measure.c fills it. */
#include "doctor/calibration.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { ENTRIES = 32, FILE_BYTES = 16384 };

static const struct {
    const char *key;
    size_t offset;
} rates_table[] = {
    {"products_f32", offsetof(calibration, f32)},   {"products_bf16", offsetof(calibration, bf16)},
    {"products_thin", offsetof(calibration, thin)}, {"attention", offsetof(calibration, attention)},
    {"bytes", offsetof(calibration, bytes)},
};

enum { RATES = sizeof rates_table / sizeof *rates_table };

static double *rate_at(calibration *c, unsigned i) { return (double *)((char *)c + rates_table[i].offset); }

void calibration_identify(calibration *c, kernel_roots roots, unsigned threads) {
    processor here;
    processor_read(&here, roots);
    *c = (calibration){.threads = threads};
    snprintf(c->processor, sizeof c->processor, "%s", *here.name ? here.name : "unknown");
    for (char *at = c->processor; *at; at++)
        if (*at < ' ' || *at > '~' || *at == '"' || *at == '\\') *at = '?';
}

levee_status calibration_path(char path[FILE_PATH_BYTES], levee_error *error) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool fits;
    if (cache && *cache == '/')
        fits = snprintf(path, FILE_PATH_BYTES, "%s/levee/calibration.yaml", cache) < FILE_PATH_BYTES;
    else if (home && *home)
        fits = snprintf(path, FILE_PATH_BYTES, "%s/.cache/levee/calibration.yaml", home) < FILE_PATH_BYTES;
    else
        return error_set(error, LEVEE_USAGE, "HOME or XDG_CACHE_HOME must say where to keep the calibration");
    return fits ? LEVEE_OK : error_set(error, LEVEE_USAGE, "HOME or XDG_CACHE_HOME: is too long");
}

static bool is_rate(double rate) { return isfinite(rate) && rate > 0; }

/* bf16 may be missing; the others may not. */
static bool is_whole(const calibration *c) {
    return c->threads && is_rate(c->f32) && is_rate(c->thin) && is_rate(c->attention) && is_rate(c->bytes) &&
           (c->bf16 == 0 || is_rate(c->bf16));
}

/* A line of an entry, which has begun. Keys that are not known are passed over. */
static void take_line(calibration *c, const char *line) {
    char key[32];
    double number;
    if (sscanf(line, " %31[a-z0-9_]: %lf", key, &number) != 2) return;
    if (!strcmp(key, "threads") && number >= 1 && number <= 1e6) c->threads = (unsigned)number;
    for (unsigned i = 0; i < RATES; i++)
        if (!strcmp(key, rates_table[i].key)) *rate_at(c, i) = number;
}

/* The whole entries of a file, ENTRIES of them at most; a file that is not there, or is too long, has none. */
static unsigned read_entries(const char *path, calibration entries[ENTRIES]) {
    char text[FILE_BYTES];
    uint64_t bytes;
    unsigned count = 0;
    bool begun = false;
    calibration next = {0};
    if (file_read(path, text, sizeof text - 1, &bytes, NULL) != LEVEE_OK || bytes >= sizeof text) return 0;
    text[bytes] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char name[PROCESSOR_NAME_BYTES];
        bool begins = sscanf(line, "- processor: \"%95[^\"]\"", name) == 1;
        if (begins || !rest) {
            if (begun && is_whole(&next) && count < ENTRIES) entries[count++] = next;
            next = (calibration){0};
            if (begins) snprintf(next.processor, sizeof next.processor, "%s", name);
        } else if (begun) {
            take_line(&next, line);
        }
        begun = begun || begins;
    }
    return count;
}

static bool is_of(const calibration *entry, const calibration *c) {
    return entry->threads == c->threads && !strcmp(entry->processor, c->processor);
}

bool calibration_find(const char *path, calibration *c) {
    calibration entries[ENTRIES];
    unsigned count = read_entries(path, entries);
    for (unsigned i = 0; i < count; i++)
        if (is_of(&entries[i], c)) {
            *c = entries[i];
            return true;
        }
    return false;
}

static levee_status write_entry(file_writer *w, calibration *c, levee_error *error) {
    char text[1024];
    int length = snprintf(text, sizeof text, "- processor: \"%s\"\n  threads: %u\n", c->processor, c->threads);
    for (unsigned i = 0; i < RATES; i++)
        if (*rate_at(c, i) > 0)
            length += snprintf(text + length, sizeof text - (size_t)length, "  %s: %.6e\n", rates_table[i].key,
                               *rate_at(c, i));
    return file_writer_write(w, text, (uint64_t)length, error);
}

levee_status calibration_store(const char *path, const calibration *c, levee_error *error) {
    calibration entries[ENTRIES], own = *c;
    char directory[FILE_PATH_BYTES];
    file_writer w = {0};
    unsigned count = read_entries(path, entries);
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = 0;
    levee_status status = file_make_directory(directory, error);
    if (status == LEVEE_OK) status = file_writer_open(&w, path, error);
    if (status != LEVEE_OK) return status;
    static const char heading[] = "# Written by levee doctor --calibrate: operations and bytes a second.\n";
    status = file_writer_write(&w, heading, sizeof heading - 1, error);
    if (status == LEVEE_OK) status = write_entry(&w, &own, error);
    unsigned kept = 1; /* the newest first, so that the oldest goes when there are too many */
    for (unsigned i = 0; i < count && kept < ENTRIES && status == LEVEE_OK; i++)
        if (!is_of(&entries[i], c)) {
            status = write_entry(&w, &entries[i], error);
            kept++;
        }
    if (status == LEVEE_OK) status = file_writer_commit(&w, error);
    file_writer_abandon(&w);
    return status;
}

bool calibration_rates(const calibration *c, compute_type products, double rates[WORK_KINDS]) {
    rates[WORK_PRODUCTS] = products == COMPUTE_BF16 ? c->bf16 : c->f32;
    rates[WORK_THIN_PRODUCTS] = c->thin;
    rates[WORK_ATTENTION] = c->attention;
    rates[WORK_BYTES] = c->bytes;
    for (unsigned kind = 0; kind < WORK_KINDS; kind++)
        if (!is_rate(rates[kind])) return false;
    return true;
}
