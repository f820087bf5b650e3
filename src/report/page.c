/* The page of a report: see page.h. */
#include "report/page.h"

#include <math.h>

#include "base/bytes.h"
#include "report/bands.h"
#include "report/plot.h"

/* clang-format off: a rule or two a line */
static const char style[] =
    ":root{color-scheme:light "
    "dark;--ink:#22252a;--soft:#5b616b;--paper:#fff;--raised:#f5f6f8;--edge:#d9dce1;--bad:#b3261e}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e6ea;--soft:#a3a9b3;--paper:#16181c;--raised:#1f2228;--edge:#"
    "33373e;"
    "--bad:#ff8a80}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "a{color:inherit}"
    "main{max-width:1280px;margin:0 auto;padding:16px 24px 48px}"
    "h1{font-size:26px;margin:.4em 0;overflow-wrap:anywhere}"
    "h2{font-size:21px;margin:1.6em 0 .4em;border-top:1px solid var(--edge);padding-top:.8em;overflow-wrap:anywhere}"
    "h3{font-size:17px;margin:1.4em 0 .3em}h4{font-size:16px;margin:1.2em 0 .2em}"
    "p{margin:.4em 0;max-width:78ch;overflow-wrap:anywhere}"
    ".soft,figcaption,caption{color:var(--soft);font-size:14px}.bad{color:var(--bad);font-weight:600}"
    "code{overflow-wrap:anywhere}th code{white-space:nowrap}summary{cursor:pointer;margin:.6em 0}"
    "ol.story{padding-left:1.4em}ol.story li{margin:.5em 0;max-width:78ch;overflow-wrap:anywhere}";

static const char parts[] =
    ".figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;margin:1em 0}"
    ".figures div{background:var(--raised);border-radius:8px;padding:8px 12px}"
    ".figures dt{color:var(--soft);font-size:13px}"
    ".figures dd{margin:0;font-size:17px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:12px 28px}"
    "figure{margin:0;min-width:0}figure>svg{display:block;width:100%;height:auto}"
    ".legend{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:.2em 0 .5em;padding:0;font-size:14px}"
    ".legend li{overflow-wrap:anywhere}.legend svg{width:26px;height:12px;margin-right:6px;vertical-align:-1px}"
    ".wide{overflow-x:auto;margin:.6em 0}"
    "table{border-collapse:collapse;min-width:min(100%,440px);font-size:14px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;padding:4px 0}thead th{font-weight:600}"
    "th,td{text-align:left;padding:4px 16px 4px 0;border-bottom:1px solid "
    "var(--edge);vertical-align:top;font-weight:400}"
    "td.number,th.number{text-align:right}td.value{overflow-wrap:anywhere;min-width:12ch;max-width:60ch}";

static const char lines[] =
    "path.run0,path.run1,path.run2,path.run3,path.run4,path.run5,path.run6,path.run7,path.held{fill:none;stroke-"
    "width:2;"
    "stroke-linecap:round;stroke-linejoin:round}"
    "path.run4,path.run5,path.run6,path.run7{stroke-dasharray:7 4}"
    ".held{stroke:var(--ink);stroke-width:1.5}.planned{stroke:var(--soft);fill:none;stroke-dasharray:2 3}"
    ".spread{fill:#0072b2;opacity:.2}.mark{stroke:#cc79a7;stroke-width:1.5;stroke-dasharray:3 3;fill:none}"
    "@media(max-width:640px){main{padding:8px 14px 40px}figure text,figure .small{font-size:19px}}";
/* clang-format on */

static const char light[] =
    ".run0,.run4{stroke:#0072b2}.run1,.run5{stroke:#c05a00}.run2,.run6{stroke:#00805c}.run3,.run7{stroke:#a0407c}";
static const char dark[] =
    ".run0,.run4{stroke:#56b4e9}.run1,.run5{stroke:#f0a030}.run2,.run6{stroke:#2fc79a}.run3,.run7{stroke:#e58fc0}"
    ".spread{fill:#56b4e9}";

levee_status page_begin(page *p, const char *path, const char *title, levee_error *error) {
    char bands_light[BANDS_STYLE_BYTES], bands_dark[BANDS_STYLE_BYTES];
    formatter *f = &p->out;
    *p = (page){.out = {.error = error}};
    p->out.text = &p->text;
    levee_status status = file_writer_open(&p->file, path, error);
    if (status != LEVEE_OK) return status;
    format_add(
        f, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
           "<meta name=\"color-scheme\" content=\"light dark\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n"
           "<title>");
    format_xml_text(f, title);
    format_add(f, "</title>\n<style>");
    format_text(f, style);
    format_text(f, parts);
    plot_style(f, bands_style(bands_light, false), bands_style(bands_dark, true));
    format_add(f, "%s@media(prefers-color-scheme:dark){%s}", light, dark);
    format_text(f, lines);
    format_add(f, "</style>\n</head>\n<body>\n<main>\n<h1>");
    format_xml_text(f, title);
    format_add(f, "</h1>\n");
    return p->out.status;
}

void page_flush(page *p) {
    if (p->out.status == LEVEE_OK && p->text.bytes)
        p->out.status = file_writer_write(&p->file, p->text.data, p->text.bytes, p->out.error);
    p->text.bytes = 0;
}

levee_status page_end(page *p) {
    format_add(&p->out, "</main>\n</body>\n</html>\n");
    page_flush(p);
    return p->out.status == LEVEE_OK ? file_writer_commit(&p->file, p->out.error) : p->out.status;
}

void page_close(page *p) {
    file_writer_abandon(&p->file);
    text_free(&p->text);
}

void page_bytes(formatter *f, double bytes) {
    char text[SIGNED_BYTES_TEXT];
    if (!isfinite(bytes) || fabs(bytes) >= 0x1p63)
        format_add(f, "–");
    else
        format_add(f, "%s", bytes_format_signed(text, bytes));
}

void page_number(formatter *f, double number, int digits) {
    if (isfinite(number))
        format_add(f, "%.*g", digits, number);
    else
        format_add(f, "–");
}

void page_count(formatter *f, double count) {
    if (isfinite(count))
        format_add(f, "%.0f", count);
    else
        format_add(f, "–");
}

void page_plot_begin(page *p, const char *title) {
    format_add(&p->out, "<figure>\n<figcaption>");
    format_xml_text(&p->out, title);
    format_add(&p->out, "</figcaption>\n");
}

void page_plot_end(page *p, const char *line) {
    if (*line) {
        format_add(&p->out, "<p class=\"soft\">");
        format_xml_text(&p->out, line);
        format_add(&p->out, "</p>\n");
    }
    format_add(&p->out, "</figure>\n");
    page_flush(p);
}

void page_legend(formatter *f, const char *style_name, const char *name) {
    bool band = *style_name == 'b';
    format_add(f, "<li><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">");
    if (band)
        format_add(f, "<rect class=\"%s\" width=\"26\" height=\"12\" rx=\"2\"/>", style_name);
    else
        format_add(f, "<path class=\"%s\" d=\"M2 6H24\"/>", style_name);
    format_add(f, "</svg>");
    format_xml_text(f, name);
    format_add(f, "</li>\n");
}
