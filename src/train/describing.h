/* Reads off a training that is planned what a report says of it (report/plan_report.h): for `levee plan`, and for the
 * plan.json of a run. */
#ifndef LEVEE_TRAIN_DESCRIBING_H
#define LEVEE_TRAIN_DESCRIBING_H

#include "report/plan_report.h"
#include "train/planning.h"

/* What is read; all must last as long as the report. */
typedef struct described {
    const run *common;
    const planning_data *data; /* may be empty */
    const training *engine;    /* has its plans */
    const training_settings *settings;
} described;

/* Model and job: needs what lasts to be laid out, and no plan. */
levee_status describe_model(plan_report *r, const described *d, levee_error *error);

/* The plan in use, what it needs on the disk, and how long a step takes, estimated from what levee doctor --calibrate
 * has measured on this machine: 0 where nothing was. */
void describe_plan(plan_report *r, const described *d);

/* What can be had here and now, this process's own memory included: a training would have given it back. */
levee_status describe_machine(plan_report *r, const run *common, levee_error *error);

/* "swiglu of layer 3", "linear of layer 3, again" */
void describe_node(char text[REPORT_NAME_BYTES], const node *n);

#endif
