/* An analysis: what `levee plan` has open, and what it has found out so far.
 *
 * The order matters, because what is held is measured: first the plan of the training itself, by the call that a
 * training makes (planning.h), then what is read off it; the trials of other settings come last. */
#ifndef LEVEE_TRAIN_ANALYSIS_H
#define LEVEE_TRAIN_ANALYSIS_H

#include "report/plan_report.h"
#include "train/planning.h"

typedef struct analysis {
    run common;
    planning_data data; /* empty without --data */
    guarding protection;
    training_settings settings;
    training engine; /* with the plan that the report is about */
    machine_rates rates;
    search_memory searched;                  /* over the graph of the job */
    uint64_t opening_bytes;                  /* the most that was booked while files and data were opened */
    uint64_t runtime_bytes, unplanned_bytes; /* when that plan was made: held; and what must stay free beside */
    plan_report report;
} analysis;

/* The buffers that are largest at the peak (analysis_peak.c). */
levee_status analysis_list_buffers(analysis *a, levee_error *error);

/* Draws memory over a pass into the file that --curve names (analysis_peak.c). */
levee_status analysis_draw(const analysis *a, levee_error *error);

/* "swiglu of layer 3", "linear of layer 3, again" */
void analysis_describe_node(char text[REPORT_NAME_BYTES], const node *n);

/* How long a step takes, by what levee doctor --calibrate has measured on this machine (analysis_time.c): the work of
 * the plan's own graph (graph/work.h). Left at 0 where nothing was measured. */
void analysis_estimate_time(analysis *a);

/* By trials (analysis_changes.c): budgets and the largest pass; what would lower the peak; the table; and, for a job
 * that does not fit, what does. */
levee_status analysis_find_limits(analysis *a, levee_error *error);
levee_status analysis_find_changes(analysis *a, levee_error *error);
levee_status analysis_fill_table(analysis *a, levee_error *error);
levee_status analysis_find_nearest(analysis *a, levee_error *error);

#endif
