/* Which row each example of each step is: the whole data order of a run, as a function of three numbers. */
#ifndef LEVEE_DATA_CURSOR_H
#define LEVEE_DATA_CURSOR_H

#include <stdint.h>

typedef struct cursor {
    uint64_t seed;
    uint64_t rows;       /* of the data set; at least 1 */
    uint32_t batch_size; /* examples of an effective batch */
} cursor;

/* The row of example `example` (< batch_size) of step `step` (from 0). Examples are numbered through the steps; each
 * `rows` of them are an epoch, which visits every row once in an order of its own. A batch may span two epochs. */
uint64_t cursor_row(const cursor *position, uint64_t step, uint32_t example);

#endif
