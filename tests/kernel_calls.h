/* What tests of a backend's kernels share: guarded buffers, kernel calls in exactly the scratch that they asked for,
 * and comparison with plain double arithmetic.
 *
 * Rows beyond T hold NaN and must stay so; what a kernel overwrites holds NaN before. Random numbers are
 * deterministic. Every function fails the running test when something is wrong. */
#ifndef LEVEE_TESTS_KERNEL_CALLS_H
#define LEVEE_TESTS_KERNEL_CALLS_H

#include "backend/cpu/cpu.h"

enum { SPARE_ROWS = 5 }; /* rows of a per-token buffer beyond T */

/* Memory between guards, freed by free_blocks at the end of a case, which checks the guards. `shift` moves it off its
 * alignment of 64. */
void *guarded(uint64_t bytes, uint64_t shift);
void check_guards(void);
void free_blocks(void);

/* A teardown for cmocka: frees what a failed test left, so that the next one starts clean. */
int drop_blocks(void **unused);

/* The next random number, in [-1, 1). */
float draw(void);

/* A per-token f32 buffer: `tokens` rows of random numbers, or of NaN when blank, then rows of NaN. */
kernel_buffer token_rows(uint32_t tokens, uint64_t cols);
kernel_buffer blank_rows(uint32_t tokens, uint64_t cols);

/* A per-token i32 buffer: zeros, then numbers that no kernel can use. */
kernel_buffer token_numbers(uint32_t tokens);

/* The rows beyond T are as they were made. */
void check_spare_rows(const kernel_buffer *b);

/* A random weight; types of two bytes lie at an odd address, as a mapped file may have them. */
kernel_buffer weight_of(dtype type, uint64_t rows, uint64_t cols);

/* What a product sees of an element: its value, rounded to bf16 when products are computed so. */
double element(const kernel_buffer *b, uint64_t i, bool rounded);
double *elements(const kernel_buffer *b, uint64_t count, bool rounded);

/* The norm of the difference is at most `bound` times the norm of what should be. */
void check_close(const char *what, const float *is, const double *should, uint64_t count, double bound);

/* NULL when this processor cannot compute so. */
struct backend_state *open_backend(unsigned threads, compute_type compute);

/* Scratch query and preparation without data, then the run, in exactly that scratch and without an allocation of
 * ours. */
levee_status run_kernel(struct backend_state *state, operator_kind kind, kernel_call *call);

/* The same, and it must succeed. All of the outputs go into the running case's digest. */
void expect_kernel(struct backend_state *state, operator_kind kind, kernel_call call);

/* Adds bytes to the digest. */
void digest_bytes(const void *bytes, uint64_t count);

/* Runs a case, with the same random numbers, on every instruction path that this processor has, with 1 and with 2
 * threads: their digests must be equal, for no kernel's sums depend on the number of threads. */
void on_every_path(void (*run)(struct backend_state *state));

/* The same on the best path in one type, with 1, 2, 3 and 8 threads; false when this processor cannot compute so. */
bool on_many_threads(compute_type compute, void (*run)(struct backend_state *state));

/* gradient[i] = d loss / d values[i], by central differences; the loss reads the values through its context. */
void differences(double *values, uint64_t count, double (*loss)(void *context), void *context, double *gradient);

#endif
