/* Greedy generation: see generate.h. Also levee_generate. */
#include "train/generate.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"
#include "model/parameters.h"
#include "train/run.h"

/* The prompt goes in by chunks of this many tokens: enough rows for efficient products, few enough to cost little. */
enum { CHUNK_TOKENS = 64 };

static uint64_t arena_bytes(const generation *g) {
    uint64_t body = g->body_plan.arena_bytes[SPACE_HOST], head = g->head_plan.arena_bytes[SPACE_HOST];
    return body > head ? body : head;
}

static levee_status plan_both(generation *g, levee_error *error) {
    session *s = g->model;
    uint32_t cache_rows = g->settings.prompt_tokens + g->settings.most_tokens;
    graph_open(&g->body, SPACE_HOST);
    graph_open(&g->head, SPACE_HOST);
    levee_status status = model_build_body(&g->body, &s->source, &g->settings.adapted, cache_rows, error);
    if (status == LEVEE_OK) status = model_build_head(&g->head, &s->source, error);
    if (status == LEVEE_OK) status = layout_make(&s->lasting, &g->body, false, error);
    if (status == LEVEE_OK) status = session_warm_up(s, &g->body, CHUNK_TOKENS, error);
    if (status == LEVEE_OK) status = session_warm_up(s, &g->head, 1, error);
    if (status == LEVEE_OK)
        status = plan_make(&g->body_plan, &g->body, &s->lasting, CHUNK_TOKENS, s->device->kernels, s->state, error);
    if (status == LEVEE_OK)
        status = plan_make(&g->head_plan, &g->head, &s->lasting, 1, s->device->kernels, s->state, error);
    if (status == LEVEE_OK) status = session_measure(s, error);
    if (status != LEVEE_OK) return status;
    s->runtime_bytes += executor_bytes(g->body_plan.g.node_count) + executor_bytes(g->head_plan.g.node_count);
    uint64_t planned = s->lasting.total_bytes[SPACE_HOST] + arena_bytes(g);
    uint64_t needed = planned + session_unplanned_bytes(s), opening = session_opening_bytes(s);
    if (opening > needed) needed = opening;
    return needed <= s->budget_bytes ? LEVEE_OK : session_refuse(s, needed, cache_rows, error);
}

static void arena_categories(const generation *g, uint64_t bytes[LEVEE_CATEGORY_COUNT]) {
    memcpy(bytes, g->body_plan.category_bytes, LEVEE_CATEGORY_COUNT * sizeof *bytes);
    bytes[LEVEE_ACTIVATIONS] += arena_bytes(g) - g->body_plan.arena_bytes[SPACE_HOST];
}

levee_status generation_open(generation *g, session *model, const generation_settings *settings, levee_error *error) {
    memset(g, 0, sizeof *g);
    g->model = model;
    g->settings = *settings;
    uint64_t categories[LEVEE_CATEGORY_COUNT];
    levee_status status = plan_both(g, error);
    if (status == LEVEE_OK) {
        arena_categories(g, categories);
        status = session_take_memory(model, arena_bytes(g), categories, error);
    }
    if (status == LEVEE_OK)
        status = session_bind(model, &g->body_pass, &g->body_plan, g->body_plan.g.node_count, error);
    if (status == LEVEE_OK)
        status = session_bind(model, &g->head_pass, &g->head_plan, g->head_plan.g.node_count, error);
    if (status == LEVEE_OK)
        status = parameters_initialise(&model->source, &model->lasting, model->memory.base, 0, error);
    if (status == LEVEE_OK && settings->adapted.type == FINE_TUNE_LORA)
        status = parameters_read_adapter(&model->lasting, model->memory.base, settings->adapter_path, error);
    if (status != LEVEE_OK) generation_close(g);
    return status;
}

void generation_close(generation *g) {
    executor_close(&g->body_pass);
    executor_close(&g->head_pass);
    plan_close(&g->body_plan);
    plan_close(&g->head_plan);
    graph_close(&g->body);
    graph_close(&g->head);
    memset(g, 0, sizeof *g);
}

