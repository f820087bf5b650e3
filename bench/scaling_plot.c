/* scaling_plot FILE.svg TITLE SUBTITLE WHAT: draws how the time and the memory of a step grow with WHAT, both axes
 * logarithmic, so that a power is a line. Reads points, "X SECONDS BYTES" a line, X rising; prints the exponents that
 * fit best, of seconds and of bytes (least squares of the logarithms over all points), and those between the last two
 * points, where what is constant weighs least. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "report/plot.h"

enum { MOST_POINTS = 64, WIDTH = 920, HEIGHT = 340, TOP = 84, BOTTOM = 284, PANEL = 350, FIRST = 76, SECOND = 540 };

static const double least_range = 4; /* of an axis, so that what hardly changes looks like it */

typedef struct series {
    const char *title;
    bool is_bytes;
    double values[MOST_POINTS];
    double slope, at_one; /* of the line through the logarithms */
    double end_slope;     /* between the last two points */
    double axis_least, axis_most;
    int left;
} series;

typedef struct measurement {
    double x[MOST_POINTS];
    unsigned count;
    series time, memory;
} measurement;

static void fit(const measurement *m, series *s) {
    double n = m->count, sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0, least = s->values[0], most = s->values[0];
    for (unsigned i = 0; i < m->count; i++) {
        double x = log(m->x[i]), y = log(s->values[i]);
        sum_x += x, sum_y += y, sum_xx += x * x, sum_xy += x * y;
        least = fmin(least, s->values[i]);
        most = fmax(most, s->values[i]);
    }
    unsigned last = m->count - 1;
    s->slope = (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x * sum_x);
    s->at_one = exp((sum_y - s->slope * sum_x) / n);
    s->end_slope = log(s->values[last] / s->values[last - 1]) / log(m->x[last] / m->x[last - 1]);
    double range = fmax(1.4 * most / least, least_range), middle = sqrt(least * most);
    s->axis_least = middle / sqrt(range);
    s->axis_most = middle * sqrt(range);
}

static double x_of(const measurement *m, const series *s, double x) {
    return s->left + PANEL * (0.04 + 0.92 * log(x / m->x[0]) / log(m->x[m->count - 1] / m->x[0]));
}

static double y_of(const series *s, double value) {
    double share = log(value / s->axis_least) / log(s->axis_most / s->axis_least);
    return BOTTOM - fmin(fmax(share, 0), 1) * (BOTTOM - TOP);
}

static void tick(formatter *f, const series *s, double value) {
    if (value < s->axis_least || value > s->axis_most) return;
    char text[BYTES_TEXT];
    double y = y_of(s, value);
    if (s->is_bytes)
        bytes_format(text, (uint64_t)value);
    else if (value < 1)
        snprintf(text, sizeof text, "%.3g ms", 1e3 * value);
    else
        snprintf(text, sizeof text, "%.3g s", value);
    format_add(f,
               "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" "
               "class=\"small\">%s</text>\n",
               s->left, y, (int)PANEL, s->left - 6, y + 4, text);
}

/* Bytes at powers of two, seconds at 1, 2 and 5 times those of ten; fewer where there would be many. */
static void value_axis(formatter *f, const series *s) {
    bool sparse = s->axis_most / s->axis_least > 100;
    if (s->is_bytes) {
        for (int power = (int)floor(log2(s->axis_least)); power <= (int)ceil(log2(s->axis_most)); power++)
            if (!sparse || power % 2 == 0) tick(f, s, exp2(power));
        return;
    }
    for (int power = (int)floor(log10(s->axis_least)); power <= (int)ceil(log10(s->axis_most)); power++)
        for (int factor = 1; factor <= 5; factor += factor == 1 ? 1 : 3)
            if (!sparse || factor == 1) tick(f, s, factor * pow(10, power));
}

static void draw(formatter *f, const measurement *m, const series *s, const char *what) {
    format_add(f, "<text x=\"%d\" y=\"%d\">%s: exponent %.2f, at the end %.2f</text>\n", s->left, (int)TOP - 12,
               s->title, s->slope, s->end_slope);
    value_axis(f, s);
    format_add(f, "<path class=\"line\" d=\"M%d %dh%d\"/>\n", s->left, (int)BOTTOM, (int)PANEL);
    format_add(f, "<path class=\"fit\" d=\"");
    for (unsigned i = 0; i < m->count; i += m->count - 1)
        format_add(f, "%c%.1f %.1f", i ? 'L' : 'M', x_of(m, s, m->x[i]), y_of(s, s->at_one * pow(m->x[i], s->slope)));
    format_add(f, "\"/>\n");
    for (unsigned i = 0; i < m->count; i++) {
        double x = x_of(m, s, m->x[i]);
        format_add(f, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", x, y_of(s, s->values[i]));
        format_add(f,
                   "<path class=\"line\" d=\"M%.1f %dv5\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\" "
                   "class=\"small\">%.0f</text>\n",
                   x, (int)BOTTOM, x, (int)BOTTOM + 20, m->x[i]);
    }
    format_add(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" class=\"small\">", s->left + PANEL / 2,
               (int)BOTTOM + 40);
    format_xml_text(f, what);
    format_add(f, "</text>\n");
}

static bool read_points(measurement *m) {
    double x, seconds, bytes, before = 0;
    int found;
    while ((found = scanf("%lf %lf %lf", &x, &seconds, &bytes)) == 3 && m->count < MOST_POINTS) {
        if (!(x > before && seconds > 0 && bytes > 0)) return false;
        before = m->x[m->count] = x;
        m->time.values[m->count] = seconds;
        m->memory.values[m->count++] = bytes;
    }
    return found == EOF && m->count >= 2;
}

static levee_status draw_all(text_buffer *text, const measurement *m, char *const *words, levee_error *error) {
    const plot_frame frame = {
        .width = WIDTH, .height = HEIGHT, .left = FIRST, .right = SECOND + PANEL, .top = TOP, .bottom = BOTTOM};
    formatter f = {.text = text, .error = error};
    plot_begin(&f, &frame, ".fit{stroke:#2f6db5;fill:none}.dot{fill:#2f6db5}",
               ".fit{stroke:#4f8fd9}.dot{fill:#4f8fd9}");
    plot_titles(&f, &frame, words[0], words[1]);
    draw(&f, m, &m->time, words[2]);
    draw(&f, m, &m->memory, words[2]);
    plot_end(&f);
    return f.status;
}

int main(int count, char **arguments) {
    static measurement m = {.time = {.title = "time of a step", .left = FIRST},
                            .memory = {.title = "held memory", .is_bytes = true, .left = SECOND}};
    text_buffer text = {0};
    levee_error error = {0};
    if (count != 5) return fputs("usage: scaling_plot FILE.svg TITLE SUBTITLE WHAT <POINTS\n", stderr), 2;
    if (!read_points(&m))
        return fputs("scaling_plot: takes lines of \"X SECONDS BYTES\", two at least, X rising, all above 0\n",
                     stderr),
               65;
    fit(&m, &m.time);
    fit(&m, &m.memory);
    if (draw_all(&text, &m, arguments + 2, &error) != LEVEE_OK)
        return fprintf(stderr, "scaling_plot: %s\n", error.message), 70;
    FILE *file = fopen(arguments[1], "w");
    bool whole = file && fwrite(text.data, 1, text.bytes, file) == text.bytes;
    if (!file || fclose(file) || !whole) return perror(arguments[1]), 74;
    text_free(&text);
    printf("%.3f %.3f %.3f %.3f\n", m.time.slope, m.memory.slope, m.time.end_slope, m.memory.end_slope);
    return 0;
}
