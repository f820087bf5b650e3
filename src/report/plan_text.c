/* A plan for people, on one screen: see plan_report.h. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
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

static void heading(formatter *f, const plan_report *r) {
    char parameters[32], trained[32];
    format_add(f, "%s: %s, %u layers, %s parameters in %s\n", r->model, r->family, r->layers,
               count_text(parameters, r->parameters), r->stored_type);
    format_add(f, "%s", r->fine_tune_type);
    if (r->rank) format_add(f, " of rank %u", r->rank);
    if (r->trained_layers) format_add(f, " on %u layers", r->trained_layers);
    format_add(f, ": %s parameters train; %u sequences a step, the longest of %u tokens; %s products\n",
               count_text(trained, r->trained_parameters), r->examples_step, r->longest_tokens + 1, r->compute);
    for (uint32_t i = 0; i < r->assumption_count; i++) format_add(f, "assumed: %s\n", r->assumptions[i]);
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
        format_add(f, "fits          %s%s: %s to spare\n", budget, chosen,
                   bytes_format(other, r->budget_bytes > total ? r->budget_bytes - total : 0));
    else
        format_add(f, "does not fit  %s%s; below is the smallest plan, which needs --memory %s\n", budget, chosen,
                   budget_text(other, r->least_budget_bytes));
    if (r->fits && r->largest_sequences)
        format_add(
            f,
            "batch         any --batch-size is safe: a step is split into passes that fit. One can hold up to\n"
            "              %u of the longest sequences (%llu tokens); levee probe measures what is fastest\n",
            r->largest_sequences, (unsigned long long)r->largest_sequences * r->longest_tokens);
}

/* "1.8 s", "25 min", "3.1 h". */
static const char *duration(char text[32], double seconds) {
    bool minutes = seconds >= 120, hours = seconds >= 7200;
    snprintf(text, 32, "%.3g %s", seconds / (hours ? 3600 : minutes ? 60 : 1), hours ? "h" : minutes ? "min" : "s");
    return text;
}

static void time_needed(formatter *f, const plan_report *r) {
    char step[32], all[32];
    if (r->seconds_step > 0)
        format_add(f, "about %s a step of %.0f tokens, %s in all\n", duration(step, r->seconds_step), r->tokens_step,
                   duration(all, r->seconds_step * (double)r->steps));
    else
        format_add(f, "time: not calibrated (levee doctor --calibrate)\n");
}

static void work(formatter *f, const plan_report *r) {
    uint32_t sequences = r->capacity_tokens / r->longest_tokens;
    format_add(f, "\na pass        %u tokens: %u of the longest sequences", r->capacity_tokens, sequences);
    format_add(f, "\na step        %u pass%s at most; %llu steps; ", r->passes_step, r->passes_step == 1 ? "" : "es",
               (unsigned long long)r->steps);
    time_needed(f, r);
    format_add(f, "recomputed    %u of %u groups of activations; logits of %u rows at a time\n", r->recomputed,
               r->candidates, r->head_chunk_tokens);
    format_add(f, "peak          at %s\n", r->peak);
}

static void surroundings(formatter *f, const plan_report *r) {
    char a[BYTES_TEXT], b[BYTES_TEXT], c[BYTES_TEXT];
    uint64_t headroom = r->available_bytes > r->reserve_bytes ? r->available_bytes - r->reserve_bytes : 0;
    format_add(f, "budgets       least %s; nothing recomputed: %s with one sequence a pass, %s with the whole step\n",
               budget_text(a, r->least_budget_bytes), budget_text(b, r->unrecomputed_bytes),
               budget_text(c, r->unrecomputed_step_bytes));
    format_add(
        f, "weights       up to %s beside that: mapped, not held; the kernel may drop them, and read them again\n",
        bytes_format(a, r->weights_bytes));
    bool enough = headroom >= plan_report_total(r);
    format_add(f, "here, now     %s can be had beside a reserve of %s: %s\n              (%s)\n",
               bytes_format(a, headroom), bytes_format(b, r->reserve_bytes),
               enough ? "enough" : "a training would be refused", r->limit);
    format_add(f, "disk          %s: %llu checkpoints of %s, and the result of %s",
               bytes_format(a, r->checkpoints * r->checkpoint_bytes + r->result_bytes),
               (unsigned long long)r->checkpoints, bytes_format(b, r->checkpoint_bytes),
               bytes_format(c, r->result_bytes));
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
    format_add(f, "\n\nwhat would lower it, planned anew:\n  %-24s %24s   %s", "", "peak", "least possible");
    format_add(f, "\n  %-24s %10s %13s   %10s", "as it is", bytes_format(bytes, plan_report_total(r)), "",
               bytes_format(least, r->least_bytes));
    for (uint32_t i = 0; i < r->change_count; i++) {
        const report_change *c = &r->changes[i];
        format_add(f, "\n  %-24s %10s %13s   %10s %13s%s", c->option, bytes_format(bytes, c->peak_bytes),
                   difference(saved, plan_report_total(r), c->peak_bytes), bytes_format(least, c->least_bytes),
                   difference(least_saved, r->least_bytes, c->least_bytes), c->fits ? "" : "  does not fit either");
    }
}

static void nearest(formatter *f, const plan_report *r) {
    char bytes[BYTES_TEXT];
    if (r->nearest_count) format_add(f, "\n\nthese fit, each alone:");
    for (uint32_t i = 0; i < r->nearest_count; i++)
        format_add(f, "\n  %-24s %10s at least", r->nearest[i].option,
                   bytes_format(bytes, r->nearest[i].least_bytes));
    format_add(f, "%s%s", r->nearest_count ? "\ntried: " : "\n\nnothing that was tried fits: ", r->tried);
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
    format_add(f,
               "\n  * fits as it is; + fits, with activations recomputed; without a mark: does not, and this is the "
               "least");
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
