/* Which row each example of each step is: see cursor.h. */
#include "data/cursor.h"

#include "data/order.h"

uint64_t cursor_row(const cursor *position, uint64_t step, uint32_t example) {
    uint64_t number = step * position->batch_size + example;
    return order_permute(position->seed, number / position->rows, position->rows, number % position->rows);
}
