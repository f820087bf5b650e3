/* A small model that the test writes, and its graphs. */
#ifndef LEVEE_TESTS_SMALL_MODEL_H
#define LEVEE_TESTS_SMALL_MODEL_H

#include "backend/backend.h"
#include "model/builder.h"

enum { LAYERS = 4 };

typedef struct fixture {
    void *directory; /* of scratch.h */
    model_config config;
    safetensors *tensors;
    model_source source;
    struct backend_state *state;
} fixture;

/* For cmocka: *state becomes a fixture; the teardown fails when a byte was not given back to the ledger. */
int small_model_setup(void **state);
int small_model_teardown(void **state);

/* What trains: projections is a text of seven digits, 1 for those that are adapted. */
trainable_set small_model_lora(uint32_t last_layers, const char *projections, float dropout);
trainable_set small_model_whole(fine_tune_type type, uint32_t last_layers);

/* The graph with its backward part, closed by the caller; *forward_count, when given, is the number of nodes before.
 */
graph small_model_differentiated(const fixture *f, trainable_set trained, uint32_t *forward_count);

uint32_t graph_count_role(const graph *g, value_role role);

/* Fails unless the graph can be run in order: see small_model.c. */
void graph_assert_sound(const graph *g);

#endif
