/* Several runs beside each other: see page.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/chart.h"
#include "report/page.h"

enum { HOVERS = 100 };

typedef struct comparison {
    page *p;
    const history *const *runs;
    char (*names)[PAGE_NAME_BYTES];
    uint32_t count;
} comparison;

/* What is drawn of a point; NAN: nothing. */
typedef double point_value(const history_point *p);
static double loss_of(const history_point *p) { return p->loss; }
static double validation_of(const history_point *p) { return p->validation_loss; }
static double speed_of(const history_point *p) { return p->tokens_per_second; }
static double held_of(const history_point *p) { return p->held_bytes; }

static double middle(const history_point *p) { return ((double)p->first + (double)p->last) / 2; }

static chart chart_for(const comparison *c, point_value *value, bool bytes) {
    double least = INFINITY, most = -INFINITY;
    uint64_t first = UINT64_MAX, last = 0;
    for (uint32_t r = 0; r < c->count; r++)
        for (uint32_t i = 0; i < c->runs[r]->count; i++) {
            const history_point *p = &c->runs[r]->points[i];
            if (p->first < first) first = p->first;
            if (p->last > last) last = p->last;
            least = fmin(least, value(p));
            most = fmax(most, value(p));
        }
    if (first > last) first = last;
    return bytes ? chart_of_bytes(first, last, isfinite(most) ? most : 0, 0)
                 : chart_of(first, last, least, most, value == loss_of || value == validation_of);
}

static void draw_run(const comparison *c, const chart *drawn, uint32_t run, point_value *value) {
    char style[16];
    const history *h = c->runs[run];
    snprintf(style, sizeof style, "run%u", run);
    chart_line line = chart_line_begin(&c->p->out, drawn, style);
    for (uint32_t i = 0; i < h->count; i++) {
        const history_point *p = &h->points[i];
        double number = value(p);
        /* Validations are seldom: the line goes from one to the next. */
        if (value == validation_of && !isfinite(number)) continue;
        chart_line_add(&line, value == validation_of ? (double)p->validation_step : middle(p), number);
    }
    chart_line_end(&line);
}

/* The point of a run at a step, or NULL. */
static const history_point *point_at(const history *h, double step) {
    for (uint32_t i = 0; i < h->count; i++)
        if (step <= (double)h->points[i].last) return step >= (double)h->points[i].first ? &h->points[i] : NULL;
    return NULL;
}

/* Validations are told where they are: at the last one up to the column. */
static double value_at(const history *h, double step, point_value *value) {
    const history_point *p = point_at(h, step);
    double found = p ? value(p) : NAN;
    if (value != validation_of || !p) return found;
    for (uint32_t i = 0; i < h->count && (double)h->points[i].first <= step; i++)
        if (isfinite(value(&h->points[i]))) found = value(&h->points[i]);
    return found;
}

static void draw_hovers(const comparison *c, const chart *drawn, point_value *value, bool bytes) {
    formatter *f = &c->p->out;
    double steps = drawn->last_step - drawn->first_step + 1, width = fmax(1, ceil(steps / HOVERS));
    for (unsigned n = 0; n < HOVERS; n++) {
        double from = drawn->first_step + n * width, to = fmin(from + width - 1, drawn->last_step);
        if (from > drawn->last_step) break;
        chart_hover_begin(f, drawn, from, to);
        format_add(f, "step %.0f", to);
        for (uint32_t r = 0; r < c->count; r++) {
            double number = value_at(c->runs[r], to, value);
            if (!isfinite(number)) continue;
            format_add(f, "\n");
            format_xml_text(f, c->names[r]);
            format_add(f, ": ");
            if (bytes)
                page_bytes(f, number);
            else
                page_number(f, number, 6);
        }
        chart_hover_end(f);
    }
}

static void draw(const comparison *c, const char *title, point_value *value, bool bytes) {
    formatter *f = &c->p->out;
    char words[160];
    chart drawn = chart_for(c, value, bytes);
    page_plot_begin(c->p, title);
    snprintf(words, sizeof words, "%s of %u runs over steps %.0f to %.0f; the figures are in the table below", title,
             c->count, drawn.first_step, drawn.last_step);
    plot_open(f, &drawn.frame, words);
    if (bytes)
        plot_bytes_axis(f, &drawn.frame);
    else
        chart_value_axis(f, &drawn);
    chart_step_axis(f, &drawn);
    for (uint32_t r = 0; r < c->count; r++) draw_run(c, &drawn, r, value);
    draw_hovers(c, &drawn, value, bytes);
    plot_end(f);
    page_plot_end(c->p, drawn.logarithmic ? "The axis is logarithmic." : "");
}

