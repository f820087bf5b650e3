/* The size of a model: see size.h. */
#include "model/size.h"

levee_status model_measure(model_size *size, const model_source *source, levee_error *error) {
    const trainable_set frozen = {.type = FINE_TUNE_NONE};
    graph g;
    *size = (model_size){0};
    graph_open(&g, SPACE_HOST);
    levee_status status = model_build_loss(&g, source, &frozen, error);
    for (value_id v = 0; status == LEVEE_OK && v < g.value_count; v++) {
        if (g.values[v].role != VALUE_WEIGHT) continue;
        size->parameters += g.values[v].rows * g.values[v].cols;
        size->bytes += graph_value_bytes(&g.values[v], 0);
    }
    graph_close(&g);
    return status;
}
