/* How large a model is, from its configuration and the types in its files. */
#ifndef LEVEE_MODEL_SIZE_H
#define LEVEE_MODEL_SIZE_H

#include "model/builder.h"

typedef struct model_size {
    uint64_t parameters;
    uint64_t bytes; /* in the type in which each is stored; without files at hand, in that of config.json */
} model_size;

/* Adds up the weights of the graph that computes with all of them. */
levee_status model_measure(model_size *size, const model_source *source, levee_error *error);

#endif
