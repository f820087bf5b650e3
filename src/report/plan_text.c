/* A plan for people, on one screen of 80 columns: see plan_report.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/duration.h"
#include "report/format.h"
#include "report/plan_report.h"
#include "report/table.h"

uint64_t plan_report_total(const plan_report *r) {
    uint64_t total = 0;
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++) total += r->planned_bytes[c];
    return total;
}

static const char *count_text(char text[32], uint64_t count) {
    double number = (double)count;
    if (number >= 1e9)
        snprintf(text, 32, "%.2f billion", number / 1e9);
    else if (number >= 1e6)
        snprintf(text, 32, "%.1f million", number / 1e6);
    else
        snprintf(text, 32, "%.0f", number);
    return text;
}

/* As --memory takes it, in whole MiB: 1.3 GiB may be less than what was found. */
static const char *budget_text(char text[BYTES_TEXT], uint64_t bytes) {
    const uint64_t mebibyte = 1024 * 1024;
    snprintf(text, BYTES_TEXT, "%lluMiB", (unsigned long long)((bytes + mebibyte - 1) / mebibyte));
    return text;
}

/* A line "label         words", which goes on below itself where it would pass the edge of the screen. The table and
 * what follows begin lines, what ends one is the next. */
static void fact(formatter *f, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void fact(formatter *f, const char *label, const char *format, ...) {
    enum { LABEL_COLUMNS = 14 };
    char words[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    int column = LABEL_COLUMNS;
    format_add(f, "\n%-*s", LABEL_COLUMNS - 1, label);
    for (const char *word = words; *word;) {
        int length = (int)strcspn(word, " ");
        if (column + length > PLAN_COLUMNS && column > LABEL_COLUMNS) {
            format_add(f, "\n%*s", LABEL_COLUMNS - 1, "");
            column = LABEL_COLUMNS;
        }
        format_add(f, " %.*s", length, word);
        column += length + 1;
        word += length + (word[length] == ' ');
    }
}

static void heading(formatter *f, const plan_report *r) {
    char parameters[32], trained[32];
    format_add(f, "%s: %s, %u layers, %s parameters in %s\n", r->model, r->family, r->layers,
               count_text(parameters, r->parameters), r->stored_type);
    format_add(f, "%s", r->fine_tune_type);
    if (r->rank) format_add(f, " of rank %u", r->rank);
    if (r->trained_layers) format_add(f, " on %u layers", r->trained_layers);
    format_add(f, ": %s parameters train; %s products\n", count_text(trained, r->trained_parameters), r->compute);
    format_add(f, "%u sequence%s a step, the longest of %u tokens; %llu steps", r->examples_step,
               r->examples_step == 1 ? "" : "s", r->longest_tokens + 1, (unsigned long long)r->steps);
    for (uint32_t i = 0; i < r->assumption_count; i++) format_add(f, "\nassumed: %s", r->assumptions[i]);
}

/* A budget as it was probably given: 48GB is 44.7 GiB. */
static const char *given_text(char text[2 * BYTES_TEXT], uint64_t bytes) {
    const uint64_t gigabyte = 1000 * 1000 * 1000;
    char binary[BYTES_TEXT];
    bytes_format(binary, bytes);
    if (bytes % gigabyte)
        snprintf(text, 2 * BYTES_TEXT, "%s", binary);
    else
        snprintf(text, 2 * BYTES_TEXT, "%llu GB (%s)", (unsigned long long)(bytes / gigabyte), binary);
    return text;
}

/* The answer, before its reasons. */
static void verdict(formatter *f, const plan_report *r) {
    char budget[2 * BYTES_TEXT], other[BYTES_TEXT];
    const char *chosen = r->budget_given ? "" : ", half of what can be had";
    uint64_t total = plan_report_total(r);
    given_text(budget, r->budget_bytes);
    if (r->fits)
        fact(f, "fits", "%s%s: %s to spare", budget, chosen,
             bytes_format(other, r->budget_bytes > total ? r->budget_bytes - total : 0));
    else
        fact(f, "does not fit", "%s%s; the smallest plan, below, needs %s", budget, chosen,
             budget_text(other, r->least_budget_bytes));
    if (r->fits && r->largest_sequences)
        fact(f, "batch",
             "any --batch-size is safe: a step is split into passes that fit. One can hold up to %u of the longest "
             "sequences (%llu tokens); levee probe measures what is fastest",
             r->largest_sequences, (unsigned long long)r->largest_sequences * r->longest_tokens);
    format_add(f, "\n");
}

/* An estimate, so no more digits than say something. */
static const char *about(char text[DURATION_TEXT], double seconds) {
    return duration_format(text, seconds, seconds < 1 ? 3 : seconds < 10 ? 2 : 1);
}

static void work(formatter *f, const plan_report *r) {
    char step[DURATION_TEXT], all[DURATION_TEXT];
    const char *more = r->passes_step == 1 ? "" : "es";
    fact(f, "a pass", "%u tokens: %u of the longest sequences", r->capacity_tokens,
         r->capacity_tokens / r->longest_tokens);
    if (r->seconds_step > 0)
        fact(f, "a step", "%u pass%s at most; about %s for %.0f tokens, %s in all", r->passes_step, more,
             about(step, r->seconds_step), r->tokens_step, about(all, r->seconds_step * (double)r->steps));
    else
        fact(f, "a step", "%u pass%s at most; time: not calibrated (levee doctor --calibrate)", r->passes_step, more);
    char logits[48] = "";
    if (r->head_chunk_tokens) snprintf(logits, sizeof logits, "; logits of %u rows at a time", r->head_chunk_tokens);
    fact(f, "recomputed", "%u of %u groups of activations%s", r->recomputed, r->candidates, logits);
    fact(f, "peak", "at %s", r->peak);
}

static void surroundings(formatter *f, const plan_report *r) {
    char a[BYTES_TEXT], b[BYTES_TEXT], c[BYTES_TEXT];
    uint64_t headroom = r->available_bytes > r->reserve_bytes ? r->available_bytes - r->reserve_bytes : 0;
    uint64_t total = plan_report_total(r);
    fact(f, "budgets", "least %s; nothing recomputed: %s with one sequence a pass, %s with the whole step",
         budget_text(a, r->least_budget_bytes), budget_text(b, r->unrecomputed_bytes),
         budget_text(c, r->unrecomputed_step_bytes));
    fact(f, "weights",
         "up to %s beside that, %s in all: mapped, not held; the kernel may drop them, and read them again",
         bytes_format(a, r->weights_bytes), bytes_format(b, total + r->weights_bytes));
    fact(f, "here, now", "%s can be had beside a reserve of %s (%s): %s", bytes_format(a, headroom),
         bytes_format(b, r->reserve_bytes), r->limit, headroom >= total ? "enough" : "a training would be refused");
    fact(f, "disk", "%s: %llu checkpoint%s of %s, and the result of %s",
         bytes_format(a, r->checkpoints * r->checkpoint_bytes + r->result_bytes), (unsigned long long)r->checkpoints,
         r->checkpoints == 1 ? "" : "s", bytes_format(b, r->checkpoint_bytes), bytes_format(c, r->result_bytes));
}

/* "1.2 GiB less", of two numbers of bytes. */
static const char *difference(char text[REPORT_NAME_BYTES], uint64_t before, uint64_t after) {
    char bytes[BYTES_TEXT];
    if (before == after) return "the same";
    bytes_format(bytes, before > after ? before - after : after - before);
    snprintf(text, REPORT_NAME_BYTES, "%s %s", bytes, before > after ? "less" : "more");
    return text;
}

static void explanation(formatter *f, const plan_report *r) {
    char bytes[BYTES_TEXT], least[BYTES_TEXT], saved[REPORT_NAME_BYTES], least_saved[REPORT_NAME_BYTES];
    format_add(f, "\n\nlargest at the peak, which is at %s:", r->peak);
    for (uint32_t i = 0; i < r->buffer_count; i++) {
        const report_buffer *b = &r->buffers[i];
        format_add(f, "\n  %10s  %-11s %s, by %s", bytes_format(bytes, b->bytes), levee_category_name(b->category),
                   b->name, b->made_by);
    }
    bool not_all_fit = false;
    format_add(f, "\n\nwhat would lower it, planned anew:\n  %-22s %24s   %s", "", "peak", "least possible");
    format_add(f, "\n  %-22s %10s %13s   %10s", "as it is", bytes_format(bytes, plan_report_total(r)), "",
               bytes_format(least, r->least_bytes));
    for (uint32_t i = 0; i < r->change_count; i++) {
        const report_change *c = &r->changes[i];
        not_all_fit |= !c->fits;
        format_add(f, "\n  %-22s %10s %13s   %10s %13s%s", c->option, bytes_format(bytes, c->peak_bytes),
                   difference(saved, plan_report_total(r), c->peak_bytes), bytes_format(least, c->least_bytes),
                   difference(least_saved, r->least_bytes, c->least_bytes), c->fits ? "" : " -");
    }
    if (not_all_fit) format_add(f, "\n  - does not fit either");
}

static void nearest(formatter *f, const plan_report *r) {
    char bytes[BYTES_TEXT];
    format_add(f, "\n\n%s", r->nearest_count ? "these fit, each alone:" : "nothing that was tried fits");
    for (uint32_t i = 0; i < r->nearest_count; i++)
        format_add(f, "\n  %-24s %10s at least", r->nearest[i].option,
                   bytes_format(bytes, r->nearest[i].least_bytes));
    fact(f, "tried", "%s", r->tried);
}

static void table(formatter *f, const plan_report *r) {
    static const char marks[] = {' ', '+', '*'};
    char bytes[BYTES_TEXT];
    format_add(f, "\n\npeak by sequences a pass and --max-seq-length\n  %9s", "");
    for (uint32_t column = 0; column < r->column_count; column++) format_add(f, " %11u", r->column_tokens[column]);
    for (uint32_t row = 0; row < r->row_count; row++) {
        format_add(f, "\n  %9u", r->row_sequences[row]);
        for (uint32_t column = 0; column < r->column_count; column++)
            format_add(f, " %10s%c", bytes_format(bytes, r->cells[row][column].peak_bytes),
                       marks[r->cells[row][column].fit]);
    }
    format_add(f, "\n  * fits; + fits with activations recomputed; no mark: the least, too large");
}

levee_status plan_report_text(text_buffer *text, const plan_report *r, levee_error *error) {
    formatter f = {.text = text, .error = error};
    char planned[TABLE_BYTES];
    heading(&f, r);
    verdict(&f, r);
    table_of_plan(planned, r->planned_bytes, r->budget_bytes);
    if (f.status == LEVEE_OK) f.status = text_append(text, planned, strlen(planned), error);
    work(&f, r);
    surroundings(&f, r);
    if (r->row_count) table(&f, r);
    if (r->explained) explanation(&f, r);
    if (!r->fits) nearest(&f, r);
    return f.status;
}
