/* A report as one HTML page: what all its parts share. It needs nothing from outside and runs no script; it follows
 * the reader's light or dark colours and the width of the window. It is written piece by piece, so that its length
 * takes no memory.
 *
 * The parts: page_run.c tells of one run, page_story.c of its guard, page_comparison.c compares several. */
#ifndef LEVEE_REPORT_PAGE_H
#define LEVEE_REPORT_PAGE_H

#include "base/file.h"
#include "report/format.h"
#include "report/history.h"

enum { PAGE_MOST_RUNS = 8, PAGE_NAME_BYTES = 192 };

typedef struct page {
    formatter out;
    text_buffer text; /* since it was written down last */
    file_writer file;
} page;

/* Begins the page in a file that replaces `path` when page_end succeeds. page_close is due in any case. */
levee_status page_begin(page *p, const char *path, const char *title, levee_error *error);
levee_status page_end(page *p);
void page_close(page *p);

/* Writes down what was formatted, so that its memory can be used again. */
void page_flush(page *p);

/* What is not known is a dash. */
void page_bytes(formatter *f, double bytes);
void page_number(formatter *f, double number, int digits);
void page_count(formatter *f, double count);

/* A plot with words above and below: page_plot_begin, the picture, page_plot_end with a line about it (or ""). */
void page_plot_begin(page *p, const char *title);
void page_plot_end(page *p, const char *line);

/* One of a legend's entries: a colour by its style ("run0"), and a name. */
void page_legend(formatter *f, const char *style, const char *name);

/* A figure of a run, by its place in the table of figures; NULL behind the last. */
typedef struct page_figure {
    const char *name;
    void (*write)(formatter *f, const history *h);
} page_figure;
extern const page_figure page_figures[];

/* One run; its headings begin at level `level`. */
void page_run(page *p, const history *h, unsigned level);

/* What its guard did. */
void page_story(page *p, const history *h, unsigned level);

/* Marks the steps after which the guard did something, over a chart. */
struct chart;
void page_story_marks(formatter *f, const struct chart *c, const history *h);

/* Several runs beside each other. `names` tells them apart. */
void page_comparison(page *p, const history *const *runs, char names[][PAGE_NAME_BYTES], uint32_t count);

/* Says, within the words of a column, what the guard did in its steps. */
void page_story_words(formatter *f, const history *h, const history_point *p);

#endif