static void legend(const comparison *c) {
    format_add(&c->p->out, "<ul class=\"legend\" aria-label=\"Runs by colour\">\n");
    for (uint32_t r = 0; r < c->count; r++) {
        char style[16];
        snprintf(style, sizeof style, "run%u", r);
        page_legend(&c->p->out, style, c->names[r]);
    }
    format_add(&c->p->out, "</ul>\n");
}

static void heads(const comparison *c, const char *first, const char *class) {
    format_add(&c->p->out, "<thead><tr><th scope=\"col\">%s</th>", first);
    for (uint32_t r = 0; r < c->count; r++) {
        format_add(&c->p->out, "<th scope=\"col\"%s>", class);
        format_xml_text(&c->p->out, c->names[r]);
        format_add(&c->p->out, "</th>");
    }
    format_add(&c->p->out, "</tr></thead>\n<tbody>\n");
}

static void results(const comparison *c) {
    formatter *f = &c->p->out;
    format_add(f,
               "<h3>Results</h3>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Results\"><table>\n"
               "<caption>What each run came to</caption>\n");
    heads(c, "figure", " class=\"number\"");
    for (const page_figure *figure = page_figures; figure->name; figure++) {
        format_add(f, "<tr><th scope=\"row\">%s</th>", figure->name);
        for (uint32_t r = 0; r < c->count; r++) {
            format_add(f, "<td class=\"number\">");
            figure->write(f, c->runs[r]);
            format_add(f, "</td>");
        }
        format_add(f, "</tr>\n");
    }
    format_add(f, "</tbody></table></div>\n");
    page_flush(c->p);
}

static bool was_named_before(const comparison *c, uint32_t run, const history_setting *s) {
    for (uint32_t r = 0; r < run; r++)
        if (history_setting_value(c->runs[r], s)) return true;
    return false;
}

/* False where all runs have the same. */
static bool differs(const comparison *c, const history_setting *s) {
    for (uint32_t r = 0; r < c->count; r++) {
        const char *value = history_setting_value(c->runs[r], s);
        if (!value || strcmp(value, s->value) != 0) return true;
    }
    return false;
}

static void difference(const comparison *c, const history_setting *s) {
    formatter *f = &c->p->out;
    format_add(f, "<tr><th scope=\"row\"><code>");
    if (s->section) {
        format_xml_text(f, s->section);
        format_add(f, ".");
    }
    format_xml_text(f, s->key);
    format_add(f, "</code></th>");
    for (uint32_t r = 0; r < c->count; r++) {
        const char *value = history_setting_value(c->runs[r], s);
        format_add(f, "<td class=\"value\">");
        format_xml_text(f, value ? value : "–");
        format_add(f, "</td>");
    }
    format_add(f, "</tr>\n");
}

/* Where no table of differences is. */
static const char *no_differences(const comparison *c) {
    for (uint32_t r = 0; r < c->count; r++)
        if (!c->runs[r]->settings_there) return "Not known: a run has no config.yaml that could be read.";
    return "None: config.yaml says the same in all runs.";
}

static void differences(const comparison *c) {
    formatter *f = &c->p->out;
    uint32_t found = 0;
    for (uint32_t r = 0; r < c->count; r++)
        for (uint32_t i = 0; i < c->runs[r]->setting_count; i++) {
            const history_setting *s = &c->runs[r]->settings[i];
            if (was_named_before(c, r, s) || !differs(c, s)) continue;
            if (!found++) {
                format_add(
                    f, "<h3>Differences of configuration</h3>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" "
                       "aria-label=\"Differences of configuration\"><table>\n<caption>Settings of config.yaml that "
                       "are not the "
                       "same in all runs; – where a run does not have one</caption>\n");
                heads(c, "setting", "");
            }
            difference(c, s);
        }
    if (found)
        format_add(f, "</tbody></table></div>\n");
    else
        format_add(f, "<h3>Differences of configuration</h3>\n<p>%s</p>\n", no_differences(c));
    page_flush(c->p);
}

void page_comparison(page *p, const history *const *runs, char names[][PAGE_NAME_BYTES], uint32_t count) {
    const comparison c = {p, runs, names, count};
    format_add(&p->out, "<section aria-labelledby=\"comparison\">\n<h2 id=\"comparison\">Comparison</h2>\n");
    legend(&c);
    format_add(&p->out, "<div class=\"plots\">\n");
    draw(&c, "Loss", loss_of, false);
    draw(&c, "Validation loss", validation_of, false);
    draw(&c, "Tokens a second", speed_of, false);
    draw(&c, "Held memory", held_of, true);
    format_add(&p->out, "</div>\n");
    results(&c);
    differences(&c);
    format_add(&p->out, "</section>\n");
    page_flush(p);
}
