/* One run on the page of a report: see page.h. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/bands.h"
#include "report/chart.h"
#include "report/page.h"

enum { TABLE_ROWS = 50, PLAN_ROWS = 80, PLAN_DEPTH = 4 };

static double middle(const history_point *p) { return ((double)p->first + (double)p->last) / 2; }

static void name_steps(formatter *f, const history_point *p) {
    if (p->first == p->last)
        format_add(f, "step %llu", (unsigned long long)p->first);
    else
        format_add(f, "steps %llu to %llu", (unsigned long long)p->first, (unsigned long long)p->last);
}

/* What is to be said below a plot: what points are (`several` of the steps that each takes together), and more. */
static const char *remark(char text[160], const history *h, const char *several, const char *more) {
    text[0] = 0;
    if (h->stride > 1)
        snprintf(text, 160, "Each point is %s up to %llu steps. ", several, (unsigned long long)h->stride);
    strncat(text, more, 160 - strlen(text) - 1);
    return text;
}

static double total_of(const double bytes[LEVEE_CATEGORY_COUNT]) {
    double total = 0;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) total += bytes[c];
    return total;
}

/* From the least to the most loss of the steps that a point takes together. */
static void draw_spread(formatter *f, const chart *c, const history *h) {
    if (h->stride == 1) return;
    char from = 'M';
    format_add(f, "<path class=\"spread\" d=\"");
    for (uint32_t i = 0; i < h->count; i++)
        if (isfinite(h->points[i].most_loss)) {
            format_add(f, "%c%.1f %.1f", from, chart_x(c, middle(&h->points[i])), chart_y(c, h->points[i].most_loss));
            from = 'L';
        }
    for (uint32_t i = h->count; i-- > 0;)
        if (isfinite(h->points[i].least_loss))
            format_add(f, "L%.1f %.1f", chart_x(c, middle(&h->points[i])), chart_y(c, h->points[i].least_loss));
    format_add(f, "%s\"/>\n", from == 'L' ? "Z" : "");
}

static void draw_validations(formatter *f, const chart *c, const history *h) {
    chart_line line = chart_line_begin(f, c, "run1");
    for (uint32_t i = 0; i < h->count; i++)
        if (isfinite(h->points[i].validation_loss))
            chart_line_add(&line, (double)h->points[i].validation_step, h->points[i].validation_loss);
    chart_line_end(&line);
}

static void hover_loss(formatter *f, const chart *c, const history *h, const history_point *p) {
    chart_hover_begin(f, c, (double)p->first, (double)p->last);
    name_steps(f, p);
    format_add(f, "\nloss ");
    page_number(f, p->loss, 9);
    if (p->steps > 1) {
        format_add(f, " (");
        page_number(f, p->least_loss, 6);
        format_add(f, " to ");
        page_number(f, p->most_loss, 6);
        format_add(f, ")");
    }
    if (isfinite(p->validation_loss)) {
        format_add(f, "\nvalidation loss ");
        page_number(f, p->validation_loss, 9);
        if (p->steps > 1) format_add(f, " at step %llu", (unsigned long long)p->validation_step);
    }
    page_story_words(f, h, p);
    chart_hover_end(f);
}

static void draw_loss(page *p, const history *h) {
    formatter *f = &p->out;
    double least = INFINITY, most = -INFINITY;
    char words[160], line[160];
    for (uint32_t i = 0; i < h->count; i++) {
        const history_point *point = &h->points[i];
        least = fmin(fmin(least, point->least_loss), point->validation_loss);
        most = fmax(fmax(most, point->most_loss), point->validation_loss);
    }
    if (!isfinite(least)) return; /* no loss is known */
    chart c = chart_of(h->first_step, h->last_step, least, most, true);
    page_plot_begin(p, "Loss");
    snprintf(words, sizeof words, "Loss over steps %llu to %llu, between %.4g and %.4g",
             (unsigned long long)h->first_step, (unsigned long long)h->last_step, least, most);
    plot_open(f, &c.frame, words);
    chart_value_axis(f, &c);
    chart_step_axis(f, &c);
    draw_spread(f, &c, h);
    page_story_marks(f, &c, h);
    chart_line drawn = chart_line_begin(f, &c, "run0");
    for (uint32_t i = 0; i < h->count; i++) chart_line_add(&drawn, middle(&h->points[i]), h->points[i].loss);
    chart_line_end(&drawn);
    draw_validations(f, &c, h);
    for (uint32_t i = 0; i < h->count; i++) hover_loss(f, &c, h, &h->points[i]);
    plot_end(f);
    format_add(f, "<ul class=\"legend\" aria-label=\"Colours of loss\">\n");
    page_legend(f, "run0", "training");
    if (isfinite(h->last_validation)) page_legend(f, "run1", "validation");
    if (h->decision_count) page_legend(f, "mark", "the guard did something");
    format_add(f, "</ul>\n");
    page_plot_end(p, remark(line, h, "the mean of", c.logarithmic ? "The axis is logarithmic." : ""));
}

