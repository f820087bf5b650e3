/* The JSON library's memory: see pool.h. */
#include "memory/pool.h"

#include <jansson.h>
#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

enum { POOL_ALIGNMENT = 16 };

/* Stands before a block that did not fit. */
typedef struct pool_overflow {
    struct pool_overflow *next;
} pool_overflow;

static _Thread_local pool *current;
static _Thread_local pool spare;
static _Thread_local bool refused;

levee_status pool_reserve(pool *p, uint64_t bytes, levee_error *error) {
    pool_empty(p);
    if (bytes <= p->capacity) return LEVEE_OK;
    ledger_free(p->memory);
    *p = (pool){.memory = ledger_alloc(LEVEE_RUNTIME, bytes)};
    if (!p->memory) return error_out_of_memory(error, "reading JSON", bytes);
    p->capacity = bytes;
    return LEVEE_OK;
}

void pool_empty(pool *p) {
    p->used = 0;
    while (p->overflow) {
        pool_overflow *next = p->overflow->next;
        ledger_free(p->overflow);
        p->overflow = next;
    }
}

void pool_close(pool *p) {
    pool_empty(p);
    ledger_free(p->memory);
    memset(p, 0, sizeof *p);
}

void pool_enter(pool *p) { current = p; }

void pool_leave(void) { current = NULL; }

uint64_t pool_room(void) { return current ? current->capacity - current->used : 0; }

void pool_set_spare(void *memory, uint64_t bytes) { spare = (pool){.memory = memory, .capacity = bytes}; }

/* NULL when it does not fit. */
static unsigned char *take_within(pool *p, size_t bytes) {
    uint64_t wanted = (bytes + POOL_ALIGNMENT - 1) & ~(uint64_t)(POOL_ALIGNMENT - 1);
    if (wanted < bytes || wanted > p->capacity - p->used) return NULL;
    unsigned char *block = p->memory + p->used;
    p->used += wanted;
    return block;
}

static void *take_from(pool *p, size_t bytes) {
    unsigned char *block = take_within(p, bytes);
    if (block) return block;
    block = ledger_alloc_unrefused(LEVEE_RUNTIME, POOL_ALIGNMENT + (uint64_t)bytes);
    if (!block) return NULL;
    pool_overflow *head = (pool_overflow *)(void *)block;
    head->next = p->overflow;
    p->overflow = head;
    return block + POOL_ALIGNMENT;
}

static void *json_alloc(size_t bytes) {
    void *block = current ? take_from(current, bytes) : ledger_alloc_unrefused(LEVEE_RUNTIME, bytes);
    if (block) return block;
    refused = true;
    return take_within(&spare, bytes);
}

static void json_free(void *block) {
    const unsigned char *bytes = block;
    bool is_spare = spare.memory && bytes >= spare.memory && bytes < spare.memory + spare.capacity;
    if (!current && !is_spare) ledger_free(block);
}

bool pool_was_refused(void) {
    bool was = refused;
    refused = false;
    return was;
}

void pool_hook_json(void) { json_set_alloc_funcs(json_alloc, json_free); }
