/* levee_report: the files of runs as one page. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "report/page.h"

/* The runs of a report. */
typedef struct runs {
    history *read; /* [count] */
    const history *in_order[PAGE_MOST_RUNS];
    char names[PAGE_MOST_RUNS][PAGE_NAME_BYTES];
    unsigned count;
} runs;

static void close_runs(runs *r) {
    for (unsigned i = 0; r->read && i < r->count; i++) history_close(&r->read[i]);
    ledger_free(r->read);
}

/* Is there another run whose directory has the same last name? */
static bool is_ambiguous(const runs *r, unsigned run) {
    for (unsigned i = 0; i < r->count; i++)
        if (i != run && !strcmp(history_name(&r->read[i]), history_name(&r->read[run]))) return true;
    return false;
}

static void name_runs(runs *r) {
    for (unsigned i = 0; i < r->count; i++) {
        const history *h = r->in_order[i] = &r->read[i];
        const char *name = is_ambiguous(r, i) ? h->directory : history_name(h);
        size_t length = strlen(name);
        size_t shown = length < PAGE_NAME_BYTES ? length : PAGE_NAME_BYTES - 1; /* the end, where it is too long */
        memcpy(r->names[i], name + length - shown, shown + 1);
    }
}

static levee_status open_runs(runs *r, const char *const *directories, unsigned count, levee_error *error) {
    levee_status status = LEVEE_OK;
    if (!count || count > PAGE_MOST_RUNS)
        return error_set(error, LEVEE_USAGE, "a report is of 1 to %d run directories", (int)PAGE_MOST_RUNS);
    r->read = ledger_alloc_array(LEVEE_RUNTIME, count, sizeof *r->read);
    if (!r->read) return error_out_of_memory(error, "the runs of a report", count * sizeof *r->read);
    r->count = count;
    for (unsigned i = 0; i < count && status == LEVEE_OK; i++)
        status = history_open(&r->read[i], directories[i], error);
    if (status == LEVEE_OK) name_runs(r);
    return status;
}

static void contents(page *p, const runs *r) {
    format_add(&p->out,
               "<nav aria-label=\"Runs\"><ul class=\"legend\"><li><a href=\"#comparison\">Comparison</a></li>\n");
    for (unsigned i = 0; i < r->count; i++) {
        format_add(&p->out, "<li><a href=\"#run%u\">", i);
        format_xml_text(&p->out, r->names[i]);
        format_add(&p->out, "</a></li>\n");
    }
    format_add(&p->out, "</ul></nav>\n");
}

static void several(page *p, runs *r) {
    contents(p, r);
    page_comparison(p, r->in_order, r->names, r->count);
    for (unsigned i = 0; i < r->count; i++) {
        format_add(&p->out, "<section aria-labelledby=\"run%u\">\n<h2 id=\"run%u\">", i, i);
        format_xml_text(&p->out, r->names[i]);
        format_add(&p->out, "</h2>\n");
        page_run(p, r->in_order[i], 3);
        format_add(&p->out, "</section>\n");
    }
}

static levee_status write_page(runs *r, const char *path, levee_error *error) {
    char title[PAGE_NAME_BYTES + 32];
    page p;
    if (r->count == 1)
        snprintf(title, sizeof title, "levee: %s", r->names[0]);
    else
        snprintf(title, sizeof title, "levee: %u runs compared", r->count);
    levee_status status = page_begin(&p, path, title, error);
    if (status == LEVEE_OK && r->count == 1) page_run(&p, r->in_order[0], 2);
    if (status == LEVEE_OK && r->count > 1) several(&p, r);
    if (status == LEVEE_OK) status = page_end(&p);
    page_close(&p);
    return status;
}

levee_status levee_report(const char *const *directories, unsigned count, const char *output, levee_print *print,
                          void *context, levee_error *error) {
    char path[FILE_PATH_BYTES], line[FILE_PATH_BYTES + 64];
    runs r = {0};
    levee_status status = open_runs(&r, directories, count, error);
    if (status == LEVEE_OK && !file_join(path, directories[0], "report.html"))
        status = error_set(error, LEVEE_USAGE, "%.200s...: the path is too long", directories[0]);
    if (status == LEVEE_OK) status = write_page(&r, output ? output : path, error);
    if (status == LEVEE_OK && print) {
        snprintf(line, sizeof line, "%.4095s: a report of %u run%s", output ? output : path, count,
                 count == 1 ? "" : "s");
        print(context, line);
    }
    close_runs(&r);
    return status;
}
