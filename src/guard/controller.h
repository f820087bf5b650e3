/* The controller: from samples to actions. Knows neither how an action is carried out nor by whom: a training in this
 * process, or a program that is watched.
 *
 * Words. The ladder: TRIM (give caches back), SHRINK (the next smaller plan), PAUSE (save a checkpoint and give
 * everything back), STOP (save a checkpoint and end). A rung that would give back less than a quarter of what is
 * needed is passed over. A plan is a way to work with so many bytes; number 0 is the largest. A situation is what the
 * caller tells with each sample. A decision is one action with its evidence: the rule, and the numbers it saw.
 *
 * Contract. The caller asks at every step boundary, and in between as often as it likes (the same number of steps);
 * it carries the action out and asks again before work goes on, until nothing is left to do. PAUSE and STOP save
 * first, then give back. A larger plan is taken only on GROW, work goes on after a pause only on RESUME.
 *
 *   SHRINK, GROW, STOP are LEVEE_REQUEST_SHRINK, _GROW, _STOP of a training; TRIM is levee's trim.
 *
 * Pure: a decision depends on the controller, the limits and the situation alone, the clock included. The caller owns
 * the controller, plain data; nothing is allocated. Not thread-safe. */
#ifndef LEVEE_GUARD_CONTROLLER_H
#define LEVEE_GUARD_CONTROLLER_H

#include "guard/breaker.h"
#include "guard/leak.h"
#include "guard/pressure.h"

typedef enum guard_action {
    GUARD_NOTHING,
    GUARD_TRIM,
    GUARD_SHRINK,
    GUARD_GROW,
    GUARD_PAUSE,
    GUARD_RESUME,
    GUARD_STOP
} guard_action;

const char *guard_action_name(guard_action action);

/* Why. Each rule has one sentence, for logs. */
typedef enum guard_rule {
    RULE_CALM,
    RULE_WAITING,        /* for the action before to be carried out */
    RULE_YELLOW_TRIM,    /* caches are given back before anything else */
    RULE_SUSPECTED_TRIM, /* if memory falls, it was a cache and no leak */
    RULE_ORANGE_SHRINK,
    RULE_RED_SHRINK,
    RULE_LEAK_SHRINK,   /* the upper end of the slope ends the run soon */
    RULE_RED_PAUSE,     /* smaller plans are used up, or would not give enough */
    RULE_LEAK_STOP,     /* what leaked comes back only with the process */
    RULE_NO_PAUSE_STOP, /* it would pause, but cannot, or did too often */
    RULE_PAUSED_TOO_LONG,
    RULE_SMALLEST,    /* orange, and nothing is left that is worth its cost */
    RULE_COOLED_GROW, /* the breaker is half-open */
    RULE_COOLED_RESUME,
    RULE_COUNT
} guard_rule;

const char *guard_rule_name(guard_rule rule);

typedef enum guard_response { RESPOND_SHRINK, RESPOND_PAUSE, RESPOND_STOP } guard_response;

typedef struct guard_limits {
    pressure_limits pressure;
    breaker_limits breaker;
    guard_response response;   /* the first rung after a trim */
    double leak_horizon_steps; /* act when fewer steps than this are left */
    double growth_caution;     /* a growth asks for so many times what it takes */
    double least_share;        /* of the need that a rung must give back */
    double answer_seconds;     /* after which a change of plan that is not carried out was in vain */
    double red_answer_seconds; /* at red */
    uint32_t answer_steps;     /* or after so many steps */
    bool can_pause;            /* else it stops where it would pause */
    uint32_t most_pauses;      /* then it stops */
    double longest_pause_seconds;
    double longest_gap_seconds; /* of a longer time between two samples nothing is known, so it counts as this */
} guard_limits;

guard_limits guard_limits_default(void);

enum { GUARD_MOST_PLANS = 8 };

typedef struct guard_situation {
    const guard_sample *sample;
    uint64_t steps; /* finished so far */
    uint32_t plan, plan_count;
    uint64_t plan_bytes[GUARD_MOST_PLANS]; /* that the process is expected to hold; {0} where nobody knows */
    uint64_t group_limit_bytes;            /* as the plan was taken; 0: not known */
    bool paused;
    bool refused;        /* since the last decision a reservation was refused, other than a growth */
    bool growth_refused; /* or a growth */
    leak_verdict leak;   /* the worst of all meters */
    double leak_steps;   /* the fewest that are left (leak_time_left); INFINITY */
} guard_situation;

typedef struct guard_decision {
    guard_action action;
    guard_rule rule;
    pressure_finding found; /* now */
    pressure_level held;
    double need_bytes;     /* to come clearly below orange */
    double expected_bytes; /* that the action gives back, or takes */
    uint32_t plan;         /* in use */
    leak_verdict leak;
    double leak_steps;
    breaker_position breaker; /* after the decision */
    breaker_event event;
} guard_decision;

/* Zeroed: a new one. */
typedef struct controller {
    pressure_gauge gauge;
    breaker breaker;
    bool begun;
    double seconds; /* of the last decision */
    uint64_t steps;
    guard_action asked; /* and perhaps not carried out yet */
    uint32_t asked_plan;
    double asked_seconds; /* ago */
    uint32_t asked_steps;
    bool unanswered; /* a shrink was, since it was green last: smaller plans are not counted on */
    bool trimmed;    /* since it was green last */
    bool probed;     /* since a leak is suspected */
    uint32_t pauses;
    double paused_seconds;
} controller;

guard_decision controller_decide(controller *c, const guard_limits *l, const guard_situation *s);

/* Writes a decision as one line for people: "shrink: red: machine 98 % ...". */
enum { GUARD_LINE_BYTES = 512 };
void guard_decision_line(char text[GUARD_LINE_BYTES], const guard_decision *d);

#endif