typedef double point_value(const history_point *p);
static double rate_of(const history_point *p) { return p->learning_rate; }
static double norm_of(const history_point *p) { return p->gradient_norm; }
static double speed_of(const history_point *p) { return p->tokens_per_second; }

static void draw_value(page *p, const history *h, const char *title, point_value *value, bool may_log,
                       const char *line) {
    formatter *f = &p->out;
    double least = INFINITY, most = -INFINITY;
    char words[160];
    for (uint32_t i = 0; i < h->count; i++) {
        least = fmin(least, value(&h->points[i]));
        most = fmax(most, value(&h->points[i]));
    }
    if (!isfinite(least)) return; /* nothing is known of it */
    chart c = chart_of(h->first_step, h->last_step, least, most, may_log);
    page_plot_begin(p, title);
    snprintf(words, sizeof words, "%s over steps %llu to %llu: between %.4g and %.4g", title,
             (unsigned long long)h->first_step, (unsigned long long)h->last_step, least, most);
    plot_open(f, &c.frame, words);
    chart_value_axis(f, &c);
    chart_step_axis(f, &c);
    chart_line drawn = chart_line_begin(f, &c, "run0");
    for (uint32_t i = 0; i < h->count; i++) chart_line_add(&drawn, middle(&h->points[i]), value(&h->points[i]));
    chart_line_end(&drawn);
    for (uint32_t i = 0; i < h->count; i++) {
        chart_hover_begin(f, &c, (double)h->points[i].first, (double)h->points[i].last);
        name_steps(f, &h->points[i]);
        format_add(f, "\n");
        page_number(f, value(&h->points[i]), 9);
        chart_hover_end(f);
    }
    plot_end(f);
    page_plot_end(p, line);
}

/* Bands lie on each other: the lower ones are drawn over the higher, each down to the axis. */
static void draw_band(formatter *f, const chart *c, const history *h, unsigned band) {
    if (!(h->most_booked_bytes[band_category(band)] > 0)) return;
    double end = chart_x(c, c->last_step);
    format_add(f, "<path class=\"b%u\" d=\"M%d %d", band, c->frame.left, c->frame.bottom);
    for (uint32_t i = 0; i < h->count; i++) {
        double bytes = 0;
        for (unsigned b = 0; b <= band; b++) bytes += h->points[i].booked_bytes[band_category(b)];
        double y = chart_y(c, bytes);
        format_add(f, "L%.1f %.1f", i ? chart_x(c, middle(&h->points[i])) : c->frame.left, y);
        if (i + 1 == h->count) format_add(f, "H%.1f", h->count == 1 ? c->frame.right : end);
    }
    format_add(f, "V%dZ\"/>\n", c->frame.bottom);
}

static void hover_memory(formatter *f, const chart *c, const history *h, const history_point *p) {
    chart_hover_begin(f, c, (double)p->first, (double)p->last);
    name_steps(f, p);
    format_add(f, "\nheld ");
    page_bytes(f, p->held_bytes);
    if (total_of(p->booked_bytes) > 0) {
        format_add(f, "\nbooked ");
        page_bytes(f, total_of(p->booked_bytes));
    }
    for (unsigned b = BANDS; b-- > 0;) {
        if (!(p->booked_bytes[band_category(b)] > 0)) continue;
        format_add(f, "\n%s ", levee_category_name(band_category(b)));
        page_bytes(f, p->booked_bytes[band_category(b)]);
    }
    page_story_words(f, h, p);
    chart_hover_end(f);
}

static void memory_legend(formatter *f, const history *h, bool planned) {
    char style[16];
    format_add(f, "<ul class=\"legend\" aria-label=\"Colours of memory\">\n");
    page_legend(f, "held", "held");
    if (planned) page_legend(f, "planned", "planned");
    for (unsigned b = BANDS; b-- > 0;) {
        if (!(h->most_booked_bytes[band_category(b)] > 0)) continue;
        snprintf(style, sizeof style, "b%u", b);
        page_legend(f, style, levee_category_name(band_category(b)));
    }
    if (h->decision_count) page_legend(f, "mark", "the guard did something");
    format_add(f, "</ul>\n");
}

