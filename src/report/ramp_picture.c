/* A ramp as a picture: a column a size, as high as its peak, and above it how fast it is. See ramp.h. */
#include <stdio.h>

#include "base/bytes.h"
#include "report/plot.h"
#include "report/ramp.h"

enum {
    WIDTH = 900,
    HEIGHT = 520,
    LEFT = 90,
    RIGHT = 880,
    TOP = 170,
    BOTTOM = 440,
    SPEED_TOP = 84,
    SPEED_BOTTOM = 150
};

typedef struct picture {
    formatter out;
    const ramp *r;
    plot_frame frame;
    uint32_t order[RAMP_ROWS]; /* rows by size: they may have been tried in another order */
    double fastest;
} picture;

static void sort_rows(picture *p) {
    for (uint32_t i = 0; i < p->r->count; i++) {
        uint32_t at = i;
        for (; at && p->r->rows[p->order[at - 1]].sequences > p->r->rows[i].sequences; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = i;
    }
}

static double middle_of(const picture *p, uint32_t column) {
    return LEFT + (column + 0.5) * (RIGHT - LEFT) / p->r->count;
}

static double speed_y(const picture *p, const ramp_row *row) {
    return SPEED_BOTTOM - row->tokens_second / p->fastest * (SPEED_BOTTOM - SPEED_TOP);
}

static void draw_column(picture *p, uint32_t column) {
    const ramp_row *row = &p->r->rows[p->order[column]];
    char peak[BYTES_TEXT], line[RAMP_LINE_BYTES];
    double x = middle_of(p, column), half = 0.3 * (RIGHT - LEFT) / p->r->count,
           y = plot_y(&p->frame, (double)row->peak_bytes),
           predicted = plot_y(&p->frame, (double)row->predicted_bytes);
    if (half > 40) half = 40;
    format_add(&p->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
               row == p->r->chosen ? "chosen"
               : row->safe         ? "safe"
                                   : "unsafe",
               x - half, y, 2 * half, BOTTOM - y);
    format_add(&p->out, "<path class=\"line\" d=\"M%.1f %.1fH%.1f\"/>", x - half - 4, predicted, x + half + 4);
    format_add(&p->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"small\">%s</text>", x,
               (y < predicted ? y : predicted) - 5, bytes_format(peak, row->peak_bytes));
    format_add(&p->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%u</text>\n", x, (int)BOTTOM + 20,
               row->sequences);
    ramp_line(line, row);
    format_add(&p->out, "<rect class=\"hover\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>", x - half,
               (int)SPEED_TOP, 2 * half, (int)(BOTTOM - SPEED_TOP));
    format_xml_text(&p->out, line);
    format_add(&p->out, "</title></rect>\n");
}

static void draw_speed(picture *p) {
    format_add(&p->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" class=\"small\">tokens/s</text>", (int)LEFT - 8,
               (int)SPEED_TOP + 4);
    format_add(&p->out, "<path class=\"speed\" d=\"");
    for (uint32_t i = 0; i < p->r->count; i++)
        format_add(&p->out, "%c%.1f %.1f", i ? 'L' : 'M', middle_of(p, i), speed_y(p, &p->r->rows[p->order[i]]));
    format_add(&p->out, "\"/>\n");
    for (uint32_t i = 0; i < p->r->count; i++) {
        const ramp_row *row = &p->r->rows[p->order[i]];
        format_add(&p->out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", middle_of(p, i),
                   speed_y(p, row));
        format_add(&p->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" class=\"small\">%.*f</text>\n",
                   middle_of(p, i), speed_y(p, row) - 8, row->tokens_second < 100 ? 1 : 0, row->tokens_second);
    }
}

static void draw_legend(picture *p) {
    format_add(&p->out,
               "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">micro-batch: longest sequences a pass</text>\n",
               (LEFT + RIGHT) / 2, (int)BOTTOM + 44);
    format_add(&p->out,
               "<text x=\"%d\" y=\"%d\" class=\"small\">Columns: peak memory as measured, the line across as "
               "predicted; dark: the size that was chosen; red: a size that was not finished.</text>\n",
               (int)LEFT, (int)HEIGHT - 14);
}

levee_status ramp_draw(text_buffer *text, const ramp *r, levee_error *error) {
    picture p = {
        .out = {.text = text, .error = error},
        .r = r,
        .frame = {.width = WIDTH, .height = HEIGHT, .left = LEFT, .right = RIGHT, .top = TOP, .bottom = BOTTOM},
        .fastest = 1e-9};
    double most = 1;
    for (uint32_t i = 0; i < r->count; i++) {
        const ramp_row *row = &r->rows[i];
        if ((double)row->peak_bytes > most) most = (double)row->peak_bytes;
        if ((double)row->predicted_bytes > most) most = (double)row->predicted_bytes;
        if (row->tokens_second > p.fastest) p.fastest = row->tokens_second;
    }
    p.frame.top_bytes = plot_top(most, (double)r->budget_bytes);
    sort_rows(&p);
    plot_begin(
        &p.out, &p.frame,
        ".safe{fill:#8fb7a9}.chosen{fill:#3c9a7c}.unsafe{fill:#d98880}.speed{stroke:#2f6db5;fill:none;"
        "stroke-width:2}.dot{fill:#2f6db5}",
        ".safe{fill:#3a6b5c}.chosen{fill:#4bb594}.unsafe{fill:#9c4b43}.speed{stroke:#4f8fd9}.dot{fill:#4f8fd9}");
    plot_titles(&p.out, &p.frame, r->title, r->subtitle);
    plot_bytes_axis(&p.out, &p.frame);
    for (uint32_t i = 0; i < r->count; i++) draw_column(&p, i);
    plot_budget(&p.out, &p.frame, r->budget_bytes);
    if (r->count) draw_speed(&p);
    draw_legend(&p);
    plot_end(&p.out);
    return p.out.status;
}
