/* The memory of one template: see jinja_arena.h. */
#include "text/jinja_arena.h"

#include <string.h>

#include "memory/ledger.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON_UNTAKEN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_UNTAKEN 1
#endif
#endif

/* Under AddressSanitizer what was not taken is poisoned, and there is a gap behind each block: otherwise it would see
 * one block where there are many. */
#ifdef POISON_UNTAKEN
#include <sanitizer/asan_interface.h>
enum { GAP_BYTES = 16 };
static void forbid(const void *from, uint64_t bytes) { ASAN_POISON_MEMORY_REGION(from, bytes); }
static void allow(const void *from, uint64_t bytes) { ASAN_UNPOISON_MEMORY_REGION(from, bytes); }
#else
enum { GAP_BYTES = 0 };
static void forbid(const void *from, uint64_t bytes) { (void)from, (void)bytes; }
static void allow(const void *from, uint64_t bytes) { (void)from, (void)bytes; }
#endif

enum { ALIGNMENT = 16, SLICE_BYTES = 64 * 1024 };

levee_status jinja_arena_open(jinja_arena *a, uint64_t limit_bytes, levee_error *error) {
    *a = (jinja_arena){.limit_bytes = limit_bytes};
    return region_open(&a->memory, limit_bytes + SLICE_BYTES, error);
}

/* Books exactly what is committed. */
static void book(jinja_arena *a) {
    ledger_book(LEVEE_TOKENIZER, (int64_t)a->memory.committed_bytes - (int64_t)a->booked_bytes);
    a->booked_bytes = a->memory.committed_bytes;
}

void jinja_arena_close(jinja_arena *a) {
    ledger_book(LEVEE_TOKENIZER, -(int64_t)a->booked_bytes);
    if (a->memory.base) allow(a->memory.base, a->memory.reserved_bytes);
    region_close(&a->memory);
    *a = (jinja_arena){0};
}

/* Makes the first `bytes` bytes usable. */
static bool reach(jinja_arena *a, uint64_t bytes) {
    a->refusal = ARENA_NOT_REFUSED;
    if (bytes > a->limit_bytes) {
        a->refusal = ARENA_LIMIT;
        return false;
    }
    if (bytes <= a->memory.committed_bytes) return true;
    uint64_t wanted = (bytes + SLICE_BYTES - 1) / SLICE_BYTES * SLICE_BYTES, before = a->memory.committed_bytes;
    if (!ledger_has_room(wanted - a->memory.committed_bytes) || region_commit(&a->memory, wanted, NULL) != LEVEE_OK)
        a->refusal = ARENA_MEMORY;
    else
        forbid(a->memory.base + before, a->memory.committed_bytes - before);
    book(a);
    return a->refusal == ARENA_NOT_REFUSED;
}

bool jinja_arena_reserve(jinja_arena *a, uint64_t bytes) {
    if (!reach(a, bytes < a->limit_bytes ? bytes : a->limit_bytes)) return false;
    uint64_t rest = a->memory.committed_bytes - a->used;
    allow(a->memory.base + a->used, rest);
    memset(a->memory.base + a->used, 0, rest);
    forbid(a->memory.base + a->used, rest);
    return true;
}

/* What a block takes in all. */
static uint64_t taken(uint64_t bytes) { return ((bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1)) + GAP_BYTES; }

void *jinja_arena_take(jinja_arena *a, uint64_t bytes) {
    if (bytes > a->limit_bytes) {
        a->refusal = ARENA_LIMIT;
        return NULL;
    }
    if (!reach(a, a->used + taken(bytes))) return NULL;
    void *block = a->memory.base + a->used;
    a->used += taken(bytes);
    allow(block, bytes);
    memset(block, 0, bytes);
    return block;
}

bool jinja_arena_extend(jinja_arena *a, const void *block, uint64_t bytes, uint64_t longer_bytes) {
    uint64_t begin = (uint64_t)((const unsigned char *)block - a->memory.base);
    if (begin + taken(bytes) != a->used || longer_bytes > a->limit_bytes) return false;
    if (!reach(a, begin + taken(longer_bytes))) return false;
    a->used = begin + taken(longer_bytes);
    allow(block, longer_bytes);
    return true;
}

void jinja_arena_cut(jinja_arena *a, uint64_t used) {
    a->used = used;
    forbid(a->memory.base + used, a->memory.committed_bytes - used);
}

void jinja_arena_trim(jinja_arena *a) {
    region_commit(&a->memory, a->used, NULL);
    book(a);
}
