/* Where the time of passes goes: see profile.h. */
#include "graph/profile.h"

#include <string.h>

#include "base/error.h"
#include "memory/ledger.h"

uint64_t profile_bytes(uint32_t most_operators) { return (uint64_t)most_operators * sizeof(profile_event); }

levee_status profile_open(profile *p, uint32_t most_operators, levee_error *error) {
    memset(p, 0, sizeof *p);
    p->capacity = most_operators;
    p->events = ledger_alloc(LEVEE_RUNTIME, profile_bytes(most_operators));
    return p->events ? LEVEE_OK : error_out_of_memory(error, "the profile", profile_bytes(most_operators));
}

void profile_close(profile *p) {
    ledger_free(p->events);
    memset(p, 0, sizeof *p);
}

void profile_begin_pass(profile *p) {
    p->passes++;
    p->count = 0;
}

void profile_note(profile *p, const graph *g, const node *n, double tokens, double began, double ended) {
    profile_event event = {.kind = n->kind, .layer = n->layer, .began = began, .seconds = ended - began};
    profile_total *total = &p->totals[n->kind];
    work_add_operator(&event.done, g, n, tokens, p->sequence_tokens);
    total->calls++;
    total->seconds += event.seconds;
    for (unsigned kind = 0; kind < WORK_KINDS; kind++) total->done.amount[kind] += event.done.amount[kind];
    if (p->count < p->capacity) p->events[p->count++] = event;
}
