/* What pictures have in common: a page that follows the reader's light or dark colours, and an axis of bytes.
 * Coordinates are pixels of a fixed view, which scales. */
#ifndef LEVEE_REPORT_PLOT_H
#define LEVEE_REPORT_PLOT_H

#include "report/format.h"

/* Where the drawing itself lies. */
typedef struct plot_frame {
    int width, height; /* of the whole view */
    int left, right, top, bottom;
    double top_bytes; /* of the axis */
} plot_frame;

double plot_y(const plot_frame *frame, double bytes);

/* Writes the rules of style that all pictures share, with `light` and `dark` ones of one's own. */
void plot_style(formatter *f, const char *light, const char *dark);

/* Begins a picture without a style, for a page that has it, and says in words what there is to see. plot_end ends it.
 */
void plot_open(formatter *f, const plot_frame *frame, const char *words);

/* Begins the picture: `light` and `dark` are rules of style of its own, beside those for text, .small, .title, .line,
 * .grid, .limit and .hover. plot_end ends it. */
void plot_begin(formatter *f, const plot_frame *frame, const char *light, const char *dark);
void plot_end(formatter *f);

/* Title, and a line below it. */
void plot_titles(formatter *f, const plot_frame *frame, const char *title, const char *subtitle);

/* Lines across the frame at round numbers of bytes. */
void plot_bytes_axis(formatter *f, const plot_frame *frame);

/* The budget as a broken line, where it lies within the frame. */
void plot_budget(formatter *f, const plot_frame *frame, uint64_t budget_bytes);

/* A little above what is drawn, and above the budget unless that would press the picture flat. */
double plot_top(double most_bytes, double budget_bytes);

#endif
