/* A tokenizer.json in use while it is read: what is small as a tree, the vocabulary and the merges as text.
 *
 * Those two have hundreds of thousands of entries; as a tree they would take thirty times the file, more than many a
 * budget. */
#ifndef LEVEE_TEXT_TOKENIZER_FILE_H
#define LEVEE_TEXT_TOKENIZER_FILE_H

#include "base/file.h"
#include "memory/json_walk.h"

typedef struct tokenizer_file {
    file_mapping mapping;
    json_t *tree;                 /* the file's object, but for model.vocab and model.merges */
    json_span vocabulary, merges; /* model.vocab and model.merges; their text NULL where absent */
} tokenizer_file;

/* Maps and reads a file; what is not JSON is LEVEE_BAD_DATA with its line. tokenizer_file_close accepts a zeroed one.
 */
levee_status tokenizer_file_open(tokenizer_file *f, const char *path, levee_error *error);
void tokenizer_file_close(tokenizer_file *f);

#endif
