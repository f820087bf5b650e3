/* A Hugging Face model directory, written: the weights of a merged model, and what lies beside weights. */
#ifndef LEVEE_MODEL_MODEL_FILES_H
#define LEVEE_MODEL_MODEL_FILES_H

#include "model/merged.h"

/* Copies configuration, tokenizer and chat template, those that are there. */
levee_status model_files_copy(const char *from_directory, const char *to_directory, config_change change,
                              levee_error *error);

/* Writes the weights, file by file as the source has them, each tensor in its type; an index is copied. What no
 * adapter changes goes over as it lies in the file. */
levee_status model_files_write_merged(merged_model *m, const char *from_directory, const char *to_directory,
                                      levee_error *error);

#endif
