/* Counts what a test program takes from the allocator: defines malloc and its kin in front of the C library's.
 * Included by one file of a program, since it holds definitions. Under a sanitizer, whose allocator it is, nothing is
 * counted. */
#ifndef LEVEE_TESTS_COUNTED_ALLOCATIONS_H
#define LEVEE_TESTS_COUNTED_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "sanitized.h"

static atomic_ullong allocations; /* so far */

#if !SANITIZED
#pragma GCC visibility push(default)
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}
void *realloc(void *block, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(block, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}
#pragma GCC visibility pop
#endif

#endif
