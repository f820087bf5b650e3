/* Which row each example of each step is: see cursor.h. */
#include "data/cursor.h"

#include "data/order.h"

static uint64_t example_number(const cursor *position, uint64_t step, uint32_t example) {
    return step * position->batch_size + example;
}

uint64_t cursor_row(const cursor *position, uint64_t step, uint32_t example) {
    uint64_t number = example_number(position, step, example);
    return order_permute(position->seed, number / position->rows, position->rows, number % position->rows);
}

uint64_t cursor_epoch(const cursor *position, uint64_t step, uint32_t example) {
    return example_number(position, step, example) / position->rows;
}