static void draw_memory(page *p, const history *h) {
    formatter *f = &p->out;
    double planned = total_of(h->planned_bytes), most = fmax(planned, h->peak_bytes);
    double booked = 0;
    char words[160], line[160];
    for (uint32_t i = 0; i < h->count; i++) booked = fmax(booked, total_of(h->points[i].booked_bytes));
    chart c = chart_of_bytes(h->first_step, h->last_step, fmax(most, booked),
                             isfinite(h->budget_bytes) ? h->budget_bytes : 0);
    page_plot_begin(p, booked > 0 ? "Memory, by category as booked" : "Held memory");
    snprintf(words, sizeof words,
             "Held and booked memory over steps %llu to %llu; the peaks are in the table of memory",
             (unsigned long long)h->first_step, (unsigned long long)h->last_step);
    plot_open(f, &c.frame, words);
    for (unsigned b = BANDS; b-- > 0;) draw_band(f, &c, h, b);
    plot_bytes_axis(f, &c.frame);
    chart_step_axis(f, &c);
    if (planned > 0)
        format_add(f, "<path class=\"planned\" d=\"M%d %.1fH%d\"/>\n", c.frame.left, chart_y(&c, planned),
                   c.frame.right);
    chart_line held = chart_line_begin(f, &c, "held");
    for (uint32_t i = 0; i < h->count; i++) chart_line_add(&held, middle(&h->points[i]), h->points[i].held_bytes);
    chart_line_end(&held);
    page_story_marks(f, &c, h);
    if (isfinite(h->budget_bytes)) plot_budget(f, &c.frame, (uint64_t)h->budget_bytes);
    for (uint32_t i = 0; i < h->count; i++) hover_memory(f, &c, h, &h->points[i]);
    plot_end(f);
    memory_legend(f, h, planned > 0);
    bool beyond = isfinite(h->budget_bytes) && h->budget_bytes > c.most;
    page_plot_end(p,
                  remark(line, h, "the one that held most of", beyond ? "The budget lies above the picture." : ""));
}

/* A figure that is not known has no place here. */
static void add_figure(formatter *f, const page_figure *figure, const history *h) {
    static const char unknown[] = "–";
    uint64_t before = f->text->bytes, begin;
    format_add(f, "<div><dt>%s</dt><dd>", figure->name);
    begin = f->text->bytes;
    figure->write(f, h);
    if (f->status == LEVEE_OK && !strcmp(f->text->data + begin, unknown))
        f->text->bytes = before;
    else
        format_add(f, "</dd></div>\n");
}

static void figures(page *p, const history *h) {
    format_add(&p->out, "<dl class=\"figures\">\n");
    for (const page_figure *figure = page_figures; figure->name; figure++) add_figure(&p->out, figure, h);
    format_add(&p->out, "</dl>\n");
}

/* In words what came of it, or why there is nothing. */
static void verdict(formatter *f, const history *h) {
    format_add(f, "<p>");
    if (!h->steps)
        format_add(f, "No step is told of.");
    else if (h->by_samples)
        format_add(f, "There is no metrics.jsonl: this is what the guard saw of memory.");
    else
        format_add(f, "%llu step%s", (unsigned long long)h->steps, h->steps == 1 ? "" : "s");
    if (isfinite(h->first_loss) && isfinite(h->last_loss))
        format_add(f, "; loss from %.4g to %.4g", h->first_loss, h->last_loss);
    if (h->steps && !h->by_samples) format_add(f, ".");
    if (isfinite(h->peak_bytes)) {
        format_add(f, " Memory: ");
        page_bytes(f, h->peak_bytes);
        format_add(f, " at most");
        if (isfinite(h->budget_bytes)) {
            format_add(f, " of a budget of ");
            page_bytes(f, h->budget_bytes);
            format_add(f, h->peak_bytes <= h->budget_bytes ? ": held" : ": <span class=\"bad\">NOT HELD</span>");
        }
        format_add(f, ".");
    }
    format_add(f, "</p>\n");
}

