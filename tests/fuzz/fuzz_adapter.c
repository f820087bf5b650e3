/* adapter_config.json: what is accepted is within its bounds, and PEFT's is the same again when written and read.
 * With the tensors that it asks for on a small model, an adapter of either format opens, becomes one of the other,
 * and comes back as it was, to the byte. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "model/adapter_convert.h"
#include "model/family.h"

enum { MOST_RANK = 6, LAYERS = 3, MOST_TENSORS = LAYERS * PROJECTION_COUNT * 3, MOST_VALUES = 64 * 1024 };

static model_config model = {.hidden_size = 8,
                             .intermediate_size = 12,
                             .layers = LAYERS,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 6,
                             .vocabulary_size = 16};

/* Where the adapter goes in the other format, and where it comes back. */
static char turned[FILE_PATH_BYTES], back[FILE_PATH_BYTES];

void fuzz_prepare(void) {
    model.family = family_find("llama");
    harness_require(file_join(turned, harness_directory(), "turned") &&
                        file_join(back, harness_directory(), "back") &&
                        file_make_directory(turned, NULL) == LEVEE_OK && file_make_directory(back, NULL) == LEVEE_OK,
                    "the directories cannot be made");
}

static void check_adapter(const adapter_config *c) {
    bool any = false;
    for (unsigned p = 0; p < PROJECTION_COUNT; p++) any = any || c->targets[p];
    harness_require(any, "no projection");
    harness_require(c->rank > 0 && isnormal((float)(c->alpha / c->rank)) && c->alpha > 0,
                    "rank or alpha is not usable");
    harness_require(c->dropout >= 0 && c->dropout < 1, "the dropout is not usable");
    harness_require(c->layer_count > 0, "no layer");
    harness_require(strnlen(c->base_model, sizeof c->base_model) < sizeof c->base_model, "the base has no end");
}

static uint64_t elements_of(const tensor_declaration *t) {
    return t->rank == 1 ? t->shape[0] : t->shape[0] * t->shape[1];
}

static void describe(const void *context, uint32_t index, tensor_declaration *tensor) {
    *tensor = ((const tensor_declaration *)context)[index];
}

/* What the configuration asks for. */
static uint32_t declare(const adapter_config *c, tensor_declaration tensors[MOST_TENSORS]) {
    uint32_t count = 0, first, end;
    adapter_layers(c, &model, &first, &end);
    for (uint32_t layer = first; layer < end; layer++)
        for (unsigned p = 0; p < PROJECTION_COUNT; p++)
            for (unsigned part = 0; c->targets[p] && part < adapter_parts(c); part++)
                adapter_describe(&tensors[count++], c, &model, layer, (model_projection)p, (adapter_part)part,
                                 c->format);
    return count;
}

static bool write_tensors(const adapter_config *c) {
    static tensor_declaration tensors[MOST_TENSORS];
    static float values[MOST_VALUES];
    char path[FILE_PATH_BYTES];
    levee_error error;
    file_writer w;
    uint32_t count = declare(c, tensors);
    uint64_t elements = 0;
    for (uint32_t i = 0; i < count; i++) elements += elements_of(&tensors[i]);
    harness_require(elements <= MOST_VALUES, "the adapter is larger than its model allows");
    for (uint64_t i = 0; i < elements; i++) values[i] = (float)i;
    file_join(path, harness_directory(),
              c->format == ADAPTER_MLX ? "adapters.safetensors" : "adapter_model.safetensors");
    levee_status status = file_writer_open(&w, path, &error);
    if (status == LEVEE_OK) status = safetensors_write_header(&w, describe, tensors, count, &error);
    if (status == LEVEE_OK) status = file_writer_write(&w, values, elements * sizeof *values, &error);
    if (status == LEVEE_OK) status = file_writer_commit(&w, &error);
    file_writer_abandon(&w);
    return harness_succeeded(status, &error, path);
}

