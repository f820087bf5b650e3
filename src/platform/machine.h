/* What the machine offers beside memory (headroom.h): time, processors, their instruction sets. */
#ifndef LEVEE_PLATFORM_MACHINE_H
#define LEVEE_PLATFORM_MACHINE_H

/* Seconds since some moment, never going back. */
double machine_seconds(void);

/* Waits so long, or until a signal comes. */
void machine_sleep(double seconds);

/* Processors this process may run on; at least 1. */
unsigned machine_processors(void);

typedef enum instruction_set { INSTRUCTIONS_PORTABLE, INSTRUCTIONS_AVX2, INSTRUCTIONS_AVX512 } instruction_set;

/* The widest instruction set that both this processor and the operating system support. */
instruction_set machine_instruction_set(void);

#endif
