/* Generation: see generate.h. */
#include "train/generate.h"

#include <string.h>

#include "base/error.h"
#include "model/parameters.h"

/* The prompt goes in by chunks of this many tokens: enough rows for efficient products, few enough to cost little. */
enum { CHUNK_TOKENS = 64 };

static uint64_t arena_bytes(const generation *g) {
    uint64_t body = g->body_plan.arena_bytes[SPACE_HOST], head = g->head_plan.arena_bytes[SPACE_HOST];
    return body > head ? body : head;
}

static levee_status plan_both(generation *g, levee_error *error) {
    session *s = g->model;
    uint32_t cache_rows = g->settings.cache_tokens;
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
        status = session_take_memory(model, arena_bytes(g), arena_bytes(g), categories, error);
    }
    if (status == LEVEE_OK)
        status = session_bind(model, &g->body_pass, &g->body_plan, g->body_plan.g.node_count, error);
    if (status == LEVEE_OK)
        status = session_bind(model, &g->head_pass, &g->head_plan, g->head_plan.g.node_count, error);
    if (status == LEVEE_OK)
        status = parameters_initialise(&model->source, &model->lasting, model->memory.base, 0, error);
    if (status == LEVEE_OK && fine_tune_is_adapter(settings->adapted.type))
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

void generation_rewind(generation *g, uint32_t position) {
    if (position < g->position) g->position = position;
}

levee_status generation_step(generation *g, const uint32_t *ids, uint64_t count, const float **logits,
                             levee_error *error) {
    if (!count || count > g->settings.cache_tokens - g->position)
        return error_set(error, LEVEE_USAGE,
                         "%llu tokens after %u are more than the %u that were planned; a larger --max-seq-length "
                         "plans more",
                         (unsigned long long)count, g->position, g->settings.cache_tokens);
    uint32_t chunk = 0;
    for (uint64_t done = 0; done < count; done += chunk) {
        chunk = count - done < CHUNK_TOKENS ? (uint32_t)(count - done) : CHUNK_TOKENS;
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
    *logits = executor_data(&g->head_pass, plan_find(&g->head_plan, VALUE_LOGITS));
    return status;
}