/* Opens what must open, unless memory is refused. */
static bool open_adapter(safetensors **tensors, adapter_config *c, const char *directory) {
    levee_error error;
    levee_status status = adapter_open(tensors, c, &model, directory, &error);
    harness_require(status == LEVEE_OK || status == LEVEE_DOES_NOT_FIT, "an adapter that is whole does not open");
    return harness_succeeded(status, &error, NULL);
}

static void require_same(const adapter_config *a, const safetensors *of_a, const adapter_config *b,
                         const safetensors *of_b) {
    uint32_t first[2], end[2];
    adapter_layers(a, &model, &first[0], &end[0]);
    adapter_layers(b, &model, &first[1], &end[1]);
    harness_require(a->format == b->format && a->rank == b->rank && a->dora == b->dora && a->dropout == b->dropout &&
                        fabs(a->alpha - b->alpha) <= 1e-12 * a->alpha && first[0] == first[1] && end[0] == end[1] &&
                        !memcmp(a->targets, b->targets, sizeof a->targets) && !strcmp(a->base_model, b->base_model),
                    "the configuration comes back as another");
    harness_require(safetensors_count(of_a) == safetensors_count(of_b), "tensors come back more or fewer");
    for (uint32_t i = 0; i < safetensors_count(of_a); i++) {
        const tensor_view *x = safetensors_at(of_a, i), *y = safetensors_at(of_b, i);
        harness_require(!strcmp(x->name, y->name) && x->bytes == y->bytes && !memcmp(x->data, y->data, x->bytes),
                        "a tensor comes back as another");
    }
}

static void turn_and_back(const adapter_config *c) {
    safetensors *tensors[3] = {NULL};
    adapter_config configs[3];
    levee_error error;
    adapter_format other = c->format == ADAPTER_MLX ? ADAPTER_PEFT : ADAPTER_MLX;
    if (c->rank > MOST_RANK || adapter_check_layers(c, &model, "the adapter", NULL) != LEVEE_OK) return;
    if (write_tensors(c) && open_adapter(&tensors[0], &configs[0], harness_directory()) &&
        harness_succeeded(adapter_convert(&configs[0], tensors[0], &model, other, turned, &error), &error, NULL) &&
        open_adapter(&tensors[1], &configs[1], turned) &&
        harness_succeeded(adapter_convert(&configs[1], tensors[1], &model, c->format, back, &error), &error, NULL) &&
        open_adapter(&tensors[2], &configs[2], back)) {
        harness_require(configs[1].format == other, "the adapter was not turned");
        require_same(&configs[0], tensors[0], &configs[2], tensors[2]);
        harness_require(adapter_check_start(back, &configs[0], &model, &error) == LEVEE_OK ||
                            error.status == LEVEE_DOES_NOT_FIT,
                        "a run cannot go on from what is its own");
    }
    for (unsigned i = 0; i < 3; i++) safetensors_close(tensors[i]);
}

void fuzz_input(const uint8_t *data, size_t bytes) {
    adapter_config config, again;
    levee_error error;
    const char *path = harness_write("adapter_config.json", data, bytes);
    if (!harness_succeeded(adapter_config_read(&config, harness_directory(), &error), &error, path)) return;
    check_adapter(&config);
    turn_and_back(&config);
    if (config.format == ADAPTER_MLX) return; /* is written on a model, whose layers it counts from the last */
    levee_status status = adapter_config_write(&config, harness_directory(), &error);
    if (harness_succeeded(status, &error, path)) status = adapter_config_read(&again, harness_directory(), &error);
    if (!harness_succeeded(status, &error, path)) {
        harness_require(status == LEVEE_DOES_NOT_FIT, "what is written cannot be read");
        return;
    }
    harness_require(again.rank == config.rank && again.alpha == config.alpha && again.dropout == config.dropout &&
                        again.dora == config.dora && again.first_layer == config.first_layer &&
                        again.layer_count == config.layer_count &&
                        !memcmp(again.targets, config.targets, sizeof config.targets) &&
                        !strcmp(again.base_model, config.base_model),
                    "what is written reads differently");
}
