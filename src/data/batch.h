/* A micro-batch without padding: whole sequences laid end to end as one flat row of tokens.
 *
 * A sequence of n tokens s[0..n) gives n - 1 rows: row t is the token s[t], and its label is s[t + 1], the token to
 * be predicted there. `starts` tells attention where a sequence begins, so that sequences do not see each other.
 *
 *     tokens = sum over sequences of (n - 1) <= capacity
 *     starts[i] + positions[i] == i */
#ifndef LEVEE_DATA_BATCH_H
#define LEVEE_DATA_BATCH_H

#include <stdbool.h>
#include <stdint.h>

/* The arrays are [capacity], i32 because they are inputs of the graph, and belong to the caller. Entries from
 * `tokens` on are not written and mean nothing. */
typedef struct batch {
    uint32_t capacity;  /* rows that fit */
    bool one_sequence;  /* that may be added */
    uint32_t tokens;    /* rows that are filled */
    uint32_t sequences; /* that were added */
    uint32_t targets;   /* rows whose label counts in the loss */
    int32_t *ids;
    int32_t *labels;    /* the next token, or -1 where the loss does not count */
    int32_t *positions; /* within the sequence, from 0 */
    int32_t *starts;    /* index in the batch of the sequence's first row */
    int32_t *examples;  /* may be NULL; the example's number in the step; with positions, part of the key of random
                           numbers */
} batch;

/* Empties the batch; capacity and arrays stay. */
void batch_clear(batch *b);

/* Adds the `count` tokens of one sequence as example number `example` of the step. With a `loss_mask` [count], row t
 * counts in the loss only if loss_mask[t + 1], the mask of the token that it predicts, is not 0; NULL counts every
 * row. A sequence of fewer than 2 tokens predicts nothing: it is accepted and leaves the batch as it was. Returns
 * false, and leaves the batch as it was, when it has no room. Token ids must be below 2^31. */
bool batch_add(batch *b, const uint32_t *ids, const uint8_t *loss_mask, uint32_t count, uint32_t example);

#endif
