/* What pictures have in common: see plot.h. */
#include "report/plot.h"

#include "base/bytes.h"

double plot_y(const plot_frame *frame, double bytes) {
    return frame->bottom - bytes / frame->top_bytes * (frame->bottom - frame->top);
}

double plot_top(double most_bytes, double budget_bytes) {
    return 1.05 * (budget_bytes > most_bytes && budget_bytes < 1.5 * most_bytes ? budget_bytes : most_bytes);
}

void plot_style(formatter *f, const char *light, const char *dark) {
    format_add(f, "text{font:13px system-ui,sans-serif;fill:#22252a}.small{font-size:11px;fill:#5b616b}"
                  ".title{font-size:18px;font-weight:600}.page{fill:#fff}.line{stroke:#22252a;fill:none}"
                  ".grid{stroke:#d9dce1;fill:none}.limit{stroke:#b3261e;fill:none;stroke-dasharray:6 4}"
                  ".hover{fill:transparent}.hover:hover{fill:rgba(0,0,0,.25)}");
    format_add(f, "%s", light);
    format_add(f, "@media(prefers-color-scheme:dark){text{fill:#e4e6ea}.small{fill:#a3a9b3}.page{fill:#16181c}"
                  ".line{stroke:#e4e6ea}.grid{stroke:#33373e}.limit{stroke:#ff8a80}"
                  ".hover:hover{fill:rgba(255,255,255,.3)}");
    format_add(f, "%s}", dark);
}

static void open_view(formatter *f, const plot_frame *frame) {
    format_add(
        f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\"",
        frame->width, frame->height, frame->width, frame->height);
}

void plot_open(formatter *f, const plot_frame *frame, const char *words) {
    open_view(f, frame);
    format_add(f, " aria-label=\"");
    format_xml_text(f, words);
    format_add(f, "\">\n");
}

void plot_begin(formatter *f, const plot_frame *frame, const char *light, const char *dark) {
    open_view(f, frame);
    format_add(f, ">\n<style>");
    plot_style(f, light, dark);
    format_add(f, "</style>\n<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n", frame->width, frame->height);
}

void plot_end(formatter *f) { format_add(f, "</svg>\n"); }

void plot_titles(formatter *f, const plot_frame *frame, const char *title, const char *subtitle) {
    format_add(f, "<text x=\"%d\" y=\"28\" class=\"title\">", frame->left);
    format_xml_text(f, title);
    format_add(f, "</text>\n<text x=\"%d\" y=\"48\" class=\"small\">", frame->left);
    format_xml_text(f, subtitle);
    format_add(f, "</text>\n");
}

/* Steps of the axis: 1, 2 or 5 times a power of ten of a binary unit, at most eight of them. */
static double nice_step(double top) {
    double unit = 1;
    while (top / unit >= 1024) unit *= 1024;
    double step = unit / 100;
    static const double factors[] = {2, 2.5, 2};
    for (unsigned i = 0; top / step > 8; i++) step *= factors[i % 3];
    return step;
}

void plot_bytes_axis(formatter *f, const plot_frame *frame) {
    char bytes[BYTES_TEXT];
    double step = nice_step(frame->top_bytes);
    for (unsigned i = 0; i * step <= frame->top_bytes; i++) {
        double at = i * step, y = plot_y(frame, at);
        format_add(f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", frame->left, y, frame->right);
        format_add(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" class=\"small\">%s</text>\n", frame->left - 8,
                   y + 4, bytes_format(bytes, (uint64_t)at));
    }
}

void plot_budget(formatter *f, const plot_frame *frame, uint64_t budget_bytes) {
    char bytes[BYTES_TEXT];
    if ((double)budget_bytes > frame->top_bytes) return;
    double y = plot_y(frame, (double)budget_bytes);
    format_add(f, "<path class=\"limit\" d=\"M%d %.1fH%d\"/>", frame->left, y, frame->right);
    format_add(f, "<text x=\"%d\" y=\"%.1f\" class=\"small\">budget %s</text>\n", frame->left + 4, y - 4,
               bytes_format(bytes, budget_bytes));
}