static void say_unread(formatter *f, const char *name, const history_file *file) {
    uint64_t whole = file->unreadable - (file->cut_short && file->unreadable ? 1 : 0);
    if (whole)
        format_add(f,
                   "<p class=\"bad\">%s: %llu of %llu lines could not be read and are left out; the first is line "
                   "%llu.</p>\n",
                   name, (unsigned long long)file->unreadable, (unsigned long long)file->lines,
                   (unsigned long long)file->first_unreadable);
    else if (file->unreadable)
        format_add(f, "<p>%s: its last line is only half there and is left out.</p>\n", name);
}

static void say_problems(formatter *f, const history *h) {
    say_unread(f, "metrics.jsonl", &h->metrics);
    say_unread(f, "events.jsonl", &h->events);
    say_unread(f, "samples.jsonl", &h->samples);
    if (h->out_of_order)
        format_add(f, "<p class=\"bad\">%llu lines are of steps that were told before, and are left out.</p>\n",
                   (unsigned long long)h->out_of_order);
    if (h->not_applied)
        format_add(f,
                   "<p class=\"bad\">In %llu steps loss or gradient was not finite, and nothing was changed; the "
                   "first is step %llu.</p>\n",
                   (unsigned long long)h->not_applied, (unsigned long long)h->first_not_applied);
    if (*h->plan_problem) {
        format_add(f, "<p class=\"bad\">");
        format_xml_text(f, h->plan_problem);
        format_add(f, "</p>\n");
    }
}

static void table_begin(formatter *f, const char *caption) {
    format_add(
        f, "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table>\n<caption>%s</caption>\n",
        caption, caption);
}

static void table_end(page *p) {
    format_add(&p->out, "</tbody></table></div>\n");
    page_flush(p);
}

static void memory_row(formatter *f, const char *name, double planned, double measured) {
    format_add(f, "<tr><th scope=\"row\">%s</th><td class=\"number\">", name);
    page_bytes(f, planned);
    format_add(f, "</td><td class=\"number\">");
    page_bytes(f, measured);
    format_add(f, "</td></tr>\n");
}

static void memory_table(page *p, const history *h, unsigned level) {
    formatter *f = &p->out;
    format_add(f, "<h%u>Memory: predicted and measured</h%u>\n", level, level);
    table_begin(f, "Planned for the largest plan, and the most that was booked at the end of a step");
    format_add(
        f,
        "<thead><tr><th scope=\"col\">category</th><th scope=\"col\" class=\"number\">planned</th><th scope=\"col\" "
        "class=\"number\">measured</th></tr></thead>\n<tbody>\n");
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        if (h->planned_bytes[c] > 0 || h->most_booked_bytes[c] > 0)
            memory_row(f, levee_category_name((levee_category)c), h->planned_bytes[c], h->most_booked_bytes[c]);
    memory_row(f, "peak, held", h->predicted_bytes, h->peak_bytes);
    memory_row(f, "budget", h->budget_bytes, NAN);
    table_end(p);
    double difference = h->peak_bytes - h->predicted_bytes;
    if (isfinite(difference) && h->predicted_bytes > 0)
        format_add(f,
                   "<p>Measured less predicted: %+.1f MiB (%+.2f %%). What files, data and the tokenizer take is "
                   "planned under "
                   "runtime.</p>\n",
                   difference / 0x1p20, 100 * difference / h->predicted_bytes);
}

