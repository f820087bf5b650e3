/* A model with an adapter merged into it, a row of a tensor at a time.
 *
 *   merged = base + scale * B A, in f32, whatever the types of the files
 *
 * and with DoRA each row is then brought to the length that its magnitude says.
 *
 * Beside the mapped files it takes the two matrices of one projection, in f32. */
#ifndef LEVEE_MODEL_MERGED_H
#define LEVEE_MODEL_MERGED_H

#include "model/adapter.h"
#include "model/builder.h"

typedef struct merged_model {
    const model_source *source;
    adapter_config adapter;
    safetensors *matrices; /* of the adapter; NULL: there is none */
    /* The tensor that merged_begin named. */
    const tensor_view *view;
    uint64_t rows, cols; /* a vector is one row */
    bool adapted;        /* the adapter changes it */
    float *parts[3];     /* A [rank, cols], B [rows, rank], magnitude [rows]; kept for the next tensor */
} merged_model;

/* Opens the adapter of a directory (NULL: none) and checks it against the model. merged_close frees, and accepts a
 * zeroed one. */
levee_status merged_open(merged_model *m, const model_source *source, const char *adapter_directory,
                         levee_error *error);
void merged_close(merged_model *m);

/* Goes to a tensor of the model's files; what the adapter changes must be a matrix of floats. Whatever is a vector or
 * matrix of floats merged_row then gives, row by row, as f32 [cols]. */
levee_status merged_begin(merged_model *m, const tensor_view *view, levee_error *error);
void merged_row(const merged_model *m, uint64_t row, float *values);

#endif
