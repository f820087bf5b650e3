/* The ledger: see ledger.h. */
#include "memory/ledger.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"

enum { BLOCK_ALIGNMENT = 64 };

/* Stands before each block, in 64 bytes of its own so that the block keeps its alignment. */
typedef struct block_header {
    uint64_t bytes; /* asked for by the caller */
    levee_category category;
} block_header;

_Static_assert(sizeof(block_header) <= BLOCK_ALIGNMENT, "a header must fit before an aligned block");

static _Atomic int64_t booked[LEVEE_CATEGORY_COUNT + 1]; /* the last one is the total */
static _Atomic int64_t peak[LEVEE_CATEGORY_COUNT + 1];
static _Atomic uint64_t budget_bytes = UINT64_MAX;
static _Atomic uint64_t allocation_count;

static const char *const category_names[LEVEE_CATEGORY_COUNT + 1] = {
    "weights", "trainable", "gradients", "optimizer", "activations", "workspace",
    "data",    "tokenizer", "io",        "runtime",   "total",
};

const char *levee_category_name(levee_category category) {
    return (unsigned)category <= LEVEE_CATEGORY_COUNT ? category_names[category] : "unknown";
}

static void raise_peak(levee_category category, int64_t now) {
    int64_t highest = atomic_load(&peak[category]);
    while (now > highest && !atomic_compare_exchange_weak(&peak[category], &highest, now)) {
    }
}

void ledger_book(levee_category category, int64_t bytes) {
    raise_peak(category, atomic_fetch_add(&booked[category], bytes) + bytes);
    raise_peak(LEVEE_CATEGORY_COUNT, atomic_fetch_add(&booked[LEVEE_CATEGORY_COUNT], bytes) + bytes);
}

bool ledger_has_room(uint64_t bytes) {
    uint64_t budget = atomic_load(&budget_bytes), now = ledger_booked(LEVEE_CATEGORY_COUNT);
    return bytes <= INT64_MAX / 2 && (budget == UINT64_MAX || now + bytes <= budget);
}

/* Books `bytes` unless that would pass the budget. */
static bool book_within_budget(levee_category category, uint64_t bytes) {
    if (!ledger_has_room(bytes)) return false;
    ledger_book(category, (int64_t)bytes);
    return true;
}

static uint64_t held_bytes(uint64_t bytes) {
    return ((bytes + BLOCK_ALIGNMENT - 1) & ~(uint64_t)(BLOCK_ALIGNMENT - 1)) + BLOCK_ALIGNMENT;
}

/* Zeroed memory with its header; the caller has booked it, and it is taken off the books when the system refuses. */
static void *take(levee_category category, uint64_t bytes, fault_point point) {
    block_header *header = fault_ask(point).failure ? NULL : aligned_alloc(BLOCK_ALIGNMENT, held_bytes(bytes));
    if (!header) {
        ledger_book(category, -(int64_t)held_bytes(bytes));
        return NULL;
    }
    memset(header, 0, held_bytes(bytes));
    header->bytes = bytes;
    header->category = category;
    return (unsigned char *)header + BLOCK_ALIGNMENT;
}

void *ledger_alloc(levee_category category, uint64_t bytes) {
    atomic_fetch_add(&allocation_count, 1);
    if (bytes > INT64_MAX / 2 || !book_within_budget(category, held_bytes(bytes))) return NULL;
    return take(category, bytes, FAULT_ALLOCATE);
}

void *ledger_alloc_unrefused(levee_category category, uint64_t bytes) {
    atomic_fetch_add(&allocation_count, 1);
    if (bytes > INT64_MAX / 2) return NULL;
    ledger_book(category, (int64_t)held_bytes(bytes));
    return take(category, bytes, FAULT_LIBRARY);
}

static block_header *header_of(void *block) {
    return (block_header *)(void *)((unsigned char *)block - BLOCK_ALIGNMENT);
}

void *ledger_alloc_array(levee_category category, uint64_t count, uint64_t size) {
    uint64_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : ledger_alloc(category, bytes);
}

void *ledger_resize(levee_category category, void *block, uint64_t bytes) {
    if (!block) return ledger_alloc(category, bytes);
    block_header *old = header_of(block);
    void *larger = ledger_alloc(old->category, bytes);
    if (!larger) return NULL;
    memcpy(larger, block, old->bytes < bytes ? old->bytes : bytes);
    ledger_free(block);
    return larger;
}

char *ledger_text(levee_category category, const char *text) {
    size_t length = strlen(text);
    char *copy = ledger_alloc(category, length + 1);
    if (copy) memcpy(copy, text, length);
    return copy;
}

void ledger_free(void *block) {
    if (!block) return;
    block_header *header = header_of(block);
    ledger_book(header->category, -(int64_t)held_bytes(header->bytes));
    free(header);
}

uint64_t ledger_booked(levee_category category) {
    int64_t now = atomic_load(&booked[category]);
    return now > 0 ? (uint64_t)now : 0;
}

uint64_t ledger_peak(levee_category category) { return (uint64_t)atomic_load(&peak[category]); }

void ledger_restart_peaks(void) {
    for (unsigned c = 0; c <= LEVEE_CATEGORY_COUNT; c++) atomic_store(&peak[c], atomic_load(&booked[c]));
}

void ledger_set_budget(uint64_t bytes) { atomic_store(&budget_bytes, bytes); }

uint64_t ledger_allocation_count(void) { return atomic_load(&allocation_count); }
