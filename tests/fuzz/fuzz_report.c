/* The files of a run, as a report reads them: whatever is in them, there is a page or no memory for it, and nothing
 * in them becomes markup. The input is cut in up to five by bytes of 0xff: metrics, events, configuration, plan,
 * samples. */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "report/history.h"
#include "report/page.h"

static const char *const names[] = {"metrics.jsonl", "events.jsonl", "config.yaml", "plan.json", "samples.jsonl"};
enum { NAMES = sizeof names / sizeof *names, PAGE_BYTES = 4 << 20 };

void fuzz_prepare(void) {}

static void write_files(const uint8_t *data, size_t bytes) {
    const uint8_t *end = data + bytes;
    for (unsigned i = 0; i < NAMES; i++) {
        const uint8_t *cut = i + 1 < NAMES && data < end ? memchr(data, 0xff, (size_t)(end - data)) : NULL;
        size_t part = (size_t)((cut ? cut : end) - data);
        /* Samples are looked at where there are no metrics. */
        if (i == 0 && !part)
            file_remove(harness_write(names[i], "", 0), NULL);
        else
            harness_write(names[i], data, part);
        data += part + (cut != NULL);
    }
}

static void check_points(const history *h) {
    uint64_t steps = 0;
    harness_require(h->count <= HISTORY_POINTS && h->setting_count <= HISTORY_SETTINGS,
                    "more is kept than there is room");
    for (uint32_t i = 0; i < h->count; i++) {
        const history_point *p = &h->points[i];
        harness_require(p->first <= p->last && p->finite_steps <= p->steps && p->steps, "a point without steps");
        harness_require(!i || h->by_samples || p->first > h->points[i - 1].last, "points are out of order");
        steps += p->steps;
    }
    harness_require(steps == h->steps, "a step is lost");
}

/* What is left between the tags of a page must have no '<', and no tag be one that runs or fetches anything. */
static void check_page(const char *path) {
    static char page[PAGE_BYTES + 1];
    static const char *const bad[] = {"<script", "<img", "<iframe", "<object", "<link", " src=\"", " on"};
    uint64_t bytes = 0;
    harness_require(file_read(path, page, PAGE_BYTES, &bytes, NULL) == LEVEE_OK && bytes <= PAGE_BYTES,
                    "the page is too long");
    page[bytes] = 0;
    harness_require(strlen(page) == bytes, "the page holds a NUL");
    harness_require(bytes > 8 && !strcmp(page + bytes - 8, "</html>\n"), "the page is not whole");
    for (const char *at = strchr(page, '<'); at; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        harness_require(end && !memchr(at + 1, '<', (size_t)(end - at - 1)), "a tag does not end");
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            harness_require(!memmem(at, (size_t)(end - at), bad[i], strlen(bad[i])), "a text became markup");
    }
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    char output[FILE_PATH_BYTES];
    const char *directory = harness_directory();
    levee_error error;
    history h;
    harness_require(file_join(output, directory, "page.html"), "the path is too long");
    write_files(data, bytes);
    levee_status status = history_open(&h, directory, &error);
    if (harness_succeeded(status, &error, NULL)) check_points(&h);
    harness_require(status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT, "a file is refused");
    history_close(&h);
    const char *directories[] = {directory, directory};
    for (unsigned runs = 1; runs <= 2; runs++) {
        status = levee_report(directories, runs, output, NULL, NULL, &error);
        harness_require(status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT, "a page is refused");
        if (status == LEVEE_OK) check_page(output);
    }
}
