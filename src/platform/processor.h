/* The processor, as the kernel describes it. What our own vector code takes is machine_instruction_set; this names
 * what the libraries beside it can use too. */
#ifndef LEVEE_PLATFORM_PROCESSOR_H
#define LEVEE_PLATFORM_PROCESSOR_H

#include "platform/kernel_text.h"

enum { PROCESSOR_NAME_BYTES = 96 };

typedef struct processor {
    char name[PROCESSOR_NAME_BYTES]; /* empty: not told */
    bool features_known;             /* false where the kernel does not list any by these names */
    bool avx2;                       /* with fused multiply-add */
    bool avx512;                     /* F, BW, VL and DQ */
    bool avx512_bf16, amx_bf16;      /* products of bf16 */
    reading load;                    /* hundredths of a process that ran or wanted to, mean of the last minute */
} processor;

void processor_read(processor *p, kernel_roots roots);

#endif
