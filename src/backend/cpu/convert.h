/* Conversions between element types on the vector paths: what dtype_convert does, to the bit, at the speed of memory.
 */
#ifndef LEVEE_BACKEND_CPU_CONVERT_H
#define LEVEE_BACKEND_CPU_CONVERT_H

#include "platform/machine.h"
#include "tensor/dtype.h"

/* Converts `elements` elements from f32, f16 or bf16 to f32 or bf16. Neither side need be aligned; they do not
 * overlap. */
void convert_values(instruction_set set, dtype to, void *destination, dtype from, const void *source,
                    uint64_t elements);

#endif
