/* What tells tokenizers apart. */
#ifndef LEVEE_DATA_FINGERPRINT_H
#define LEVEE_DATA_FINGERPRINT_H

#include "data/example.h"

/* Tells tokenizers apart by what they do: with their own vocabulary, and with a text that has what they treat
 * differently: words, case, digits, white space, contractions, marks that combine, scripts without spaces, symbols
 * outside the basic plane. A difference that none of this shows is left to the sample of rows, and to dataset_read,
 * which compares lengths. */
levee_status fingerprint_tokenizer(example_maker *m, uint64_t *fingerprint, levee_error *error);

#endif
