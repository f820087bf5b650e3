/* What the machine offers: memory that can still be had, processors, their instruction sets. */
#ifndef LEVEE_PLATFORM_MACHINE_H
#define LEVEE_PLATFORM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes that new allocations may take without pushing the machine into trouble: the least of MemAvailable and the
 * headroom of every control group above us (versions 1 and 2). False when it cannot be read, which is not zero. */
bool machine_available_bytes(uint64_t *bytes);

/* All memory that this process could ever have: the least of MemTotal and the control groups' limits. */
bool machine_total_bytes(uint64_t *bytes);

/* Seconds since some moment, never going back. */
double machine_seconds(void);

/* Processors this process may run on; at least 1. */
unsigned machine_processors(void);

typedef enum instruction_set { INSTRUCTIONS_PORTABLE, INSTRUCTIONS_AVX2, INSTRUCTIONS_AVX512 } instruction_set;

/* The widest instruction set that both this processor and the operating system support. */
instruction_set machine_instruction_set(void);

#endif
