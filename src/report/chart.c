/* Charts over steps: see chart.h. */
#include "report/chart.h"

#include <math.h>

/* The view is narrow, so that its text can still be read on a phone, where the page makes it larger (page.c). */
enum { WIDTH = 640, HEIGHT = 288, LEFT = 96, RIGHT = 604, TOP = 14, BOTTOM = 252, MOST_TICKS = 8 };

static const double farthest = 1e300;

static const plot_frame view = {
    .width = WIDTH, .height = HEIGHT, .left = LEFT, .right = RIGHT, .top = TOP, .bottom = BOTTOM};

static chart over_steps(uint64_t first_step, uint64_t last_step) {
    return (chart){.frame = view, .first_step = (double)first_step, .last_step = (double)last_step};
}

chart chart_of(uint64_t first_step, uint64_t last_step, double least, double most, bool may_log) {
    chart c = over_steps(first_step, last_step);
    if (!isfinite(least) || !isfinite(most)) least = 0, most = 1;
    least = fmax(least, -farthest); /* what is between them must be a number */
    most = fmin(most, farthest);
    c.logarithmic = may_log && least > 0 && most > 20 * least;
    if (c.logarithmic) {
        c.least = least / 1.1;
        c.most = most * 1.1;
        return c;
    }
    double room = most > least ? 0.05 * (most - least) : most != 0 ? 0.1 * fabs(most) : 1;
    c.least = least >= 0 && least < 0.5 * most ? 0 : least - room;
    c.most = most + room;
    return c;
}

chart chart_of_bytes(uint64_t first_step, uint64_t last_step, double most_bytes, double budget_bytes) {
    chart c = over_steps(first_step, last_step);
    c.most = c.frame.top_bytes = plot_top(most_bytes > 0 ? most_bytes : 1, budget_bytes);
    return c;
}

double chart_x(const chart *c, double step) {
    double steps = c->last_step - c->first_step;
    if (steps <= 0) return (LEFT + RIGHT) / 2.0;
    return LEFT + (step - c->first_step) / steps * (RIGHT - LEFT);
}

double chart_y(const chart *c, double value) {
    double share =
        c->logarithmic ? log(value / c->least) / log(c->most / c->least) : (value - c->least) / (c->most - c->least);
    return BOTTOM - fmin(fmax(share, 0), 1) * (BOTTOM - TOP);
}

/* The smallest of 1, 2, 5, 10, ... (times a power of ten) that cuts a range into at most `parts`. */
static double nice_step(double range, double parts) {
    double step = pow(10, floor(log10(range / parts)));
    static const double factors[] = {2, 2.5, 2};
    for (unsigned i = 0; range / step > parts && i < 9; i++) step *= factors[i % 3];
    return step;
}

static void value_tick(formatter *f, const chart *c, double value) {
    double y = chart_y(c, value);
    bool plain = fabs(value) >= 1e4 && fabs(value) < 1e7;
    format_add(f,
               "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" "
               "class=\"small\">%.*g</text>\n",
               LEFT, y, RIGHT, LEFT - 8, y + 4, plain ? 7 : 4, value);
}

static void logarithmic_axis(formatter *f, const chart *c) {
    static const double factors[] = {1, 2, 5};
    for (int power = (int)floor(log10(c->least)); power <= (int)ceil(log10(c->most)); power++)
        for (unsigned i = 0; i < 3; i++) {
            double value = factors[i] * pow(10, power);
            bool sparse = c->most / c->least > 1000 && i > 0;
            if (value >= c->least && value <= c->most && !sparse) value_tick(f, c, value);
        }
}

void chart_value_axis(formatter *f, const chart *c) {
    if (c->logarithmic) {
        logarithmic_axis(f, c);
        return;
    }
    double step = nice_step(c->most - c->least, 6);
    for (unsigned n = 0; n < MOST_TICKS; n++) {
        double value = (ceil(c->least / step - 1e-9) + n) * step;
        if (value <= c->most + 1e-9 * step) value_tick(f, c, fabs(value) < 1e-9 * step ? 0 : value);
    }
}

void chart_step_axis(formatter *f, const chart *c) {
    double range = c->last_step - c->first_step, step = range > 0 ? fmax(nice_step(range, 6), 1) : 1;
    format_add(f, "<path class=\"line\" d=\"M%d %dH%d\"/>\n", LEFT, BOTTOM, RIGHT);
    /* By count, because a step may be so large that adding to it changes nothing. */
    for (unsigned n = 0; n < MOST_TICKS; n++) {
        double at = (ceil(c->first_step / step) + n) * step;
        if (at > c->last_step) break;
        format_add(f,
                   "<path class=\"line\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" "
                   "class=\"small\">%.0f</text>\n",
                   chart_x(c, at), BOTTOM, chart_x(c, at), BOTTOM + 26, at);
    }
    format_add(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" class=\"small\">step</text>\n", LEFT - 8, BOTTOM + 26);
}

chart_line chart_line_begin(formatter *f, const chart *c, const char *style) {
    format_add(f, "<path class=\"%s\" d=\"", style);
    return (chart_line){.c = c, .f = f, .style = style};
}

/* A stroke of no length with round ends is a dot. */
static void end_part(chart_line *line) {
    if (line->drawn == 1) format_add(line->f, "h0");
    line->drawn = 0;
}

void chart_line_add(chart_line *line, double step, double value) {
    if (!isfinite(value)) {
        end_part(line);
        return;
    }
    line->x = chart_x(line->c, step);
    line->y = chart_y(line->c, value);
    format_add(line->f, "%c%.1f %.1f", line->drawn ? 'L' : 'M', line->x, line->y);
    line->drawn++;
}

void chart_line_end(chart_line *line) {
    end_part(line);
    format_add(line->f, "\"/>\n");
}

void chart_hover_begin(formatter *f, const chart *c, double from, double to) {
    double half = c->last_step > c->first_step ? 0.5 * (RIGHT - LEFT) / (c->last_step - c->first_step) : 20;
    double left = fmax(chart_x(c, from) - half, LEFT), right = fmin(chart_x(c, to) + half, RIGHT);
    format_add(f, "<rect class=\"hover\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>", left, TOP,
               fmax(right - left, 0.5), BOTTOM - TOP);
}

void chart_hover_end(formatter *f) { format_add(f, "</title></rect>\n"); }
