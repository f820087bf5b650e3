/* A chart of numbers over the steps of a run, for a page: axes, lines with gaps where nothing is known, and columns
 * that say their numbers when the pointer rests on them. */
#ifndef LEVEE_REPORT_CHART_H
#define LEVEE_REPORT_CHART_H

#include "report/plot.h"

typedef struct chart {
    plot_frame frame;
    double first_step, last_step;
    double least, most; /* of the axis */
    bool logarithmic;
} chart;

/* A chart that shows all numbers from `least` to `most`; from 0 where that costs little, logarithmic (when `may_log`)
 * where they are of several orders. */
chart chart_of(uint64_t first_step, uint64_t last_step, double least, double most, bool may_log);

/* A chart of bytes: from 0. Its axis is plot_bytes_axis. */
chart chart_of_bytes(uint64_t first_step, uint64_t last_step, double most_bytes, double budget_bytes);

double chart_x(const chart *c, double step);
double chart_y(const chart *c, double value);

void chart_value_axis(formatter *f, const chart *c);
void chart_step_axis(formatter *f, const chart *c);

/* A number of something at a step; NAN leaves a gap. */
typedef struct chart_line {
    const chart *c;
    formatter *f;
    const char *style;
    uint32_t drawn; /* since the last gap */
    double x, y;
} chart_line;

/* A line: begun, a number at a time, ended. A number that stands alone is a dot. */
chart_line chart_line_begin(formatter *f, const chart *c, const char *style);
void chart_line_add(chart_line *line, double step, double value);
void chart_line_end(chart_line *line);

/* Begins a column over steps `from` to `to`; what follows up to chart_hover_end is what it says. */
void chart_hover_begin(formatter *f, const chart *c, double from, double to);
void chart_hover_end(formatter *f);

#endif
