/* Where the time of passes goes: by kind of operator over all passes, and operator by operator in the last one.
 *
 * The events are the profile's own memory, taken when it is opened; noting takes none. Not thread-safe. */
#ifndef LEVEE_GRAPH_PROFILE_H
#define LEVEE_GRAPH_PROFILE_H

#include "graph/work.h"

#include "levee.h"

/* One operator in one pass. */
typedef struct profile_event {
    operator_kind kind;
    int32_t layer;         /* -1: of none */
    double began, seconds; /* began: by machine_seconds */
    work done;
} profile_event;

typedef struct profile_total {
    uint64_t calls;
    double seconds;
    work done;
} profile_total;

typedef struct profile {
    profile_total totals[OPERATOR_COUNT];
    uint64_t passes;
    double sequence_tokens; /* of the pass that comes (work.h); whoever fills it says so */
    profile_event *events;  /* of the last pass, in order */
    uint32_t count, capacity;
} profile;

/* Makes room for a pass of so many operators, in category `runtime`. profile_close accepts a zeroed profile. */
levee_status profile_open(profile *p, uint32_t most_operators, levee_error *error);
void profile_close(profile *p);

/* What that takes, to be counted before it is taken. */
uint64_t profile_bytes(uint32_t most_operators);

void profile_begin_pass(profile *p);

/* An operator of the pass has run on so many tokens. */
void profile_note(profile *p, const graph *g, const node *n, double tokens, double began, double ended);

#endif
