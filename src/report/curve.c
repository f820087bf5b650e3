/* The picture of memory over one pass: see curve.h. Coordinates are pixels of a fixed view, which scales. */
#include "report/curve.h"

#include <stdio.h>

#include "base/bytes.h"
#include "report/bands.h"
#include "report/plot.h"

enum { WIDTH = 1200, HEIGHT = 640, LEFT = 90, RIGHT = 970, TOP = 84, BOTTOM = 540, MOST_LAYER_TICKS = 9 };

typedef struct drawing {
    formatter out;
    const curve *c;
    plot_frame frame;
    uint32_t highest; /* point */
} drawing;

static uint64_t total_of(const curve_point *p) {
    uint64_t total = 0;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) total += p->bytes[c];
    return total;
}

static double x_of(const drawing *d, uint32_t point) {
    return LEFT + (double)point * (RIGHT - LEFT) / (double)d->c->count;
}

/* The bytes of all bands up to and with number `band`. */
static uint64_t height_to(const curve_point *p, unsigned band) {
    uint64_t bytes = 0;
    for (unsigned b = 0; b <= band; b++) bytes += p->bytes[band_category(b)];
    return bytes;
}

/* A band reaches down to the axis: those below are drawn over it. Columns of one height are one stroke. */
static void draw_band(drawing *d, unsigned band) {
    const curve *c = d->c;
    uint64_t most = 0, before = UINT64_MAX;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->points[i].bytes[band_category(band)] > most) most = c->points[i].bytes[band_category(band)];
    if (!most) return;
    format_add(&d->out, "<path class=\"b%u\" d=\"M%d %d", band, (int)LEFT, (int)BOTTOM);
    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t height = height_to(&c->points[i], band);
        if (height != before) format_add(&d->out, "H%.1fV%.1f", x_of(d, i), plot_y(&d->frame, (double)height));
        before = height;
    }
    format_add(&d->out, "H%dV%dZ\"/>\n", (int)RIGHT, (int)BOTTOM);
}

static void draw_legend(drawing *d) {
    const curve_point *peak = &d->c->points[d->highest];
    char bytes[BYTES_TEXT];
    double y = TOP + 10;
    format_add(&d->out, "<text x=\"%d\" y=\"%.0f\" class=\"small\">at the peak</text>\n", (int)RIGHT + 24, y);
    for (unsigned b = BANDS; b-- > 0;) {
        if (!peak->bytes[band_category(b)]) continue;
        y += 26;
        format_add(&d->out, "<rect x=\"%d\" y=\"%.0f\" width=\"14\" height=\"14\" rx=\"2\" class=\"b%u\"/>",
                   (int)RIGHT + 24, y - 11, b);
        format_add(&d->out, "<text x=\"%d\" y=\"%.0f\">%s</text>", (int)RIGHT + 46, y,
                   levee_category_name(band_category(b)));
        format_add(&d->out, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", (int)WIDTH - 16, y,
                   bytes_format(bytes, peak->bytes[band_category(b)]));
    }
    y += 30;
    format_add(&d->out, "<text x=\"%d\" y=\"%.0f\">together</text>", (int)RIGHT + 46, y);
    format_add(&d->out, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", (int)WIDTH - 16, y,
               bytes_format(bytes, total_of(peak)));
}

static uint32_t most_layers(const curve *c) {
    int32_t most = -1;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->points[i].layer > most) most = c->points[i].layer;
    return (uint32_t)(most + 1);
}

/* Where layers begin, forward and backward, thinned out; and the parts of the pass below them. */
static void draw_operators_axis(drawing *d) {
    static const char *const parts[] = {"forward", "head", "backward"};
    const curve *c = d->c;
    uint32_t every = (most_layers(c) + MOST_LAYER_TICKS - 1) / MOST_LAYER_TICKS, begin = 0;
    for (uint32_t i = 0; i <= c->count; i++) {
        const curve_point *p = &c->points[i < c->count ? i : c->count - 1], *last = i ? &c->points[i - 1] : NULL;
        bool new_layer = i < c->count && p->layer >= 0 && (!last || last->layer != p->layer || last->part != p->part);
        if (new_layer && every && (uint32_t)p->layer % every == 0) {
            format_add(&d->out, "<path class=\"line\" d=\"M%.1f %dv6\"/>", x_of(d, i), (int)BOTTOM);
            format_add(&d->out, "<text x=\"%.1f\" y=\"%d\" class=\"small\">%d</text>\n", x_of(d, i) + 2,
                       (int)BOTTOM + 18, (int)p->layer);
        }
        bool ends = i == c->count || (last && last->part != p->part);
        if (!ends) continue;
        format_add(&d->out, "<path class=\"line\" d=\"M%.1f %dv-5H%.1fv5\"/>", x_of(d, begin) + 1, (int)BOTTOM + 32,
                   x_of(d, i) - 1);
        if (last && last->part != CURVE_HEAD)
            format_add(&d->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s, by layer</text>\n",
                       (x_of(d, begin) + x_of(d, i)) / 2, (int)BOTTOM + 48, parts[last->part]);
        begin = i;
    }
    format_add(&d->out, "<path class=\"line\" d=\"M%d %dH%d\"/>\n", (int)LEFT, (int)BOTTOM, (int)RIGHT);
}

