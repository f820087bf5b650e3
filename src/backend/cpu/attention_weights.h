/* What attention does between products of blocks: scores become weights, and gradients of weights those of scores.
 * Only for processors with AVX2 or AVX-512, for elsewhere there are no such products.
 *
 * Blocks of scores are [rows, BLOCK]: rows are queries, of one head behind the other, BLOCK of each; columns are
 * keys. Row r sees what row r % BLOCK of the view says; what it does not see becomes zero. Scores come without their
 * scale.
 *
 * Powers of two take the place of those of e, for they need no second factor: weights are 2^(factor score - ..),
 * where factor is scale / ln 2. */
#ifndef LEVEE_BACKEND_CPU_ATTENTION_WEIGHTS_H
#define LEVEE_BACKEND_CPU_ATTENTION_WEIGHTS_H

#include "backend/cpu/attention.h"

static inline float attention_factor(float scale) { return scale * 1.44269504f; }

/* Forward: block after block of keys. */
typedef struct absorbed_block {
    dtype type; /* of weights */
    uint64_t rows, head_dim;
    float factor;
    float *scores;        /* [rows, BLOCK]; weights take their place, of bf16 in its first half */
    float *output;        /* [rows, head_dim]: what was summed so far */
    float *highest, *sum; /* [rows]: of factor score so far; of the weights so far */
} absorbed_block;

/* Before the first block. */
void attention_absorb_nothing(const absorbed_block *b);

/* Scores become weights 2^(factor score - highest) with the highest that each row has seen by now, and what was
 * summed before becomes what it would be with that. */
void attention_absorb(instruction_set set, const absorbed_block *b, const attention_view *v);

/* The result of a row: writes head_dim numbers, and returns the log-sum-exp. */
float attention_conclude(instruction_set set, const absorbed_block *b, uint64_t row, float *output);

/* Backward: weights again, from the log-sum-exps, and the gradients of the scores, without their scale. */
typedef struct weighed_block {
    dtype type; /* of what is made */
    uint64_t rows;
    float factor;
    float *scores, *gradients;  /* [rows, BLOCK]: of the scores, and of the weights */
    float *log_sums, *row_sums; /* [rows]: log-sum-exps / ln 2; sums of do o */
    void *left; /* [rows, BLOCK]: gradients of the scores as a product's left side; f32: `gradients` */
} weighed_block;

/* Weights take the place of scores, and gradients of scores that of gradients of weights: as rows of a product's
 * right side (blocked.h), of bf16 in the first half. */
void attention_weigh(instruction_set set, const weighed_block *b, const attention_view *v);

#endif
