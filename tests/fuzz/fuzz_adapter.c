/* adapter_config.json: what is accepted is within its bounds, and PEFT's is the same again when written and read. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include "model/adapter.h"

void fuzz_prepare(void) {}

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

void fuzz_input(const uint8_t *data, size_t bytes) {
    adapter_config config, again;
    levee_error error;
    const char *path = harness_write("adapter_config.json", data, bytes);
    if (!harness_succeeded(adapter_config_read(&config, harness_directory(), &error), &error, path)) return;
    check_adapter(&config);
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
