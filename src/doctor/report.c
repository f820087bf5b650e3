/* Findings for people and for programs: see report.h. */
#include "doctor/report.h"

#include <stdio.h>

#include "report/format.h"
#include "report/json_text.h"

unsigned findings_count(const finding findings[FINDINGS], verdict v) {
    unsigned count = 0;
    for (unsigned i = 0; i < FINDINGS; i++) count += findings[i].verdict == v;
    return count;
}

/* "control_group" is a key; people read "control group". */
static const char *words(char text[32], const char *name) {
    snprintf(text, 32, "%s", name);
    for (char *c = text; *c; c++)
        if (*c == '_') *c = ' ';
    return text;
}

/* "110.3 billion": operations and bytes a second come in these. */
static void add_rate(formatter *f, const char *name, double rate, const char *of) {
    if (rate > 0) format_add(f, "\n  %-22s %10.1f billion %s a second", name, rate / 1e9, of);
}

static void add_measured(formatter *f, const measured *m) {
    const calibration *c = &m->rates;
    format_add(f, "\n\nmeasured with %u threads on %s:", c->threads, c->processor);
    add_rate(f, "products in f32", c->f32, "operations");
    add_rate(f, "products in bf16", c->bf16, "operations");
    add_rate(f, "products of LoRA", c->thin, "operations");
    add_rate(f, "attention", c->attention, "operations");
    add_rate(f, "memory", c->bytes, "bytes");
    format_add(f, "\nstored in %.900s", m->path);
}

levee_status findings_text(text_buffer *text, const finding findings[FINDINGS], const measured *m,
                           levee_error *error) {
    formatter f = {.text = text, .error = error};
    char name[32];
    for (unsigned i = 0; i < FINDINGS; i++) {
        const finding *found = &findings[i];
        format_add(&f, "%s  %-14s %s\n", verdict_name(found->verdict), words(name, found->name), found->figure);
        if (*found->remedy) format_add(&f, "%-5s %-14s %s\n", "", "", found->remedy);
    }
    format_add(&f, "\n%u good, %u to look at, %u bad", findings_count(findings, VERDICT_GOOD),
               findings_count(findings, VERDICT_LOOK), findings_count(findings, VERDICT_BAD));
    if (m) add_measured(&f, m);
    return f.status;
}

static void json_rate(formatter *f, const char *name, double rate) {
    char number[JSON_NUMBER_BYTES];
    format_add(f, ",\"%s\":%s", name, rate > 0 ? json_text_number(number, rate) : "null");
}

static void json_measured(formatter *f, const measured *m) {
    const calibration *c = &m->rates;
    format_add(f, ",\"calibration\":{\"processor\":");
    format_json_text(f, c->processor);
    format_add(f, ",\"threads\":%u", c->threads);
    json_rate(f, "products_f32", c->f32);
    json_rate(f, "products_bf16", c->bf16);
    json_rate(f, "products_thin", c->thin);
    json_rate(f, "attention", c->attention);
    json_rate(f, "bytes", c->bytes);
    format_add(f, ",\"path\":");
    format_json_text(f, m->path);
    format_add(f, "}");
}

static void json_finding(formatter *f, const finding *found) {
    format_add(f, "{\"name\":\"%s\",\"verdict\":\"%s\",\"figure\":", found->name, verdict_name(found->verdict));
    format_json_text(f, found->figure);
    format_add(f, ",\"remedy\":");
    if (*found->remedy)
        format_json_text(f, found->remedy);
    else
        format_add(f, "null");
    format_add(f, "}");
}

levee_status findings_json(text_buffer *text, const finding findings[FINDINGS], const measured *m,
                           levee_error *error) {
    formatter f = {.text = text, .error = error};
    format_add(&f, "{\"findings\":[");
    for (unsigned i = 0; i < FINDINGS; i++) {
        if (i) format_add(&f, ",");
        json_finding(&f, &findings[i]);
    }
    format_add(&f, "],\"good\":%u,\"look\":%u,\"bad\":%u", findings_count(findings, VERDICT_GOOD),
               findings_count(findings, VERDICT_LOOK), findings_count(findings, VERDICT_BAD));
    if (m) json_measured(&f, m);
    format_add(&f, "}");
    return f.status;
}
