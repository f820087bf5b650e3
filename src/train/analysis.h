/* An analysis: what `levee plan` has open, and what it has found out so far.
 *
 * The order matters, because what is held is measured: first the plan of the training itself, by the call that a
 * training makes (planning.h), then what is read off it; the trials of other settings come last. */
#ifndef LEVEE_TRAIN_ANALYSIS_H
#define LEVEE_TRAIN_ANALYSIS_H

#include "train/describing.h"

typedef struct analysis {
    run common;
    planning_data data; /* empty without --data */
    guarding protection;
    training_settings settings;
    training engine; /* with the plan that the report is about */
    machine_rates rates;
    search_memory searched;                  /* over the graph of the job */
    uint64_t warm_bytes;                     /* booked when the machine was measured */
    uint64_t opening_bytes;                  /* the most that a training books until there are plans */
    uint64_t runtime_bytes, unplanned_bytes; /* when that plan was made: held; and what must stay free beside */
    plan_report report;
} analysis;

/* The buffers that are largest at the peak (analysis_peak.c). */
levee_status analysis_list_buffers(analysis *a, levee_error *error);

/* Draws memory over a pass into the file that --curve names (analysis_peak.c). */
levee_status analysis_draw(const analysis *a, levee_error *error);

/* By trials (analysis_changes.c): budgets and the largest pass; what would lower the peak; the table; and, for a job
 * that does not fit, what does. */
levee_status analysis_find_limits(analysis *a, levee_error *error);
levee_status analysis_find_changes(analysis *a, levee_error *error);
levee_status analysis_fill_table(analysis *a, levee_error *error);
levee_status analysis_find_nearest(analysis *a, levee_error *error);

#endif
