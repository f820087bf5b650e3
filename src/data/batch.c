/* A micro-batch without padding: see batch.h. */
#include "data/batch.h"

#include <stddef.h>

void batch_clear(batch *b) {
    b->tokens = 0;
    b->sequences = 0;
    b->targets = 0;
}

bool batch_add(batch *b, const uint32_t *ids, const uint8_t *loss_mask, uint32_t count, uint32_t example) {
    if (count < 2) return true;
    uint32_t rows = count - 1;
    if (rows > b->capacity - b->tokens || (b->one_sequence && b->sequences)) return false;
    uint32_t start = b->tokens;
    for (uint32_t t = 0; t < rows; t++) {
        bool counts = loss_mask == NULL || loss_mask[t + 1] != 0;
        uint32_t row = start + t;
        b->ids[row] = (int32_t)ids[t];
        b->labels[row] = counts ? (int32_t)ids[t + 1] : -1;
        b->positions[row] = (int32_t)t;
        b->starts[row] = (int32_t)start;
        if (b->examples) b->examples[row] = (int32_t)example;
        b->targets += counts;
    }
    b->tokens += rows;
    b->sequences++;
    return true;
}
