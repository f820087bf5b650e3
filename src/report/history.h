/* What the files of a run's directory tell of it, for reports: read once, kept in memory that does not grow with the
 * run.
 *
 * Words. A point is one step, or (in a run of more steps than there are points) several that follow each other, taken
 * together; a point of one step has that step's numbers, unchanged. A decision is one of the guard's.
 *
 * metrics.jsonl, events.jsonl, samples.jsonl, config.yaml and plan.json may each be missing; what they hold that
 * cannot be read is counted. Of events and samples, which are rotated, the older part (.1) is read before. */
#ifndef LEVEE_REPORT_HISTORY_H
#define LEVEE_REPORT_HISTORY_H

#include "base/file.h"
#include "guard/controller.h"
#include "levee.h"

enum { HISTORY_POINTS = 400, HISTORY_DECISIONS = 64, HISTORY_SETTINGS = 160, HISTORY_RECENT = 32 };
enum { HISTORY_ACTIONS = GUARD_STOP + 2 };

/* NAN: not known. */
typedef struct history_point {
    uint64_t first, last; /* steps */
    uint64_t steps, finite_steps;
    double loss, least_loss, most_loss; /* the mean of those that are finite, and their ends */
    uint64_t validation_step;
    double validation_loss;              /* the last */
    double learning_rate, gradient_norm; /* of the last step */
    double tokens_per_second;            /* the mean */
    double held_bytes;                   /* the most; and, at the step that held it: */
    double booked_bytes[LEVEE_CATEGORY_COUNT];
} history_point;

typedef struct history_decision {
    double time, share, need_bytes, expected_bytes, moved_bytes, seconds, leak_steps; /* NAN: not known */
    uint64_t step;
    char action[16], level[16], source[32], breaker[16], leak[16], rule[120];
    uint64_t plan;
    bool carried_out;
} history_decision;

/* What could not be read of a file. */
typedef struct history_file {
    bool there;
    uint64_t lines, unreadable, first_unreadable; /* lines */
    bool cut_short;
} history_file;

typedef struct history_setting {
    const char *section;     /* that the key is in; NULL: none */
    const char *key, *value; /* all in `settings_text` */
} history_setting;

typedef struct history {
    char directory[FILE_PATH_BYTES];
    history_file metrics, events, samples;
    bool plan_there, settings_there;
    char plan_problem[256]; /* "": none */

    history_point *points; /* [HISTORY_POINTS], in the order of steps */
    uint32_t count;
    uint64_t stride; /* lines that a point takes */
    bool by_samples; /* there are no metrics: points are samples, and have held memory alone */
    uint64_t steps, first_step, last_step, not_applied, first_not_applied, out_of_order;
    double first_loss, last_loss, least_loss, last_validation, least_validation;
    uint64_t least_loss_step, last_validation_step, least_validation_step;
    double recent[HISTORY_RECENT];                                   /* the last losses that are finite */
    uint64_t recent_count;                                           /* so far, all of them */
    double tokens, seconds, begin_time, end_time, tokens_per_second; /* the last: of all steps together */
    double peak_bytes, predicted_bytes, budget_bytes;
    double planned_bytes[LEVEE_CATEGORY_COUNT], most_booked_bytes[LEVEE_CATEGORY_COUNT];

    history_decision *decisions; /* [2 * HISTORY_DECISIONS]: the first ones, and the last ones as a ring */
    uint64_t decision_count;     /* all */
    uint64_t carried_out, actions[HISTORY_ACTIONS]; /* of each kind (guard_action); the last: others */

    char *settings_text;
    history_setting settings[HISTORY_SETTINGS];
    uint32_t setting_count;
    uint64_t settings_left_out;
    struct json_t *plan; /* NULL: there is none */
} history;

/* LEVEE_MISSING_INPUT when it is no directory, or holds none of the files. history_close is due in any case, and
 * accepts a zeroed one. */
levee_status history_open(history *h, const char *directory, levee_error *error);
void history_close(history *h);

/* Points of a step that comes after all others; parts of history_open. */
levee_status history_read_metrics(history *h, levee_error *error);
levee_status history_read_events(history *h, levee_error *error);
levee_status history_read_samples(history *h, levee_error *error);
levee_status history_read_settings(history *h, levee_error *error);
void history_read_plan(history *h);

/* Adds a step's point to those that are there, taking points together when there is no room. */
void history_add(history *h, const history_point *step);

/* How many decisions are kept, and the one of a number among them, from 0. */
uint32_t history_decisions(const history *h);
const history_decision *history_decision_at(const history *h, uint32_t number);

/* The value of the setting of the same name; NULL when it is not there. */
const char *history_setting_value(const history *h, const history_setting *named);

/* The mean of the last losses. */
double history_recent_loss(const history *h);

/* The last part of the directory's name. */
const char *history_name(const history *h);

#endif