static void draw_peak(drawing *d) {
    const curve *c = d->c;
    char bytes[BYTES_TEXT];
    double x = (x_of(d, d->highest) + x_of(d, d->highest + 1)) / 2;
    double y = plot_y(&d->frame, (double)total_of(&c->points[d->highest]));
    bool right_half = x > (LEFT + RIGHT) / 2.0;
    format_add(&d->out, "<path class=\"line\" d=\"M%.1f %.1fV%d\"/>", x, y, (int)TOP - 18);
    format_add(&d->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">peak %s at ", x + (right_half ? -6 : 6),
               (int)TOP - 10, right_half ? "end" : "start", bytes_format(bytes, total_of(&c->points[d->highest])));
    format_xml_text(&d->out, c->points[d->highest].name);
    format_add(&d->out, "</text>\n");
    plot_budget(&d->out, &d->frame, c->budget_bytes);
}

/* Over everything, a column an operator that says what is there when the pointer rests on it. */
static void draw_hovers(drawing *d) {
    char bytes[BYTES_TEXT];
    for (uint32_t i = 0; i < d->c->count; i++) {
        const curve_point *p = &d->c->points[i];
        format_add(&d->out, "<rect class=\"hover\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>",
                   x_of(d, i), (int)TOP, x_of(d, i + 1) - x_of(d, i), (int)(BOTTOM - TOP));
        format_xml_text(&d->out, p->name);
        format_add(&d->out, "\n%s", bytes_format(bytes, total_of(p)));
        for (unsigned b = BANDS; b-- > 0;)
            if (p->bytes[band_category(b)])
                format_add(&d->out, "\n%s %s", levee_category_name(band_category(b)),
                           bytes_format(bytes, p->bytes[band_category(b)]));
        format_add(&d->out, "</title></rect>\n");
    }
}

static void draw_titles(drawing *d) {
    char bytes[BYTES_TEXT];
    plot_titles(&d->out, &d->frame, d->c->title, d->c->subtitle);
    format_add(&d->out,
               "<text x=\"%d\" y=\"%d\" class=\"small\">One pass, an operator a column; mapped "
               "weights are not held and not shown. The run takes %s, with what packing leaves unused.</text>\n",
               (int)LEFT, (int)HEIGHT - 18, bytes_format(bytes, d->c->planned_bytes));
}

levee_status curve_draw(text_buffer *text, const curve *c, bool as_page, levee_error *error) {
    char light[BANDS_STYLE_BYTES], dark[BANDS_STYLE_BYTES];
    drawing d = {
        .out = {.text = text, .error = error},
        .c = c,
        .frame = {.width = WIDTH, .height = HEIGHT, .left = LEFT, .right = RIGHT, .top = TOP, .bottom = BOTTOM}};
    for (uint32_t i = 0; i < c->count; i++)
        if (total_of(&c->points[i]) > total_of(&c->points[d.highest])) d.highest = i;
    d.frame.top_bytes = plot_top((double)total_of(&c->points[d.highest]), (double)c->budget_bytes);
    if (as_page)
        format_add(&d.out,
                   "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" "
                   "content=\"light dark\"><title>levee "
                   "plan</title><style>body{margin:0;background:#fff}svg{max-width:100%%;"
                   "height:auto}@media(prefers-color-scheme:dark){body{background:#16181c}}</style></head><body>\n");
    plot_begin(&d.out, &d.frame, bands_style(light, false), bands_style(dark, true));
    plot_bytes_axis(&d.out, &d.frame);
    for (unsigned b = BANDS; b-- > 0;) draw_band(&d, b);
    draw_operators_axis(&d);
    draw_peak(&d);
    draw_legend(&d);
    draw_titles(&d);
    draw_hovers(&d);
    plot_end(&d.out);
    format_add(&d.out, "%s", as_page ? "</body></html>\n" : "");
    return d.out.status;
}
