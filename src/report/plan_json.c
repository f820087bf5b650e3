/* A plan as one JSON object: see plan_report.h. Bytes are whole numbers; what is not known is null. */
#include "report/format.h"
#include "report/json_text.h"
#include "report/plan_report.h"

static void number(formatter *f, const char *key, uint64_t value) {
    format_add(f, "\"%s\":%llu,", key, (unsigned long long)value);
}

/* The same where it may be unknown; `end` follows it. */
static void limit(formatter *f, const plan_report *r, const char *key, uint64_t value, const char *end) {
    char text[JSON_NUMBER_BYTES];
    format_add(f, "\"%s\":%s%s", key, json_text_count(text, r->limits_known, value), end);
}

static void text_field(formatter *f, const char *key, const char *value) {
    format_add(f, "\"%s\":", key);
    format_json_text(f, value);
    format_add(f, ",");
}

/* Lists end without a comma by this: each element but the first begins with one. */
static const char *comma(uint32_t index) { return index ? "," : ""; }

static void model_and_job(formatter *f, const plan_report *r) {
    format_add(f, "\"model\":{");
    text_field(f, "directory", r->model);
    text_field(f, "family", r->family);
    text_field(f, "stored_type", r->stored_type);
    number(f, "layers", r->layers);
    number(f, "parameters", r->parameters);
    format_add(f, "\"weights_bytes\":%llu},\"job\":{", (unsigned long long)r->weights_bytes);
    text_field(f, "fine_tune_type", r->fine_tune_type);
    text_field(f, "compute", r->compute);
    number(f, "trained_layers", r->trained_layers);
    number(f, "rank", r->rank);
    number(f, "trained_parameters", r->trained_parameters);
    number(f, "longest_tokens", r->longest_tokens);
    number(f, "examples_step", r->examples_step);
    format_add(f, "\"steps\":%llu},\"assumptions\":[", (unsigned long long)r->steps);
    for (uint32_t i = 0; i < r->assumption_count; i++) {
        format_add(f, "%s", comma(i));
        format_json_text(f, r->assumptions[i]);
    }
    format_add(f, "],");
}

static void plan_itself(formatter *f, const plan_report *r) {
    format_add(f, "\"fits\":%s,", r->fits ? "true" : "false");
    number(f, "budget_bytes", r->budget_bytes);
    format_add(f, "\"budget_given\":%s,\"plan\":{\"planned_bytes\":{", r->budget_given ? "true" : "false");
    for (unsigned c = 0; c < LEVEE_CATEGORY_COUNT; c++)
        format_add(f, "%s\"%s\":%llu", comma(c), levee_category_name((levee_category)c),
                   (unsigned long long)r->planned_bytes[c]);
    format_add(f, "},");
    number(f, "predicted_bytes", plan_report_total(r));
    number(f, "tokens_pass", r->capacity_tokens);
    number(f, "sequences_pass", r->capacity_tokens / r->longest_tokens);
    number(f, "passes_step", r->passes_step);
    number(f, "recomputed_groups", r->recomputed);
    number(f, "candidate_groups", r->candidates);
    if (r->head_chunk_tokens)
        number(f, "head_rows", r->head_chunk_tokens);
    else
        format_add(f, "\"head_rows\":null,"); /* no logits are stored */
    number(f, "arena_bytes", r->arena_bytes);
    number(f, "arena_live_bytes", r->live_bytes);
    text_field(f, "peak", r->peak);
    char seconds[JSON_NUMBER_BYTES], tokens[JSON_NUMBER_BYTES];
    format_add(f, "\"seconds_step\":%s,\"tokens_step\":%s},\"largest_pass\":{",
               r->seconds_step > 0 ? json_text_number(seconds, r->seconds_step) : "null",
               json_text_number(tokens, r->tokens_step));
    limit(f, r, "sequences", r->largest_sequences, ",");
    limit(f, r, "tokens", (uint64_t)r->largest_sequences * r->longest_tokens, "},\"budgets\":{");
    limit(f, r, "least_bytes", r->least_budget_bytes, ",");
    limit(f, r, "unrecomputed_bytes", r->unrecomputed_bytes, ",");
    limit(f, r, "unrecomputed_step_bytes", r->unrecomputed_step_bytes, "},\"machine\":{");
    text_field(f, "limit", r->limit);
    number(f, "available_bytes", r->available_bytes);
    format_add(f, "\"reserve_bytes\":%llu},\"disk\":{", (unsigned long long)r->reserve_bytes);
    number(f, "checkpoint_bytes", r->checkpoint_bytes);
    number(f, "checkpoints", r->checkpoints);
    number(f, "result_bytes", r->result_bytes);
    format_add(f, "\"disk_bytes\":%llu}",
               (unsigned long long)(r->checkpoints * r->checkpoint_bytes + r->result_bytes));
}

static void changes(formatter *f, const char *key, const report_change *list, uint32_t count) {
    format_add(f, ",\"%s\":[", key);
    for (uint32_t i = 0; i < count; i++) {
        format_add(f, "%s{", comma(i));
        text_field(f, "option", list[i].option);
        format_add(f, "\"fits\":%s,", list[i].fits ? "true" : "false");
        number(f, "peak_bytes", list[i].peak_bytes);
        format_add(f, "\"least_bytes\":%llu}", (unsigned long long)list[i].least_bytes);
    }
    format_add(f, "]");
}

static void explanation(formatter *f, const plan_report *r) {
    format_add(f, ",\"peak_buffers\":[");
    for (uint32_t i = 0; i < r->buffer_count; i++) {
        const report_buffer *b = &r->buffers[i];
        format_add(f, "%s{", comma(i));
        text_field(f, "name", b->name);
        text_field(f, "made_by", b->made_by);
        if (b->layer < 0)
            format_add(f, "\"layer\":null,");
        else
            number(f, "layer", (uint64_t)b->layer);
        text_field(f, "category", levee_category_name(b->category));
        format_add(f, "\"bytes\":%llu}", (unsigned long long)b->bytes);
    }
    format_add(f, "],\"least_bytes\":%llu", (unsigned long long)r->least_bytes);
    changes(f, "changes", r->changes, r->change_count);
}

static void table(formatter *f, const plan_report *r) {
    static const char *const fits[] = {"no", "recomputed", "as it is"};
    format_add(f, ",\"table\":[");
    for (uint32_t row = 0; row < r->row_count; row++)
        for (uint32_t column = 0; column < r->column_count; column++) {
            const report_cell *cell = &r->cells[row][column];
            format_add(f, "%s{", comma(row + column));
            number(f, "sequences", r->row_sequences[row]);
            number(f, "max_seq_length", r->column_tokens[column]);
            number(f, "peak_bytes", cell->peak_bytes);
            format_add(f, "\"fits\":\"%s\"}", fits[cell->fit]);
        }
    format_add(f, "]");
}

levee_status plan_report_json(text_buffer *text, const plan_report *r, levee_error *error) {
    formatter f = {.text = text, .error = error};
    format_add(&f, "{");
    model_and_job(&f, r);
    plan_itself(&f, r);
    if (r->explained) explanation(&f, r);
    if (!r->fits) changes(&f, "nearest", r->nearest, r->nearest_count);
    if (r->row_count) table(&f, r);
    format_add(&f, "}");
    return f.status;
}
