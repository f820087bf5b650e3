/* The circuit breaker: when a run that gave memory back may take it again.
 *
 * Words. Closed: the largest plan is in use. Open: memory was given back (a trip); the run works with less, or is
 * paused, and does not grow. Cool-down: the green time, and steps, that must pass before it may try; time that is not
 * green does not count, nor does it take away. Half-open: the next larger plan is being tried. It is proved when some
 * green steps have passed, and the breaker opens again for the next plan, or closes when there is none. Another trip,
 * or a refusal, while half-open doubles the cool-down.
 *
 *   growths in a time T <= 1 + T / first_seconds, and givings back <= growths + plans
 *
 * Pure functions of the caller's plain data; the table of transitions is data (breaker.c). */
#ifndef LEVEE_GUARD_BREAKER_H
#define LEVEE_GUARD_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum breaker_position { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN } breaker_position;

typedef enum breaker_event {
    BREAKER_NOTHING,
    BREAKER_TRIPPED,       /* memory is given back */
    BREAKER_COOLED,        /* the cool-down has passed, and there is room for the larger plan */
    BREAKER_PROVED,        /* the larger plan worked; there is a larger one still */
    BREAKER_PROVED_LARGEST /* there is none */
} breaker_event;

const char *breaker_position_name(breaker_position position);
const char *breaker_event_name(breaker_event event);

typedef struct breaker_limits {
    double first_seconds, longest_seconds; /* of cool-down */
    uint32_t cool_steps;                   /* as well; not asked of a run that is paused */
    uint32_t proving_steps;
} breaker_limits;

breaker_limits breaker_limits_default(void);

/* Zeroed: closed. */
typedef struct breaker {
    breaker_position position;
    double cooldown_seconds; /* that the present opening asks for */
    double cooled_seconds;   /* green time so far, at most that */
    uint32_t cooled_steps;   /* green steps so far, at most breaker_limits.cool_steps */
    uint32_t proved_steps;   /* green steps since it is half-open */
} breaker;

/* What happened since the last call. */
typedef struct breaker_input {
    double seconds;
    uint32_t steps;
    bool tripped; /* memory is given back now, or a growth was refused */
    bool green;   /* the held level is, and nothing is suspected to leak */
    bool room;    /* the next larger plan would leave it so */
    bool largest; /* the largest plan is in use */
    bool paused;
} breaker_input;

/* Makes at most one transition, and says which. */
breaker_event breaker_update(breaker *b, const breaker_limits *l, const breaker_input *input);

/* Seconds that the cool-down still asks for; 0 unless it is open. */
double breaker_seconds_left(const breaker *b);

#endif
