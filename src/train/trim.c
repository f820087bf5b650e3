/* levee_trim: gives back what is kept only because it may be of use again.
 *
 * Two things are. What else might seem a cache is none: the table of matrix products and the smaller plans are needed
 * by what runs, and bounded; oneDNN's own cache of primitives is switched off (gemm_primitive.c); the pages of mapped
 * files are the kernel's, which drops them when it needs them. */
#include <string.h>

#include "platform/process.h"
#include "train/session.h"

static void empty_tokenizer(void) {
    session *s = session_current();
    if (s) tokenizer_trim(s->tokens);
    process_trim(); /* the blocks may be too small to go back by themselves */
}

static void empty_allocator(void) { process_trim(); }

/* In this order, so that what the tokenizer's blocks leave in the allocator is counted as the tokenizer's. */
static const struct {
    const char *name;
    void (*empty)(void);
} caches[LEVEE_CACHE_COUNT] = {
    [LEVEE_CACHE_ALLOCATOR] = {"allocator", empty_allocator},
    [LEVEE_CACHE_TOKENIZER] = {"tokenizer", empty_tokenizer},
};

const char *levee_cache_name(levee_cache cache) {
    return (unsigned)cache < LEVEE_CACHE_COUNT ? caches[cache].name : "unknown";
}

void levee_trim(levee_trimmed *given_back) {
    for (unsigned c = 0; c < LEVEE_CACHE_COUNT; c++) {
        process_memory before, after;
        bool known = process_memory_read(&before);
        caches[c].empty();
        known = process_memory_read(&after) && known;
        if (!given_back) continue;
        given_back->bytes[c] = !known                                 ? LEVEE_UNKNOWN_BYTES
                               : before.held_bytes > after.held_bytes ? before.held_bytes - after.held_bytes
                                                                      : 0;
    }
}
