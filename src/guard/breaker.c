/* Closed, open, half-open: see breaker.h. */
#include "guard/breaker.h"

#include <math.h>

typedef enum cooldown { KEEPS, FIRST, DOUBLES } cooldown;

typedef struct transition {
    breaker_position from;
    breaker_event event;
    breaker_position to;
    cooldown next;
} transition;

static const transition transitions[] = {
    {BREAKER_CLOSED, BREAKER_TRIPPED, BREAKER_OPEN, FIRST},
    {BREAKER_OPEN, BREAKER_TRIPPED, BREAKER_OPEN, KEEPS},
    {BREAKER_OPEN, BREAKER_COOLED, BREAKER_HALF_OPEN, KEEPS},
    {BREAKER_HALF_OPEN, BREAKER_TRIPPED, BREAKER_OPEN, DOUBLES},
    {BREAKER_HALF_OPEN, BREAKER_PROVED, BREAKER_OPEN, FIRST},
    {BREAKER_HALF_OPEN, BREAKER_PROVED_LARGEST, BREAKER_CLOSED, FIRST},
};

const char *breaker_position_name(breaker_position position) {
    static const char *const names[] = {"closed", "open", "half-open"};
    return (unsigned)position <= BREAKER_HALF_OPEN ? names[position] : "unknown";
}

const char *breaker_event_name(breaker_event event) {
    static const char *const names[] = {"nothing", "tripped", "cooled down", "proved",
                                        "proved with the largest plan"};
    return (unsigned)event <= BREAKER_PROVED_LARGEST ? names[event] : "unknown";
}

breaker_limits breaker_limits_default(void) {
    return (breaker_limits){.first_seconds = 60, .longest_seconds = 3600, .cool_steps = 50, .proving_steps = 8};
}

double breaker_seconds_left(const breaker *b) {
    return b->position == BREAKER_OPEN ? b->cooldown_seconds - b->cooled_seconds : 0;
}

static uint32_t count_up(uint32_t count, uint32_t more, uint32_t most) {
    return more < most - count ? count + more : most;
}

static void count_green(breaker *b, const breaker_limits *l, const breaker_input *input) {
    if (b->position == BREAKER_OPEN) {
        b->cooled_seconds = fmin(b->cooled_seconds + input->seconds, b->cooldown_seconds);
        b->cooled_steps = count_up(b->cooled_steps, input->steps, l->cool_steps);
    }
    if (b->position == BREAKER_HALF_OPEN) b->proved_steps = count_up(b->proved_steps, input->steps, l->proving_steps);
}

static breaker_event event_of(const breaker *b, const breaker_limits *l, const breaker_input *input) {
    if (input->tripped) return BREAKER_TRIPPED;
    if (b->position == BREAKER_OPEN && input->green && input->room && b->cooled_seconds >= b->cooldown_seconds &&
        (input->paused || b->cooled_steps >= l->cool_steps))
        return BREAKER_COOLED;
    if (b->position == BREAKER_HALF_OPEN && b->proved_steps >= l->proving_steps)
        return input->largest ? BREAKER_PROVED_LARGEST : BREAKER_PROVED;
    return BREAKER_NOTHING;
}

static void enter(breaker *b, const breaker_limits *l, const transition *t) {
    double longer = fmin(2 * b->cooldown_seconds, l->longest_seconds);
    b->position = t->to;
    if (t->next != KEEPS) b->cooldown_seconds = t->next == DOUBLES ? longer : l->first_seconds;
    b->cooled_seconds = 0;
    b->cooled_steps = b->proved_steps = 0;
}

breaker_event breaker_update(breaker *b, const breaker_limits *l, const breaker_input *input) {
    if (input->green) count_green(b, l, input);
    breaker_event event = event_of(b, l, input);
    for (unsigned i = 0; i < sizeof transitions / sizeof *transitions; i++) {
        const transition *t = &transitions[i];
        if (t->from != b->position || t->event != event) continue;
        enter(b, l, t);
        break;
    }
    return event;
}