/* Numbers of steps, spread over the run, for those who cannot see the plots. */
static void step_table(page *p, const history *h, unsigned level) {
    formatter *f = &p->out;
    uint32_t every = (h->count + TABLE_ROWS - 1) / TABLE_ROWS;
    format_add(f, "<details>\n<summary>Numbers of steps</summary>\n<h%u>Numbers of steps</h%u>\n", level, level);
    table_begin(f, "Steps spread over the run");
    format_add(f, "<thead><tr><th scope=\"col\">step</th>");
    static const char *const names[] = {"loss",          "validation loss", "learning rate",
                                        "gradient norm", "tokens/s",        "held"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        format_add(f, "<th scope=\"col\" class=\"number\">%s</th>", names[i]);
    format_add(f, "</tr></thead>\n<tbody>\n");
    for (uint32_t i = 0; i < h->count; i++) {
        const history_point *point = &h->points[i];
        if (i % every && i + 1 != h->count) continue;
        const double values[] = {point->loss, point->validation_loss, point->learning_rate, point->gradient_norm,
                                 point->tokens_per_second};
        format_add(f, "<tr><th scope=\"row\">%llu", (unsigned long long)point->first);
        if (point->last != point->first) format_add(f, "–%llu", (unsigned long long)point->last);
        format_add(f, "</th>");
        for (unsigned v = 0; v < sizeof values / sizeof *values; v++) {
            format_add(f, "<td class=\"number\">");
            page_number(f, values[v], v == 4 ? 6 : 9);
            format_add(f, "</td>");
        }
        format_add(f, "<td class=\"number\">");
        page_bytes(f, point->held_bytes);
        format_add(f, "</td></tr>\n");
    }
    table_end(p);
    format_add(f, "</details>\n");
}

static void plan_value(formatter *f, const char *key, const json_t *value) {
    size_t length = strlen(key);
    bool bytes = length > 6 && !strcmp(key + length - 6, "_bytes");
    if (json_is_string(value))
        format_xml_text(f, json_string_value(value));
    else if (json_is_boolean(value))
        format_add(f, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_number(value) && bytes)
        page_bytes(f, json_number_value(value));
    else if (json_is_integer(value))
        format_add(f, "%lld", (long long)json_integer_value(value));
    else if (json_is_number(value))
        page_number(f, json_number_value(value), 6);
    else
        format_add(f, "–");
}

/* What plan.json has, but for its lists: a row a value, objects by their names before it. */
static uint32_t plan_rows(formatter *f, json_t *plan, const char *path, uint32_t rows, unsigned depth) {
    const char *key;
    json_t *value;
    json_object_foreach(plan, key, value) {
        char name[160];
        snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", key);
        if (json_is_array(value) || rows >= PLAN_ROWS) continue;
        if (json_is_object(value)) {
            if (depth < PLAN_DEPTH) rows = plan_rows(f, value, name, rows, depth + 1);
            continue;
        }
        format_add(f, "<tr><th scope=\"row\"><code>");
        format_xml_text(f, name);
        format_add(f, "</code></th><td class=\"value\">");
        /* All below planned_bytes are bytes. */
        plan_value(f, strstr(path, "_bytes") ? path : key, value);
        format_add(f, "</td></tr>\n");
        rows++;
    }
    return rows;
}

static void plan_table(page *p, const history *h) {
    formatter *f = &p->out;
    if (!h->plan) return;
    format_add(f, "<details>\n<summary>Plan</summary>\n");
    table_begin(f, "What plan.json says");
    format_add(f, "<thead><tr><th scope=\"col\">what</th><th scope=\"col\">value</th></tr></thead>\n<tbody>\n");
    plan_rows(f, h->plan, "", 0, 0);
    table_end(p);
    format_add(f, "</details>\n");
}

static void settings_table(page *p, const history *h) {
    formatter *f = &p->out;
    if (!h->settings_there) {
        format_add(f, "<p>There is no config.yaml that could be read.</p>\n");
        return;
    }
    format_add(f, "<details>\n<summary>Configuration</summary>\n");
    table_begin(f, "What config.yaml says");
    format_add(f, "<thead><tr><th scope=\"col\">setting</th><th scope=\"col\">value</th></tr></thead>\n<tbody>\n");
    for (uint32_t i = 0; i < h->setting_count; i++) {
        const history_setting *s = &h->settings[i];
        format_add(f, "<tr><th scope=\"row\"><code>");
        if (s->section) {
            format_xml_text(f, s->section);
            format_add(f, ".");
        }
        format_xml_text(f, s->key);
        format_add(f, "</code></th><td class=\"value\">");
        format_xml_text(f, s->value);
        format_add(f, "</td></tr>\n");
    }
    table_end(p);
    if (h->settings_left_out)
        format_add(f, "<p>%llu more lines are left out.</p>\n", (unsigned long long)h->settings_left_out);
    format_add(f, "</details>\n");
}

static void plots(page *p, const history *h) {
    format_add(&p->out, "<div class=\"plots\">\n");
    if (!h->by_samples) draw_loss(p, h);
    draw_memory(p, h);
    draw_value(p, h, "Tokens a second", speed_of, false, "");
    draw_value(p, h, "Learning rate", rate_of, false, "");
    draw_value(p, h, "Gradient norm, before clipping", norm_of, true, "");
    format_add(&p->out, "</div>\n");
}

void page_run(page *p, const history *h, unsigned level) {
    verdict(&p->out, h);
    say_problems(&p->out, h);
    figures(p, h);
    if (h->count) plots(p, h);
    if (h->steps && !h->by_samples) memory_table(p, h, level);
    page_story(p, h, level);
    format_add(&p->out, "<h%u>Details</h%u>\n", level, level);
    if (h->count) step_table(p, h, level + 1);
    plan_table(p, h);
    settings_table(p, h);
    page_flush(p);
}