/* Runs one chunk through the layers; afterwards the body's hidden output holds its rows. */
static levee_status run_chunk(generation *g, const uint32_t *ids, uint32_t count, levee_error *error) {
    int32_t *tokens = executor_data(&g->body_pass, plan_find(&g->body_plan, VALUE_IDS));
    int32_t *positions = executor_data(&g->body_pass, plan_find(&g->body_plan, VALUE_POSITIONS));
    for (uint32_t i = 0; i < count; i++) {
        tokens[i] = (int32_t)ids[i];
        positions[i] = (int32_t)(g->position + i);
    }
    pass_scalars pass = {.tokens = count};
    g->position += count;
    gradient_progress none = 0;
    return executor_run(&g->body_pass, &pass, &none, error);
}

levee_status generation_step(generation *g, const uint32_t *ids, uint32_t count, uint32_t *next, levee_error *error) {
    if (!count || g->position + (uint64_t)count > (uint64_t)g->settings.prompt_tokens + g->settings.most_tokens)
        return error_set(error, LEVEE_INTERNAL, "generation: %u tokens after %u do not fit the caches", count,
                         g->position);
    uint32_t chunk = 0;
    for (uint32_t done = 0; done < count; done += chunk) {
        chunk = count - done < CHUNK_TOKENS ? count - done : CHUNK_TOKENS;
        levee_status status = run_chunk(g, ids + done, chunk, error);
        if (status != LEVEE_OK) return status;
    }
    uint64_t row_bytes = g->model->config.hidden_size * sizeof(float);
    const unsigned char *hidden = executor_data(&g->body_pass, plan_find(&g->body_plan, VALUE_HIDDEN));
    /* Both plans share the arena, so source and destination may overlap. */
    memmove(executor_data(&g->head_pass, plan_find(&g->head_plan, VALUE_HIDDEN)), hidden + (chunk - 1) * row_bytes,
            row_bytes);
    pass_scalars pass = {.tokens = 1};
    gradient_progress none = 0;
    levee_status status = executor_run(&g->head_pass, &pass, &none, error);
    if (status != LEVEE_OK) return status;
    const float *logits = executor_data(&g->head_pass, plan_find(&g->head_plan, VALUE_LOGITS));
    *next = 0;
    for (uint32_t i = 1; i < g->model->config.vocabulary_size; i++)
        if (logits[i] > logits[*next]) *next = i;
    return LEVEE_OK;
}

static bool ends_text(const run *r, uint32_t id) {
    for (uint32_t i = 0; i < r->model.config.eos_count; i++)
        if (r->model.config.eos_ids[i] == id) return true;
    return tokenizer_eos(r->model.tokens) == (int64_t)id;
}

/* Generates after `prompt`; the new ids are appended to `text`. */
static levee_status continue_prompt(run *r, generation *g, const token_list *prompt, token_list *text,
                                    levee_error *error) {
    uint32_t next;
    levee_status status = generation_step(g, prompt->ids, (uint32_t)prompt->count, &next, error);
    for (uint32_t i = 1; status == LEVEE_OK && !ends_text(r, next); i++) {
        status = token_list_add(text, next, error);
        if (i == r->options->max_new_tokens || status != LEVEE_OK) break;
        status = generation_step(g, &text->ids[text->count - 1], 1, &next, error);
    }
    return status;
}

levee_status levee_generate(const levee_options *options, levee_print *print, void *context, levee_error *error) {
    run r;
    generation g = {0};
    token_list prompt = {0}, text = {0};
    char *decoded = NULL;
    generation_settings settings = {.adapter_path = options->adapter_path, .most_tokens = options->max_new_tokens};
    levee_status status = run_open(&r, options, print, context, error);
    if (status == LEVEE_OK)
        status = tokenizer_encode(r.model.tokens, options->prompt, strlen(options->prompt), true, &prompt, error);
    if (status == LEVEE_OK && !prompt.count)
        status = error_set(error, LEVEE_USAGE, "--prompt is needed: a text to continue");
    settings.prompt_tokens = (uint32_t)prompt.count;
    if (status == LEVEE_OK) status = run_adapted(&r, &settings.adapted, error);
    if (status == LEVEE_OK) status = generation_open(&g, &r.model, &settings, error);
    if (status == LEVEE_OK) status = continue_prompt(&r, &g, &prompt, &text, error);
    if (status == LEVEE_OK)
        status = tokenizer_decode(r.model.tokens, text.ids, text.count, true, &decoded, NULL, error);
    if (status == LEVEE_OK && print) print(context, decoded);
    ledger_free(decoded);
    token_list_free(&prompt);
    token_list_free(&text);
    generation_close(&g);
    run_close(&r);
    return status;
}
