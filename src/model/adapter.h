/* adapter_config.json of a PEFT adapter. */
#ifndef LEVEE_MODEL_ADAPTER_H
#define LEVEE_MODEL_ADAPTER_H

#include "base/file.h"
#include "model/config.h"

typedef struct adapter_config {
    uint32_t rank;
    double alpha; /* the adapter's product is scaled by alpha / rank */
    double dropout;
    bool targets[PROJECTION_COUNT];
    uint32_t first_layer, layer_count; /* layer_count UINT32_MAX: all layers */
    char base_model[FILE_PATH_BYTES];
} adapter_config;

/* Reads the one in `directory`; what cannot be computed here (DoRA, biases, other adapter types, per-layer ranks, layers
 * that are not the last ones) is refused by name. */
levee_status adapter_config_read(adapter_config *config, const char *directory, levee_error *error);

/* Writes it atomically, with every field that PEFT expects. */
levee_status adapter_config_write(const adapter_config *config, const char *directory, levee_error *error);

/* Refuses a directory that already holds an adapter of another shape; nothing is written. */
levee_status adapter_check_directory(const adapter_config *config, const char *directory, levee_error *error);

#endif
